"""What choices among independent draws are worth at a rate of success, interpolated in tables.

It knows chances, not recorded draws (`selection`).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from math import prod
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from apportion.envs.replay.selection import log_factorials

Floats = NDArray[np.floating[Any]]
Ints = NDArray[np.intp]

GRID, COARSE = 41, 9  # points of a table along a probability, and along agreements
STEPS = 1601  # points of an integral over scores
FARTHEST = 9.0  # that scores of right draws may lie from those of wrong ones, in standard deviations


def vote(p: Floats, n: int | Ints, right: Floats, wrong: Floats) -> Floats:
    """Probability that a vote of n gives a right answer, ties at random, where a draw is right with probability p.

    Right draws give one answer, or each its own, and so do wrong ones: of "any input that gives this output" many are
    right.

    Args:
        right: share of the commonest right answer among right draws.
        wrong: share of the commonest wrong answer among wrong ones.

    Returns:
        Of the shape of p, and then that of n.
    """
    return _between(_of_each(_votes, n), p, right, wrong)


def best(p: Floats, n: int | Ints, beaten: Floats) -> Floats:
    """Probability that the draw with the best score of n is right, where a draw is right with probability p.

    Scores of right and of wrong draws are normal with one variance, so far apart that a wrong draw has a better one
    than a right draw with probability `beaten`.

    Returns:
        Of the shape of p, and then that of n.
    """
    return _between(_of_each(_bests, n), p, beaten)


def _of_each(table: Callable[[int], Floats], n: int | Ints) -> Floats:
    """The tables of some n, which are the last axes."""
    tables = np.stack([table(int(k)) for k in np.ravel(n)], axis=-1)
    return tables.reshape(*tables.shape[:-1], *np.shape(n))


def _between(table: Floats, *shares: Floats) -> Floats:
    """Linear between the points of a table, whose first axes go from 0 to 1 each; the others stay."""
    own = table.shape[len(shares) :]
    flat = table.reshape(-1, *own)
    places = [np.zeros((), dtype=np.intp)]  # of the corners around each point, the last share's sides side by side
    above = []
    for axis, share in enumerate(shares):
        at = share * (table.shape[axis] - 1)
        low = np.minimum(at.astype(np.intp), table.shape[axis] - 2)
        step = prod(table.shape[axis + 1 : len(shares)])
        places = [place + low * step + side for place in places for side in (0, step)]
        above.append((at - low).reshape(at.shape + (1,) * len(own)))
    values = [flat[place] for place in places]
    for part in reversed(above):
        values = [low + (high - low) * part for low, high in zip(values[::2], values[1::2], strict=True)]
    return np.asarray(values[0])


@cache
def _votes(n: int) -> Floats:
    """Probability that a right answer wins a vote of n: p by the agreement of right draws by that of wrong ones."""
    x, y = (own.ravel() for own in np.meshgrid(np.arange(n + 1), np.arange(n + 1), indexing="ij"))
    x, y = x[x + y <= n], y[x + y <= n]
    z = n - x - y  # votes that stand alone
    single = np.maximum(x, y) <= 1  # every answer has one vote, and any of them is taken
    wins = np.where(single, x / n, np.where(x > y, 1.0, 0.5 * (x == y)))
    alone = np.where(single, z / n, 0.0)  # wins by the share of what stands alone that is right
    log = log_factorials(n)
    ways = log[n] - log[x] - log[y] - log[z]
    axis = np.linspace(0.0, 1.0, COARSE)
    right, wrong = (own.reshape(-1, 1) for own in np.meshgrid(axis, axis, indexing="ij"))
    rows = []
    for p in np.linspace(0.0, 1.0, GRID):  # one at a time, for the memory
        lone = p * (1.0 - right)
        shares = p * right, (1.0 - p) * wrong, lone + (1.0 - p) * (1.0 - wrong)
        log_p = sum(np.log(np.maximum(share, 1e-300)) * k for share, k in zip(shares, (x, y, z), strict=True))
        chance = np.exp(log_p + ways)
        of_alone = lone[:, 0] / np.maximum(shares[2][:, 0], 1e-300)
        rows.append((chance @ wins + chance @ alone * of_alone).reshape(COARSE, COARSE))
    return np.array(rows, dtype=np.float32)


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
