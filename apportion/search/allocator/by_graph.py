"""Spending by the example where stages depend on each other and graphs are run for real: which one, on how many more.

Graphs are measured on the first so many examples of one split, so that any two are compared on the same ones. It knows
graphs, costs and scores, not how a graph is run.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from apportion.graphs.graph import Graph
from apportion.search.screening import likeness

Floats = NDArray[np.float64]

FIRST, GROWTH = 2, 1.5  # examples that a graph is measured on at first, and by how much more each time
SAMPLES = 64  # of the posterior
LOOSE = 4.0  # splits spent on unfinished graphs from which on who leads is finished: a limit may end a race at any time
TRIES = 64  # random caps on the cost; if none of them asks for a measurement, none is wanted
OWN = 0.2  # share of a graph's variance that no other graph says anything of
SPREADS = np.array([0.02, 0.05, 0.1, 0.2, 0.3])  # deviations of the graphs' true means, of which the likeliest is taken
NOISE, WEIGHT = 0.15, 10.0  # variance of a score around what graph and example explain; and the scores this counts as
SHRINK = 1.0  # scores that no effect of a graph, or of an example, counts as
ROUNDS = 8  # of taking graphs and examples apart


class GraphRace:
    """Graphs in a race, and the choice of the next measurement.

    Each time a cap on the cost is drawn, so that the whole front is looked for. Among the graphs within it either the
    one of the highest posterior mean is measured further, or one that a sample of the posterior puts above it (top-two
    Thompson sampling, Russo 2016), by what a score lowers the variance for its cost. Posterior means are of a Gaussian
    process over counts of structure; how hard an example is for all graphs is taken out before.

    Args:
        graphs: all that may be asked for.
        costs: of one answer of each, above 0; alike if it does not matter.
        examples: of the split.
        by_cost: whether a low cost is an aim too.
    """

    def __init__(self, graphs: Sequence[Graph], costs: Sequence[float], examples: int, *, by_cost: bool) -> None:
        self.graphs = graphs
        self.costs = np.asarray(costs, dtype=np.float64)
        self.scores = np.full((len(graphs), examples), np.nan)
        self._by_cost = by_cost
        self._in = np.ones(len(graphs), dtype=bool)
        self._asked = np.zeros(len(graphs), dtype=np.int64)
        self._likeness = (1.0 - OWN) * likeness(graphs) + OWN * np.eye(len(graphs))

    def tell(self, place: int, scores: Sequence[float | None]) -> None:
        """Scores of a graph on the first examples, None for an answer that was not had."""
        self._asked[place] = len(scores)
        self.scores[place, : len(scores)] = [np.nan if score is None else score for score in scores]

    @property
    def open(self) -> bool:
        """Whether there is a graph that can be chosen."""
        return bool(self._in.any())

    def exclude(self, place: int) -> None:
        """A graph that cannot be chosen: what it scored still says something of the others."""
        self._in[place] = False

    def next(self, rng: np.random.Generator, left: int) -> tuple[int, int] | None:
        """A graph and the number of examples to measure it on; None where no further measurement is wanted.

        Args:
            left: scores that may still be bought; the last go to who leads, who must be measured on all examples.
        """
        if not self._in.any():
            return None
        with threadpool_limits(1):  # threads would wait for each other where a model's server has the cores
            mean, covariance, noise = self._posterior()
            unfinished = self._unfinished(mean)
            overdue = bool(unfinished) and self._loose >= LOOSE
            wanted = unfinished[0] if overdue else self._wanted(mean, covariance, noise, rng)
        for place, examples in (
            (wanted, *unfinished) if wanted and self._kept(wanted, unfinished) <= left else unfinished
        ):
            if examples - self._asked[place] <= left:
                return place, examples
        return None

    @property
    def _loose(self) -> float:
        """Scores of graphs that were not measured on all examples, in splits."""
        size = self.scores.shape[1]
        return float(self._asked[self._asked < size].sum() / size)

    def _kept(self, wanted: tuple[int, int], unfinished: Sequence[tuple[int, int]]) -> int:
        """Scores that a measurement takes, and that of all leaders after it."""
        return sum(
            examples - int(self._asked[place]) for place, examples in {wanted[0]: wanted[1], **dict(unfinished)}.items()
        )

    def _wanted(
        self, mean: Floats, covariance: Floats, noise: float, rng: np.random.Generator
    ) -> tuple[int, int] | None:
        """A leader or one that may beat it, each on more examples."""
        root = np.linalg.cholesky(covariance + 1e-9 * np.eye(len(mean)))
        samples = mean + rng.standard_normal((SAMPLES, len(mean))) @ root.T
        for _ in range(TRIES):
            within = np.flatnonzero(self._within(rng))
            leader = int(within[mean[within].argmax()])
            better = int(within[samples[rng.integers(SAMPLES), within].argmax()])
            open_ = [g for g in (leader, better) if self._asked[g] < self.scores.shape[1]]
            if leader != better and open_:
                return self._further(max(open_, key=lambda g: self._gain(g, float(covariance[g, g]), noise)))
        return None

    def _unfinished(self, mean: Floats) -> list[tuple[int, int]]:
        """Graphs of the front by posterior mean, the best first, that were not measured on all examples yet."""
        front: list[int] = []
        for g in np.argsort(-mean):
            if self._in[g] and (not front or (self._by_cost and self.costs[g] < self.costs[front[-1]])):
                front.append(int(g))
        size = self.scores.shape[1]
        return [(g, size) for g in front if self._asked[g] < size]

    def _within(self, rng: np.random.Generator) -> NDArray[np.bool_]:
        if not self._by_cost:
            return self._in
        cap = rng.choice(self.costs[self._in])
        return np.asarray(self._in & (self.costs <= cap))

    def _further(self, place: int) -> tuple[int, int]:
        asked = int(self._asked[place])
        return place, min(self.scores.shape[1], max(FIRST, int(np.ceil(asked * GROWTH))))

    def _gain(self, place: int, variance: float, noise: float) -> float:
        """By how much one more score lowers the variance of a graph's mean, for its cost."""
        return float(variance**2 / (variance + noise) / self.costs[place])

    def _posterior(self) -> tuple[Floats, Floats, float]:
        """Mean and covariance of all graphs' true values, and the variance of a score."""
        mean, counts, noise = self._apart()
        seen = np.flatnonzero(counts)
        if not len(seen):
            return np.full(len(counts), 0.5), SPREADS[-1] ** 2 * self._likeness, noise
        own = np.diag(noise / counts[seen])
        like = self._likeness[np.ix_(seen, seen)]
        fits = [_level(s**2 * like + own, mean[seen]) for s in SPREADS]
        best = int(np.argmax([fit[1] for fit in fits]))
        level, variance = fits[best][0], SPREADS[best] ** 2
        known = variance * self._likeness[:, seen]
        gain = np.linalg.solve(variance * like + own, known.T).T
        return level + gain @ (mean[seen] - level), variance * self._likeness - gain @ known.T, noise

    def _apart(self) -> tuple[Floats, Floats, float]:
        """Each graph's mean less how easy its examples are, the number of its scores, and what is left of variance."""
        known = ~np.isnan(self.scores)
        scores, counts = np.where(known, self.scores, 0.0), known.sum(axis=1)
        level = scores.sum() / max(1, counts.sum())
        graph, ease = np.zeros(len(scores)), np.zeros(scores.shape[1])
        for _ in range(ROUNDS):
            ease = (known * (scores - level - graph[:, None])).sum(axis=0) / (known.sum(axis=0) + SHRINK)
            graph = (known * (scores - level - ease)).sum(axis=1) / (counts + SHRINK)
        left = np.square(known * (scores - level - ease - graph[:, None])).sum()
        noise = float((left + NOISE * WEIGHT) / (counts.sum() + WEIGHT))
        return (known * (scores - ease)).sum(axis=1) / np.maximum(counts, 1), counts.astype(np.float64), noise


def _level(covariance: Floats, values: Floats) -> tuple[float, float]:
    """The best common level of values under a covariance, and their log-likelihood around it."""
    inverse = np.linalg.inv(covariance)
    level = float(inverse.sum(axis=0) @ values / inverse.sum())
    off = values - level
    return level, float(-0.5 * off @ inverse @ off - 0.5 * np.linalg.slogdet(covariance)[1])
