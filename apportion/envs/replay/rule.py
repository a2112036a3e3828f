"""Draws of a model on questions, and what a rule that chooses among them is: declared, not done."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from apportion.envs.replay.recorded import NONE, Recorded

Floats = NDArray[np.floating[Any]]
Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]
Habits = tuple[Floats, ...]

WEIGHT = 2.0  # trials that what is usual of a model counts as on each example


@dataclass(frozen=True, eq=False)
class Drawn:
    """Draws in the order in which they are bought, a row an example.

    Attributes:
        questions: of each example.
        samples: examples x draws, which of the question's recorded samples, from 0.
        correct: examples x draws.
        answers: equal numbers for equal answers to an example; -1 for none.
        chance: one uniform number a draw, for what a verifier says of it.
        scores: as recorded, NaN where there is none; None where the whole recording has none.
    """

    questions: Ints
    samples: Ints
    correct: Flags
    answers: Ints
    chance: Floats
    scores: Floats | None = None

    def of(self, examples: Ints, n: int) -> Drawn:
        """The first n draws on some examples."""
        at = examples, slice(n)
        scores = None if self.scores is None else self.scores[at]
        return Drawn(
            self.questions[examples], self.samples[at], self.correct[at], self.answers[at], self.chance[at], scores
        )

    def right(self, chosen: Ints) -> Flags:
        """Whether one draw of each example is right; -1 stands for none, which is wrong."""
        return np.asarray(self.correct[np.arange(len(chosen)), chosen] & (chosen != NONE))


class Named(Protocol):
    """What is done with draws, by its name."""

    @property
    def name(self) -> str:
        """As a task file names it."""
        ...


class Rule(Named, Protocol):
    """Chooses one of n draws.

    Attributes:
        checks: whether it looks at what is correct, as nobody can who wants to know the answer.
    """

    checks: ClassVar[bool]

    def check(self, recorded: Recorded, columns: Ints) -> None:
        """Look whether some columns of a recording hold what the rule goes by.

        Raises:
            RecordedError: they do not.
        """
        ...

    def expected(self, recorded: Recorded, column: int, n: int) -> Floats:
        """Probability of a right answer to each question, n draws taken at random from the recorded ones."""
        ...

    def error(self, recorded: Recorded, column: int, n: int) -> float:
        """Bound on the standard error of the mean of `expected` over questions; 0 where it is exact."""
        ...

    def chosen(self, drawn: Drawn, n: int) -> Ints:
        """Which of the first n draws it chooses on each example; -1 for none."""
        ...

    def outcome(self, drawn: Drawn, n: int) -> Flags:
        """Whether what it chooses of the first n draws is right, for each example."""
        ...

    def habits(self, drawn: Drawn, bought: Ints, k: int, rng: np.random.Generator) -> Habits:
        """What the rule must know of a model beyond how often it is right, learnt from the draws bought so far.

        Returns:
            Samples of each habit, k x examples.
        """
        ...

    def worth(self, p: Floats, n: int | Ints, habits: Habits) -> Floats:
        """Probability of a right answer where a draw is right with probability p and habits are as given.

        Args:
            n: a number of draws, or several.

        Returns:
            Of the shape of p, and then that of n.
        """
        ...


def believed(successes: Ints, trials: Ints, guess: float, k: int, rng: np.random.Generator) -> Floats:
    """Samples of an unknown rate by example, Beta distributed around what is usual of all: k x examples.

    Args:
        guess: the rate where nothing was tried, which counts as `WEIGHT` trials.
    """
    usual = (successes.sum() + guess * WEIGHT) / (trials.sum() + WEIGHT)
    sampled = rng.beta(successes + usual * WEIGHT, trials - successes + (1.0 - usual) * WEIGHT, (k, len(trials)))
    return sampled.astype(np.float32)
