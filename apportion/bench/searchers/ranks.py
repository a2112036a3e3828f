"""Mean ranks of methods over tasks, and by how much two must differ. Pure numbers; knows no searchers.

Demsar, J. (2006). Statistical comparisons of classifiers over multiple data sets. JMLR 7, section 3.2.2.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

DIGITS = 9  # scores that are equal in so many decimals are ties
Q_05 = {
    2: 1.960, 3: 2.344, 4: 2.569, 5: 2.728, 6: 2.850, 7: 2.948, 8: 3.031, 9: 3.102, 10: 3.164, 11: 3.219, 12: 3.268,
    13: 3.313, 14: 3.354, 15: 3.391, 16: 3.426, 17: 3.458, 18: 3.489, 19: 3.517, 20: 3.544,
}  # fmt: skip
"""Quantile at 0.95 of the range of k standard normal variables, over the root of 2, by k.

The values for 2 to 10 are those of Demsar's table 5(a), which rounds two of them the other way (2.343 and 2.949).
"""


def ranks(scores: Floats) -> Floats:
    """Ranks in each row, 1 for the lowest score, ties sharing the mean of theirs: tasks x methods."""
    rounded = np.round(scores, DIGITS)
    below = (rounded[:, None, :] < rounded[:, :, None]).sum(axis=2)
    equal = (rounded[:, None, :] == rounded[:, :, None]).sum(axis=2)
    return np.asarray(below + (equal + 1) / 2)


def fewest_tasks(methods: int) -> int | None:
    """Tasks that Nemenyi's test needs at the level of 5 %: with fewer it can tell no two methods apart.

    For mean ranks of k methods differ by k - 1 at most, whatever the scores.

    Returns:
        The smallest N with q * sqrt(k (k + 1) / 6 N) <= k - 1; None for one method, or for more than the table has.
    """
    q = Q_05.get(methods)
    return None if q is None else math.ceil((q / (methods - 1)) ** 2 * methods * (methods + 1) / 6)


def critical_difference(methods: int, tasks: int) -> float | None:
    """By how much two mean ranks must differ to be told apart at the level of 5 %, by Nemenyi's test.

    Returns:
        q * sqrt(k (k + 1) / 6 N) for k methods and N tasks; None where there are too few tasks for any difference to be
        as large, for one method, or for more than the table has.
    """
    fewest = fewest_tasks(methods)
    if fewest is None or tasks < fewest:
        return None
    return Q_05[methods] * math.sqrt(methods * (methods + 1) / (6 * tasks))


def ranked(scores: Mapping[str, Sequence[float]]) -> dict[str, Any]:
    """The critical-difference table as JSON.

    Args:
        scores: of each method on each task, the lower the better.
    """
    table = np.array(list(scores.values()), dtype=float).T
    means = ranks(table).mean(axis=0).tolist()
    return {
        "tasks": len(table),
        "critical_difference": critical_difference(len(scores), len(table)),
        "tasks_needed": fewest_tasks(len(scores)),
        "mean_rank": dict(zip(scores, means, strict=True)),
    }
