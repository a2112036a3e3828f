"""Rules that choose one of n draws, as objects: what they are worth, exactly and at a rate, and what they did once.

It knows outcomes of one model's draws on questions, not what they cost.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import ClassVar

import numpy as np

from apportion.envs.replay import selection
from apportion.envs.replay.recorded import NONE, Recorded
from apportion.envs.replay.rule import Drawn, Flags, Floats, Habits, Ints, Rule
from apportion.envs.replay.scored import BestScored, Weighted
from apportion.envs.replay.votes import Vote
from apportion.errors import RecordedError


@dataclass(frozen=True)
class AnyCorrect:
    """A perfect checker: right if one of the draws is."""

    name: ClassVar[str] = "any_correct"
    checks: ClassVar[bool] = True

    def check(self, recorded: Recorded, columns: Ints) -> None:
        """Counts suffice."""

    def expected(self, recorded: Recorded, column: int, n: int) -> Floats:
        """1 - C(wrong, n) / C(drawn, n)."""
        return selection.any_correct(recorded.correct[:, column], recorded.drawn[:, column], n)

    def error(self, recorded: Recorded, column: int, n: int) -> float:
        """None."""
        return 0.0

    def chosen(self, drawn: Drawn, n: int) -> Ints:
        """The first that is right, or the first of all."""
        return np.asarray(drawn.correct[:, :n].argmax(axis=1))

    def outcome(self, drawn: Drawn, n: int) -> Flags:
        """Whether one of the first n draws is right."""
        return drawn.right(self.chosen(drawn, n))

    def habits(self, drawn: Drawn, bought: Ints, k: int, rng: np.random.Generator) -> Habits:
        """None: only how often a draw is right matters."""
        return ()

    def worth(self, p: Floats, n: int | Ints, habits: Habits) -> Floats:
        """1 - (1 - p)^n."""
        return np.asarray(1.0 - np.power.outer(1.0 - p, n))


@dataclass(frozen=True)
class Verified:
    """One of the draws that a verifier accepts, at random; of all of them if it accepts none.

    Attributes:
        completeness: probability that it accepts a correct draw.
        soundness: probability that it rejects a wrong one.
    """

    completeness: float
    soundness: float
    checks: ClassVar[bool] = True

    @property
    def name(self) -> str:
        """With its two probabilities."""
        return f"verified({self.completeness:g}, {self.soundness:g})"

    def check(self, recorded: Recorded, columns: Ints) -> None:
        """Counts suffice."""

    def expected(self, recorded: Recorded, column: int, n: int) -> Floats:
        """As `selection.verified`."""
        counts = recorded.correct[:, column], recorded.drawn[:, column]
        return selection.verified(*counts, n, self.completeness, self.soundness)

    def error(self, recorded: Recorded, column: int, n: int) -> float:
        """None."""
        return 0.0

    def chosen(self, drawn: Drawn, n: int) -> Ints:
        """The first draw that is accepted, which is a random one since the order of draws is."""
        accepted = drawn.chance[:, :n] < np.where(drawn.correct[:, :n], self.completeness, 1.0 - self.soundness)
        return np.asarray(accepted.argmax(axis=1))  # 0 where none is accepted

    def outcome(self, drawn: Drawn, n: int) -> Flags:
        """Whether the chosen one is right."""
        return drawn.right(self.chosen(drawn, n))

    def habits(self, drawn: Drawn, bought: Ints, k: int, rng: np.random.Generator) -> Habits:
        """None: only how often a draw is right matters."""
        return ()

    def worth(self, p: Floats, n: int | Ints, habits: Habits) -> Floats:
        """Independent draws: p c (1 - (1 - a)^n) / a + p (1 - c) (1 - a)^(n - 1), a the probability to be accepted."""
        a = np.maximum(p * self.completeness + (1.0 - p) * (1.0 - self.soundness), 1e-12)
        none = np.power.outer(1.0 - a, np.subtract(n, 1))  # of the first n - 1 is accepted
        a, p = (own.reshape(p.shape + (1,) * np.ndim(n)) for own in (a, p))
        value = p * self.completeness * (1.0 - none * (1.0 - a)) / a + p * (1.0 - self.completeness) * none
        return np.asarray(value)


@dataclass(frozen=True)
class Majority(Vote):
    """The answer named most often, ties at random; draws without an answer have no vote."""

    name: ClassVar[str] = "majority"
    checks: ClassVar[bool] = False

    def check(self, recorded: Recorded, columns: Ints) -> None:
        """Some answer must be recorded.

        Raises:
            RecordedError: none is.
        """
        if recorded.samples is None or (recorded.samples.answers == NONE).all():
            raise RecordedError(f"{recorded.dataset!r} must hold answers for a vote, but has none; choose any_correct.")

    def expected(self, recorded: Recorded, column: int, n: int) -> Floats:
        """As `selection.majority`; questions with the same votes are computed once."""
        values = np.empty(len(recorded.questions))
        for question, cell in recorded.cells(column):
            spoken = cell.answers != NONE
            _, named, votes = np.unique(cell.answers[spoken], return_inverse=True, return_counts=True)
            right = np.bincount(named, weights=cell.correct[spoken], minlength=len(votes)) / votes
            tally = tuple(sorted(zip(votes.tolist(), right.tolist(), strict=True)))
            values[question] = _majority(tally, int((~spoken).sum()), n)
        return values

    def error(self, recorded: Recorded, column: int, n: int) -> float:
        """None."""
        return 0.0

    def chosen(self, drawn: Drawn, n: int) -> Ints:
        """Among tied answers the one that was drawn first, which is a random one since the order of draws is."""
        answers = drawn.answers[:, :n]
        same = answers[:, :, None] == answers[:, None, :]
        votes = np.where(answers == NONE, 0, same.sum(axis=2))
        first = votes.argmax(axis=1)
        return np.where(votes.max(axis=1) > 0, first, NONE)

    def outcome(self, drawn: Drawn, n: int) -> Flags:
        """Whether the chosen one is right."""
        return drawn.right(self.chosen(drawn, n))


@cache
def _majority(tally: tuple[tuple[int, float], ...], silent: int, n: int) -> float:
    return selection.majority([votes for votes, _ in tally], [share for _, share in tally], n, silent)


RULES: Mapping[str, Rule] = {rule.name: rule for rule in (AnyCorrect(), Majority(), BestScored(), Weighted())}
"""Rules without parameters, by name."""
