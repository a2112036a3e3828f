"""What is measured of schedules, and what they are compared with."""

from __future__ import annotations

import pytest

from apportion.bench.makespan import list_schedule_s, lower_bound_s, run
from apportion.graphs.graph import Graph, Node

GRAPH = Graph(
    (
        Node("a", "s", "generator", "m"),
        Node("b", "s", "generator", "m"),
        Node("c", "s", "fuser", "m", inputs=("a", "b")),
    )
)
ONE = {"a": 1.0, "b": 2.0, "c": 4.0}
OTHER = {"a": 3.0, "b": 1.0, "c": 1.0}


@pytest.mark.parametrize(
    ("latencies", "slots", "listed_s", "bound_s"),
    [
        ([ONE], 1, 7.0, 7.0),
        ([ONE], 2, 6.0, 6.0),
        ([ONE, OTHER], 1, 12.0, 12.0),
        ([ONE, OTHER], 2, 7.0, 6.0),  # a 0-1, b 0-2, other a 1-4, other b 2-3, c 3-7, other c 4-5
        ([ONE, OTHER], 4, 6.0, 6.0),
    ],
)
def test_schedules(latencies: list[dict[str, float]], slots: int, listed_s: float, bound_s: float) -> None:
    assert (list_schedule_s(GRAPH, latencies, slots), lower_bound_s(GRAPH, latencies, slots)) == (listed_s, bound_s)


def test_every_call_is_scheduled() -> None:
    measured = run(examples=6, slots=8, scale=0.01)
    assert measured["makespan_s"] >= measured["lower_bound_s"] > 0.0
    assert measured["list_scheduler_s"] >= measured["lower_bound_s"]
