"""Objectives, constraints and the Pareto front over measured trials."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from apportion.search.trial import Trial
from apportion.statistics import Interval

MOST_FAILURES = 0.05  # share of examples without any answer above which a graph's averages are not trusted


@dataclass(frozen=True, slots=True)
class Objective:
    """A metric to be made large or small."""

    metric: str
    maximize: bool

    def gain(self, trial: Trial) -> float:
        """The trial's mean, signed so that more is better."""
        return trial.mean(self.metric) if self.maximize else -trial.mean(self.metric)


@dataclass(frozen=True, slots=True)
class Constraint:
    """A bound on the mean of a metric over one answer: the budget."""

    metric: str
    bound: float


def violations(
    constraints: Sequence[Constraint], metrics: Mapping[str, Interval], failure_rate: float
) -> dict[str, float]:
    """How far over each bound, as a share of the bound; failures over their allowed share. Positive is infeasible."""
    over = {c.metric: metrics[c.metric].mean / c.bound - 1.0 for c in constraints if c.metric in metrics}
    return {**over, "failures": failure_rate - MOST_FAILURES}


def front(trials: Sequence[Trial], objectives: Sequence[Objective]) -> list[Trial]:
    """Complete trials that no other one betters in one objective without losing in another.

    Of trials that are equal in all objectives all are kept. Ordered by the first objective, best first.
    """
    complete = [t for t in trials if t.state == "complete" and all(o.metric in t.metrics for o in objectives)]
    gains = {t.number: tuple(o.gain(t) for o in objectives) for t in complete}
    kept = [t for t in complete if not any(_dominates(gains[o.number], gains[t.number]) for o in complete)]
    return sorted(kept, key=lambda t: (tuple(-g for g in gains[t.number]), t.number))


def ranked(trials: Sequence[Trial], objectives: Sequence[Objective]) -> list[Trial]:
    """Complete trials, those of the front first, each group by the objectives in their order."""
    best = front(trials, objectives)
    rest = [t for t in trials if t.state == "complete" and t not in best]
    rest.sort(key=lambda t: (tuple(-o.gain(t) for o in objectives), t.number))
    return best + rest


def _dominates(a: tuple[float, ...], b: tuple[float, ...]) -> bool:
    return a != b and all(x >= y for x, y in zip(a, b, strict=True))


def hypervolume(gains: Sequence[tuple[float, ...]], reference: tuple[float, ...]) -> float:
    """Volume that points dominate above a reference point, by slicing along the last objective.

    Args:
        gains: points, more is better in every objective.
        reference: what is just not good enough; points that are not above it in every objective add nothing.
    """
    above = [g for g in gains if all(x > r for x, r in zip(g, reference, strict=True))]
    if len(reference) == 1:
        return max((g[0] for g in above), default=reference[0]) - reference[0]
    volume, floor = 0.0, reference[-1]
    for height in sorted({g[-1] for g in above}):
        slice_ = [g[:-1] for g in above if g[-1] >= height]
        volume += (height - floor) * hypervolume(slice_, reference[:-1])
        floor = height
    return volume
