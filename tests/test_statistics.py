"""Intervals: golden values, the level they hold, the same numbers each time."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from apportion.statistics import Interval, bootstrap, paired, summary, wilson

numbers = st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=30)
shares = st.integers(1, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))


@pytest.mark.parametrize(
    ("right", "n", "low", "high"),
    [  # scipy 1.17: binomtest(right, n).proportion_ci(0.95, "wilson")
        (0, 1, 0.0, 0.7934506856227626),
        (1, 1, 0.20654931437723745, 1.0),
        (0, 10, 0.0, 0.27753279986288926),
        (3, 10, 0.10779126740630102, 0.6032218525388546),
        (50, 100, 0.4038315303659956, 0.5961684696340044),
        (81, 263, 0.2552885198782742, 0.36620957698280004),
        (999, 1000, 0.9943574414020421, 0.9998234536293739),
    ],
)
def test_wilson(right: int, n: int, low: float, high: float) -> None:
    interval = wilson(right, n)
    assert (interval.mean, interval.n) == (right / n, n)
    assert interval.low == pytest.approx(low, abs=1e-12) and interval.high == pytest.approx(high, abs=1e-12)


@given(shares)
def test_wilson_holds_its_mean_and_stays_a_share(share: tuple[int, int]) -> None:
    interval, mirrored = wilson(*share), wilson(share[1] - share[0], share[1])
    assert 0 <= interval.low <= interval.mean <= interval.high <= 1
    assert interval.low == pytest.approx(1 - mirrored.high)


@pytest.mark.parametrize("p", [0.02, 0.1, 0.5, 0.9])
def test_wilson_holds_its_level(p: float) -> None:
    n = 60
    chance = [math.comb(n, k) * p**k * (1 - p) ** (n - k) for k in range(n + 1)]
    covered = sum(c for k, c in enumerate(chance) if wilson(k, n).low <= p <= wilson(k, n).high)
    assert 0.92 < covered < 0.99


@given(numbers)
def test_bootstrap_holds_its_mean_and_stays_within_the_values(values: list[float]) -> None:
    interval = bootstrap(values)
    assert interval == bootstrap(values)
    assert interval.mean == pytest.approx(np.mean(values)) and interval.n == len(values)
    assert interval.low <= interval.mean <= interval.high
    spread = 1e-9 * max(1.0, max(map(abs, values)))
    assert min(values) - spread <= interval.low and interval.high <= max(values) + spread


def test_bootstrap_of_equal_values_is_a_point() -> None:
    assert bootstrap([3.0] * 7) == Interval(3.0, 3.0, 3.0, 7)


def test_bootstrap_holds_its_level() -> None:
    rng = np.random.default_rng(7)
    samples = rng.exponential(1.0, size=(300, 50)).tolist()
    covered = [interval.low <= 1.0 <= interval.high for interval in map(bootstrap, samples)]
    assert 0.88 < sum(covered) / len(covered) < 0.98


def test_bootstrap_is_near_the_normal_interval() -> None:
    values = np.random.default_rng(1).normal(10.0, 2.0, size=400).tolist()
    interval, half = bootstrap(values), 1.96 * np.std(values) / 20
    assert interval.low == pytest.approx(interval.mean - half, abs=0.02)
    assert interval.high == pytest.approx(interval.mean + half, abs=0.02)


@given(numbers)
def test_a_difference_has_two_signs(values: list[float]) -> None:
    other = values[1:] + values[:1]
    there, back = paired(values, other), paired(other, values)
    assert there.mean == pytest.approx(-back.mean, abs=1e-6)
    assert paired(values, values) == Interval(0.0, 0.0, 0.0, len(values))


def test_pairing_takes_out_what_both_share() -> None:
    base = np.random.default_rng(3).normal(0.0, 100.0, size=50)
    interval = paired((base + 1.0).tolist(), base.tolist())
    assert interval.low == pytest.approx(1.0) and interval.high == pytest.approx(1.0)


def test_summary_knows_shares() -> None:
    assert summary([1.0, 0.0, 1.0]) == wilson(2, 3)
    assert summary([1.0, 0.0, 0.5]) == bootstrap([1.0, 0.0, 0.5])


def test_nothing_has_no_interval() -> None:
    with pytest.raises(ValueError, match="`n` must be at least 1, got 0; leave"):
        wilson(0, 0)
    with pytest.raises(ValueError, match="`n` must be at least 1, got 0; leave"):
        summary([])
    with pytest.raises(ValueError, match="`values` must not be empty, got none; leave"):
        bootstrap([])
    with pytest.raises(ValueError, match="argument 2 is shorter"):
        paired([1.0, 2.0], [1.0])


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_an_interval_is_finite(value: float) -> None:
    for numbers in ((value, 0.0, 1.0), (0.0, value, 1.0), (0.0, 0.0, value)):
        with pytest.raises(ValueError, match=f"an interval must be finite, got .*{value}.*; leave"):
            Interval(*numbers, 1)


def test_a_value_that_is_no_number_has_no_interval() -> None:
    with pytest.raises(ValueError, match="an interval must be finite, got nan, nan, nan; leave"):
        summary([1.0, math.nan])


def test_an_interval_as_json() -> None:
    assert Interval(0.5, 0.25, 0.75, 4).to_dict() == {"mean": 0.5, "low": 0.25, "high": 0.75, "n": 4}
