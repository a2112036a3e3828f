"""Drawing graphs with their log-probabilities by the batch, beside a networkx loop over the same distribution.

12 slots with edges, refiners and fusers, three models within a budget, one to three samples. One thread each, and
neither keeps what a gradient would need.
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Sequence
from statistics import median

import torch

from apportion.bench.networkx_sampling import NetworkxSampler, by_chance
from apportion.graphs.parameters import Value
from apportion.graphs.probabilistic import ProbabilisticGraph
from apportion.graphs.slots import SlotStage
from apportion.graphs.space import SearchSpace

SLOTS, BATCH, LOOP, ROUNDS = 12, 4096, 400, 7
PRICES = {("answer", "small"): 1.0, ("answer", "medium"): 2.0, ("answer", "large"): 4.0}
BUDGET = 40.0  # some eight of the slots are bought


def run(slots: int = SLOTS, batch: int = BATCH, loop: int = LOOP) -> dict[str, object]:
    """Measure both orders.

    Args:
        batch: graphs that ours draws at once.
        loop: graphs that the other draws in a round.

    Returns:
        `ours_per_s`, `networkx_per_s` and `ratio` of the order that is worse, and of each in `orders`.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        orders = {name: _order(slots, batch, loop, free=name == "free") for name in ("fixed", "free")}
    finally:
        torch.set_num_threads(threads)
    worse = min(orders.values(), key=lambda case: case["ratio"])
    return {**worse, "orders": orders}


def _order(slots: int, batch: int, loop: int, *, free: bool) -> dict[str, float]:
    models = tuple(model for _, model in PRICES)
    stage = SlotStage("answer", models, slots, ("refiner", "fuser"), ("decider",), (1, 3), free_order=free)
    distribution = ProbabilisticGraph(SearchSpace((stage,)), PRICES, BUDGET)
    slow = NetworkxSampler(distribution.space, distribution.probabilities(), PRICES, BUDGET)
    generator, rng = torch.Generator().manual_seed(0), random.Random(0)

    def ours() -> None:
        with torch.inference_mode():
            distribution.sample(batch, generator)

    def theirs() -> None:
        for _ in range(loop):
            draw_with_log_prob(slow, rng, rng.sample(range(slots), slots) if free else None)

    ours()  # the first call of every kernel is slow
    rounds = [(_per_s(ours, batch), _per_s(theirs, loop)) for _ in range(ROUNDS)]  # in turns: both see the same machine
    fast, slowly = (median(speeds) for speeds in zip(*rounds, strict=True))
    return {"ours_per_s": fast, "networkx_per_s": slowly, "ratio": fast / slowly}


def draw_with_log_prob(
    sampler: NetworkxSampler, rng: random.Random, order: Sequence[int] | None
) -> tuple[dict[str, Value], float]:
    """Parameters of one graph, and their log-probability given the order."""
    chance, log_p = by_chance(rng), 0.0

    def choose(weights: Sequence[float]) -> int:
        nonlocal log_p
        place = chance(weights)
        log_p += math.log(weights[place] / sum(weights))
        return place

    return sampler.draw(choose, order), log_p


def _per_s(draw: Callable[[], None], graphs: int) -> float:
    started = time.perf_counter()
    draw()
    return graphs / (time.perf_counter() - started)
