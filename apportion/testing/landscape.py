"""Synthetic accuracy with a known optimum in width, depth and model mix, and six search problems made of it.

The three insights of Agent-REINFORCE (arXiv 2511.00086), as a formula: tasks prefer a mix of models; width and depth
have an optimum each, beyond which accuracy falls; a deeper graph has its best width elsewhere. Nothing is measured.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from apportion.graphs.graph import Graph
from apportion.graphs.parameters import Value
from apportion.graphs.slots import SlotStage
from apportion.graphs.space import SearchSpace
from apportion.testing.synthetic import SyntheticModel, SyntheticProblem


@dataclass(frozen=True)
class Landscape:
    """How good the graphs of one stage are: 1 at the optimum, less by exp(-distance) elsewhere.

    Attributes:
        depth: best number of levels, final node not counted.
        width: best number of drafts at that depth.
        mix: best share of each model in the calls of the slots.
        fused: best share of fusers among slots that read others.
        interaction: by how much a further level of depth lowers the logarithm of the best width.
        steepness: loss by a level of depth, a factor e of width, a wholly wrong mix, a wholly wrong share of fusers.
    """

    depth: int
    width: float
    mix: Mapping[str, float]
    fused: float = 0.0
    interaction: float = 0.4
    steepness: tuple[float, float, float, float] = (0.25, 0.4, 0.6, 0.3)

    def value(self, graph: Graph, stage: str) -> float:
        """Quality of a stage of a graph, above 0 to 1."""
        *slots, _ = [node for node in graph.nodes if node.stage == stage]
        level: dict[str, int] = {}
        for node in slots:
            level[node.id] = 1 + max((level[source] for source in node.inputs if source in level), default=0)
        depth = max(level.values())
        drafts = sum(node.samples for node in slots if node.role == "generator")
        calls = {model: sum(n.samples for n in slots if n.model == model) for model in {n.model for n in slots}}
        total = sum(calls.values())
        wrong = sum(abs(calls.get(m, 0) / total - self.mix.get(m, 0.0)) for m in {*calls, *self.mix} if m) / 2.0
        readers = [node.role for node in slots if node.role != "generator"]
        fused = readers.count("fuser") / len(readers) if readers else self.fused
        best_width = self.width * math.exp(-self.interaction * (depth - self.depth))
        distances = (abs(depth - self.depth), abs(math.log(drafts / best_width)), wrong, abs(fused - self.fused))
        return math.exp(-sum(a * distance for a, distance in zip(self.steepness, distances, strict=True)))


@dataclass(frozen=True)
class Peak:
    """A second optimum of a stage, lower than the first: a trap for searches that climb.

    Attributes:
        height: its quality.
    """

    landscape: Landscape
    height: float


class LandscapeProblem(SyntheticProblem):
    """A synthetic problem whose accuracy is a product over stages of the quality of each.

    Attributes:
        best: the accuracy of the best graph.
    """

    def __init__(
        self,
        models: Mapping[str, SyntheticModel],
        sizes: Mapping[str, int],
        stages: Mapping[str, Landscape],
        traps: Mapping[str, Peak] | None = None,
        best: float = 1.0,
    ) -> None:
        super().__init__(models, sizes)
        self.best = best
        self._stages = stages
        self._traps = traps or {}

    def strength(self, graph: Graph) -> float:
        """The best accuracy times the quality of every stage."""
        return self.best * math.prod(self._quality(graph, stage) for stage in self._stages)

    def _quality(self, graph: Graph, stage: str) -> float:
        quality = self._stages[stage].value(graph, stage)
        trap = self._traps.get(stage)
        return max(quality, trap.height * trap.landscape.value(graph, stage)) if trap else quality


@dataclass(frozen=True)
class Case:
    """A search problem with a known best graph.

    Attributes:
        keeps: whether the three insights hold on it.
        budget: bound on the FLOPs of one answer, None for none.
        base: the problem that it is a variant of, its own name for that one itself; empty for one that stands alone.
        breaks: the one insight of three, counted from 1, that does not hold; None where `keeps` says all there is.
    """

    name: str
    keeps: bool
    space: SearchSpace
    problem: LandscapeProblem
    budget: float | None
    best: Graph
    base: str = ""
    breaks: int | None = None


MODELS = {"small": SyntheticModel(0.3, 1.0), "medium": SyntheticModel(0.45, 3.0), "large": SyntheticModel(0.6, 9.0)}
"""FLOPs in Agent-REINFORCE's nominal units: 1B is 1, 3B is 3, 8B is 9."""

SIZES = {"search": 1000, "validation": 1000, "test": 1000}


def cases() -> list[Case]:
    """Six problems: four that keep the insights, two that break them. Fixed before any sampler was tuned on them."""
    one = SlotStage("answer", tuple(MODELS), 5, ("refiner", "fuser"), ("voter",), (1, 3))
    find, answer = replace(one, name="find", slots=3), replace(one, slots=3, reads=("find",))
    # More is always better: the optimum is a corner of the space, not inside it.
    corner = Landscape(1, 15.0, {"large": 1.0}, interaction=0.0)
    # Depth wants more width, not less; one large call is good and easy to find, and far from the best.
    hidden = Landscape(3, 4.0, {"small": 1.0}, 1.0, -0.4, (0.5, 0.8, 1.0, 0.5))
    trap = Peak(Landscape(1, 1.0, {"large": 1.0}, interaction=0.0), 0.8)
    return [
        _case("wide", [one], [Landscape(1, 6.0, {"small": 1.0})], 12.0, ["1 small 3 final", "2 small 3 final"]),
        _case(
            "deep",
            [one],
            [Landscape(4, 1.0, {"medium": 1.0})],
            20.0,
            ["1 medium 1 2", "2 medium 1 3", "3 medium 1 4", "4 medium 1 final"],
        ),
        _case(
            "fused",
            [one],
            [Landscape(2, 6.0, {"small": 6 / 7, "large": 1 / 7}, fused=1.0)],
            20.0,
            ["1 small 3 3", "2 small 3 3", "3 large 1 final fuser"],
        ),
        _case(
            "chain",
            [find, answer],
            [Landscape(2, 1.0, {"medium": 1.0}), Landscape(1, 4.0, {"small": 1.0})],
            14.0,
            ["find.1 medium 1 2", "find.2 medium 1 final", "1 small 3 final", "2 small 1 final"],
        ),
        _case("corner", [one], [corner], None, [f"{slot} large 3 final" for slot in range(1, 6)], keeps=False),
        _case(
            "hidden",
            [one],
            [hidden],
            20.0,
            ["1 small 3 3", "2 small 1 3", "3 small 2 4 fuser", "4 small 1 final fuser"],
            trap,
            keeps=False,
        ),
    ]


def _case(
    name: str,
    stages: Sequence[SlotStage],
    landscapes: Sequence[Landscape],
    budget: float | None,
    best: Sequence[str],
    trap: Peak | None = None,
    *,
    keeps: bool = True,
) -> Case:
    """A case whose best graph is `written` so."""
    space = SearchSpace(tuple(stages))
    names = [stage.name for stage in stages]
    problem = LandscapeProblem(
        MODELS, SIZES, dict(zip(names, landscapes, strict=True)), {"answer": trap} if trap else None
    )
    return Case(name, keeps, space, problem, budget, written(space, best))


def written(space: SearchSpace, lines: Sequence[str]) -> Graph:
    """The graph of which each slot is written as `[stage.]slot model samples reader [role]`.

    Raises:
        GraphError: it is not of the space.
    """
    params: dict[str, Value] = {key: parameter.values[0] for key, parameter in space.parameters.items()}
    for line in lines:
        place, model, samples, reader, *role = line.split()
        place = place if "." in place else f"answer.{place}"
        params |= {f"{place}.model": model, f"{place}>{reader}": "yes"}
        params |= {f"{place}.samples": int(samples)} if f"{place}.samples" in params else {}
        params |= {f"{place}.role": role[0]} if role else {}
    return space.build(params)
