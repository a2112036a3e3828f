"""Ranks by hand, and the constants of the Nemenyi test from the distribution they are quantiles of."""

from __future__ import annotations

import math

import numpy as np
import pytest

from apportion.bench.searchers.ranks import Q_05, critical_difference, fewest_tasks, ranked, ranks


def test_the_lowest_has_rank_one_and_ties_share() -> None:
    scores = np.array([[0.3, 0.1, 0.2], [0.5, 0.5, 0.1], [0.2, 0.2, 0.2], [0.1, 0.1 + 1e-15, 0.3]])
    assert ranks(scores).tolist() == [[3, 1, 2], [2.5, 2.5, 1], [2, 2, 2], [1.5, 1.5, 3]]


def range_below(q: float, k: int) -> float:
    """Probability that k standard normal variables lie within q of each other: the lowest at z, the others above."""
    z = np.linspace(-9, 9, 4001)
    density = np.exp(-z * z / 2) / math.sqrt(2 * math.pi)
    phi = np.array([0.5 * math.erfc(-x / math.sqrt(2)) for x in z])
    above = np.array([0.5 * math.erfc(-(x + q) / math.sqrt(2)) for x in z]) - phi
    return float(k * np.sum(density * above ** (k - 1)) * (z[1] - z[0]))


@pytest.mark.parametrize("k", Q_05)
def test_a_constant_is_the_quantile_of_a_range(k: int) -> None:
    low, high = (range_below((Q_05[k] + step) * math.sqrt(2), k) for step in (-0.001, 0.001))
    assert low < 0.95 < high


def test_the_critical_difference_of_demsars_example() -> None:
    """Four classifiers on 14 data sets: 2.569 * sqrt(4 * 5 / (6 * 14)) = 1.25."""
    assert critical_difference(4, 14) == pytest.approx(1.25, abs=0.005)
    assert critical_difference(4, 56) == pytest.approx(1.2535 / 2, abs=1e-3)
    assert critical_difference(1, 5) is critical_difference(21, 5) is None


@pytest.mark.parametrize("k", Q_05)
def test_there_is_none_for_tasks_too_few_to_tell_the_first_from_the_last_of_all_of_them(k: int) -> None:
    fewest = fewest_tasks(k)
    assert fewest is not None and critical_difference(k, fewest - 1) is None
    least = critical_difference(k, fewest)
    assert least is not None and least <= k - 1 < least * math.sqrt(fewest / (fewest - 1))


def test_the_tasks_that_are_needed() -> None:
    assert [fewest_tasks(k) for k in (1, 2, 3, 10, 21)] == [None, 4, 3, 3, None]


def test_mean_ranks_over_tasks() -> None:
    found = ranked({"a": [0.1, 0.2], "b": [0.3, 0.2], "c": [0.2, 0.4]})
    assert found["mean_rank"] == {"a": 1.25, "b": 2.25, "c": 2.5}
    assert (found["tasks"], found["tasks_needed"], found["critical_difference"]) == (2, 3, None)
    found = ranked({"a": [0.1] * 8, "b": [0.3] * 8, "c": [0.2] * 8})
    assert (found["tasks"], found["critical_difference"]) == (8, pytest.approx(2.344 / 2))
