"""What a search by Agent-REINFORCE remembers: graphs that were tried, and what was answered between.

Tables are kept as lists of pairs: keys of JSON objects are texts, and a number of samples is none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from apportion.agent.finding import Finding
from apportion.agent.stored import Probability, Stored
from apportion.graphs.graph import Graph
from apportion.graphs.parameters import Params, Value

Source = Literal["pretest", "drawn", "agent", "repaired"]
"""Who proposed: the pretest of mixes, the distribution, the agent, the agent when it was told what was wrong."""


@dataclass(frozen=True)
class Proposal(Stored):
    """A graph that is to be tried, and why.

    Attributes:
        round: 0 for the first batch.
        order: of its slots, empty for the slots' own.
        expected: the score that the agent expects.
    """

    round: int
    source: Source
    order: Sequence[int] = ()
    expected: float | None = None


@dataclass(frozen=True)
class Asked(Stored):
    """What a round asked for and was told.

    Attributes:
        mix: of models, by stage, of the round before the first batch; empty elsewhere.
        pretested: mixes in words, and what each scored on how many examples, the best first.
        swept: what was found of the insights.
        table: probabilities of the values of each parameter that the agent gave.
        graph: parameters of its graph; empty for none.
        cut: what was left out of that graph to pay for it, in words; empty for nothing.
        source: of the graph.
        expected: the score that it expects of the graph.
        weight: of the table beside the gradient in the step that was made then; None where none was.
        questions: to the agent.
        refused: what was wrong with its replies, a line each.
    """

    mix: Mapping[str, Mapping[str, int]]
    pretested: Sequence[tuple[str, float | None, int]] = ()
    swept: Sequence[Finding] = ()
    table: Sequence[tuple[str, Sequence[tuple[Value, Probability]]]] = ()
    graph: Sequence[tuple[str, Value]] = ()
    cut: str = ""
    source: Source = "agent"
    expected: float | None = None
    weight: Probability | None = None
    questions: int = 0
    refused: Sequence[str] = ()

    @property
    def probabilities(self) -> dict[str, dict[Value, float]]:
        """The table by parameter and value."""
        return {name: dict(values) for name, values in self.table}

    @property
    def params(self) -> dict[str, Value]:
        """The parameters of its graph; empty for none."""
        return dict(self.graph)


@dataclass(frozen=True)
class Tried:
    """A graph that was measured, or could not be.

    Attributes:
        values: of the objectives; empty where it was not measured.
        utility: one number for all of them and what it is over a bound; None where it was not measured.
        cost: of one answer, in the unit of the search; None where it is not known.
        proposal: None of baselines.
    """

    number: int
    graph: Graph
    params: Params
    values: Sequence[float]
    utility: float | None
    cost: float | None
    proposal: Proposal | None = None


@dataclass(frozen=True)
class History:
    """All that happened so far.

    Attributes:
        tried: in order, baselines of the space included.
        asked: by round, in order; the first is that before the first batch.
        objectives: what the values of trials are, with the direction in which they are better.
    """

    tried: Sequence[Tried]
    asked: Sequence[Asked]
    objectives: Sequence[str] = ("score (higher is better)",)

    @property
    def measured(self) -> list[tuple[Tried, float]]:
        """What has a utility, with it."""
        return [(tried, tried.utility) for tried in self.tried if tried.utility is not None]

    @property
    def best(self) -> Tried | None:
        """The highest utility, of equals the cheapest, then the first."""
        found = self.measured
        order = sorted(range(len(found)), key=lambda i: (-found[i][1], _known(found[i][0].cost), i))
        return found[order[0]][0] if order else None

    @property
    def batch(self) -> list[Tried]:
        """What was tried of the newest round, in order; nothing before there was one."""
        last = max((own.proposal.round for own in self.tried if own.proposal is not None), default=-1)
        return [own for own in self.tried if own.proposal is not None and own.proposal.round == last]


def _known(cost: float | None) -> float:
    return float("inf") if cost is None else cost
