"""What a study needs from the world, as protocols: something that measures graphs, a log, and a purse."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from apportion.graphs.cost import COSTS
from apportion.graphs.graph import Graph
from apportion.statistics import Interval, bootstrap, paired, summary

Row = tuple[str, str, str | None, Mapping[str, float | None]]
"""One example: its id, how the rollout ended, the answer, the metrics."""

ALL = slice(None)
"""A whole split."""


class Problem(Protocol):
    """Measures graphs on the examples of a split."""

    def measure(self, graph: Graph, split: str, part: slice = ALL) -> AsyncIterator[Row]:
        """One row an example, in the order of the split; of a part of it if one is given.

        Raises:
            LimitReached: a needed draw may not be bought.
        """
        ...

    def on_paper(self, graph: Graph) -> Mapping[str, float | None]:
        """What one answer of a graph is likely to cost, as far as it is known."""
        ...

    def prices(self, metric: str, stages: Sequence[str]) -> Mapping[str, Mapping[str, float | None]]:
        """What one call is likely to cost, by stage and model."""
        ...

    def learnt(self) -> Mapping[str, Any]:
        """What these forecasts rest on, as JSON values."""
        ...

    def recall(self, learnt: Mapping[str, Any]) -> None:
        """Take over what an earlier session of the study learnt."""
        ...


class Log(Protocol):
    """Where trials, scores and facts are kept."""

    def fact(self, name: str) -> Any:
        """A named fact, None if it was never set."""
        ...

    def set_fact(self, name: str, value: Any) -> None:
        """Keep a named fact."""
        ...

    def all(self) -> list[dict[str, Any]]:
        """Records of all trials by number."""
        ...

    async def put(self, number: int, record: Mapping[str, Any], **facts: Any) -> None:
        """Keep a trial's record, and named facts with it: all of them or nothing."""
        ...

    def put_scores(self, graph: str, split: str, rows: Iterable[Row]) -> None:
        """Keep what a graph scored."""
        ...

    def scores(self, graph: str, split: str) -> Sequence[Row]:
        """What a graph scored in an earlier session."""
        ...

    def log(self, kind: str, **detail: Any) -> None:
        """Keep an event."""
        ...


class Purse(Protocol):
    """What the search may spend."""

    @property
    def elapsed_s(self) -> float:
        """Seconds that the search has taken, earlier sessions included."""
        ...

    @property
    def caps(self) -> Mapping[str, float]:
        """The limits on what is a cost of an answer too, by the name of the cost."""
        ...

    def hold(self, share: float) -> None:
        """Keep a share of every limit back from what follows."""
        ...


@dataclass(frozen=True, slots=True)
class Measurement:
    """A graph on a whole split.

    Attributes:
        rows: one an example, in the order of the split.
    """

    rows: Sequence[Row]

    @property
    def failure_rate(self) -> float:
        """Share of examples for which no answer was had at all."""
        return sum(status == "failed" for _, status, _, _ in self.rows) / len(self.rows)

    def values(self, metric: str) -> list[float | None]:
        """A metric example by example; None where the rollout failed or the metric is unknown."""
        return [None if status == "failed" else metrics.get(metric) for _, status, _, metrics in self.rows]

    def difference(self, other: Measurement, metric: str) -> Interval | None:
        """Mean of this minus mean of `other`, paired over the examples that both answered; None if there are none."""
        pairs = zip(self.values(metric), other.values(metric), strict=bool(self.rows and other.rows))
        both = [(x, y) for x, y in pairs if x is not None and y is not None]
        return paired([x for x, _ in both], [y for _, y in both]) if both else None

    def metrics(self) -> dict[str, Interval]:
        """Mean and interval of every metric that is known for all answered examples.

        Raises:
            ValueError: a metric is not finite.
        """
        answered = [metrics for _, status, _, metrics in self.rows if status != "failed"]
        names = answered[0] if answered else {}
        columns = {name: [m[name] for m in answered] for name in names}
        known = {name: values for name, column in columns.items() if (values := _known(column)) is not None}
        # One call for each answer is an amount, not a share of right ones.
        return {name: bootstrap(values) if name in COSTS else summary(values) for name, values in known.items()}


def _known(column: Sequence[float | None]) -> list[float] | None:
    values = [value for value in column if value is not None]
    return values if len(values) == len(column) else None
