"""The books of a replayed search: what was bought and paid, up to a cap, and what the search would have returned when.

They do not know what is recorded, nor what a purchase is for.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Reals = NDArray[np.floating[Any]]
Ints = NDArray[np.int64]


class Spent(Exception):
    """The next purchase would pass the cap; nothing of it was bought."""


class Arm(NamedTuple):
    """A model of a stage.

    Attributes:
        price: of one draw, in the currency of the search.
        size: what a draw counts against the budget of an answer.
        most: draws an example has.
    """

    stage: int
    model: int
    price: float
    size: float
    most: int


class Lead(NamedTuple):
    """From a spend on, the configuration that a search would return.

    Attributes:
        sure: the probability that the searcher gives it of being within 1 % of the best; NaN if it says none.
        trials: configurations measured by then.
    """

    spent: float
    configuration: int
    sure: float
    trials: int


class Front(NamedTuple):
    """From a spend on, the configurations that a search would offer, in order of their numbers."""

    spent: float
    configurations: tuple[int, ...]


class Books:
    """What a replayed search bought, paid and said.

    Args:
        examples: of the search split.
        answers: of a chain, those that its second stage may be asked about: its draws are booked on them too.

    Attributes:
        arms: models of all stages, those of a stage side by side.
        configurations: options by stage.
        drawn, right: draws bought that later ones build on, and those that were right: arms x examples. Of the second
            stage of a chain they are the sums over what it was asked about on an example; of its first, none is right.
        spent: so far.
        cap: bound on it.
        leads: what the search would have returned, from when on.
        fronts: what it would have offered to whoever weighs accuracy against cost; none if it offers no more than a
            lead.
        trials: configurations measured.
    """

    def __init__(
        self, arms: Sequence[Arm], configurations: Ints, cap: float, examples: int, answers: int | None
    ) -> None:
        self.arms, self.configurations, self.cap = arms, configurations, cap
        self.spent = 0.0
        self.trials = 0
        self.leads: list[Lead] = []
        self.fronts: list[Front] = []
        shape = len(arms), examples
        self.drawn, self.right = np.zeros(shape, dtype=np.int64), np.zeros(shape, dtype=np.int64)
        self._read = {  # of the second stage of a chain, by arm: draws bought on each answer of the first
            a: np.zeros(answers, dtype=np.int64) for a, arm in enumerate(arms) if answers is not None and arm.stage == 1
        }

    def lead(self, configuration: int, sure: float = float("nan")) -> None:
        """Say what the search would return now.

        Raises:
            ValueError: there is no such configuration, or the probability is none.
        """
        configuration, sure = int(configuration), float(sure)
        if not 0 <= configuration < len(self.configurations) or not (np.isnan(sure) or 0.0 <= sure <= 1.0):
            raise ValueError(
                f"a lead must be one of {len(self.configurations)} configurations, with a probability from 0 to 1, got "
                f"{configuration} and {sure}; mend the searcher."
            )
        if not self.leads or self.leads[-1][1:3] != (configuration, sure):
            self.leads.append(Lead(self.spent, configuration, sure, self.trials))

    def front(self, configurations: Iterable[int]) -> None:
        """Say which configurations the search would offer now, for accuracy against the cost of an answer.

        Raises:
            ValueError: there is no such configuration.
        """
        offered = tuple(sorted({int(configuration) for configuration in configurations}))
        if offered and not 0 <= offered[0] <= offered[-1] < len(self.configurations):
            raise ValueError(
                f"a front must be of numbers below {len(self.configurations)}, got {offered[0]} to {offered[-1]}; "
                "mend the searcher."
            )
        if not self.fronts or self.fronts[-1].configurations != offered:
            self.fronts.append(Front(self.spent, offered))

    def _bought(self, arm: int, at: Ints) -> Ints:
        """Draws bought of an arm on examples or, of the second stage of a chain, on answers."""
        return np.asarray(self._read[arm][at] if arm in self._read else self.drawn[arm, at])

    def _note(self, arm: int, examples: Ints, at: Ints, more: Ints) -> None:
        """Enter draws into the books; an example may stand several times, with different answers."""
        np.add.at(self.drawn[arm], examples, more)
        if arm in self._read:
            np.add.at(self._read[arm], at, more)

    def _pay(self, bill: Iterable[tuple[int, Reals | Ints]]) -> None:
        """Pay for draws of arms, or for none of them.

        Raises:
            Spent: that would pass the cap.
        """
        price = sum(float(draws.sum()) * self.arms[arm].price for arm, draws in bill)
        if self.spent + price > self.cap * (1 + 1e-12):
            raise Spent
        self.spent += price
