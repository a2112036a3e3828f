"""What choices among independent draws are worth at a rate of success, interpolated in tables.

It knows chances, not recorded draws (`selection`).
"""

from __future__ import annotations

from functools import cache
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from apportion.envs.replay.selection import log_factorials

Floats = NDArray[np.floating[Any]]

GRID = 41  # points a side of a table
STEPS = 1601  # points of an integral over scores
FARTHEST = 9.0  # that scores of right draws may lie from those of wrong ones, in standard deviations


def vote(p: Floats, n: int, rival: Floats) -> Floats:
    """Probability that the right answer wins a vote of n, ties at random.

    Draws are right with probability p; or the commonest wrong answer, which is a share `rival` of the wrong ones; or
    wrong in a way of their own.
    """
    return _between(_votes(n), p, rival)


def best(p: Floats, n: int, beaten: Floats) -> Floats:
    """Probability that the draw with the best score of n is right, where a draw is right with probability p.

    Scores of right and of wrong draws are normal with one variance, so far apart that a wrong draw has a better one
    than a right draw with probability `beaten`.
    """
    return _between(_bests(n), p, beaten)


def _between(table: Floats, p: Floats, against: Floats) -> Floats:
    p, against = np.broadcast_arrays(p, against)
    i, j = p * (GRID - 1), against * (GRID - 1)
    left, low = np.minimum(i.astype(int), GRID - 2), np.minimum(j.astype(int), GRID - 2)
    u, v = i - left, j - low
    upper = table[left + 1, low] * (1 - v) + table[left + 1, low + 1] * v
    return np.asarray((table[left, low] * (1 - v) + table[left, low + 1] * v) * (1 - u) + upper * u)


@cache
def _votes(n: int) -> Floats:
    """Probability that the correct answer wins a vote of n: p by the share of the rival among wrong answers."""
    x, y = np.meshgrid(np.arange(n + 1), np.arange(n + 1), indexing="ij")
    possible = x + y <= n
    x, y = x[possible], y[possible]
    z = n - x - y  # votes that stand alone
    tied = (x == y) + np.where(x == 1, z, 0)
    wins = np.where((x > 0) & (x >= y) & ((x > 1) | (y <= 1)), 1.0 / (1.0 + tied), 0.0)
    log = log_factorials(n)
    ways = log[n] - log[x] - log[y] - log[z]
    rival = np.linspace(0.0, 1.0, GRID)[:, None]
    rows = []
    for p in np.linspace(0.0, 1.0, GRID):  # one row at a time, for the memory
        shares = (np.full_like(rival, p), (1.0 - p) * rival, (1.0 - p) * (1.0 - rival))
        log_p = sum(np.log(np.maximum(share, 1e-300)) * k for share, k in zip(shares, (x, y, z), strict=True))
        rows.append(np.exp(log_p + ways) @ wins)
    return np.array(rows)


@cache
def _bests(n: int) -> Floats:
    """Probability that the best of n is right: p by the probability that a wrong draw has a better score.

    The best score lies between two points with the difference of B^n, B = p F + (1 - p) G, F and G the distributions of
    right and of wrong draws; and a draw there is right with its share of right ones.
    """
    normal, root = NormalDist(), 2.0**0.5
    beaten = np.clip(np.linspace(0.0, 1.0, GRID), 1e-15, 1.0 - 1e-15)
    apart = np.clip([-root * normal.inv_cdf(b) for b in beaten], -FARTHEST, FARTHEST)
    p = np.linspace(0.0, 1.0, GRID)[:, None]
    columns = []
    for distance in apart:
        x = np.linspace(min(0.0, distance) - 9.0, max(0.0, distance) + 9.0, STEPS)
        right, wrong = (np.array([0.0, *(normal.cdf(at - mean) for at in x), 1.0]) for mean in (distance, 0.0))
        below = p * right + (1.0 - p) * wrong
        share = p * np.diff(right) / np.maximum(np.diff(below), 1e-300)
        columns.append((np.diff(below**n) * share).sum(axis=1))
    return np.column_stack(columns)
