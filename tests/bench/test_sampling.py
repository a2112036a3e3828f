"""What is measured of drawing graphs: that both sides draw and score the same thing."""

from __future__ import annotations

import random

import pytest

from apportion.bench.networkx_sampling import NetworkxSampler
from apportion.bench.sampling import BUDGET, PRICES, draw_with_log_prob, run
from apportion.graphs.probabilistic import ProbabilisticGraph
from apportion.graphs.slots import SlotStage
from apportion.graphs.space import SearchSpace


@pytest.mark.parametrize("free", [False, True])
def test_the_log_probability_of_the_slow_draw_is_ours(*, free: bool) -> None:
    models = tuple(model for _, model in PRICES)
    stage = SlotStage("answer", models, 12, ("refiner", "fuser"), ("decider",), (1, 3), free_order=free)
    distribution = ProbabilisticGraph(SearchSpace((stage,)), PRICES, BUDGET)
    slow, rng = NetworkxSampler(distribution.space, distribution.probabilities(), PRICES, BUDGET), random.Random(1)
    orders = [rng.sample(range(12), 12) for _ in range(20)]
    drawn = [draw_with_log_prob(slow, rng, order if free else None) for order in orders]
    batch = distribution.batch([params for params, _ in drawn], orders if free else None)
    assert distribution.log_prob(batch).tolist() == pytest.approx([log_p for _, log_p in drawn])


def test_both_orders_are_measured_and_the_worse_is_shown() -> None:
    measured = run(slots=3, batch=16, loop=2)
    orders = measured["orders"]
    assert isinstance(orders, dict) and orders.keys() == {"fixed", "free"}
    assert measured["ratio"] == min(order["ratio"] for order in orders.values())
