"""What a study looks for, and how far. Values, and what follows from them alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from apportion.graphs.cost import COSTS
from apportion.graphs.space import SearchSpace
from apportion.search.objectives import Constraint, Objective
from apportion.search.samplers import Prices

CLOSING_MARGIN, MOST_HELD = 1.5, 0.6  # finalists cost more than the average graph, but a search must be left to close


SUMMED = ("flops", "usd", "tokens", "calls")  # costs of which a graph's are the sum over its calls


def bounded(bounds: Mapping[str, float]) -> str | None:
    """The cost that graphs can be drawn within; None where no bound is on a sum over calls."""
    return next((metric for metric in SUMMED if metric in bounds), None)


def drawn_within(
    bounds: Mapping[str, float], prices: Mapping[str, Mapping[str, float | None]]
) -> tuple[Prices, float | None]:
    """What samplers draw within that can: prices of calls by (stage, model), and the bound on their sum.

    Args:
        bounds: of one answer, by metric.
        prices: of a call by stage and model, in the metric that `bounded` gives; None for what is not known.

    Returns:
        The prices that are known and the bound; None for the bound where there is none or no price is known.
    """
    known = {(stage, model): price for stage, of in prices.items() for model, price in of.items() if price is not None}
    metric = bounded(bounds)
    return known, bounds[metric] if known and metric is not None else None


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
    def bounds(self) -> dict[str, float]:
        """The most that one answer may cost, by metric."""
        return {c.metric: c.bound for c in self.constraints}

    @property
    def cost(self) -> str:
        """The cost by which graphs are weighed: the first that is an objective, else what the budget bounds."""
        named = [o.metric for o in self.objectives if not o.maximize and o.metric in COSTS]
        return named[0] if named else bounded(self.bounds) or "calls"

    @property
    def closing_share(self) -> float:
        """The least share of every limit to keep for validation and test, by the number of examples of each step.

        What was measured may ask for more: `apportion.search.closing.kept`.
        """
        closing = self.finalists * self.sizes["validation"] + 2 * self.sizes["test"]
        search = self.trials * self.sizes["search"]
        return min(MOST_HELD, CLOSING_MARGIN * closing / (closing + search))
