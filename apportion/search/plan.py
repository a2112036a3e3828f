"""What a study looks for, and how far. Values only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from apportion.graphs.space import SearchSpace
from apportion.search.objectives import Constraint, Objective

CLOSING_MARGIN, MOST_HELD = 1.5, 0.6  # finalists cost more than the average graph, but a search must be left to close


@dataclass(frozen=True)
class Plan:
    """What a study looks for, and how far.

    Attributes:
        sampler: a name in `SAMPLERS`.
        trials: graphs to measure at most, baselines not counted.
        finalists: graphs re-scored on the validation split.
        sizes: number of examples of each split.
    """

    space: SearchSpace
    sampler: str
    objectives: tuple[Objective, ...]
    constraints: tuple[Constraint, ...]
    trials: int
    finalists: int
    seed: int
    sizes: Mapping[str, int]

    @property
    def closing_share(self) -> float:
        """Share of every limit that is kept for validation and test, from the number of examples of each step."""
        closing = self.finalists * self.sizes["validation"] + 2 * self.sizes["test"]
        search = self.trials * self.sizes["search"]
        return min(MOST_HELD, CLOSING_MARGIN * closing / (closing + search))
