"""Fronts of accuracy and the cost of an answer. Pure numbers; knows no searchers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from apportion.search.objectives import hypervolume

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def undominated(accuracy: Floats, cost: Floats) -> Ints:
    """Those that no other one is as accurate as for less, nor more accurate than for as much, by rising cost.

    Of equal ones the first.
    """
    order = np.lexsort((-accuracy, cost))
    best_before = np.maximum.accumulate(np.append(-np.inf, accuracy[order][:-1]))
    return np.asarray(order[accuracy[order] > best_before])


def relative_hypervolume(accuracy: Floats, cost: Floats, budget: float, offered: Sequence[int]) -> float:
    """Hypervolume of some configurations, as a share of that of all: 1 if the front is among them.

    The reference point is an accuracy of 0 at a cost of the budget; both axes are linear.

    Args:
        accuracy, cost: of every configuration; the true accuracy, and the price of an answer.
        offered: numbers of configurations.
    """
    whole, part = (
        hypervolume([(float(accuracy[c]), -float(cost[c])) for c in rows], (0.0, -budget))
        for rows in (undominated(accuracy, cost), offered)
    )
    return part / whole if whole else 1.0
