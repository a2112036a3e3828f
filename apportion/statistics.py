"""Intervals around means. Pure numbers; knows nothing of graphs or metrics.

Shares of right answers get Wilson's score interval, which holds its level near 0 and 1 and for small n; other means
get the percentile bootstrap, and differences of two graphs on the same examples the paired percentile bootstrap.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

Z95 = 1.959963984540054  # standard normal quantile at 0.975
RESAMPLES = 2000  # the Monte Carlo error of a 95 % end point is then about 0.7 % of rank
SEED = 20250801  # resampling must give the same interval each time it is shown
CHUNK = 1_000_000  # values resampled at a time, which bounds the memory


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean with its 95 % interval.

    Attributes:
        n: examples it is the mean of.

    Raises:
        ValueError: when built, if a number is NaN or infinite; it would win or void every comparison.
    """

    mean: float
    low: float
    high: float
    n: int

    def __post_init__(self) -> None:
        numbers = (self.mean, self.low, self.high)
        if not all(map(math.isfinite, numbers)):
            raise ValueError(f"an interval must be finite, got {', '.join(map(str, numbers))}; leave the metric out.")

    def to_dict(self) -> dict[str, float | int]:
        """The four numbers as JSON."""
        return {"mean": self.mean, "low": self.low, "high": self.high, "n": self.n}


def wilson(right: float, n: int) -> Interval:
    """Wilson's score interval of a share (Wilson 1927).

    Raises:
        ValueError: n is not positive.
    """
    if n < 1:
        raise ValueError(f"`n` must be at least 1, got {n}; leave the interval out.")
    p, z2 = right / n, Z95 * Z95
    centre = (p + z2 / (2 * n)) / (1 + z2 / n)
    half = Z95 * math.sqrt(p * (1 - p) / n + z2 / (4 * n * n)) / (1 + z2 / n)
    return Interval(p, min(p, max(0.0, centre - half)), max(p, min(1.0, centre + half)), n)


def bootstrap(values: Sequence[float]) -> Interval:
    """Percentile bootstrap of a mean (Efron 1979).

    Raises:
        ValueError: there are no values.
    """
    if not values:
        raise ValueError("`values` must not be empty, got none; leave the interval out.")
    array = np.asarray(values, dtype=float)
    rng = np.random.default_rng(SEED)
    rows = max(1, CHUNK // len(array))
    parts = [min(rows, RESAMPLES - done) for done in range(0, RESAMPLES, rows)]
    with np.errstate(invalid="ignore"):  # `Interval` refuses what is not finite
        means = [array[rng.integers(0, len(array), size=(part, len(array)))].mean(axis=1) for part in parts]
        low, high = np.percentile(np.concatenate(means), [2.5, 97.5])
    mean = float(array.mean())
    return Interval(mean, min(float(low), mean), max(float(high), mean), len(array))


def paired(a: Sequence[float], b: Sequence[float]) -> Interval:
    """Paired percentile bootstrap of mean(a - b), both measured on the same examples in the same order.

    Raises:
        ValueError: the lengths differ, or there are no values.
    """
    return bootstrap([x - y for x, y in zip(a, b, strict=True)])


def summary(values: Sequence[float]) -> Interval:
    """Wilson for values that are all 0 or 1, else the bootstrap."""
    if all(value in (0.0, 1.0) for value in values):
        return wilson(sum(values), len(values))
    return bootstrap(values)
