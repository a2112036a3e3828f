"""Spending by the example, where stages depend on each other: every configuration is scored on what was bought.

It knows a market, and nothing of where draws come from.
"""

from __future__ import annotations

import numpy as np

from apportion.search.allocator.stated import stated
from apportion.search.market import Market

FIRST, MORE = 8, 3  # examples bought at first, and then before each decision
FEWEST = 12  # examples below which the search does not stop
SAMPLES = 256  # of what all examples may be
WEIGHT = 0.6  # of an example in the bootstrap; with 1 it was too sure of differences that few examples make
GAIN = 0.001  # accuracy that the search stops at, when knowing the truth is expected to gain no more


def search_by_example(market: Market, rng: np.random.Generator) -> None:
    """Buy all draws of one example after the other, until knowing more is expected to gain less than `GAIN`.

    The leader has the highest mean score: all configurations are compared on the same examples, and on all their draws.
    What it may lose is judged by a Bayesian bootstrap (Rubin 1981), since the examples are a sample of all there may
    be; each counts as less than one, since among many configurations the luckiest leads.
    """
    order = rng.permutation(market.drawn.shape[1])
    scores = market.scores(order[:FIRST], rng)
    while True:
        n = scores.shape[1]
        leader = int(scores.mean(axis=1).argmax())
        values = rng.dirichlet(np.full(n, WEIGHT), SAMPLES) @ scores.T
        market.lead(leader, stated(values, leader))
        lost = float((values.max(axis=1) - values[:, leader]).mean())
        if n == len(order) or (n >= FEWEST and lost < GAIN):
            return
        scores = np.column_stack([scores, market.scores(order[n : n + MORE], rng)])
