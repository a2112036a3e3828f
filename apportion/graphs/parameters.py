"""What a search may choose: named parameters, each a list of values or a range of whole numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from apportion.errors import GraphError

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

Value = str | int | float
Params = Mapping[str, Value]


@dataclass(frozen=True, slots=True)
class Choice:
    """A parameter that takes one of several values."""

    values: tuple[Value, ...]

    def check(self, name: str, value: object) -> None:
        """Refuse any other value; types count (`True` is not 1).

        Raises:
            GraphError: it is not one of the values.
        """
        if not any(type(value) is type(own) and value == own for own in self.values):
            listed = ", ".join(str(own) for own in self.values)
            raise GraphError(f"`{name}` must be one of {listed}, got {value!r:.60}; choose one.")

    def distribution(self) -> BaseDistribution:
        """The parameter in Optuna's terms."""
        from optuna.distributions import CategoricalDistribution

        return CategoricalDistribution(self.values)


@dataclass(frozen=True, slots=True)
class Count:
    """A parameter that takes a whole number from `least` to `most`."""

    least: int
    most: int

    @property
    def values(self) -> tuple[Value, ...]:
        """All of them."""
        return tuple(range(self.least, self.most + 1))

    def check(self, name: str, value: object) -> None:
        """Refuse any other value; types count (`True` is not 1).

        Raises:
            GraphError: it is not a whole number of the range.
        """
        if not (type(value) is int and self.least <= value <= self.most):
            raise GraphError(
                f"`{name}` must be a whole number from {self.least} to {self.most}, got {value!r:.60}; choose one."
            )

    def distribution(self) -> BaseDistribution:
        """The parameter in Optuna's terms."""
        from optuna.distributions import IntDistribution

        return IntDistribution(self.least, self.most)


Parameter = Choice | Count
