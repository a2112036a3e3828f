"""The first trials of AgentTTS: the models of each stage in turn, at equal compute (Algorithm 1, arXiv 2508.00890)."""

from __future__ import annotations

import bisect
from collections.abc import Sequence

from apportion.agent.tts.allocation import ROUNDING, Allocation, Allocations, Choice, StageChoices, affordable

MOST_SAMPLES = 60  # as the public code
MOST_MODELS = 4  # of a stage that are compared; the paper has two or three, and with forty nothing would be left


def initial(space: Allocations) -> list[Allocation]:
    """Each model of a stage with as many samples as one pass of the stage's largest pays for, stage by stage.

    The other stages have one pass of their largest model where the budget covers that, else of their smallest. Where
    one pass of the largest leaves too little for the smallest at the others, its models share what is left.

    Returns:
        Allocations that the space has, each once, within its budget; a model that cannot pay for one pass is left out,
        and of many models some that are spread over their sizes stand for all.
    """
    smallest = {stage.name: one_pass(stage, stage.models[0]) for stage in space.stages}
    largest = {stage.name: one_pass(stage, stage.models[-1]) for stage in space.stages}
    found: list[Allocation] = []
    for stage in space.stages:
        target = _capped(space, {**smallest, stage.name: largest[stage.name]})
        for model in _compared(stage.models):
            samples = _samples(space, smallest, stage, model, target)
            if samples is None:
                continue
            own = {stage.name: Choice(model, samples, usual(stage))}
            for others in (largest, smallest):
                if affordable(space, fitted := space.fit({**others, **own})):
                    if fitted not in found:
                        found.append(fitted)
                    break
    return found


def _compared(models: Sequence[str]) -> list[str]:
    """The smallest, the largest, and some between."""
    count = min(len(models), MOST_MODELS)
    return [models[round(place * (len(models) - 1) / max(1, count - 1))] for place in range(count)]


def one_pass(stage: StageChoices, model: str) -> Choice:
    """The fewest samples of a model."""
    return Choice(model, stage.least, usual(stage))


def usual(stage: StageChoices) -> str:
    """The way in which a stage merges samples unless another is asked for."""
    return stage.hows[0] if stage.hows else ""


def _capped(space: Allocations, allocation: Allocation) -> float | None:
    cost = space.cost(allocation)
    return cost if cost is None or space.budget is None else min(cost, space.budget)


def _samples(
    space: Allocations, others: Allocation, stage: StageChoices, model: str, target: float | None
) -> int | None:
    """The most samples of a model that an answer of such a cost pays for; None if not even the fewest."""

    def within(samples: int) -> bool:
        cost = space.cost({**others, stage.name: Choice(model, samples, usual(stage))})
        return (
            cost is None or target is None or cost <= target + ROUNDING * abs(target)
        )  # exactly one pass may come as 0.999

    if target is None:
        return stage.least
    numbers = range(stage.least, max(stage.least, min(stage.most, MOST_SAMPLES)) + 1)
    count = bisect.bisect_left(numbers, True, key=lambda samples: not within(samples))
    return numbers[count - 1] if count else None
