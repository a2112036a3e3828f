"""Expected accuracy of choosing one of k draws, made without replacement from n recorded ones: exact, no simulation.

It knows counts, votes and scores of one question (or of many, as arrays), not where they come from.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


def any_correct(correct: ArrayLike, drawn: ArrayLike, k: int) -> Floats:
    """Probability that k draws hold a correct one: 1 - C(n - c, k) / C(n, k) (pass@k of Chen et al., arXiv 2107.03374).

    Args:
        correct, drawn: c and n of each question, of one shape.

    Returns:
        The same shape.

    Raises:
        ValueError: k is below 1 or above some n, or the counts are impossible.
    """
    c, n = _counts(correct, drawn, k)
    log = log_factorials(int(n.max(initial=0)))
    wrong = n - c
    missed = np.exp(log[wrong] - log[np.maximum(wrong - k, 0)] - log[n] + log[n - k])
    return np.asarray(1.0 - np.where(wrong >= k, missed, 0.0))


def verified(correct: ArrayLike, drawn: ArrayLike, k: int, completeness: float, soundness: float) -> Floats:
    """Probability that the answer is correct which is taken at random among those draws that a verifier accepts.

    Where it accepts none, one of the k is taken at random.

    Args:
        completeness: probability that it accepts a correct draw, each by itself.
        soundness: probability that it rejects a wrong one.

    Raises:
        ValueError: as `any_correct`, or a probability is not from 0 to 1.
    """
    c, n = _counts(correct, drawn, k)
    for name, p in (("completeness", completeness), ("soundness", soundness)):
        if not 0.0 <= p <= 1.0:
            raise ValueError(f"`{name}` must be from 0 to 1, got {p}; mend it.")
    accepts, errs = completeness, 1.0 - soundness
    h = np.arange(k + 1)
    # A correct draw is taken with probability accepts * E[1 / (1 + X)], X of the other k - 1 being accepted, and
    # E[1 / (1 + X)] is the integral of E[s^X] over s in [0, 1]: a polynomial, for which Gauss-Legendre is exact.
    s, weights = _nodes(k)
    others = (1.0 - accepts + accepts * s) ** np.maximum(h - 1, 0)[:, None]
    others = others * (1.0 - errs + errs * s) ** (k - h)[:, None]
    value = h * accepts * (others @ weights) + (1.0 - accepts) ** h * (1.0 - errs) ** (k - h) * h / k
    return np.asarray(_hypergeometric(c, n, k) @ value)


def majority(votes: Sequence[int], shares: Sequence[float], k: int, silent: int = 0) -> float:
    """Probability that the answer named most often among k draws is correct; ties are broken at random.

    Args:
        votes: how often each distinct answer was drawn.
        shares: of the draws with that answer, the share that is correct: 0 or 1 where answers are judged alike.
        silent: draws without an answer, which have no vote. If all of the k are, the answer is wrong.

    Raises:
        ValueError: k is below 1 or above the number of draws, a count is negative, or the lengths differ.
    """
    n = sum(votes) + silent
    if len(votes) != len(shares) or min((silent, *votes), default=0) < 0:
        raise ValueError(f"each answer must have votes from 0 and a share, got {list(votes)} and {list(shares)}.")
    if not 1 <= k <= n:
        raise ValueError(f"k must be from 1 to the {n} draws, got {k}; draw fewer.")
    most = np.array([*votes, silent])
    ways = _binomials(int(most.max()))
    total = 0.0
    for own, share in enumerate(shares):
        if share > 0.0:
            rest = [m for i, m in enumerate(votes) if i != own and m]
            for t in range(1, min(votes[own], k) + 1):
                total += share * ways[votes[own], t] * _not_above(rest, silent, t, k - t, ways)
    return float(total / _binomials(n)[n, k])


def best_scored(scores: Sequence[float], correct: Sequence[bool], k: int) -> float:
    """Probability that the best-scored of k draws is correct; ties are broken at random.

    Raises:
        ValueError: k is below 1 or above the number of draws, a score is not finite, or the lengths differ.
    """
    value, right = np.asarray(scores, dtype=np.float64), np.asarray(correct, dtype=np.float64)
    n = len(value)
    if len(right) != n or not np.isfinite(value).all():
        raise ValueError(f"each of {len(right)} draws must have a finite score, got {n} scores; mend them.")
    if not 1 <= k <= n:
        raise ValueError(f"k must be from 1 to the {n} draws, got {k}; draw fewer.")
    _, group = np.unique(-value, return_inverse=True)  # 0 for the best
    sizes = np.bincount(group)
    log = log_factorials(n)
    rank = np.arange(n - k + 1)  # the best of k has at least k - 1 below it
    first = np.zeros(n)  # probability that the best has this rank
    below = n - 1 - rank
    first[: len(rank)] = np.exp(log[below] - log[k - 1] - log[below - k + 1] - log[n] + log[k] + log[n - k])
    ends = np.cumsum(sizes)
    taken = np.add.reduceat(first, ends - sizes)
    return float(taken @ (np.bincount(group, weights=right) / sizes))


def _counts(correct: ArrayLike, drawn: ArrayLike, k: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    c, n = np.broadcast_arrays(np.asarray(correct, dtype=np.int64), np.asarray(drawn, dtype=np.int64))
    if (c < 0).any() or (c > n).any():
        raise ValueError("of n draws, from 0 to n must be correct, and some counts are not; mend the table.")
    if k < 1 or (n < k).any():
        raise ValueError(
            f"k must be from 1 to the draws of each question ({n.min() if n.size else 0}), got {k}; mend it."
        )
    return c, n


def _hypergeometric(c: NDArray[np.int64], n: NDArray[np.int64], k: int) -> Floats:
    """Probability of h correct ones among k: the shape of c, and a last dimension of k + 1."""
    log = log_factorials(int(n.max(initial=0)))
    c, n, h = c[..., None], n[..., None], np.arange(k + 1)
    possible = (h <= c) & (k - h <= n - c)
    right, wrong = np.where(possible, h, 0), np.where(possible, k - h, 0)
    log_p = log[c] - log[right] - log[c - right] + log[n - c] - log[wrong] - log[n - c - wrong]
    return np.asarray(np.where(possible, np.exp(log_p - log[n] + log[k] + log[n - k]), 0.0))


def _not_above(rest: Sequence[int], silent: int, t: int, size: int, ways: Floats) -> float:
    """Ways to draw `size` from the rest, no answer more often than t, each weighed by 1 / (1 + answers that tie at t).

    1 / (1 + j) is the integral of y^j over y in [0, 1], so every answer that ties brings a factor y.
    """
    y, weights = _nodes(size // t + 1)
    found = np.zeros((len(y), size + 1))
    top = min(silent, size)
    found[:, : top + 1] = ways[silent, : top + 1]
    for m in rest:
        terms = [(s, ways[m, s] * (y if s == t else 1.0)) for s in range(min(m, t, size) + 1)]
        old, found = found, np.zeros_like(found)
        for s, factor in terms:
            found[:, s:] += old[:, : size + 1 - s] * np.reshape(factor, (-1, 1))
    return float(found[:, size] @ weights)


@cache
def _nodes(degree: int) -> tuple[Floats, Floats]:
    """Points and weights that integrate polynomials up to a degree over [0, 1] exactly."""
    x, weights = np.polynomial.legendre.leggauss(degree // 2 + 1)
    return (x + 1.0) / 2.0, weights / 2.0


@cache
def log_factorials(most: int) -> Floats:
    """Logarithms of 0! to most!."""
    return np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, most + 1)))])


@cache
def _binomials(most: int) -> Floats:
    """C(n, k) as floats, by Pascal's triangle."""
    table = np.zeros((most + 1, most + 1))
    table[:, 0] = 1.0
    for n in range(1, most + 1):
        table[n, 1:] = table[n - 1, 1:] + table[n - 1, :-1]
    return table
