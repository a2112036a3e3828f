"""What a rollout costs, counted by hand."""

from __future__ import annotations

import pytest

from apportion.envs.rollout import NodeRun, Rollout
from apportion.evaluators.costs import Cost, costs
from apportion.graphs.cost import COSTS, ModelCard, Rates, decode_flops, prefill_flops
from apportion.graphs.graph import Graph, Node
from apportion.store.calls import Draw

SMALL = ModelCard("small", 1e9, 16, 2048, 1.0, 2.0)
LARGE = ModelCard("large", 8e9, 32, 4096, 10.0, 20.0)
CARDS = {"small": SMALL, "large": LARGE}
RATES = {"small": Rates(100.0, 10.0, 4), "large": Rates(50.0, 5.0, 4)}
KNOWN: dict[str, Cost] = costs(CARDS, RATES)

# Two models draft side by side, a vote picks one, a last call reads it.
GRAPH = Graph(
    (
        Node("d", "s", "generator", "small", 2),
        Node("e", "s", "generator", "large"),
        Node("v", "s", "voter", inputs=("d", "e")),
        Node("a", "t", "generator", "small", inputs=("v",)),
    )
)
D0, D1 = Draw("k", 0, "ok", "x", "stop", 100, 20), Draw("k", 1, "ok", "y", "stop", 100, 30)
E0 = Draw("l", 0, "ok", "x", "stop", 50, 10)
A0 = Draw("m", 0, "ok", "z", "stop", 200, 5)


def rollout(**runs: tuple[Draw, ...]) -> Rollout:
    nodes = {node.id: NodeRun("ok", (), runs.get(node.id, ())) for node in GRAPH.nodes}
    return Rollout(GRAPH, "1", "ok", "z", nodes)


FULL = rollout(d=(D0, D1), e=(E0,), a=(A0,))


def test_every_cost_has_a_meter() -> None:
    assert set(KNOWN) == set(COSTS)
    assert set(costs(CARDS, {})) == set(COSTS) - {"latency_s"}


def test_calls_and_tokens() -> None:
    assert KNOWN["calls"](FULL) == 4.0
    assert KNOWN["tokens"](FULL) == 120 + 130 + 60 + 205


def test_samples_of_one_prompt_encode_it_once() -> None:
    drafts = prefill_flops(SMALL, 100) + decode_flops(SMALL, 100, 20) + decode_flops(SMALL, 100, 30)
    other = prefill_flops(LARGE, 50) + decode_flops(LARGE, 50, 10)
    last = prefill_flops(SMALL, 200) + decode_flops(SMALL, 200, 5)
    assert KNOWN["flops"](FULL) == pytest.approx(drafts + other + last)


def test_a_draw_without_a_reply_does_not_hide_the_prompt_of_the_next() -> None:
    lost = Draw("k", 0, "failed")
    found = KNOWN["flops"](rollout(d=(lost, D1)))
    assert found == pytest.approx(prefill_flops(SMALL, 100) + decode_flops(SMALL, 100, 30))


def test_every_call_pays_for_its_own_prompt() -> None:
    small = (100 * 1 + 20 * 2) + (100 * 1 + 30 * 2) + (200 * 1 + 5 * 2)
    assert KNOWN["usd"](FULL) == pytest.approx((small + 50 * 10 + 10 * 20) / 1e6)


def test_one_unknown_price_makes_the_sum_unknown() -> None:
    usd = costs({"small": SMALL, "large": ModelCard("large", 8e9)}, {})["usd"]
    assert usd(FULL) is None
    assert usd(rollout(a=(A0,))) == pytest.approx(210 / 1e6)


def test_seconds_are_those_of_the_longest_path() -> None:
    small = 100 / 100 + 30 / 10  # the slower of two draws side by side
    large = 50 / 50 + 10 / 5
    assert KNOWN["latency_s"](FULL) == pytest.approx(max(small, large) + 200 / 100 + 5 / 10)


def test_nothing_called_costs_nothing() -> None:
    assert {name: cost(rollout()) for name, cost in KNOWN.items()} == dict.fromkeys(COSTS, 0.0)
