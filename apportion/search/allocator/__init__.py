"""Spending by the draw: a posterior of what each draw would say, and the choice of the next."""

from __future__ import annotations

import numpy as np
from threadpoolctl import threadpool_limits

from apportion.search.allocator.by_draw import search_by_draw
from apportion.search.allocator.by_example import search_by_example
from apportion.search.market import Market


def allocate(market: Market, rng: np.random.Generator) -> None:
    """Search a market: by the draw where stages are independent, by the example where they are not."""
    with threadpool_limits(1):  # on small matrices threads do nothing but wait for each other
        (search_by_draw if market.independent else search_by_example)(market, rng)


__all__ = ["allocate"]
