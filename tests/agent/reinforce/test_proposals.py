"""What Agent-REINFORCE proposes is within the budget, whoever answers, and finds good graphs soon."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import replace

import optuna
import pytest
import torch
from optuna.trial import TrialState

from apportion.agent.question import Agent
from apportion.agent.reinforce.brief import Brief, Terms
from apportion.agent.reinforce.mixes import Purse
from apportion.agent.reinforce.probe import Probe
from apportion.agent.reinforce.sampler import AgentReinforceSampler
from apportion.agent.reinforce.scripted import ScriptedAgent
from apportion.agent.reinforce.settings import NUMERIC, Settings, Update
from apportion.errors import AgentError, GraphError
from apportion.graphs.graph import Graph
from apportion.graphs.slots import SlotStage
from apportion.graphs.space import SearchSpace
from apportion.search.reinforce.policy import one_thread
from apportion.testing.landscape import Landscape, LandscapeProblem
from apportion.testing.synthetic import SyntheticModel
from tests.agent.reinforce.kit import terms
from tests.agent.reinforce.searching import (
    MIXED,
    SPACE,
    SPACES,
    Asker,
    Rows,
    Silent,
    asked,
    logits,
    made,
    proposal,
    rebuilt,
    records,
    studied,
)
from tests.graphs.probabilistic.kit import nominal


@pytest.fixture(autouse=True)
def _quick() -> Iterator[None]:
    with one_thread():
        yield


# What it may propose


def test_a_space_of_templates_alone_is_refused() -> None:
    space = SearchSpace(MIXED.stages[:1])
    with pytest.raises(
        GraphError, match=r"searches graphs of `slots`, but all stages have `templates`; give one slots"
    ):
        AgentReinforceSampler(space, Rows(), terms(space))


def test_a_budget_that_covers_no_graph_is_refused() -> None:
    with pytest.raises(GraphError, match="the budget must cover one graph"):
        made(SPACE, Rows(), terms(SPACE, 1.5))


@pytest.mark.parametrize("agent", [Rows(), ScriptedAgent()], ids=["rows", "script"])
@pytest.mark.parametrize("name", SPACES)
def test_every_proposal_is_within_the_budget(name: str, agent: Agent[Brief]) -> None:
    space = SPACES[name]
    for budget in (6.0, 11.0):
        own = terms(space, budget)
        for trial in studied(made(space, agent, own), space, 7).trials:
            graph = space.build(trial.params)
            if proposal(trial).source in ("drawn", "pretest"):
                assert nominal(graph, own.purse.prices, space) <= budget * (1 + 1e-9)
            else:
                assert own.covers(graph)


@pytest.mark.parametrize("name", ["free order", "two"])
def test_graphs_of_other_spaces_are_learnt_from(name: str) -> None:
    space = SPACES[name]
    sampler = made(space, Rows())
    study = studied(sampler, space, 3)
    sampler.fold(study)
    before = logits(sampler)
    studied(sampler, space, 1, study)
    assert not torch.equal(logits(sampler), before)
    orders = [list(proposal(trial).order) for trial in study.trials]
    assert all(sorted(order) == [0, 1, 2, 3] for order in orders) if name == "free order" else orders == [[]] * 4


def test_without_answers_it_goes_on_by_draws() -> None:
    agent = Asker(Silent())
    sampler = made(SPACE, agent)
    study = studied(sampler, SPACE, 10)
    assert [proposal(trial).source for trial in study.trials] == ["pretest", *["drawn"] * 9]
    assert [purpose for purpose, _ in agent.asked] == ["mix", *["update"] * 3], "and is not asked to mend its silence"
    assert list(asked(study.trials[3]).refused) == ["the agent must answer, but is gone; wait."]
    numeric = made(SPACE, Silent(), update="gradient")
    again = rebuilt(records(study))
    numeric.fold(again)
    assert torch.equal(logits(numeric), logits(sampler)), "by the gradient alone"


@pytest.mark.parametrize("update", ["text", "both", "alternating"])
def test_or_it_ends_where_that_is_asked_for(update: Update) -> None:
    with pytest.raises(AgentError, match="is gone"):
        studied(made(SPACE, Silent(), update=update, fail_closed=True), SPACE, 1)
    closed = made(SPACE, Silent(), update=update, fail_closed=True, mix="none")
    study = optuna.create_study(direction="maximize")
    with pytest.raises(AgentError, match="is gone"):
        studied(closed, SPACE, 9, study)
    assert len(study.trials) - 1 == (6 if update == "alternating" else 3), "what was measured stays"


# It finds things

EASY = SearchSpace((SlotStage("answer", ("small", "large"), 4, ("refiner", "fuser"), ("voter",)),))
MODELS = {"small": SyntheticModel(0.3, 1.0), "large": SyntheticModel(0.6, 4.0)}
PROBLEM = LandscapeProblem(MODELS, {"search": 50}, {"answer": Landscape(3, 2.0, {"small": 1.0}, 0.0, 0.3)})
BUDGET = 9.0


def flops(graph: Graph) -> float:
    return PROBLEM.costs(graph)["flops"]


class Search:
    """A probe of the problem, which counts examples."""

    examples = 50

    def __init__(self) -> None:
        self.seen: dict[str, int] = {}

    def scores(self, graph: Graph, part: slice) -> Sequence[float | None]:
        async def rows() -> list[float | None]:
            return [row[3]["accuracy"] async for row in PROBLEM.measure(graph, "search", part)]

        self.seen[graph.key] = self.seen.get(graph.key, 0) + len(range(50)[part])
        return asyncio.run(rows())

    def credit(self, graph: Graph) -> None:
        return None


def needed(sampler: optuna.samplers.BaseSampler, probe: Search, most: int) -> float:
    """Graphs that were measured until the best one was, probes counted in parts."""
    study = optuna.create_study(direction="maximize", sampler=sampler)
    full: set[str] = set()
    while len(full) < most:
        trial = study.ask(EASY.distributions())
        try:
            graph = EASY.build(trial.params)
        except GraphError:
            graph = None
        if graph is None or flops(graph) > BUDGET:
            study.tell(trial, state=TrialState.FAIL)
            continue
        full.add(graph.key)
        study.tell(trial, PROBLEM.strength(graph))
        if PROBLEM.strength(graph) > 1 - 1e-9:
            break
    return len(full) + sum(min(n, 50) for key, n in probe.seen.items() if key not in full) / 50


def searching(seed: int, probe: Probe) -> AgentReinforceSampler:
    own = Terms(Purse({("answer", m): MODELS[m].flops for m in MODELS}, BUDGET), flops, BUDGET, "units")
    return AgentReinforceSampler(
        EASY, ScriptedAgent(), own, seed, Settings(numeric=replace(NUMERIC, screened=48)), probe
    )


def test_it_finds_the_best_graph_sooner_than_chance() -> None:
    ours, chance = list[float](), list[float]()
    for seed in range(3):
        probe = Search()
        ours.append(needed(searching(seed, probe), probe, 40))
        chance.append(needed(optuna.samplers.RandomSampler(seed=seed), Search(), 40))
    assert max(ours) < 40, ours
    assert sum(ours) < 0.6 * sum(chance), (ours, chance)
