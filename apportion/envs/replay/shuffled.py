"""Recorded draws in a random order, and which of them a configuration takes. It does not know what was bought."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from apportion.envs.replay.chained import Branches, Chained
from apportion.envs.replay.columns import NONE
from apportion.envs.replay.rule import Drawn
from apportion.envs.replay.task import Option, Split, Task

Ints = NDArray[np.int64]


class Part(NamedTuple):
    """What a configuration draws at a stage on some examples.

    Attributes:
        n: of its option.
        drawn: a row an example; of the second stage of a chain, a row a state.
        at: where the draws of each example are booked: the example itself or, in the second stage of a chain, the
            answer that it reads, -1 for none.
    """

    arm: int
    n: int
    drawn: Drawn
    at: Ints

    @property
    def asked(self) -> Ints:
        """Draws on each example: none where there is nothing to read."""
        return np.where(self.at == NONE, 0, self.n)


class Shuffled:
    """Draws of all arms on the examples of a split, without replacement, in an order that the seed gives.

    Arms are the models of all stages, those of a stage side by side.
    """

    def __init__(self, task: Task, split: Split, seed: int) -> None:
        self._task, self._split, self._seed = task, split, seed
        self._chain = task if isinstance(task, Chained) else None
        self._models = [(s, model) for s, own in enumerate(task.stages) for model in range(len(own.models))]
        self._first = [self._models.index((s, 0)) for s in range(len(task.stages))]
        self._order: dict[int, Drawn] = {}

    def arm(self, stage: int, option: Option) -> int:
        """The arm that an option draws from."""
        return self._first[stage] + option.arm

    def draws(self, arm: int, trial: int = 0) -> Drawn:
        """All draws of an arm; the same for the same trial. Trial 0 is the one whose draws are shared."""
        if trial == 0 and arm in self._order:
            return self._order[arm]
        stage, model = self._models[arm]
        rng = np.random.default_rng([self._seed, 1 + arm, trial])
        drawn = self._task.stages[stage].drawn(model, self._split.questions[stage], rng)
        if trial == 0:
            self._order[arm] = drawn
        return drawn

    def parts(self, configuration: Ints, examples: Ints, trial: int = 0) -> list[Part]:
        """What a configuration, given as its options, draws at each stage on some examples."""
        parts: list[Part] = []
        for s, (own, number) in enumerate(zip(self._task.stages, configuration, strict=True)):
            option = own.options[number]
            arm = self.arm(s, option)
            drawn, at = self.draws(arm, trial), examples
            if self._chain is not None and s == 1:
                at = self._chain.read(int(configuration[0]), parts[0].drawn)
            else:
                drawn = drawn.of(examples, option.n)
            parts.append(Part(arm, option.n, drawn, at))
        return parts

    def right(self, part: Part, before: Ints) -> Ints:
        """How many draws of a part are right on each example, the first so many left out."""
        right, found, drawn = np.zeros(len(part.at), dtype=np.int64), np.full(len(part.at), fill_value=True), part.drawn
        if self._chain is not None and isinstance(drawn, Branches):
            found, drawn = drawn.at(self._chain.states(part.at), part.n)
        right[found] = (drawn.correct & (np.arange(part.n) >= before[found, None])).sum(axis=1)
        return right
