"""What an agent's search may ask of the world beside measuring a trial: few examples, and what a graph's parts gave."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from apportion.graphs.credit import Credit
from apportion.graphs.graph import Graph


class Probe(Protocol):
    """Measures graphs on parts of the search split. What was bought once is not bought again.

    Attributes:
        examples: of the split.
    """

    @property
    def examples(self) -> int:
        """Of the split."""
        ...

    def scores(self, graph: Graph, part: slice) -> Sequence[float | None]:
        """The first objective on a part of the examples, larger is better; None where no answer was had.

        Raises:
            LimitReached: a needed draw may not be bought.
        """
        ...

    def credit(self, graph: Graph) -> Credit | None:
        """What each node and edge of a measured graph was worth; None where that cannot be told. It buys nothing."""
        ...
