"""Rules that choose one of n draws, as objects: what they are worth, exactly and at a rate, and what they did once.

It knows outcomes of one model's draws on questions, not what they cost.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from apportion.envs.replay import selection
from apportion.envs.replay.recorded import NONE, Recorded
from apportion.errors import RecordedError

Floats = NDArray[np.floating[Any]]
Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]

GRID = 41  # points a side of the table of majorities


@dataclass(frozen=True, eq=False)
class Drawn:
    """Draws in the order in which they are bought, a row an example.

    Attributes:
        questions: of each example.
        samples: examples x draws, which of the question's recorded samples, from 0.
        correct: examples x draws.
        answers: equal numbers for equal answers to an example; -1 for none.
        chance: one uniform number a draw, for what a verifier says of it.
    """

    questions: Ints
    samples: Ints
    correct: Flags
    answers: Ints
    chance: Floats

    def of(self, examples: Ints, n: int) -> Drawn:
        """The first n draws on some examples."""
        at = examples, slice(n)
        return Drawn(self.questions[examples], self.samples[at], self.correct[at], self.answers[at], self.chance[at])


class Named(Protocol):
    """What is done with draws, by its name."""

    @property
    def name(self) -> str:
        """As a task file names it."""
        ...


class Rule(Named, Protocol):
    """Chooses one of n draws.

    Attributes:
        votes: whether what it is worth depends on what wrong answers have in common.
    """

    votes: ClassVar[bool]

    def expected(self, recorded: Recorded, column: int, n: int) -> Floats:
        """Probability of a right answer to each question, n draws taken at random from the recorded ones: exact."""
        ...

    def outcome(self, drawn: Drawn, n: int) -> Flags:
        """Whether what it chooses of the first n draws is right, for each example."""
        ...

    def worth(self, p: Floats, n: int, rival: Floats) -> Floats:
        """Probability of a right answer where a draw is right with probability p.

        Args:
            rival: the share of the commonest wrong answer among wrong answers; broadcast with p.
        """
        ...


@dataclass(frozen=True)
class AnyCorrect:
    """A perfect checker: right if one of the draws is."""

    name: ClassVar[str] = "any_correct"
    votes: ClassVar[bool] = False

    def expected(self, recorded: Recorded, column: int, n: int) -> Floats:
        """1 - C(wrong, n) / C(drawn, n)."""
        return selection.any_correct(recorded.correct[:, column], recorded.drawn[:, column], n)

    def outcome(self, drawn: Drawn, n: int) -> Flags:
        """Whether one of the first n draws is right."""
        return np.asarray(drawn.correct[:, :n].any(axis=1))

    def worth(self, p: Floats, n: int, rival: Floats) -> Floats:
        """1 - (1 - p)^n."""
        return np.asarray(1.0 - (1.0 - p) ** n)


@dataclass(frozen=True)
class Verified:
    """One of the draws that a verifier accepts, at random; of all of them if it accepts none.

    Attributes:
        completeness: probability that it accepts a correct draw.
        soundness: probability that it rejects a wrong one.
    """

    completeness: float
    soundness: float
    votes: ClassVar[bool] = False

    @property
    def name(self) -> str:
        """With its two probabilities."""
        return f"verified({self.completeness:g}, {self.soundness:g})"

    def expected(self, recorded: Recorded, column: int, n: int) -> Floats:
        """As `selection.verified`."""
        counts = recorded.correct[:, column], recorded.drawn[:, column]
        return selection.verified(*counts, n, self.completeness, self.soundness)

    def outcome(self, drawn: Drawn, n: int) -> Flags:
        """The first draw that is accepted, which is a random one since the order of draws is."""
        accepted = drawn.chance[:, :n] < np.where(drawn.correct[:, :n], self.completeness, 1.0 - self.soundness)
        first = accepted.argmax(axis=1)  # 0 where none is accepted
        return np.asarray(drawn.correct[np.arange(len(first)), first])

    def worth(self, p: Floats, n: int, rival: Floats) -> Floats:
        """Independent draws: p c (1 - (1 - a)^n) / a + p (1 - c) (1 - a)^(n - 1), a the probability to be accepted."""
        a = np.maximum(p * self.completeness + (1.0 - p) * (1.0 - self.soundness), 1e-12)
        none = (1.0 - a) ** (n - 1)
        value = p * self.completeness * (1.0 - none * (1.0 - a)) / a + p * (1.0 - self.completeness) * none
        return np.asarray(value)


@dataclass(frozen=True)
class Majority:
    """The answer named most often, ties at random; draws without an answer have no vote."""

    name: ClassVar[str] = "majority"
    votes: ClassVar[bool] = True

    def expected(self, recorded: Recorded, column: int, n: int) -> Floats:
        """As `selection.majority`; questions with the same votes are computed once.

        Raises:
            RecordedError: no answers were recorded.
        """
        samples = recorded.samples
        if samples is None or (samples.answers == NONE).all():
            raise RecordedError(f"{recorded.dataset!r} must hold answers for a vote, but has none; choose any_correct.")
        values = np.empty(len(recorded.questions))
        for question, (start, count) in enumerate(
            zip(samples.start[:, column], recorded.drawn[:, column], strict=True)
        ):
            cell = slice(start, start + count)
            spoken = samples.answers[cell] != NONE
            _, named, votes = np.unique(samples.answers[cell][spoken], return_inverse=True, return_counts=True)
            right = np.bincount(named, weights=samples.correct[cell][spoken], minlength=len(votes)) / votes
            tally = tuple(sorted(zip(votes.tolist(), right.tolist(), strict=True)))
            values[question] = _majority(tally, int(count - spoken.sum()), n)
        return values

    def outcome(self, drawn: Drawn, n: int) -> Flags:
        """Among tied answers the one that was drawn first, which is a random one since the order of draws is."""
        answers, right = drawn.answers[:, :n], drawn.correct[:, :n]
        same = answers[:, :, None] == answers[:, None, :]
        votes = np.where(answers == NONE, 0, same.sum(axis=2))
        first = votes.argmax(axis=1)
        at = np.arange(len(first))
        return np.asarray(right[at, first] & (answers[at, first] != NONE))

    def worth(self, p: Floats, n: int, rival: Floats) -> Floats:
        """Draws are right, or the commonest wrong answer, or wrong in a way of their own: interpolated in a table."""
        p, rival = np.broadcast_arrays(p, rival)
        table = _majorities(n)
        i, j = p * (GRID - 1), rival * (GRID - 1)
        left, low = np.minimum(i.astype(int), GRID - 2), np.minimum(j.astype(int), GRID - 2)
        u, v = i - left, j - low
        upper = table[left + 1, low] * (1 - v) + table[left + 1, low + 1] * v
        return np.asarray((table[left, low] * (1 - v) + table[left, low + 1] * v) * (1 - u) + upper * u)


@cache
def _majority(tally: tuple[tuple[int, float], ...], silent: int, n: int) -> float:
    return selection.majority([votes for votes, _ in tally], [share for _, share in tally], n, silent)


@cache
def _majorities(n: int) -> Floats:
    """Probability that the correct answer wins a vote of n: p by the share of the rival among wrong answers."""
    x, y = np.meshgrid(np.arange(n + 1), np.arange(n + 1), indexing="ij")
    possible = x + y <= n
    x, y = x[possible], y[possible]
    z = n - x - y  # votes that stand alone
    tied = (x == y) + np.where(x == 1, z, 0)
    wins = np.where((x > 0) & (x >= y) & ((x > 1) | (y <= 1)), 1.0 / (1.0 + tied), 0.0)
    log = selection.log_factorials(n)
    ways = log[n] - log[x] - log[y] - log[z]
    rival = np.linspace(0.0, 1.0, GRID)[:, None]
    rows = []
    for p in np.linspace(0.0, 1.0, GRID):  # one row at a time, for the memory
        shares = (np.full_like(rival, p), (1.0 - p) * rival, (1.0 - p) * (1.0 - rival))
        log_p = sum(np.log(np.maximum(share, 1e-300)) * k for share, k in zip(shares, (x, y, z), strict=True))
        rows.append(np.exp(log_p + ways) @ wins)
    return np.array(rows)


RULES: Mapping[str, Rule] = {"any_correct": AnyCorrect(), "majority": Majority()}
"""Rules without parameters, by name."""
