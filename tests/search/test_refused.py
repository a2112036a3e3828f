"""What is refused before it is run: proposals that are no graph, and graphs that are over a bound on paper."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest
from optuna.trial import TrialState

from apportion.errors import GraphError
from apportion.graphs.graph import Graph
from apportion.graphs.slots import SlotStage
from apportion.graphs.space import SearchSpace
from apportion.search.engine import MOST_REFUSED, REFUSED, Engine
from apportion.search.judging import PAPER_MARGIN
from apportion.search.objectives import Constraint, Objective
from apportion.search.problem import ALL, Row
from apportion.search.reinforce.sampler import ReinforceSampler
from apportion.search.reinforce.settings import GPTSWARM, Settings
from apportion.search.samplers import MADE_ONCE, SAMPLERS
from apportion.search.study import Study
from apportion.search.trial import PAPER, Trial
from apportion.statistics import Interval
from tests.search.kit import (
    ACCURACY,
    FLOPS,
    KilledError,
    MemoryLog,
    MemoryPurse,
    Troubled,
    finish,
    plan,
    searched,
    study,
)

NAMES = (*SAMPLERS, *MADE_ONCE)
DRAWS_GRAPHS = ("grid", "reinforce", "gptswarm", "maas")
"""Samplers that propose nothing but graphs."""
SLOTS = SearchSpace((SlotStage("answer", ("small", "large"), 2, ("refiner",), ("voter",), (1, 2)),))
TANGLED = SearchSpace((SlotStage("answer", ("small",), 3, ("refiner",), ("voter",), free_order=True),))
"""Of 512 settings most have a cycle."""
HOPELESS = SearchSpace((SlotStage("answer", ("small",), 20, ("refiner",), ("voter",), free_order=True),))
"""In a random setting half of the slots are there, with 45 edges, and hardly ever no cycle."""
TWO = (ACCURACY, FLOPS)
TRIALS = 14
PROBLEM = Troubled()


def judged(asked: Trial) -> Trial:
    """Measured by the formula; every fifth fails, every fourth is refused on paper."""
    if asked.number % 5 == 4:
        return replace(asked, state="failed", reason="no reply")
    if asked.number % 4 == 3:
        return replace(asked, state="infeasible", reason="too dear", violations={PAPER: 0.5})
    means = {"accuracy": PROBLEM.strength(asked.graph), **PROBLEM.costs(asked.graph)}
    metrics = {name: Interval(mean, mean, mean, 20) for name, mean in means.items()}
    return replace(asked, state="complete", metrics=metrics, violations={"failures": -0.05})


def engine(sampler: str, space: SearchSpace = TANGLED, objectives: tuple[Objective, ...] = TWO) -> Engine:
    return Engine(space, sampler, objectives, 7, TRIALS)


def search(made: Engine, space: SearchSpace, told: Sequence[Trial] = ()) -> list[Trial]:
    """Ask, judge and tell; the records as they come back from a log."""
    done = list(told)
    for number in range(len(done), TRIALS):
        params, graph, memory = made.ask(number)
        assert graph.key == space.build(params).key
        trial = judged(Trial(number, "it", False, graph, params, memory=memory))
        made.tell(trial)
        done.append(Trial.from_dict(json.loads(json.dumps(trial.to_dict()))))
    return done


# Proposals that are no graph


@pytest.mark.parametrize("space", [SLOTS, TANGLED], ids=["slots", "tangled"])
@pytest.mark.parametrize("sampler", NAMES)
def test_a_rebuilt_engine_asks_the_same_after_any_refusals(sampler: str, space: SearchSpace) -> None:
    first = engine(sampler, space)
    told = search(first, space)
    assert any(trial.memory.get(REFUSED) for trial in told) == (sampler not in DRAWS_GRAPHS)
    for k in range(TRIALS):
        again = engine(sampler, space)
        again.add(told[:k])
        params, graph, memory = again.ask(k)
        assert (params, graph, memory) == (told[k].params, told[k].graph, told[k].memory), k
    again = engine(sampler, space)
    again.add(told[:5])
    assert search(again, space, told[:5]) == told


@pytest.mark.parametrize("sampler", [name for name in NAMES if name not in DRAWS_GRAPHS])
def test_refused_proposals_are_told_and_remembered(sampler: str) -> None:
    made = engine(sampler)
    told = search(made, TANGLED)
    refused = [params for trial in told for params in trial.memory.get(REFUSED, ())]
    assert len(refused) > 4
    for params in refused:
        TANGLED.check(params)
        with pytest.raises(GraphError):
            TANGLED.build(params)
    seen = made._study.get_trials()
    pruned = [t for t in seen if t.state == TrialState.PRUNED and "graph" in t.constraints]
    assert [t.params for t in pruned] == refused
    assert all(t.constraints == {"graph": 1.0} and t.values is None for t in pruned)

    again = engine(sampler)
    again.add(told)
    rebuilt = again._study.get_trials()
    assert [(t.number, t.state, t.params, t.values, t.constraints) for t in rebuilt] == [
        (t.number, t.state, t.params, t.values, t.constraints) for t in seen
    ]
    assert not any(REFUSED in t.system_attrs for t in rebuilt), "a note of ours, not of the sampler"


def test_a_trial_that_was_never_told_keeps_its_refusals() -> None:
    """As when the process ends amid its measurement: it is told to a new engine before anything is asked."""
    first = engine("tpe")
    told = search(first, TANGLED)
    k = next(trial.number for trial in told[1:] if trial.memory.get(REFUSED) and trial.metrics)
    again = engine("tpe")
    again.add(told[:k])
    again.tell(told[k])
    assert search(again, TANGLED, told[: k + 1]) == told


def test_a_sampler_that_finds_no_graph_is_given_up() -> None:
    made = engine("random", HOPELESS)
    with pytest.raises(GraphError, match="edges must not form a cycle"):
        made.ask(0)
    states = [trial.state for trial in made._study.get_trials()]
    assert states.count(TrialState.PRUNED) == MOST_REFUSED


@pytest.mark.parametrize(("bound", "state", "code"), [(1e12, "done", "all right"), (1.0, "infeasible", "too dear")])
def test_a_study_whose_sampler_finds_no_graph_ends_in_good_order(bound: float, state: str, code: str) -> None:
    log, problem = MemoryLog(), Troubled()
    wanted = plan(HOPELESS, constraints=(Constraint("flops", bound),))
    made = study(wanted, problem, log)
    outcome = finish(made)
    assert outcome.state == state, code
    assert outcome.reason.startswith("the sampler found no graph to try: edges must not form a cycle, but answer.")
    assert all(trial.baseline for trial in made.trials) and len(searched(problem)) == 2
    assert log.events[-1] == ("no graph", {"message": outcome.reason.removesuffix(" No graph was feasible.")})
    again = Troubled()
    assert finish(study(wanted, again, log)) == outcome
    assert searched(again) == []


def test_a_mistake_amid_a_measurement_is_not_taken_for_the_samplers() -> None:
    class Wordless(Troubled):
        async def measure(self, graph: Graph, split: str, part: slice = ALL) -> AsyncIterator[Row]:
            raise GraphError("a role that asks for a prompt needs one, but 'debater' has none; give it to add_role.")
            yield  # what makes it a generator

    with pytest.raises(GraphError, match="needs one, but 'debater' has none"):
        finish(study(plan(SLOTS), Wordless()))


def test_the_two_reinforce_samplers() -> None:
    for name, settings in (("reinforce", Settings()), ("gptswarm", GPTSWARM)):
        made = engine(name, SLOTS)
        made.ask(0)
        sampler = made._study.sampler
        assert isinstance(sampler, ReinforceSampler) and sampler.settings == settings


# On paper


def told_to(made: Study) -> list[Any]:
    return made._engine._study.get_trials(deepcopy=False)


@pytest.mark.parametrize("sampler", ["random", "tpe", "nsga2"])
def test_what_is_refused_on_paper_is_told_and_not_counted(sampler: str) -> None:
    bound = 3e9  # a few calls of the small model, and none of the large one
    problem = Troubled()
    made = study(plan(SLOTS, sampler=sampler, trials=6, constraints=(Constraint("flops", bound),)), problem)
    finish(made)
    refused = [t for t in made.trials if PAPER in t.violations and t.state != "repeated"]
    run = [t for t in made.trials if not t.baseline and t.state != "repeated" and PAPER not in t.violations]
    assert refused and len(run) == 6
    for trial in refused:
        cost = problem.costs(trial.graph)["flops"]
        assert cost > bound * (1 + PAPER_MARGIN)
        assert (trial.state, trial.metrics, trial.key in searched(problem)) == ("infeasible", {}, False)
        assert trial.violations == {PAPER: pytest.approx(cost / bound - 1)}
        assert trial.reason == f"`budget.flops` is 3e+09, and on paper it takes {cost:.3g}."
        assert Trial.from_dict(json.loads(json.dumps(trial.to_dict()))) == trial
    for trial in run:
        assert problem.costs(trial.graph)["flops"] <= bound * (1 + PAPER_MARGIN) and trial.metrics
    pruned = [t for t in told_to(made) if PAPER in t.constraints]
    assert all((t.state, t.values) == (TrialState.PRUNED, None) for t in pruned)
    by_key = {trial.key: trial.violations[PAPER] for trial in refused}
    assert [t.constraints[PAPER] for t in pruned] == [by_key[SLOTS.build(t.params).key] for t in pruned]


def test_what_is_a_little_over_on_paper_is_run() -> None:
    """Expectations are rougher than measurements: what is measured decides."""

    class Rough(Troubled):
        def on_paper(self, graph: Graph) -> Mapping[str, float | None]:
            return {name: 1.2 * cost for name, cost in self.costs(graph).items()}

    made = study(plan(SLOTS, sampler="grid", trials=200, constraints=(Constraint("flops", 9e9),)), Rough())
    finish(made)
    at_bound = [t for t in made.trials if t.metrics and t.mean("flops") == 9e9]
    assert at_bound and {t.state for t in at_bound} <= {"complete", "repeated"}


@pytest.mark.parametrize("cost", [None, 1e30])
def test_baselines_are_never_refused_by_an_estimate(cost: float | None) -> None:
    class Guessing(Troubled):
        def on_paper(self, graph: Graph) -> Mapping[str, float | None]:
            return {**self.costs(graph), "flops": cost}

    made = study(plan(SLOTS, constraints=(Constraint("flops", 1e12),)), Guessing())
    assert finish(made).state == "done"
    baselines = [t for t in made.trials if t.baseline]
    assert len(baselines) == 4 and all(t.state == "complete" and t.metrics for t in baselines)
    others = [t for t in made.trials if not t.baseline]
    assert all((PAPER in t.violations) == (cost is not None) for t in others), "what is not known refuses nothing"


def test_a_space_that_is_used_up_on_paper_says_so() -> None:
    made = study(plan(SLOTS, sampler="grid", trials=500, constraints=(Constraint("flops", 9e9),)))
    assert finish(made).reason == f"all {SLOTS.size} graphs of the space are measured or over the budget on paper."


# Prices and what they rest on


class Learning(Troubled):
    """Expects of a call what it has seen on the search split: the more of it, the less."""

    def __init__(self) -> None:
        super().__init__()
        self.seen = 0

    async def measure(self, graph: Graph, split: str, part: slice = ALL) -> AsyncIterator[Row]:
        self.seen += split == "search"
        async for row in super().measure(graph, split, part):
            yield row

    def on_paper(self, graph: Graph) -> Mapping[str, float | None]:
        return {name: cost * (1 + 4 / (1 + self.seen)) for name, cost in self.costs(graph).items()}

    def learnt(self) -> Mapping[str, Any]:
        return {"seen": self.seen}

    def recall(self, learnt: Mapping[str, Any]) -> None:
        self.seen = learnt.get("seen", 0)


class EveryWrite(MemoryLog):
    """Dies after any write, that of a fact too."""

    def set_fact(self, name: str, value: Any) -> None:
        super().set_fact(name, value)
        if name != "outcome":
            self.writes += 1
            if self.writes == self.dies_at:
                raise KilledError


def learning(sampler: str, log: MemoryLog, problem: Learning) -> Study:
    wanted = plan(SLOTS, sampler=sampler, trials=6, constraints=(Constraint("flops", 9e9),))
    return Study(wanted, problem, log, MemoryPurse())


@pytest.mark.parametrize("sampler", ["random", "reinforce"])
def test_prices_are_those_that_the_baselines_have_shown(sampler: str) -> None:
    log, problem = EveryWrite(), Learning()
    finish(learning(sampler, log, problem))
    assert problem.seen > 4 and log.fact("learnt") == {"seen": problem.seen}
    prices = log.fact("prices")
    assert prices == {"answer": {"small": 1.8e9, "medium": 3 * 1.8e9, "large": 8 * 1.8e9}}, "after four baselines"
    again = learning(sampler, log, Learning())
    finish(again)
    assert log.fact("prices") == prices, "and not what is known by now"
    known = {("answer", model): price for model, price in prices["answer"].items()}
    assert (again._engine._prices, again._engine._budget) == (known, 9e9)


@pytest.mark.parametrize("sampler", ["random", "reinforce"])
def test_what_was_learnt_is_neither_lost_nor_doubled_by_a_kill(sampler: str) -> None:
    whole = EveryWrite()
    finish(learning(sampler, whole, Learning()))
    assert any(PAPER in record["violations"] for record in whole.all()) or sampler == "reinforce"
    for at in (*range(1, 14), whole.writes - 1):
        log = EveryWrite()
        log.dies_at = at
        with pytest.raises(KilledError):
            finish(learning(sampler, log, Learning()))
        log.dies_at = None
        finish(learning(sampler, log, Learning()))
        assert (log.trials, log.facts) == (whole.trials, whole.facts), at


@pytest.mark.parametrize("metric", ["flops", "usd", "tokens"])
@pytest.mark.parametrize("sampler", ["reinforce", "gptswarm"])
def test_graphs_are_drawn_within_the_budget(sampler: str, metric: str) -> None:
    problem = Troubled()
    bound = 3.5 * problem.on_paper(SLOTS.uniform("small", "single")[0])[metric]  # type: ignore[operator]
    made = study(plan(SLOTS, sampler=sampler, trials=8, constraints=(Constraint(metric, bound),)), problem)
    assert finish(made).state == "done"
    drawn = [t for t in made.trials if not t.baseline]
    assert len(drawn) >= 5 and all(problem.on_paper(t.graph)[metric] <= bound for t in drawn)  # type: ignore[operator]


@pytest.mark.parametrize("sampler", ["reinforce", "gptswarm"])
def test_a_budget_that_no_graph_meets_ends_the_study(sampler: str) -> None:
    log, problem = MemoryLog(), Troubled()
    wanted = plan(SLOTS, sampler=sampler, constraints=(Constraint("flops", 1e8),))
    outcome = finish(study(wanted, problem, log))
    why = "the budget must cover one graph, but it is 1e+08 and the cheapest one costs 1e+09; raise it."
    assert (outcome.state, outcome.closing) == ("infeasible", None)
    assert outcome.reason == f"the sampler found no graph to try: {why} No graph was feasible."
    assert log.fact("outcome")["reason"] == outcome.reason and len(searched(problem)) == 4
    assert finish(study(wanted, Troubled(), log)) == outcome


@pytest.mark.parametrize("unknown", [{}, {"answer": {"small": None, "large": None}}])
def test_without_prices_it_draws_from_the_whole_space(unknown: Mapping[str, Mapping[str, float | None]]) -> None:
    class Unpriced(Troubled):
        def prices(self, metric: str, stages: Sequence[str]) -> Mapping[str, Mapping[str, float | None]]:
            return unknown

    log = MemoryLog()
    made = study(plan(SLOTS, sampler="reinforce", trials=4, constraints=(Constraint("flops", 1e12),)), Unpriced(), log)
    assert finish(made).state == "done"
    assert log.fact("prices") == unknown and made._engine._budget is None
