"""Mixes of models: how many slots of each stage have which model, within a nominal budget (insight 1).

It knows prices of calls, not how good a model is.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from apportion.graphs.graph import Graph, Node, calls_of
from apportion.graphs.parameters import Params, Value
from apportion.graphs.slots import ABSENT, SlotStage
from apportion.graphs.space import SearchSpace
from apportion.graphs.templates import TemplateStage

MOST_LISTED = 20_000  # mixes that are gone through; of more some are drawn
MOST_DRAWN = 200
SLACK = 1e-9  # of the budget: sums of floats must not refuse what is covered exactly
SURE = 0.8  # probability of the model that a mix has for a slot, the rest is shared by the others
MOST_VARIANTS = 5  # of a mix with those without its cheapest models, as in the public code of Agent-REINFORCE

Mix = Mapping[str, Mapping[str, int]]
"""By stage of slots and by model, how many slots have it; at least one slot a stage."""
Prices = Mapping[tuple[str, str], float]


@dataclass(frozen=True)
class Purse:
    """What slots cost nominally, and what they may.

    Attributes:
        prices: of one call by stage and model; what is not there costs nothing.
        budget: the most that all calls of an answer may cost; None for no bound.
    """

    prices: Prices
    budget: float | None

    def price(self, stage: SlotStage, model: str) -> float:
        """Of one slot of a model, with its fewest samples."""
        return stage.samples[0] * self.prices.get((stage.name, model), 0.0)

    def left(self, space: SearchSpace) -> float:
        """What is left for slots when all else is as cheap as can be."""
        if self.budget is None:
            return math.inf
        return self.budget * (1 + SLACK) - sum(self._rest(stage) for stage in space.stages)

    def _rest(self, stage: SlotStage | TemplateStage) -> float:
        if isinstance(stage, TemplateStage):
            return min(self._answered(stage, point) for point in stage.points())
        if stage.decides_by_code or not stage.deciding_models:
            return 0.0
        return min(self.prices.get((stage.name, model), 0.0) for model in stage.deciding_models)

    def _answered(self, stage: TemplateStage, point: Params) -> float:
        """Of all calls of one way of answering a stage of templates."""
        above = [Node(name, name, "generator", "any") for name in stage.reads]
        graph = Graph((*above, *stage.nodes(point, stage.reads)))
        own = (node for node in graph.nodes if node.stage == stage.name and node.model is not None)
        return sum(calls_of(graph, node) * self.prices.get((stage.name, str(node.model)), 0.0) for node in own)


def mixes(space: SearchSpace, purse: Purse, seed: int = 0) -> list[Mix]:
    """All mixes to which no slot can be added within the budget; of very many, some at random.

    Those are the mixes that leave least of the budget, as Agent-REINFORCE enumerates them.
    """
    stages = _slotted(space)
    count = math.prod(math.comb(stage.slots + len(stage.models), stage.slots) for stage in stages)
    found = _all(stages, purse, purse.left(space)) if count <= MOST_LISTED else _some(stages, purse, space, seed)
    full = [mix for mix in found if full_up(space, purse, mix)]
    return list({_key(mix): mix for mix in full}.values())


def cost(space: SearchSpace, purse: Purse, mix: Mix) -> float:
    """Nominal cost of the slots of a mix."""
    return sum(purse.price(s, m) * n for s in _slotted(space) for m, n in mix.get(s.name, {}).items())


def fits(space: SearchSpace, purse: Purse, mix: Mix) -> bool:
    """Whether each stage has a slot of its own and not too many, and all are within the budget."""
    counted = all(1 <= sum(mix.get(stage.name, {}).values()) <= stage.slots for stage in _slotted(space))
    return counted and cost(space, purse, mix) <= purse.left(space)


def full_up(space: SearchSpace, purse: Purse, mix: Mix) -> bool:
    """Whether no slot of any model can be added."""
    left = purse.left(space) - cost(space, purse, mix)
    return all(
        sum(mix[stage.name].values()) == stage.slots or min(purse.price(stage, m) for m in stage.models) > left
        for stage in _slotted(space)
    )


def variants(space: SearchSpace, purse: Purse, mix: Mix) -> list[Mix]:
    """The mix, then without one, two, ... of its cheapest slots."""
    found = [mix]
    while len(found) < MOST_VARIANTS:
        last = found[-1]
        spare = [
            (purse.price(stage, model), stage.name, model)
            for stage in _slotted(space)
            if sum(last[stage.name].values()) > 1
            for model, n in last[stage.name].items()
            if n
        ]
        if not spare:
            break
        _, stage, model = min(spare)
        found.append({**last, stage: {**last[stage], model: last[stage][model] - 1}})
    return found


def placed(space: SearchSpace, purse: Purse, mix: Mix, sure: float = SURE) -> dict[str, dict[Value, float]]:
    """Probabilities of slots that have a mix of models: dearer models in later slots, which may read more others.

    Args:
        sure: probability of the model that the mix has for a slot, and where there is a budget of its fewest samples,
            which the mix is counted with; 1 leaves no other.
    """
    found: dict[str, dict[Value, float]] = {}
    for stage in _slotted(space):
        ordered = sorted(stage.models, key=lambda model: purse.price(stage, model))
        models = [model for model in ordered for _ in range(mix[stage.name].get(model, 0))]
        for slot in range(1, stage.slots + 1):
            own = models[slot - 1] if slot <= len(models) else ABSENT
            name = f"{stage.name}.{slot}.model"
            found[name] = _mostly(own, space.parameters[name].values, sure)
            samples = f"{stage.name}.{slot}.samples"
            if purse.budget is not None and samples in space.parameters:
                found[samples] = _mostly(stage.samples[0], space.parameters[samples].values, sure)
    return found


def _mostly(own: Value, values: Sequence[Value], sure: float) -> dict[Value, float]:
    if len(values) == 1:
        return {values[0]: 1.0}
    return {value: sure if value == own else (1.0 - sure) / (len(values) - 1) for value in values}


def shown(mix: Mix) -> str:
    """In one line: `solve: 3 small, 1 large`."""
    return "; ".join(
        f"{stage}: {', '.join(f'{n} {model}' for model, n in counts.items() if n)}" for stage, counts in mix.items()
    )


def spread(found: Sequence[Mix], most: int) -> list[Mix]:
    """At most so many, spread over the list."""
    if len(found) <= most:
        return list(found)
    return [found[round(place * (len(found) - 1) / (most - 1))] for place in range(most)]


def _slotted(space: SearchSpace) -> list[SlotStage]:
    return [stage for stage in space.stages if isinstance(stage, SlotStage)]


def _key(mix: Mix) -> tuple[tuple[str, tuple[tuple[str, int], ...]], ...]:
    return tuple((stage, tuple(sorted((m, n) for m, n in own.items() if n))) for stage, own in sorted(mix.items()))


def _all(stages: Sequence[SlotStage], purse: Purse, left: float) -> Iterator[Mix]:
    if not stages:
        yield {}
        return
    stage, *rest = stages
    for counts in _counts(list(stage.models), stage.slots):
        spent = sum(purse.price(stage, model) * n for model, n in counts.items())
        if counts and spent <= left:
            for others in _all(rest, purse, left - spent):
                yield {stage.name: counts, **others}


def _counts(models: Sequence[str], slots: int) -> Iterator[dict[str, int]]:
    """So many slots or fewer, by model."""
    if not models:
        yield {}
        return
    model, *rest = models
    for n in range(slots, -1, -1):
        for others in _counts(rest, slots - n):
            yield {model: n, **others} if n else others


def _some(stages: Sequence[SlotStage], purse: Purse, space: SearchSpace, seed: int) -> Iterator[Mix]:
    """Mixes that grew slot by slot at random until nothing fitted."""
    rng = random.Random(seed)
    least = {stage.name: min(purse.price(stage, model) for model in stage.models) for stage in stages}
    free = purse.left(space) - sum(least.values())
    for _ in range(MOST_DRAWN if free >= 0 else 0):
        mix: dict[str, dict[str, int]] = {stage.name: {} for stage in stages}
        left = free  # beyond a slot of the cheapest model for each stage that has none yet
        for stage in rng.sample(stages, len(stages)):
            left += least[stage.name]
            model = rng.choice([model for model in stage.models if purse.price(stage, model) <= left])
            mix[stage.name][model] = 1
            left -= purse.price(stage, model)
        while True:
            more = [
                (stage, model)
                for stage in stages
                if sum(mix[stage.name].values()) < stage.slots
                for model in stage.models
                if purse.price(stage, model) <= left
            ]
            if not more:
                break
            stage, model = rng.choice(more)
            mix[stage.name][model] = mix[stage.name].get(model, 0) + 1
            left -= purse.price(stage, model)
        yield mix
