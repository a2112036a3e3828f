"""Rules that go by the scores that were recorded of draws, such as those of a reward model.

It knows scores and answers of one model's draws on questions, not where scores come from.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import combinations
from typing import ClassVar

import numpy as np

from apportion.envs.replay import rates, selection
from apportion.envs.replay.recorded import NONE, Recorded
from apportion.envs.replay.rule import Drawn, Flags, Floats, Habits, Ints, believed
from apportion.envs.replay.votes import Vote
from apportion.errors import RecordedError

ERROR = 0.002  # standard error that no mean over questions may pass
ENUMERATED = 1000  # parts of a question's draws up to which all are looked at
NEARLY = 1e-9  # by which sums of scores may differ and still tie, of the largest score

BEATEN = 0.3  # probability that a wrong draw has the better score where nothing is known


@dataclass(frozen=True)
class BestScored:
    """The draw with the best score, ties at random."""

    name: ClassVar[str] = "best_scored"
    checks: ClassVar[bool] = False

    def check(self, recorded: Recorded, columns: Ints) -> None:
        """Every draw must have a score."""
        _check(self.name, recorded, columns)

    def expected(self, recorded: Recorded, column: int, n: int) -> Floats:
        """As `selection.best_scored`."""
        values = np.empty(len(recorded.questions))
        for question, cell in recorded.cells(column):
            values[question] = selection.best_scored(cell.scores.tolist(), cell.correct.tolist(), n)
        return values

    def error(self, recorded: Recorded, column: int, n: int) -> float:
        """None."""
        return 0.0

    def chosen(self, drawn: Drawn, n: int) -> Ints:
        """Of the best the first drawn, which is a random one since the order of draws is."""
        return np.asarray(_scores(drawn, n).argmax(axis=1))

    def outcome(self, drawn: Drawn, n: int) -> Flags:
        """Whether the chosen one is right."""
        return drawn.right(self.chosen(drawn, n))

    def habits(self, drawn: Drawn, bought: Ints, k: int, rng: np.random.Generator) -> Habits:
        """How often a wrong draw has a better score than a right one."""
        return (beaten(drawn, bought, k, rng),)

    def worth(self, p: Floats, n: int | Ints, habits: Habits) -> Floats:
        """As `rates.best`."""
        return rates.best(p, n, *habits)


@dataclass(frozen=True)
class Weighted(Vote):
    """A vote in which draws weigh as much as their score; draws without an answer have no vote.

    It takes a draw of the answer with the largest sum of scores; of several, one of their draws at random. Scores below
    0 count against their answer.
    """

    name: ClassVar[str] = "weighted"
    checks: ClassVar[bool] = False

    def check(self, recorded: Recorded, columns: Ints) -> None:
        """Every draw must have a score, and some an answer."""
        _check(self.name, recorded, columns)
        if recorded.samples is None or (recorded.samples.answers == NONE).all():
            raise RecordedError(f"{recorded.dataset!r} must hold answers for a vote, but has none; choose best_scored.")

    def expected(self, recorded: Recorded, column: int, n: int) -> Floats:
        """The mean over all parts of n draws where there are few, else over so many that `error` holds."""
        values = np.empty(len(recorded.questions))
        repeats, rng = _repeats(recorded), np.random.default_rng([column, n])
        for question, cell in recorded.cells(column):
            parts = _parts(len(cell.correct), n, repeats, rng)
            values[question] = _won(cell.answers, cell.correct, cell.scores, parts).mean()
        return values

    def error(self, recorded: Recorded, column: int, n: int) -> float:
        """0 where all parts of all questions' draws were looked at."""
        repeats, counts = _repeats(recorded), np.unique(recorded.drawn[:, column]).tolist()
        return 0.0 if all(_all(count, n, repeats) for count in counts) else ERROR

    def chosen(self, drawn: Drawn, n: int) -> Ints:
        """Among draws of the best answers the first one drawn."""
        answers, scores = drawn.answers[:, :n], _scores(drawn, n)
        same = answers[:, :, None] == answers[:, None, :]
        sums = np.where(answers == NONE, -np.inf, (same * scores[:, None, :]).sum(axis=2))
        tops = sums >= sums.max(axis=1, keepdims=True) - NEARLY * np.abs(scores).max(axis=1, keepdims=True)
        return np.where((answers != NONE).any(axis=1), tops.argmax(axis=1), NONE)

    def outcome(self, drawn: Drawn, n: int) -> Flags:
        """Whether the chosen one is right."""
        return drawn.right(self.chosen(drawn, n))


def beaten(drawn: Drawn, bought: Ints, k: int, rng: np.random.Generator) -> Floats:
    """Samples of the probability that a wrong draw has a better score than a right one: k x examples.

    Args:
        drawn: of one model, with scores.
        bought: how many of them are known, by example.
    """
    most = int(bought.max(initial=0))
    scores, right = _scores(drawn, most), drawn.correct[:, :most]
    known = np.arange(most) < bought[:, None]
    pairs = (known & right)[:, :, None] & (known & ~right)[:, None, :]
    behind = np.where(scores[:, :, None] == scores[:, None, :], 0.5, scores[:, :, None] < scores[:, None, :])
    return believed((pairs * behind).sum(axis=(1, 2)), pairs.sum(axis=(1, 2)), BEATEN, k, rng)


def _check(name: str, recorded: Recorded, columns: Ints) -> None:
    lacking = None
    if recorded.samples is None or recorded.samples.scores is None:
        lacking = recorded.questions[0], recorded.pairs[int(columns[0])][1]
    else:
        for column in columns.tolist():
            for question, cell in recorded.cells(column):
                if np.isnan(cell.scores).any():
                    lacking = recorded.questions[question], recorded.pairs[column][1]
    if lacking:
        raise RecordedError(
            f"{recorded.dataset!r} must hold a score of every draw for {name}, but lacks one of {lacking[1]!r} for "
            f"{lacking[0]!r}; add it, or choose another rule."
        )


def _scores(drawn: Drawn, n: int) -> Floats:
    if drawn.scores is None:
        raise RecordedError("draws must have scores for a rule that goes by them, but have none; choose another rule.")
    return drawn.scores[:, :n]


def _repeats(recorded: Recorded) -> int:
    """Random parts of each question's draws that keep `ERROR`: what is averaged is from 0 to 1, of variance 1/4."""
    return math.ceil(0.25 / (len(recorded.questions) * ERROR**2))


def _all(count: int, n: int, repeats: int) -> bool:
    """Whether all parts of n of so many draws are looked at."""
    return math.comb(count, n) <= max(repeats, ENUMERATED)


def _parts(count: int, n: int, repeats: int, rng: np.random.Generator) -> Ints:
    """Parts of n of so many draws, all or random ones: parts x n."""
    if _all(count, n, repeats):
        return np.array(list(combinations(range(count), n)))
    return rng.permuted(np.tile(np.arange(count), (repeats, 1)), axis=1)[:, :n]


def _won(answers: Ints, correct: Flags, scores: Floats, parts: Ints) -> Floats:
    """Probability, of each part of the draws, that the one taken by a weighted vote is right."""
    named, number = np.unique(answers, return_inverse=True)
    of = np.eye(len(named))[number] * (answers != NONE)[:, None]  # draws x answers
    taken = np.zeros((len(parts), len(answers)))
    np.put_along_axis(taken, parts, 1.0, axis=1)
    count, right, sums = taken @ of, taken @ (of * correct[:, None]), taken @ (of * scores[:, None])
    sums = np.where(count > 0, sums, -np.inf)
    largest = np.abs(np.where(taken > 0, scores, 0.0)).max(axis=1, keepdims=True)
    tops = (sums >= sums.max(axis=1, keepdims=True) - NEARLY * largest) & (count > 0)
    return np.asarray((right * tops).sum(axis=1) / np.maximum((count * tops).sum(axis=1), 1.0))
