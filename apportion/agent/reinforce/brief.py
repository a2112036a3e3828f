"""What a round of Agent-REINFORCE knows.

Of its questions `mix` asks for `{"mixes": [{STAGE: {MODEL: 2}}]}`; `update` for `{"table": [LINE], "graph": [LINE],
"expected": 0.5}` in the notation of `graphs/notation.py`, where the graph and what is expected of it may be null;
`repair` for the same again, after what was wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from apportion.agent.finding import Finding
from apportion.agent.reinforce.history import History
from apportion.agent.reinforce.mixes import Mix, Purse
from apportion.graphs.graph import Graph
from apportion.graphs.parameters import Value
from apportion.graphs.space import SearchSpace

ROUNDING = 1e-6  # share of a budget by which a sum of costs may pass it


@dataclass(frozen=True)
class Terms:
    """What an answer costs, and may.

    Attributes:
        purse: nominal prices of calls, which the distribution draws within.
        cost: of one answer of a graph on paper; None where it is not known.
        budget: the most that it may cost; None without a bound.
        unit: of cost and budget, in words.
        within: whether an answer of a graph keeps to whatever else is bounded.
        also: what else is bounded, in words; empty for nothing.
    """

    purse: Purse
    cost: Callable[[Graph], float | None]
    budget: float | None
    unit: str
    within: Callable[[Graph], bool] = lambda graph: True
    also: str = ""

    def covers(self, graph: Graph) -> bool:
        """Whether an answer is within the budget, as far as its costs are known."""
        cost = self.cost(graph)
        own = cost is None or self.budget is None or cost <= self.budget * (1 + ROUNDING)
        return own and self.within(graph)


@dataclass(frozen=True)
class Brief:
    """What a round knows.

    Attributes:
        insights: what the agent is told beforehand, by number.
        findings: of the insights, on this task.
        mixes: that may be named, where they are asked for.
        probabilities: of the distribution as it is.
        roles: whether roles are searched.
        round: 0 for what is asked before the first batch.
        seed: of the round; whatever draws at random draws from it.
    """

    space: SearchSpace
    terms: Terms
    history: History
    insights: Mapping[int, str]
    findings: Sequence[Finding]
    mixes: Sequence[Mix]
    probabilities: Mapping[str, Mapping[Value, float]]
    roles: bool
    round: int
    seed: int
