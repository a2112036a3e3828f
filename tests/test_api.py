"""What a result shows of a run: where the spend goes, how the search moved, and what it did not measure."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

import apportion
from apportion.api import Result
from apportion.build import build
from apportion.errors import ApportionError
from apportion.graphs import drawing
from apportion.report.terminal import refusals
from apportion.search.engine import REFUSED
from apportion.search.reinforce.sampler import ReinforceSampler
from apportion.spec import load_spec
from tests.support import Task, server_process, write_task

BUDGET = "budget.flops=4e11"


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with server_process() as url:
        yield write_task(tmp_path_factory.mktemp("task"), url, Task(trials=20))


def searched(task: Path, sampler: str) -> tuple[Result, ReinforceSampler]:
    """A run, and the sampler that searched in it."""

    async def run() -> ReinforceSampler:
        search = build(load_spec(task, [BUDGET, f"search.sampler={sampler}"]), task.parent / sampler)
        try:
            await search.run()
        finally:
            await search.close()
        made, study = search.study._engine._made, search.study._engine._study
        assert isinstance(made, ReinforceSampler)
        made.fold(study)
        return made

    sampler_then = asyncio.run(run())
    return apportion.open_run(task.parent / sampler), sampler_then


@pytest.fixture(scope="module")
def result(task: Path) -> Result:
    return apportion.load(task, [BUDGET, "limits.trials=6"]).run(task.parent / "tpe")


# --- where the spend goes --------------------------------------------------------------------------------------------


def test_a_picture_tells_where_the_flops_go(result: Result) -> None:
    best = result.best
    assert best is not None
    shares = result.summary.shares(best.graph)
    assert result.picture() == result.picture(best) == drawing.of_graph(best.graph, shares)
    assert sum(shares.values()) == pytest.approx(1.0) and "% of the cost" in result.picture().svg()
    assert result.picture().svg() in result._repr_html_()
    other = result.baselines[0]
    assert result.picture(other) == drawing.of_graph(other.graph, result.summary.shares(other.graph))


def test_a_trial_may_be_given_by_its_number(result: Result) -> None:
    first, *_, last = result.summary.trials
    trials = [replace(first, state="infeasible"), replace(result.baselines[3], number=1, state="complete")]
    two = Result(replace(result.summary, trials=trials, closing=None))
    assert two.picture(0) == two.picture(trials[0]) != two.picture(1) == two.picture()
    assert result.picture_of_difference(0, last.number) == result.picture_of_difference(first, last)
    assert result.difference(0, 1) == result.difference(first, result.summary.by_number(1))
    said = rf"^a trial's number must be from 0 to {last.number}, got 99; choose another\.$"
    for shown in (result.picture, lambda n: result.difference(0, n), lambda n: result.picture_of_difference(n, 0)):
        with pytest.raises(ApportionError, match=said):
            shown(99)
    with pytest.raises(ApportionError, match="of a trial, and this run has none, got 0"):
        Result(replace(result.summary, trials=[])).picture(0)


def test_shares_follow_the_draws_of_the_run(result: Result) -> None:
    """Replies of the mock server are shorter than they may be, which the guess does not know."""
    known = result.summary.lengths.known
    assert {("hint",), ("answer", "generator"), ("answer", "generator", "large")} <= known.keys()
    assert 0 < known["answer", "generator"].completion_tokens < 16


def test_the_spend_by_stage_and_model(result: Result) -> None:
    best = result.best
    assert best is not None
    spent = result.share_of_spend()
    assert list(spent) == ["hint", "answer"]
    assert sum(share for of in spent.values() for share in of.values()) == pytest.approx(1.0)
    for stage, of in spent.items():
        assert of.keys() == {node.model for node in best.graph.nodes if node.stage == stage and node.model}


def test_the_difference_of_two_graphs(result: Result) -> None:
    a, b = result.baselines[0], result.baselines[-1]
    assert result.picture_of_difference(a, b) == drawing.difference(a.graph, b.graph)


def test_without_a_winner(task: Path) -> None:
    result = apportion.load(task, ["budget.flops=4e10", "limits.trials=2"]).run(task.parent / "none")
    for shown in (result.picture, result.share_of_spend):
        with pytest.raises(ApportionError, match=r"a run must have a feasible graph, but .* has none; name a trial"):
            shown()
    assert result.picture(result.baselines[0]).boxes


# --- how the search moved --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sampler", ["reinforce", "gptswarm"])
def test_the_distribution_is_the_one_that_was_drawn_from(task: Path, sampler: str) -> None:
    result, then = searched(task, sampler)
    assert result.distribution().probabilities() == then.distribution.probabilities()
    assert result.distribution().mode() == then.distribution.mode()  # within the same budget
    figure = result.plot_evolution()
    titles = [axes.get_title() for axes in figure.axes]
    assert titles == ["hint: template", "hint: model", "answer: template", "answer: model"]
    start, end = figure.axes[0].get_xlim()
    assert start == 0 and 8 <= end <= len(result.summary.trials)


def test_other_samplers_keep_no_distribution(result: Result) -> None:
    for shown in (result.plot_evolution, result.distribution):
        with pytest.raises(ApportionError, match=r"^a distribution is kept by reinforce, .*, but .* is tpe; "):
            shown()


# --- what was not measured -------------------------------------------------------------------------------------------


def test_refused_proposals_are_counted(result: Result) -> None:
    summary = result.summary
    on_paper = sum("on paper" in trial.reason for trial in summary.trials)
    assert summary.refused == ({"on_paper": on_paper} if on_paper else {})
    first, *rest = summary.trials
    strange = replace(summary, trials=[replace(first, memory={REFUSED: [{}] * 1200}), *rest])
    assert strange.refused == {"no_graph": 1200, **summary.refused}
    assert refusals(strange)[0].startswith("Proposals not measured: 1,200 no graph")
    assert refusals(strange)[0] in repr(Result(strange)) and refusals(strange)[0] in Result(strange)._repr_html_()
    assert json.loads(json.dumps(strange.to_dict()))["refused"] == strange.refused


def test_nothing_is_said_where_nothing_was_refused(result: Result) -> None:
    clean = replace(result.summary, trials=result.baselines, closing=None)
    assert clean.refused == {} and refusals(clean) == [] and "not measured" not in repr(Result(clean))
