"""What a searcher that spends by the draw must know of the place where it buys. It declares, and does nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]
Ints = NDArray[np.int64]
Habits = tuple[Floats, ...]


class Arm(Protocol):
    """A model of a stage, of which draws can be bought."""

    @property
    def stage(self) -> int:
        """Number of its stage."""
        ...

    @property
    def price(self) -> float:
        """Price of a draw, in the currency of the search."""
        ...

    @property
    def size(self) -> float:
        """What a draw counts against the budget of an answer; above 0."""
        ...

    @property
    def most(self) -> int:
        """Draws that an example has."""
        ...


class Option(Protocol):
    """What a stage may do: draws of one model, and a rule that chooses among them."""

    @property
    def arm(self) -> int:
        """Number of the model in the stage."""
        ...

    @property
    def rule(self) -> int:
        """Number of the rule in the stage."""
        ...

    @property
    def n(self) -> int:
        """Number of draws."""
        ...


class Market(Protocol):
    """Sells draws of arms on examples. A configuration is one option a stage.

    Attributes:
        arms: of all stages, those of a stage side by side and in its order.
        configurations: numbers of options, configurations x stages.
        drawn, right: draws bought so far, and those that were right: arms x examples.
    """

    configurations: Ints
    drawn: Ints
    right: Ints

    @property
    def arms(self) -> Sequence[Arm]:
        """Of all stages, those of a stage side by side."""
        ...

    @property
    def independent(self) -> bool:
        """Whether stages succeed independently of each other, given what they are asked, so that `worth` is known."""
        ...

    def scores(self, examples: Ints, rng: np.random.Generator) -> Floats:
        """Buy all draws on some examples and score every configuration there: configurations x examples."""
        ...

    def options(self, stage: int) -> Sequence[Option]:
        """What a stage may do."""
        ...

    @property
    def shared(self) -> bool:
        """Whether all stages of an example are asked the same question; if not, questions of stages meet at random."""
        ...

    def habits(self, stage: int, option: int, k: int, rng: np.random.Generator) -> Habits:
        """What an option's rule must know of its model beyond how often it is right: samples, k x examples each.

        The same for all options of a model and rule.
        """
        ...

    def worth(self, stage: int, options: Ints, p: Floats, habits: Habits) -> Floats:
        """Accuracy of options of one model and rule, where a draw is right with probability p: p's shape x options.

        Where stages are independent only; else a TypeError.
        """
        ...

    def combined(self, parts: Sequence[Floats]) -> Floats:
        """What stages give together, element by element; linear in each of them."""
        ...

    def buy(self, arm: int, examples: Ints) -> object:
        """Buy the next draw of an arm on each of some examples. Raises an exception of its own at the cap."""
        ...

    def lead(self, configuration: int, sure: float = ...) -> None:
        """Say what the search would return now, and how probable it is that it is within 1 % of the best."""
        ...
