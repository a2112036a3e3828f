"""Going on: the same log after a kill at any point, after failures and limits, and after the end."""

from __future__ import annotations

from dataclasses import replace

import pytest

from apportion.errors import EvaluatorError
from apportion.graphs.graph import Graph
from apportion.graphs.space import SearchSpace
from apportion.search.objectives import Constraint
from apportion.search.samplers import MADE_ONCE, SAMPLERS
from apportion.search.trial import Trial
from tests.search.kit import SIZES, TINY, KilledError, MemoryLog, Troubled, finish, plan, searched, study


def test_failed_trials_are_measured_again_on_going_on(monkeypatch: pytest.MonkeyPatch) -> None:
    log, keys = MemoryLog(), set[str]()

    def trouble(graph: Graph, split: str, i: int) -> str | None:
        if len(keys) < 2:
            keys.add(graph.key)
        return "failed" if graph.key in keys and split == "search" else None

    first = study(plan(TINY, trials=50), Troubled(trouble), log)
    finish(first)
    failed = [trial for trial in first.trials if trial.state == "failed"]
    assert {trial.key for trial in failed} == keys
    assert any(trial.state == "repeated" and trial.key in keys for trial in first.trials)

    larger = SearchSpace((replace(TINY.stages[0], samples=(1, 6)),))
    problem = Troubled()
    second = study(plan(larger, trials=50), problem, log)
    monkeypatch.setattr(second._engine, "ask", lambda number: (failed[0].params, failed[0].graph, {}))
    finish(second)
    assert searched(problem)[:2] == [trial.key for trial in failed]
    mended = {trial.number: trial for trial in second.trials}
    for old in failed:
        again = mended[old.number]
        assert (again.state, again.reason, again.label) == ("complete", "", old.label)
    asked = second.trials[-1]
    assert asked.state == "repeated" and asked.metrics == mended[failed[0].number].metrics


def test_an_evaluator_that_raises_ends_the_run_and_leaves_it_to_go_on() -> None:
    def trouble(graph: Graph, split: str, i: int) -> str | None:
        if graph.calls > 4:
            raise EvaluatorError("evaluator 'mine' must not raise")
        return None

    log = MemoryLog()
    with pytest.raises(EvaluatorError, match="'mine'"):
        finish(study(plan(), Troubled(trouble), log))
    finish(study(plan(), Troubled(), log))
    whole = MemoryLog()
    finish(study(plan(), Troubled(), whole))
    assert log.trials == whole.trials and log.fact("outcome") == whole.fact("outcome")


def whole_run(sampler: str) -> MemoryLog:
    log = MemoryLog()
    finish(study(plan(sampler=sampler), log=log))
    return log


@pytest.mark.parametrize("sampler", [*SAMPLERS, *MADE_ONCE])
def test_a_study_killed_after_any_write_goes_on_the_same(sampler: str) -> None:
    whole = whole_run(sampler)
    for at in (1, 6, 13, 18, 23, whole.writes):
        log = MemoryLog()
        log.dies_at = min(at, whole.writes)
        with pytest.raises(KilledError):
            finish(study(plan(sampler=sampler), log=log))
        log.dies_at = None
        finish(study(plan(sampler=sampler), log=log))
        assert log.proposed == whole.proposed
        assert (log.trials, log.fact("outcome")) == (whole.trials, whole.fact("outcome"))


@pytest.mark.parametrize("sampler", [*SAMPLERS, *MADE_ONCE])
def test_a_study_killed_again_and_again_goes_on_the_same(sampler: str) -> None:
    whole, log, kills = whole_run(sampler), MemoryLog(), 0
    while True:
        log.dies_at = log.writes + 2 + kills % 2
        try:
            finish(study(plan(sampler=sampler), log=log))
        except KilledError:
            kills += 1
        else:
            break
    assert kills > 8
    assert (log.trials, log.fact("outcome")) == (whole.trials, whole.fact("outcome"))


def test_a_finished_study_asks_for_nothing_more() -> None:
    log = whole_run("tpe")
    problem, before = Troubled(), dict(log.trials)
    outcome = finish(study(plan(sampler="tpe"), problem, log))
    assert outcome.state == "done" and log.trials == before and searched(problem) == []


def test_a_trial_is_its_record() -> None:
    log = MemoryLog()
    made = study(plan(TINY, sampler="nsga2", constraints=(Constraint("calls", 2.0),), trials=20), log=log)
    finish(made)
    assert {trial.state for trial in made.trials} >= {"complete", "infeasible", "repeated"}
    assert [Trial.from_dict(record) for record in log.all()] == made.trials


def test_a_graph_that_failed_too_often_is_measured_again() -> None:
    log = MemoryLog()
    first = study(plan(TINY, trials=1), Troubled(lambda graph, split, i: "failed" if i < 4 else None), log)
    assert finish(first).state == "infeasible"
    problem = Troubled()
    second = study(plan(TINY, trials=1), problem, log)
    assert finish(second).state == "done"
    assert searched(problem) == [trial.key for trial in first.trials if trial.state != "repeated"]
    assert {trial.failure_rate for trial in second.trials if trial.state != "repeated"} == {0.0}


@pytest.mark.parametrize("split", ["validation", "test"])
def test_a_closing_that_servers_failed_is_done_on_going_on(split: str) -> None:
    log = MemoryLog()
    outcome = finish(study(plan(), Troubled(lambda graph, at, i: "failed" if at == split and i < 3 else None), log))
    assert (outcome.state, outcome.closing) == ("undone", None)
    assert f"Validation or test was left undone: {split}: " in outcome.reason
    assert outcome.reason.endswith(f"of answers may fail, got {3 / SIZES[split]:.0%}; run it again.")
    assert finish(study(plan(), log=log)).state == "done"
