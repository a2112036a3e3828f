"""A measurement: what is averaged over which examples."""

from __future__ import annotations

import pytest

from apportion.search.problem import Measurement, Row
from apportion.statistics import Interval, bootstrap, wilson

ROWS: list[Row] = [
    ("a", "ok", "x", {"accuracy": 1.0, "usd": 0.0, "calls": 1.0, "seconds": 2.0}),
    ("b", "truncated", None, {"accuracy": 0.0, "usd": 0.0, "calls": 1.0, "seconds": 4.0}),
    ("c", "failed", None, {"accuracy": None, "usd": 0.0, "calls": 1.0, "seconds": 9.0}),
    ("d", "ok", "y", {"accuracy": 1.0, "usd": 0.0, "calls": 1.0, "seconds": 6.0}),
]


def test_failures_are_a_rate_and_in_no_average() -> None:
    measured = Measurement(ROWS)
    assert measured.failure_rate == 0.25
    assert measured.metrics()["accuracy"] == wilson(2, 3)
    assert measured.metrics()["seconds"] == bootstrap([2.0, 4.0, 6.0])
    assert measured.values("accuracy") == [1.0, 0.0, None, 1.0]
    assert measured.values("seconds") == [2.0, 4.0, None, 6.0]


def test_a_cost_is_an_amount_even_where_it_looks_like_a_share() -> None:
    metrics = Measurement(ROWS).metrics()
    assert metrics["calls"] == Interval(1.0, 1.0, 1.0, 3)
    assert metrics["usd"] == Interval(0.0, 0.0, 0.0, 3)


@pytest.mark.parametrize("lacking", [0, 1])
def test_a_metric_that_is_unknown_for_one_example_is_unknown(lacking: int) -> None:
    rows: list[Row] = [(str(i), "ok", "x", {"usd": None if i == lacking else 1.0, "calls": 2.0}) for i in range(2)]
    assert set(Measurement(rows).metrics()) == {"calls"}


def test_nothing_but_failures_has_no_metrics() -> None:
    measured = Measurement([ROWS[2]])
    assert (measured.metrics(), measured.failure_rate, measured.values("usd")) == ({}, 1.0, [None])


def test_what_is_no_number_has_no_average() -> None:
    with pytest.raises(ValueError, match="an interval must be finite"):
        Measurement([("a", "ok", "x", {"accuracy": float("nan")})]).metrics()
