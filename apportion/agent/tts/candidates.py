"""Candidates of an agent without a model: drawn, brought within the budget, and written as a model writes them.

It knows a space of allocations, not why one is proposed.
"""

from __future__ import annotations

import json
import math
import random
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from itertools import islice

from apportion.agent.tts.allocation import Allocation, Allocations, Choice, StageChoices, affordable
from apportion.agent.tts.brief import Brief
from apportion.errors import GraphError

TRIES = 400  # random draws of a batch; where all are known or too dear, a space is as good as tried out
STEPS = 400  # allocations that are looked at around one


@dataclass(frozen=True)
class Candidate:
    """An allocation that is proposed.

    Attributes:
        insight: number of the one that it rests on; None for none.
        expected: score; None where nothing is known.
    """

    allocation: Allocation
    insight: int | None = None
    expected: float | None = None


def written(candidates: Iterable[Candidate], brief: Brief) -> str:
    """The JSON that `propose` asks for; each candidate names the newest guideline that rests on its insight."""
    numbers = {insight: number for number, (_, insight) in enumerate(brief.rules, 1)}
    said = [
        {
            "stages": {stage: asdict(choice) for stage, choice in candidate.allocation.items()},
            "guideline": numbers.get(candidate.insight),
            "expected": candidate.expected,
        }
        for candidate in candidates
    ]
    return json.dumps({"candidates": said})


class Unseen:
    """Lets allocations through that the space has, that can be paid and that were not seen, each once."""

    def __init__(self, space: Allocations, seen: Iterable[Allocation]) -> None:
        self._space = space
        self._seen = {_key(allocation) for allocation in seen}

    def take(self, allocation: Allocation | None) -> Allocation | None:
        """The allocation as the space has it; None where it is refused."""
        if allocation is None:
            return None
        try:
            fitted = self._space.fit(allocation)
        except GraphError:
            return None
        if _key(fitted) in self._seen or not affordable(self._space, fitted):
            return None
        self._seen.add(_key(fitted))
        return fitted

    def near(self, allocation: Allocation) -> Allocation | None:
        """The first around an allocation that is let through, a sample or a model of a stage a step; None for none."""
        around = deque([allocation])
        met = {_key(allocation)}
        for _ in range(STEPS):
            if not around:
                break
            at = around.popleft()
            found = self.take(at)
            if found is not None:
                return found
            for other in _steps(self._space, at):
                if _key(other) not in met:
                    met.add(_key(other))
                    around.append(other)
        return None

    def some(self, drawn: Iterable[Allocation | None], most: int) -> Iterator[Allocation]:
        """So many of what is drawn that are let through; no more is drawn than that takes."""
        return islice((own for own in map(self.take, drawn) if own is not None), most)


def cut(space: Allocations, allocation: Allocation) -> Allocation | None:
    """The allocation with samples halved where that saves most until it can be paid; None where it never can."""
    least = {stage.name: stage.least for stage in space.stages}
    while not affordable(space, allocation):
        fewer = [
            {**allocation, stage: replace(choice, samples=max(least[stage], choice.samples // 2))}
            for stage, choice in allocation.items()
            if choice.samples > least[stage]
        ]
        if not fewer:
            return None
        allocation = min(fewer, key=lambda own: space.cost(own) or 0.0)
    return allocation


def anywhere(space: Allocations, rng: random.Random, tries: int = TRIES) -> Iterator[Allocation]:
    """Random allocations that can be paid: models and ways alike, samples alike in their logarithm."""
    for _ in range(tries):
        drawn = {
            stage.name: Choice(rng.choice(stage.models), some_samples(stage, rng), some_way(stage, rng))
            for stage in space.stages
        }
        paid = cut(space, drawn)
        if paid is not None:
            yield paid


def some_samples(stage: StageChoices, rng: random.Random) -> int:
    """A random number of samples, alike in its logarithm."""
    return round(stage.least * math.exp(math.log(stage.most / stage.least) * rng.random()))


def some_way(stage: StageChoices, rng: random.Random) -> str:
    """A random way of merging samples."""
    return rng.choice(stage.hows) if stage.hows else ""


def _steps(space: Allocations, allocation: Allocation) -> Iterator[Allocation]:
    """Allocations that differ by one sample, or by the model of one stage."""
    for stage in space.stages:
        own = allocation[stage.name]
        fewer_and_more = (own.samples - 1, own.samples + 1)
        near = [replace(own, samples=n) for n in fewer_and_more if stage.least <= n <= stage.most]
        near += [replace(own, model=model) for model in stage.models if model != own.model]
        yield from ({**allocation, stage.name: choice} for choice in near)


def _key(allocation: Allocation) -> tuple[tuple[str, Choice], ...]:
    return tuple(sorted(allocation.items()))
