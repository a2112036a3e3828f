"""Tasks that select one program by generated tests: what one stage is worth depends on what the other drew.

It knows how many asserts of each recorded test sample each recorded program passed (`matrix`), not what programs or
asserts are.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from apportion.envs.replay.rule import Drawn, Named
from apportion.envs.replay.task import Split, Stage, Task

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

ERROR = 0.002  # standard error that no true value may pass
PARTS = 64  # random parts of bought draws that a score is the mean over
CHUNK = 512  # repeats at once, for the memory


class Scorer(Named, Protocol):
    """Scores programs; one of those with the best score is taken at random."""

    def score(self, passes: NDArray[Any], agreeing: NDArray[Any]) -> NDArray[Any]:
        """Scores.

        Args:
            passes: asserts that each program passes.
            agreeing: drawn programs that pass as many asserts of each drawn test sample, itself among them.
        """
        ...


@dataclass(frozen=True)
class Count:
    """The program that passes most asserts."""

    name: ClassVar[str] = "count"

    def score(self, passes: NDArray[Any], agreeing: NDArray[Any]) -> NDArray[Any]:
        """Asserts passed."""
        return passes


@dataclass(frozen=True)
class DualAgreement:
    """A program of the group with the best sqrt(size) x asserts passed (CodeT: Chen et al., arXiv 2207.10397)."""

    name: ClassVar[str] = "dual_agreement"

    def score(self, passes: NDArray[Any], agreeing: NDArray[Any]) -> NDArray[Any]:
        """The square of CodeT's score: whole numbers, so that ties are ties."""
        return np.asarray(agreeing * passes**2)


@dataclass(frozen=True)
class Every:
    """The rule of the tests: programs are run on all that were drawn."""

    name: ClassVar[str] = "every"


SCORERS: Mapping[str, Scorer] = {"count": Count(), "dual_agreement": DualAgreement()}
"""Scorers by name."""


class Estimate(NamedTuple):
    """What options are worth on each question: options of code x options of tests x questions.

    Attributes:
        variance: of the mean.
    """

    mean: NDArray[np.float32]
    variance: Floats


@dataclass(frozen=True, eq=False)
class Selected(Task):
    """Programs are drawn in the first stage and test samples in the second; what counts is the program selected.

    Both stages have one model and the same questions. A test sample without asserts is drawn and paid,
    and says nothing.

    Attributes:
        passed: asserts of each test sample that each program passes: questions x programs x test samples.
    """

    stages: tuple[Stage[Scorer], Stage[Named]]
    passed: Ints

    @cached_property
    def truth(self) -> Floats:
        """Expected accuracy of every configuration over all questions, up to `truth_error`."""
        return self._at(self.configurations, self._estimate.mean.mean(axis=2, dtype=np.float64))

    @cached_property
    def truth_error(self) -> float:
        """The largest standard error of a true value; it cannot pass `ERROR`."""
        total = self._at(self.configurations, self._estimate.variance.sum(axis=2))
        return math.sqrt(float(total.max())) / len(self.passed)

    def value(self, configurations: Ints, split: Split) -> Floats:
        """Expected accuracy on the examples of a split, estimated as `truth`."""
        table = self._estimate.mean[:, :, split.questions[0]].mean(axis=2, dtype=np.float64)
        return self._at(configurations, table)

    def outcome(self, configuration: Ints, drawn: Sequence[Drawn]) -> Floats:
        """Probability, over ties, that the program is right which is selected on each example."""
        code, test = (own.options[o] for own, o in zip(self.stages, configuration, strict=True))
        programs, tests = drawn[0].samples[:, : code.n], drawn[1].samples[:, : test.n]
        passed = self.passed[drawn[0].questions[:, None, None], programs[:, :, None], tests[:, None, :]]
        passes, pattern = passed.sum(axis=2), (passed * self.weights[tests][:, None, :]).sum(axis=2)
        agreeing = (pattern[:, :, None] == pattern[:, None, :]).sum(axis=2)
        right = drawn[0].correct[:, : code.n].astype(float)
        return _selected(self.stages[0].rules[code.rule].score(passes, agreeing), np.ones(programs.shape), right)

    def scores(self, drawn: Sequence[Drawn], rng: np.random.Generator) -> Floats:
        """What configurations give by random parts of the draws of each example: configurations x examples.

        The mean over `PARTS` random parts.
        """
        code, test = drawn
        pools = (_Pool.of(self, *row) for row in zip(code.questions.tolist(), code.samples, test.samples, strict=True))
        return np.stack([self._at(self.configurations, self._moments(own, PARTS, rng)[0]) for own in pools], axis=1)

    def split(self, rng: np.random.Generator) -> Split:
        """Random questions, the same of both stages."""
        return self.together(rng)

    @staticmethod
    def _at(configurations: Ints, table: Floats) -> Floats:
        return np.asarray(table[configurations[:, 0], configurations[:, 1]])

    @cached_property
    def weights(self) -> Ints:
        """A random number of each test sample: sums weighed by them, modulo 2^64, are the same where patterns are.

        Two different patterns meet in one sum with a probability of about 2^-60.
        """
        return np.random.default_rng(0).integers(2**63 - 1, size=(self.passed.shape[2],))

    @cached_property
    def _estimate(self) -> Estimate:
        """The mean over random draws, as many as make the standard error of any true value at most `ERROR`.

        What is averaged is from 0 to 1, so its variance is at most 1/4.
        """
        size = len(self.passed)
        repeats = 1 + math.ceil(0.25 / (size * ERROR**2))
        rng = np.random.default_rng(1)
        counts = [own.recorded.drawn[:, own.columns[0]] for own in self.stages]
        pools = (_Pool.of(self, i, np.arange(n), np.arange(m)) for i, (n, m) in enumerate(zip(*counts, strict=True)))
        first, second = zip(*(self._moments(pool, repeats, rng) for pool in pools), strict=True)
        mean, square = np.stack(first, axis=2), np.stack(second, axis=2)
        variance = np.maximum(square - mean**2, 0.0) / (repeats - 1)
        return Estimate(mean.astype(np.float32), variance)

    def _moments(self, pool: _Pool, repeats: int, rng: np.random.Generator) -> tuple[Floats, Floats]:
        """Mean and mean square of what options give by draws from a pool: options of code x options of tests."""
        code, test = (own.options for own in self.stages)
        ns, n = np.unique([o.n for o in code], return_inverse=True)
        ms, m = np.unique([o.n for o in test], return_inverse=True)
        sums = np.zeros((2, len(self.stages[0].rules), len(ns), len(ms)))
        for start in range(0, repeats, CHUNK):
            sums += pool.total(self.stages[0].rules, ns, ms, min(CHUNK, repeats - start), rng)
        first, second = sums[:, [o.rule for o in code], n][:, :, m] / repeats
        return first, second


def _selected(score: NDArray[Any], count: NDArray[Any], right: NDArray[Any]) -> Floats:
    """Probability that a random program among those of the best score is right: the shape without the last dimension.

    Args:
        score: of programs of each kind, kinds last.
        count, right: programs of the kind that were drawn, and right ones among them.
    """
    known = np.where(count > 0, score, -1)
    best = known == known.max(axis=-1, keepdims=True)
    return np.asarray((right * best).sum(axis=-1, dtype=np.float64) / (count * best).sum(axis=-1, dtype=np.float64))


@dataclass(frozen=True, eq=False)
class _Pool:
    """Recorded samples of a question, of which draws are taken; programs that no test sample tells apart are of a kind.

    Attributes:
        kind: programs x kinds, 1 for the kind of each.
        right: the same, 0 for wrong programs.
        tests: number of test samples.
        telling: those of which some program passes an assert.
        sums: of these, two numbers a kind: asserts passed, and the same weighed. Telling x (2 x kinds).
    """

    kind: NDArray[np.float32]
    right: NDArray[np.float32]
    tests: int
    telling: Ints
    sums: Ints

    @staticmethod
    def of(task: Selected, question: int, programs: Ints, tests: Ints) -> _Pool:
        """Some samples of a question."""
        kinds, number = np.unique(task.passed[question][np.ix_(programs, tests)], axis=0, return_inverse=True)
        kind = np.eye(len(kinds), dtype=np.float32)[number.ravel()]
        correct, _ = task.stages[0].judged(0, np.array([question]), programs[None])
        telling = np.flatnonzero(kinds.any(axis=0))
        passed = kinds[:, telling].T
        sums = np.concatenate([passed, passed * task.weights[tests[telling], None]], axis=1)
        return _Pool(kind, kind * correct[0][:, None], len(tests), telling, sums)

    def total(self, scorers: Sequence[Scorer], ns: Ints, ms: Ints, repeats: int, rng: np.random.Generator) -> Floats:
        """Sums over repeats of what n programs and m test samples give, and of its square: 2 x scorers x ns x ms.

        The draws of a repeat are nested: the first n and the first m of one random order.
        """
        place = _orders(repeats, len(self.kind), rng)[:, None, :] < ns[:, None]
        count, right = place @ self.kind, place @ self.right  # repeats x ns x kinds
        order = _orders(repeats, self.tests, rng)[:, self.telling]
        totals = np.zeros((2, len(scorers), len(ns), len(ms)))
        for j, m in enumerate(ms):
            passes, pattern = np.split((order < m).astype(np.int64) @ self.sums, 2, axis=1)
            same = (pattern[:, :, None] == pattern[:, None, :]).astype(np.float32)
            agreeing = count @ same
            for i, scorer in enumerate(scorers):
                given = _selected(scorer.score(passes[:, None, :], agreeing), count, right)
                totals[:, i, :, j] = given.sum(axis=0), (given**2).sum(axis=0)
        return totals


def _orders(repeats: int, size: int, rng: np.random.Generator) -> Ints:
    """The place of each of some samples in random orders: repeats x samples."""
    return rng.permuted(np.tile(np.arange(size), (repeats, 1)), axis=1)
