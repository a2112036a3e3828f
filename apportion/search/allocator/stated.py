"""What an allocator states of its lead."""

from __future__ import annotations

from apportion.search.market import Floats

NEAR = 0.99  # share of the best's value that counts as within 1 % of it


def stated(values: Floats, leader: int) -> float:
    """Probability that the leader is within 1 % of the best, from samples of values: samples x configurations."""
    return float((values[:, leader] >= NEAR * values.max(axis=1)).mean())
