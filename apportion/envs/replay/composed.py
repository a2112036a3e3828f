"""Tasks whose stages are independent given the example: all must be right, one must be, or their shares count alike.

It knows what rules make of recorded draws, not how a search goes about it. The truth is exact where that of the rules
is (`rules`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, reduce
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from apportion.envs.replay.rule import Drawn, Rule
from apportion.envs.replay.task import Split, Stage, Task
from apportion.errors import RecordedError

Floats = NDArray[np.float64]
Reals = NDArray[np.floating[Any]]
Ints = NDArray[np.int64]

PART = 4096  # configurations at once, for the memory


@dataclass(frozen=True, eq=False)
class Composed(Task):
    """Stages that succeed independently of each other, given what they are asked.

    Attributes:
        combine: `all` stages must be right, or the `mean` of them is what counts: each is asked a question of its own,
            which meet at random, so that a task composed of recordings made apart is semi-synthetic. Or it suffices
            that `any` is: all are asked the same question, a mixture of models is one with a stage for each.
    """

    stages: tuple[Stage[Rule], ...]
    combine: Literal["all", "mean", "any"] = "all"

    def __post_init__(self) -> None:
        """Refuse rules that a table cannot serve, and stages that cannot be asked the same though they must.

        Raises:
            RecordedError: there are such, or draws of one model would count at two stages.
        """
        super().__post_init__()
        for own in self.stages:
            for rule in own.rules:
                rule.check(own.recorded, own.columns)
        if self.shared:
            self._check_shared()

    def _check_shared(self) -> None:
        first, known = self.stages[0], set()
        for own in self.stages:
            if (own.recorded.dataset, own.recorded.questions) != (first.recorded.dataset, first.recorded.questions):
                raise RecordedError(
                    f"stages of which any suffices must be asked the same questions, but {first.name!r} and "
                    f"{own.name!r} have tables with others; mend `data` or `dataset`."
                )
            for model, column in zip(own.models, own.columns.tolist(), strict=True):
                if (id(own.recorded), column) in known:
                    raise RecordedError(
                        f"where any stage suffices, a model must stand in one of them, but {model!r} stands in "
                        f"{own.name!r} again; list it once."
                    )
                known.add((id(own.recorded), column))

    @property
    def shared(self) -> bool:
        """Whether all stages are asked the same question; if not, any question of one meets with any of another."""
        return self.combine == "any"

    @cached_property
    def expected(self) -> list[Floats]:
        """Probability of a right answer by each option to each question: options x questions, a table a stage."""
        return [
            np.array(
                [
                    own.rules[o.rule].expected(own.recorded, int(own.columns[o.arm]), o.n)
                    if o.n
                    else np.zeros(len(own.recorded.questions))
                    for o in own.options
                ]
            )
            for own in self.stages
        ]

    @cached_property
    def truth(self) -> Floats:
        """Expected accuracy of every configuration over all questions, as they meet."""
        return self.valued(self.expected, self.configurations)

    @cached_property
    def truth_error(self) -> float:
        """Bound on the standard error of a true value; 0 where all rules are exact.

        What stages give together errs by no more than each of them, to first order: values are from 0 to 1.
        """
        largest = [
            max(own.rules[o.rule].error(own.recorded, int(own.columns[o.arm]), o.n) for o in own.options if o.n)
            for own in self.stages
        ]
        return math.hypot(*largest) / (len(largest) if self.combine == "mean" else 1)

    def value(self, configurations: Ints, split: Split) -> Floats:
        """Expected accuracy on the examples of a split."""
        return self._met([own[:, split.questions[s]] for s, own in enumerate(self.expected)], configurations)

    def valued(self, worth: Sequence[Floats], configurations: Ints) -> Floats:
        """Accuracy of configurations where options are worth so much on each question.

        Args:
            worth: options x questions, a table a stage. Questions stand in one order where they are shared, and may be
                any number of each stage where not.
        """
        if self.shared:
            return self._met(worth, configurations)
        means = [own.mean(axis=1)[configurations[:, s]] for s, own in enumerate(worth)]
        return np.asarray(self.combined(means), dtype=np.float64)

    def _met(self, worth: Sequence[Floats], configurations: Ints) -> Floats:
        """Mean over examples, where the questions of stages meet in order."""
        values = np.empty(len(configurations))
        for start in range(0, len(configurations), PART):
            part = configurations[start : start + PART]
            values[start : start + PART] = self.combined([own[part[:, s]] for s, own in enumerate(worth)]).mean(axis=1)
        return values

    def combined(self, parts: Sequence[Reals]) -> Reals:
        """What the stages give together, element by element."""
        if self.combine == "mean":
            return np.asarray(reduce(np.add, parts) / len(parts))
        if self.combine == "any":
            return np.asarray(1.0 - reduce(np.multiply, [1.0 - part for part in parts]))
        return np.asarray(reduce(np.multiply, parts))

    def outcome(self, configuration: Ints, drawn: Sequence[Drawn]) -> Floats:
        """What a configuration gave on each example, from its draws of each stage."""
        parts = []
        for own, number, draws in zip(self.stages, configuration, drawn, strict=True):
            option = own.options[number]
            right = own.rules[option.rule].outcome(draws, option.n) if option.n else np.zeros(len(draws.questions))
            parts.append(right.astype(float))
        return np.asarray(self.combined(parts), dtype=np.float64)

    def split(self, rng: np.random.Generator) -> Split:
        """Random questions of each stage: the same of all, or met at random."""
        if self.shared:
            return self.together(rng)
        return Split(np.stack([rng.permutation(len(own.recorded.questions))[: self.search] for own in self.stages]))
