"""What a run says of itself in a terminal and in a notebook: replies that were lost, and what a trial bought."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

import apportion
from apportion.api import Result
from apportion.build import build
from apportion.report.terminal import LiveView, losses
from apportion.search.trial import PAPER, Trial
from apportion.spec import load_spec
from tests.support import Task, server_process, write_task

ENDS = ("ok", "truncated", "refused", "unparsed", "timeout", "failed")


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with server_process("--fault", "length", "--every", "3") as url:
        yield write_task(tmp_path_factory.mktemp("task"), url, Task(trials=2, sampler="random"))


@pytest.fixture(scope="module")
def result(task: Path) -> Result:
    return apportion.load(task).run(task.parent / "run")


def test_truncated_replies_are_said_where_a_user_looks(result: Result) -> None:
    said = [line for line in losses(result.summary) if "truncated" in line]
    assert {line.partition(" replies of ")[2] for line in said} >= {
        "small in hint were truncated, so that its graphs look cheap; raise `max_tokens` of that stage.",
        "large in answer were truncated, so that its graphs look cheap; raise `max_tokens` of that stage.",
    }
    assert said[0] in repr(result) and said[0].replace("`", "") in result._repr_html_().replace("`", "")
    shown = result.to_dict()["replies"]
    assert [(of["stage"], of["model"]) for of in shown] == sorted((of["stage"], of["model"]) for of in shown)
    assert sum(of.get("truncated", 0) for of in shown) == pytest.approx(
        sum(of.get(end, 0) for of in shown for end in ENDS) / 3, rel=0.3
    )


@pytest.mark.parametrize("end", ENDS[1:])
def test_what_is_lost_is_said_above_one_in_a_hundred(result: Result, end: str) -> None:
    def said(lost: int) -> list[str]:
        ends = {("answer", "small", "ok"): 1000 - lost, ("answer", "small", end): lost}
        return losses(replace(result.summary, ends=ends))

    assert said(0) == said(10) == []
    (line,) = said(11)
    assert line.startswith("Warning: 1.1% of 1,000 replies of small in answer ") and line.endswith(".") and ";" in line


def test_a_run_without_loss_has_no_warning(result: Result) -> None:
    clean = replace(result.summary, ends={("answer", "small", "ok"): 9})
    assert losses(clean) == losses(replace(result.summary, ends={})) == [] and "Warning" not in repr(Result(clean))


def test_a_trial_says_what_it_bought_itself(task: Path) -> None:
    text = io.StringIO()

    async def run() -> list[Trial]:
        search = build(load_spec(task, ["limits.trials=1"]), task.parent / "live")
        view = LiveView(search, Console(file=text, width=500, force_jupyter=False))
        search.study.on_trial = view.on_trial
        try:
            await search.run()
            view.on_trial(replace(search.study.trials[0], violations={PAPER: 1.0}))
            view.on_trial(search.study.trials[0])
            return search.study.trials
        finally:
            await search.close()

    trials = asyncio.run(run())
    first, *others, refused, late = text.getvalue().splitlines()
    calls = round(6 * trials[0].mean("calls"))
    assert first.endswith(f"({calls} calls fresh, 0 banked)")
    assert any(not line.endswith(" 0 banked)") for line in others)
    assert "calls fresh" not in refused
    assert late.endswith("banked)"), "validation and test"
