"""What an agent may decide: for every stage a model, a number of samples and a way of merging them, within a budget.

It declares what a space of allocations can say of itself, and does not know where one comes from.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from apportion.graphs.parameters import Value

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

ROUNDING = 1e-6  # share of a budget by which a sum of costs may pass it


@dataclass(frozen=True, slots=True)
class Choice:
    """What is done at one stage.

    Attributes:
        samples: of the model; at least 1.
        how: in what way the samples become one answer; empty where the stage has one way only.
    """

    model: str
    samples: int
    how: str = ""


Allocation = Mapping[str, Choice]
"""A choice for every stage, in the order of the stages."""


@dataclass(frozen=True, slots=True)
class StageChoices:
    """What may be decided at a stage.

    Attributes:
        models: from the smallest to the largest.
        hows: ways of merging samples, the usual one first; empty where there is one only.
        least, most: samples.
    """

    name: str
    models: tuple[str, ...]
    hows: tuple[str, ...]
    least: int
    most: int


class Allocations(Protocol):
    """A space of allocations.

    Attributes:
        unit: what costs are counted in, in words.
        budget: the most that one answer may cost; None without a bound.
    """

    @property
    def stages(self) -> Sequence[StageChoices]:
        """In their order; an earlier stage is read by later ones."""
        ...

    @property
    def unit(self) -> str:
        """What costs are counted in, in words."""
        ...

    @property
    def budget(self) -> float | None:
        """The most that one answer may cost."""
        ...

    def cost(self, allocation: Allocation) -> float | None:
        """Of one answer, in the unit; None where it is not known. It grows with the samples of any stage."""
        ...

    def fit(self, allocation: Allocation) -> Allocation:
        """The nearest allocation that the space has, where each choice is one of its stage's.

        Raises:
            GraphError: none is near.
        """
        ...

    def distributions(self) -> dict[str, BaseDistribution]:
        """The parameters in Optuna's terms."""
        ...

    def params(self, allocation: Allocation) -> dict[str, Value]:
        """The parameters that stand for a fitted allocation; `allocation` is the inverse."""
        ...

    def allocation(self, params: Mapping[str, Value]) -> Allocation:
        """The allocation that parameters stand for.

        Raises:
            GraphError: they stand for none.
        """
        ...


def affordable(allocations: Allocations, allocation: Allocation) -> bool:
    """Whether an answer is within the budget, as far as its cost is known."""
    cost, budget = allocations.cost(allocation), allocations.budget
    return cost is None or budget is None or cost <= budget * (1 + ROUNDING)


def shown(allocation: Allocation) -> str:
    """An allocation in one line: `retrieve: 72b x 1; answer: 3b x 40 (fuse)`."""
    return "; ".join(f"{stage}: {chosen(own)}" for stage, own in allocation.items())


def chosen(choice: Choice) -> str:
    """A choice in short: `3b x 40 (fuse)`."""
    how = f" ({choice.how})" if choice.how and choice.samples > 1 else ""
    return f"{choice.model} x {choice.samples}{how}"
