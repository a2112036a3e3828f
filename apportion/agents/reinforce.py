"""Agent-REINFORCE and its relatives: from a task spec to the sampler, and from a run's folder back to what it did."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import NoReturn

from apportion.agent.nudge import Nudge
from apportion.agent.question import Agent, Question
from apportion.agent.reinforce.brief import Brief, Terms
from apportion.agent.reinforce.mixes import Purse
from apportion.agent.reinforce.sampler import AgentReinforceSampler
from apportion.agent.reinforce.scripted import ScriptedAgent
from apportion.agent.waiting import on_loop
from apportion.agents.asked import model_of
from apportion.agents.costs import Costs, costs_of, priced
from apportion.agents.nudging import nudges_of
from apportion.agents.wired import settings
from apportion.errors import AgentError
from apportion.evaluators.benchmark import Benchmark
from apportion.evaluators.credit import credit
from apportion.graphs.credit import Credit
from apportion.graphs.graph import Graph
from apportion.graphs.space import SearchSpace
from apportion.run import RunFolder
from apportion.search.objectives import Objective
from apportion.search.plan import drawn_within
from apportion.search.samplers import Prices
from apportion.spec import TaskSpec


class BenchmarkProbe:
    """Measures parts of the search split on the event loop of a search, for a sampler in its thread."""

    def __init__(
        self, benchmark: Benchmark, space: SearchSpace, objective: Objective, loop: asyncio.AbstractEventLoop
    ) -> None:
        self._benchmark, self._space, self._objective, self._loop = benchmark, space, objective, loop

    @property
    def examples(self) -> int:
        """Of the search split."""
        return len(self._benchmark.splits["search"])

    def scores(self, graph: Graph, part: slice) -> Sequence[float | None]:
        """The first objective on a part of the examples, larger is better; None where no answer was had.

        Raises:
            LimitReached: a needed draw may not be bought.
        """
        return on_loop(self._scores(graph, part), self._loop)

    def credit(self, graph: Graph) -> Credit | None:
        """What each node and edge was worth, by the first objective if that judges answers, else by what does.

        None where nothing judges them.
        """
        if not self._benchmark.answers:
            return None
        metric = self._objective.metric if self._objective.metric in self._benchmark.answers else None
        return on_loop(credit(self._benchmark, self._space, graph, "search", metric), self._loop)

    async def _scores(self, graph: Graph, part: slice) -> list[float | None]:
        sign, name = (1.0 if self._objective.maximize else -1.0), self._objective.metric
        found: list[float | None] = []
        async for _, status, _, metrics in self._benchmark.measure(graph, "search", part):
            value = None if status == "failed" else metrics.get(name)
            found.append(None if value is None else sign * value)
        return found


class Silent:
    """An agent that is not to be asked, for looking at what is past."""

    def answer(self, question: Question[Brief]) -> NoReturn:
        """Nothing.

        Raises:
            AgentError: always.
        """
        raise AgentError("an agent is asked while a search goes on only.")


def sampler(
    spec: TaskSpec,
    space: SearchSpace,
    objectives: Sequence[Objective],
    benchmark: Benchmark,
    prices: Prices,
    budget: float | None,
    nudges: Sequence[Nudge],
    knowledge: str = "",
    agent: Agent[Brief] | None = None,
) -> AgentReinforceSampler:
    """The sampler of a run, on the event loop of the run.

    Args:
        prices: of calls by stage and model.
        budget: bound on their sum; None for none.
        knowledge: of other runs, in words.
        agent: who is asked in place of the one that the spec names.

    Raises:
        GraphError: no stage is of slots, or the budget covers no graph.
    """
    agent = agent or model_of(spec, benchmark.environment.dispatcher) or ScriptedAgent()
    probe = BenchmarkProbe(benchmark, space, objectives[0], asyncio.get_running_loop())
    terms = _terms(spec, benchmark.on_paper, prices, budget)
    names = [own.metric for own in objectives]
    return AgentReinforceSampler(space, agent, terms, spec.seed, settings(spec, knowledge), probe, nudges, names)


def course(folder: RunFolder, space: SearchSpace) -> AgentReinforceSampler:
    """The sampler of a run as it was when the search began; it can be told the run's trials again, and asks nothing.

    Raises:
        GraphError: no stage is of slots, or the budget covers no graph.
    """
    spec = folder.spec
    within = drawn_within(spec.budget.bounds(len(spec.stages)), folder.trials.fact("prices") or {})
    terms = _terms(spec, costs_of(folder), *within)
    return AgentReinforceSampler(space, Silent(), terms, spec.seed, settings(spec), None, nudges_of(folder))


def _terms(spec: TaskSpec, costs: Costs, prices: Prices, budget: float | None) -> Terms:
    cost = priced(spec, costs)
    return Terms(Purse(prices, budget), cost.price, cost.budget, cost.unit, cost.within, cost.also)
