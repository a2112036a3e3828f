"""What is measured of running nodes."""

from __future__ import annotations

from apportion.bench.executor import run


def test_every_way_is_measured() -> None:
    measured = run(examples=3, rounds=1)
    assert measured.keys() == {
        "ours_us_per_node", "langgraph_us_per_node", "ratio", "dispatcher_us_per_draw", "a_turn_later", "alone"
    }  # fmt: skip
    alone = measured["alone"]
    assert isinstance(alone, dict)
    assert alone.keys() == {"ours_us_per_node", "langgraph_us_per_node", "ratio", "langgraph_bare_us_per_node"}
    assert all(value > 0.0 for value in alone.values())
