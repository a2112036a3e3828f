"""A study on synthetic numbers: its order, its limits and its ends."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apportion.errors import LimitReached
from apportion.graphs.graph import Graph
from apportion.graphs.space import SearchSpace
from apportion.graphs.templates import TemplateStage
from apportion.search.objectives import Constraint, front
from apportion.search.plan import MOST_HELD, bounded, drawn_within
from apportion.search.problem import ALL, Row
from apportion.search.samplers import MADE_ONCE, SAMPLERS
from apportion.search.study import FAILED_IN_A_ROW, IDLE_IN_A_ROW, Outcome, Study
from apportion.search.trial import Trial
from tests.search.kit import (
    ACCURACY,
    FLOPS,
    SPACE,
    TINY,
    MemoryLog,
    MemoryPurse,
    Troubled,
    best,
    finish,
    plan,
    searched,
    study,
)

ONE_STAGE = SearchSpace(SPACE.stages[:1])
BASELINES = 4  # of `TINY` and of `ONE_STAGE`: two models, one call and a vote of each


def test_baselines_come_first() -> None:
    made = study(plan())
    finish(made)
    labels = [
        *(f"one call of {model}" for model in ("small", "large", "medium")),
        *(f"majority vote of {model}" for model in ("small", "large", "medium")),
    ]
    assert [trial.label for trial in made.trials[:6]] == labels
    assert {trial.label for trial in made.trials[6:]} == {"random"}
    assert [trial.number for trial in made.trials if trial.baseline] == list(range(6))
    assert made.trials[5].graph == SPACE.uniform("medium", "vote")[0]


def test_baselines_outside_of_the_space_are_measured_all_the_same() -> None:
    space = SearchSpace((TemplateStage("answer", ("small", "large"), ("vote",), (1, 3)),))
    made = study(plan(space, sampler="grid"))
    outcome = finish(made)
    assert [trial.params is None for trial in made.trials[:BASELINES]] == [True, True, False, False]
    assert outcome.state == "done" and all(trial.metrics for trial in made.trials)


@pytest.mark.parametrize("sampler", [*SAMPLERS, *MADE_ONCE])
def test_the_grid_and_every_sampler_measure_a_graph_once(sampler: str) -> None:
    problem = Troubled()
    made = study(plan(TINY, sampler=sampler, trials=50), problem)
    outcome = finish(made)
    keys = searched(problem)
    assert len(set(keys)) == len(keys) == TINY.size
    assert outcome.reason == f"all {TINY.size} graphs of the space are measured."


def test_the_grid_visits_a_whole_space() -> None:
    problem = Troubled()
    finish(study(plan(ONE_STAGE, sampler="grid", trials=50), problem))
    assert set(searched(problem)) == {ONE_STAGE.build(point).key for point in ONE_STAGE.grid()}


@pytest.mark.parametrize("sampler", [*SAMPLERS, *MADE_ONCE])
def test_the_best_graph_is_found_and_wins(sampler: str) -> None:
    problem = Troubled()
    made = study(plan(ONE_STAGE, sampler=sampler, trials=50, objectives=(ACCURACY,)), problem)
    outcome = finish(made)
    assert outcome.closing is not None
    assert problem.strength(outcome.closing.winner.graph) == best(problem, ONE_STAGE)


def test_the_best_graph_within_the_budget_is_found() -> None:
    budget = (Constraint("flops", 2e10),)
    problem = Troubled(sizes={"search": 100, "validation": 100, "test": 10})
    found = plan(sampler="grid", trials=200, constraints=budget, objectives=(ACCURACY,), sizes=problem.sizes)
    made = study(found, problem)
    outcome = finish(made)
    assert outcome.closing is not None
    winner = outcome.closing.winner
    assert problem.strength(winner.graph) == pytest.approx(best(problem, SPACE, budget), abs=0.01)
    assert best(problem, SPACE) > best(problem, SPACE, budget) + 0.01
    assert {t.state for t in made.trials} >= {"complete", "infeasible"}
    run = [t for t in made.trials if t.metrics]
    assert all((t.mean("flops") > 2e10) == (t.state == "infeasible") for t in run if t.state != "repeated")
    over = next(t for t in run if t.state == "infeasible")
    assert over.reason == f"`budget.flops` is 2e+10, and it takes {over.mean('flops'):g}."
    refused = [t for t in made.trials if not t.metrics]
    assert refused and all(problem.costs(t.graph)["flops"] > 1.25 * 2e10 for t in refused)
    assert all(t.reason.startswith("`budget.flops` is 2e+10, and on paper it takes ") for t in refused)


def test_a_repeated_graph_is_told_and_free() -> None:
    problem, told = Troubled(), list[Trial]()
    made = study(plan(TINY, trials=50), problem)
    made.on_trial = told.append
    finish(made)
    repeated = [trial for trial in made.trials if trial.state == "repeated"]
    assert repeated and told == made.trials
    for trial in repeated:
        first = next(t for t in made.trials if t.key == trial.key)
        assert trial.metrics == first.metrics and trial.violations == first.violations
        assert trial.reason == f"same graph as trial {first.number}"
    assert len(searched(problem)) == len(made.trials) - len(repeated)


def test_a_sampler_with_nothing_new_to_say_ends_the_search(monkeypatch: pytest.MonkeyPatch) -> None:
    made = study(plan(trials=50))
    graph, params = SPACE.uniform("large", "vote")
    monkeypatch.setattr(made._engine, "ask", lambda number: (params, graph, {}))
    monkeypatch.setattr(made._engine, "tell", lambda trial: None)
    outcome = finish(made)
    assert outcome.reason.startswith(f"the sampler proposed {IDLE_IN_A_ROW} graphs in a row that are measured already")
    assert outcome.state == "done"


def test_the_number_of_trials_is_a_limit() -> None:
    made = study(plan(trials=3))
    assert finish(made).reason == "`limits.trials` is 3, and all are told."
    assert sum(not trial.baseline and trial.state != "repeated" for trial in made.trials) == 3


def test_more_calls_than_the_budget_are_refused_on_paper() -> None:
    problem = Troubled()
    made = study(plan(constraints=(Constraint("calls", 4.0),), trials=20, seed=1), problem)
    finish(made)
    refused = [trial for trial in made.trials if trial.violations == {"paper": 1.0}]
    assert refused and not {trial.key for trial in refused} & set(searched(problem))
    assert refused[0].state == "infeasible"
    assert refused[0].reason == f"`budget.calls` is 4, and it may make {refused[0].graph.calls} calls."


def test_nothing_feasible_is_an_outcome() -> None:
    log = MemoryLog()
    outcome = finish(study(plan(constraints=(Constraint("flops", 1.0),)), log=log))
    reason = (
        f"the sampler proposed {IDLE_IN_A_ROW} graphs in a row that are measured already or over the budget on paper."
    )
    assert outcome == Outcome("infeasible", f"{reason} No graph was feasible.")
    assert log.fact("outcome") == {"state": "infeasible", "reason": outcome.reason, "closing": None}


def test_some_failures_make_a_graph_infeasible_and_fewer_do_not() -> None:
    def baseline(lost: int) -> Trial:
        made = study(plan(TINY, trials=1), Troubled(lambda graph, split, i: "failed" if i < lost else None))
        finish(made)
        return made.trials[0]

    assert baseline(lost=1).state == "complete"
    trial = baseline(lost=2)
    assert (trial.state, trial.reason) == ("infeasible", "10% of its answers failed, more than 5%.")
    assert trial.violations["failures"] == pytest.approx(0.05) and trial.metrics["accuracy"].n == 18


def test_wrong_answers_are_not_failures() -> None:
    made = study(plan(TINY, trials=1), Troubled(lambda graph, split, i: "truncated"))
    finish(made)
    assert made.trials[0].state == "complete"


def test_ten_failures_in_a_row_end_the_search() -> None:
    problem = Troubled(lambda graph, split, i: "failed")
    made = study(plan(trials=50), problem)
    outcome = finish(made)
    assert len(searched(problem)) == FAILED_IN_A_ROW
    assert outcome.state == "infeasible"
    assert outcome.reason == (
        "10 trials failed in a row, the last because no example gave 'accuracy': 100% of the calls failed. "
        "No graph was feasible."
    )


def test_failures_that_are_not_in_a_row_do_not() -> None:
    count = iter(range(1000))
    bad: set[str] = set()

    def trouble(graph: Graph, split: str, i: int) -> str | None:
        if i == 0 and next(count) % 10:
            bad.add(graph.key)
        return "failed" if graph.key in bad and split == "search" else None

    made = study(plan(trials=30), Troubled(trouble))
    assert finish(made).reason == "`limits.trials` is 30, and all are told."


def limited(at: int) -> Troubled:
    """The purse is empty at the search measurement of that number (from 0), and for the search alone."""
    seen: list[str] = []

    def trouble(graph: Graph, split: str, i: int) -> str | None:
        if split == "search" and i == 0:
            seen.append(graph.key)
        if split == "search" and i == 3 and len(seen) > at:
            raise LimitReached("usd", "`limits.usd` is 1: 1 spent; raise it to go on.")
        return None

    return Troubled(trouble)


@pytest.mark.parametrize("at", [2, 8])
def test_a_limit_amid_a_trial_leaves_it_running_and_closes(at: int) -> None:
    log = MemoryLog()
    made = study(plan(), limited(at), log)
    outcome = finish(made)
    assert (outcome.state, outcome.reason) == ("done", "`limits.usd` is 1: 1 spent; raise it to go on.")
    assert outcome.closing is not None
    assert sum(trial.state != "repeated" for trial in made.trials) == at
    assert [record["state"] for record in log.all()].count("running") == 1 and len(log.all()) == len(made.trials) + 1
    assert ("limit", {"limit": "usd", "message": outcome.reason}) in log.events


def test_a_limit_before_anything_is_measured_leaves_the_study_undone() -> None:
    outcome = finish(study(plan(), limited(0)))
    assert outcome == Outcome("undone", "`limits.usd` is 1: 1 spent; raise it to go on. No graph was measured.")


@pytest.mark.parametrize("split", ["validation", "test"])
def test_a_limit_in_the_closing_leaves_the_study_undone_and_it_can_go_on(split: str) -> None:
    def trouble(graph: Graph, at: str, i: int) -> str | None:
        if at == split:
            raise LimitReached("calls", "no more calls")
        return None

    log = MemoryLog()
    outcome = finish(study(plan(), Troubled(trouble), log))
    reason = "`limits.trials` is 10, and all are told. Validation or test was left undone: no more calls"
    assert outcome == Outcome("undone", reason)
    assert log.fact("outcome")["state"] == "undone"
    problem = Troubled()
    assert finish(study(plan(), problem, log)).state == "done"
    assert searched(problem) == [] and log.fact("outcome")["state"] == "done"


def test_some_of_every_limit_is_held_back_while_searching() -> None:
    purse = MemoryPurse()
    made = Study(plan(), Troubled(), MemoryLog(), purse)
    finish(made)
    searching = purse.held[: purse.held.index(0.0)]
    assert set(searching) == {made.plan.closing_share} and len(searching) == len(made.trials) - sum(
        trial.state == "repeated" for trial in made.trials
    )
    assert purse.held[-1] == 0.0


PRICES: dict[str, dict[str, float | None]] = {
    "find": {"small": 1.0, "large": None},
    "answer": {"small": 2.0, "large": 3.0},
}
KNOWN = {("find", "small"): 1.0, ("answer", "small"): 2.0, ("answer", "large"): 3.0}


@pytest.mark.parametrize(
    ("bounds", "metric", "bound"),
    [
        ({}, None, None),
        ({"latency_s": 3.0}, None, None),
        ({"calls": 4.0, "usd": 0.5}, "usd", 0.5),
        ({"latency_s": 3.0, "usd": 0.5, "flops": 1e9}, "flops", 1e9),
    ],
)
def test_graphs_are_drawn_within_one_bound_on_a_sum_over_calls(
    bounds: dict[str, float], metric: str | None, bound: float | None
) -> None:
    assert bounded(bounds) == metric
    assert drawn_within(bounds, PRICES) == (KNOWN, bound)
    assert drawn_within(bounds, {"find": {"small": None}}) == drawn_within(bounds, {}) == ({}, None)


counts = st.integers(1, 10_000)


@given(counts, counts, counts, counts, counts)
def test_the_share_for_the_closing(trials: int, finalists: int, search: int, validation: int, test: int) -> None:
    sizes = {"search": search, "validation": validation, "test": test}
    share = plan(trials=trials, finalists=finalists, sizes=sizes).closing_share
    assert 0.0 < share <= MOST_HELD == 0.6
    assert plan(trials=trials + 1, finalists=finalists, sizes=sizes).closing_share <= share


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_is_no_number_ends_the_run_before_it_is_told(value: float) -> None:
    class Broken(Troubled):
        async def measure(self, graph: Graph, split: str, part: slice = ALL) -> AsyncIterator[Row]:
            yield "1", "ok", "x", {"accuracy": value, "flops": 1.0, "calls": 1.0}

    log = MemoryLog()
    with pytest.raises(ValueError, match="an interval must be finite"):
        finish(study(plan(), Broken(), log))
    assert [record["state"] for record in log.all()] == ["running"]


def test_progress_and_scores() -> None:
    log, seen = MemoryLog(), set()
    made = study(plan(), log=log)
    made.on_trial = lambda trial: seen.add((made.progress.phase, made.progress.done, made.progress.total))
    assert made.progress.phase == "starting"
    outcome = finish(made)
    assert seen == {("search", 20, 20)} and made.progress.phase == "done"
    assert len(log.scored[made.trials[0].key, "search"]) == 20
    assert outcome.closing is not None
    assert len(log.scored[outcome.closing.winner.key, "test"]) == 30
    assert log.fact("elapsed_s") == 1.5


def test_the_front_of_a_study_is_feasible() -> None:
    made = study(plan(sampler="nsga2", trials=20, constraints=(Constraint("flops", 5e10),)))
    outcome = finish(made)
    kept = front(made.trials, (ACCURACY, FLOPS))
    assert kept and all(trial.mean("flops") <= 5e10 for trial in kept)
    assert outcome.closing is not None and outcome.closing.winner in made.trials
