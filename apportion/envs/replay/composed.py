"""Tasks whose stages are independent given the example: all must be right, or their shares count alike.

It knows what rules make of recorded draws, not how a search goes about it. The truth is exact.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from apportion.envs.replay.rules import Drawn, Rule
from apportion.envs.replay.task import Split, Stage, Task

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Composed(Task):
    """Stages each of which is asked a question of its own.

    Composed of recordings that were made apart, a task of several stages is semi-synthetic.

    Attributes:
        combine: `all` stages must be right, or the `mean` of them is what counts.
    """

    stages: tuple[Stage[Rule], ...]
    combine: Literal["all", "mean"] = "all"

    @cached_property
    def expected(self) -> list[Floats]:
        """Probability of a right answer by each option to each question: options x questions, a table a stage."""
        return [
            np.array([own.rules[o.rule].expected(own.recorded, int(own.columns[o.arm]), o.n) for o in own.options])
            for own in self.stages
        ]

    @cached_property
    def truth(self) -> Floats:
        """Expected accuracy of every configuration over all questions, any question of one stage met with any other."""
        means = [own.mean(axis=1) for own in self.expected]
        return self.combined([mean[self.configurations[:, s]] for s, mean in enumerate(means)])

    def value(self, configurations: Ints, split: Split) -> Floats:
        """Expected accuracy on the examples of a split."""
        values = np.empty(len(configurations))
        each = [own[:, split.questions[s]] for s, own in enumerate(self.expected)]
        for start in range(0, len(configurations), 4096):
            part = configurations[start : start + 4096]
            values[start : start + 4096] = self.combined([own[part[:, s]] for s, own in enumerate(each)]).mean(1)
        return values

    def combined(self, parts: Sequence[Floats]) -> Floats:
        """What the stages give together."""
        total = np.prod(np.stack(parts), axis=0) if self.combine == "all" else np.mean(np.stack(parts), axis=0)
        return np.asarray(total)

    def outcome(self, configuration: Ints, drawn: Sequence[Drawn]) -> Floats:
        """What a configuration gave on each example, from its draws of each stage."""
        options = [own.options[o] for own, o in zip(self.stages, configuration, strict=True)]
        parts = [
            own.rules[option.rule].outcome(draws, option.n).astype(float)
            for own, option, draws in zip(self.stages, options, drawn, strict=True)
        ]
        return self.combined(parts)

    def split(self, rng: np.random.Generator) -> Split:
        """Random questions of each stage, met at random."""
        rows = [rng.permutation(len(own.recorded.questions))[: self.search] for own in self.stages]
        size = min(map(len, rows))
        return Split(np.stack([row[:size] for row in rows]))
