"""Spending by the draw: a posterior of what each draw would say, and the choice of the next."""

from apportion.search.allocator.allocate import allocate

__all__ = ["allocate"]
