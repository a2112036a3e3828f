"""The insights of Agent-REINFORCE tried on the task at hand, on few examples: mixes, width, depth and the two together.

What was measured on other tasks is not told to the agent; this is. It knows a probe, not how an agent is asked.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean

from apportion.agent.finding import Finding
from apportion.agent.reinforce.probe import Probe
from apportion.agent.reinforce.shapes import layered
from apportion.errors import GraphError
from apportion.graphs.graph import Graph
from apportion.graphs.pruning import cast
from apportion.graphs.slots import SlotStage
from apportion.graphs.space import SearchSpace

EXAMPLES = 12  # of the search split
MOST_MODELS, MOST_DEPTH = 4, 3  # that are compared
CLEAR = 2.0  # standard errors by which a difference is called one

Affordable = Callable[[Graph], bool]


def sweep(space: SearchSpace, probe: Probe, affordable: Affordable) -> list[Finding]:
    """Each model alone as often as can be paid, then more side by side, more in a row, and both, of the best model.

    Raises:
        LimitReached: a needed draw may not be bought.
    """
    lab = _Lab(space, probe, affordable)
    return [finding for stage in space.stages if isinstance(stage, SlotStage) for finding in _stage(lab, stage)]


@dataclass
class _Lab:
    """Measures layered graphs, each once."""

    space: SearchSpace
    probe: Probe
    affordable: Affordable
    seen: dict[str, list[float]] = field(default_factory=dict)

    @property
    def examples(self) -> int:
        return min(EXAMPLES, self.probe.examples)

    def graph(self, stage: SlotStage, layers: Sequence[Sequence[str]]) -> Graph | None:
        """None where the space has none, or it cannot be paid."""
        if not layers[0] or sum(map(len, layers)) > stage.slots or (len(layers) > 1 and not stage.roles):
            return None
        fused = len(layers) > 1 and len(layers[-2]) > 1 and "fuser" in stage.roles
        try:
            params = layered(self.space, stage, layers, "fuser" if fused else None)
            graph = self.space.build(cast(self.space, params))
        except GraphError:
            return None
        return graph if self.affordable(graph) else None

    def scores(self, stage: SlotStage, layers: Sequence[Sequence[str]]) -> list[float] | None:
        """By example; None where there is no such graph or no answer was had."""
        name = f"{stage.name}: {shape(layers)}"
        graph = self.graph(stage, layers)
        if graph is None:
            return None
        if name not in self.seen:
            given = self.probe.scores(graph, slice(0, self.examples))
            self.seen[name] = [own for own in given if own is not None]
        return self.seen[name] if len(self.seen[name]) == self.examples else None

    def widest(self, stage: SlotStage, model: str) -> int:
        """Slots of a model side by side that can be paid; 0 for none."""
        return max((n for n in range(1, stage.slots + 1) if self.graph(stage, [[model] * n])), default=0)


def shape(layers: Sequence[Sequence[str]]) -> str:
    """`3 small`, or `3 small, then 1 small` for layers."""
    return ", then ".join(
        " and ".join(f"{layer.count(model)} {model}" for model in dict.fromkeys(layer)) for layer in layers
    )


def _stage(lab: _Lab, stage: SlotStage) -> list[Finding]:
    models = sorted(stage.models, key=lambda model: -lab.widest(stage, model))[:MOST_MODELS]
    alone = {m: own for m in models if (own := lab.scores(stage, [[m] * lab.widest(stage, m)])) is not None}
    if not alone:
        return []
    best = max(alone, key=lambda model: fmean(alone[model]))
    most = lab.widest(stage, best)
    widths = sorted({n for n in (1, 2, 4, 8, most) if n <= most})
    wide = {n: own for n in widths if (own := lab.scores(stage, [[best] * n])) is not None}
    rows = {d: own for d in range(1, MOST_DEPTH + 1) if (own := lab.scores(stage, [[best]] * d)) is not None}
    return [
        _mix(stage, {m: lab.widest(stage, m) for m in alone}, alone),
        _curve(stage, best, "side by side", wide),
        _curve(stage, best, "in a row", rows),
        _together(lab, stage, best, most),
    ]


def _mix(stage: SlotStage, counts: Mapping[str, int], alone: Mapping[str, Sequence[float]]) -> Finding:
    """Insight 1: a task prefers a mix of models at equal compute."""
    means = {model: fmean(own) for model, own in alone.items()}
    said = ", ".join(f"{counts[model]} {model} {mean:.2f}" for model, mean in means.items())
    ranked = sorted(means, key=lambda model: -means[model])
    held = len(ranked) > 1 and clear(alone[ranked[0]], alone[ranked[-1]])
    text = f"{stage.name}, as many side by side as can be paid, {len(alone[ranked[0]])} examples each: {said}."
    return Finding(1, True if held else None, text, means)


def _curve(stage: SlotStage, model: str, how: str, points: Mapping[int, Sequence[float]]) -> Finding:
    """Insight 2: there is a best width, and a best depth."""
    said = ", ".join(f"{n} {fmean(own):.2f}" for n, own in points.items())
    best = max(points, key=lambda n: (fmean(points[n]), -n), default=0)
    most = max(points, default=0)
    held = None
    if len(points) > 2 and clear(points[best], points[most]):
        held = True  # it falls again
    elif len(points) > 2 and best == most and clear(points[most], points[sorted(points)[-2]]):
        held = False  # it still rises at the end
    return Finding(2, held, f"{stage.name}, {model} {how}: {said}.")


def _together(lab: _Lab, stage: SlotStage, model: str, most: int) -> Finding:
    """Insight 3: what width gains depends on the depth."""
    for width in range(min(most, 4), 1, -1):
        shapes = [[model]], [[model] * width], [[model], [model]], [[model] * width, [model]]
        if any(lab.graph(stage, layers) is None for layers in shapes):
            continue
        four = [lab.scores(stage, layers) for layers in shapes]
        if all(own is not None for own in four):
            one, wide, deep, both = ([*own] for own in four if own is not None)
            alone, behind = fmean(wide) - fmean(one), fmean(both) - fmean(deep)
            text = (
                f"{stage.name}: {width} {model} in place of 1 gain {alone:+.2f}, and {behind:+.2f} where one more "
                "call reads them."
            )
            gains = [a - b for a, b in zip(wide, one, strict=True)], [a - b for a, b in zip(both, deep, strict=True)]
            held = True if clear(*gains) else False if clear(*reversed(gains)) else None
            return Finding(3, held, text)
    return Finding(3, None, f"{stage.name}: no graph is both wide and deep within its slots and the budget.")


def clear(one: Sequence[float], other: Sequence[float]) -> bool:
    """Whether one is larger than the other by more than chance, paired by example; cautious where examples are few."""
    differences = [a - b for a, b in zip(one, other, strict=True)]
    n = len(differences)
    variance = (sum(own * own for own in differences) + 1.0) / (n + 1.0)  # as if there were one more, of 1
    return n > 1 and fmean(differences) > CLEAR * math.sqrt(variance / n)
