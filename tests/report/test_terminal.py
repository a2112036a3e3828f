"""What a run says of itself in a terminal and in a notebook: its tables, replies that were lost, lines of trials."""

from __future__ import annotations

import asyncio
import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from html import escape
from pathlib import Path

import pytest
from rich.console import Console

import apportion
from apportion.agent.nudge import Nudge
from apportion.agent.tts.history import Origin, Source, Tried
from apportion.api import Result
from apportion.build import build
from apportion.report.agency import Agency, Followed
from apportion.report.html import to_html
from apportion.report.summary import Summary
from apportion.report.terminal import (
    MOST_GUIDELINES,
    LiveView,
    guidelines_table,
    losses,
    named,
    number,
    show,
    spread,
)
from apportion.search.trial import PAPER, Trial, describe
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


def printed(summary: Summary, width: int) -> str:
    """A run as a terminal of that width shows it."""
    text = io.StringIO()
    show(summary, Console(file=text, width=width, force_jupyter=False))
    return text.getvalue()


@pytest.mark.parametrize("width", [80, 120, 160])
def test_no_number_is_cut_and_none_is_wrapped(result: Result, width: int) -> None:
    spent = dict.fromkeys(result.summary.ledger["candidate"], 123_456_789)
    summary = replace(result.summary, ledger={**result.summary.ledger, "candidate": spent})
    text = printed(summary, width)
    assert "\u2026" not in text and max(map(len, text.splitlines())) <= width
    assert text.count("123,456,789") == len(spent) > 8
    for trial in (*summary.front, *summary.baselines):
        cells = [spread(trial.metrics["accuracy"]), number(trial.mean("flops")), number(trial.mean("calls"))]
        assert re.search(rf"^ *{trial.number} +" + " +".join(map(re.escape, cells)) + " ", text, re.MULTILINE)


def test_a_baseline_over_the_budget_is_marked(result: Result) -> None:
    first, *others = result.summary.baselines
    over = replace(first, state="infeasible", violations={"flops": 0.5})
    trials = [over if trial.number == first.number else trial for trial in result.summary.trials]
    text = printed(replace(result.summary, trials=trials), 160)
    assert text.count("(over the budget)") == 1 and f"{first.label} (over the budget): " in text
    assert others and "(over the budget)" not in printed(result.summary, 160)
    assert f"{escape(first.label)} (over the budget): " in to_html(replace(result.summary, trials=trials))
    assert named(replace(over, violations={"failures": 0.1})).startswith(f"{first.label} (too many failures): ")
    assert named(replace(over, baseline=False)) == describe(over)


def test_metrics_for_which_there_is_no_room_are_named(result: Result) -> None:
    narrow, wide = printed(result.summary, 80), printed(result.summary, 160)
    (line,) = re.findall(r"^For (.*) there is no room", narrow, re.MULTILINE)
    left = line.split(", ")
    assert left == result.summary.metrics[-len(left) :] and "accuracy" not in left
    assert "no room" not in wide
    for text, there in ((narrow, False), (wide, True)):
        header = next(line for line in text.splitlines() if line.startswith("trial"))
        assert [name in header for name in left] == [there] * len(left)


def test_objectives_are_shown_however_narrow_it_is(result: Result) -> None:
    assert re.search(r"^trial +accuracy +flops +graph", printed(result.summary, 50), re.MULTILINE)


def test_the_ledger_is_of_the_same_rows_in_a_notebook(result: Result) -> None:
    page, sums = result._repr_html_(), result.summary.ledger
    assert "<th></th>" + "".join(f"<th>{spender}</th>" for spender in sums) in page
    for name in sums["candidate"]:
        cells = "".join(f"<td>{number(own[name])}</td>" for own in sums.values())
        assert f"<td>{name.replace('_', ' ')}</td>{cells}" in page


def test_a_guideline_is_shown_once_and_not_all_are() -> None:
    def tried(round_: int, guideline: str, score: float | None, expected: float | None = None) -> Tried:
        source: Source = "agent" if round_ else "initial"
        return Tried(round_, {}, None, score, Origin(round_, source, guideline, expected=expected))

    own = [tried(0, "", None), tried(1, "Vote.", 0.2, 0.5), tried(2, "Fuse.", 0.25), tried(3, "Vote.", 0.75, 0.25)]
    others = [tried(4, f"Rule {i}.", 0.1) for i in range(MOST_GUIDELINES)]
    followed = Agency("a", 4, 8, [], [*own, *others], [], Nudge()).followed

    def lines(of: Sequence[Followed]) -> list[str]:
        text = io.StringIO()
        Console(file=text, width=80, force_jupyter=False).print(guidelines_table(of))
        return [" ".join(line.split()) for line in text.getvalue().splitlines()][3:]

    best = ["2 1-3 0.375 0.475 0.75 Vote.", "1 2 - 0.25 0.25 Fuse."]
    assert lines(followed)[:2] == best and len(lines(followed)) == MOST_GUIDELINES + 1
    assert lines(followed)[-1] == "and 3 more; --json has all."
    assert lines([*followed[:2], *followed[-1:]]) == [*best, "1 0 - - - (initial trials)"]


def test_the_repr_of_a_trial_is_a_line(result: Result) -> None:
    trial = result.summary.baselines[0]
    assert repr(trial) == (
        f"<Trial {trial.number} complete, one call of small"
        + "".join(f", {name} {interval.mean:.3g}" for name, interval in trial.metrics.items())
        + f"; {describe(trial)}>"
    )
    assert repr(replace(trial, metrics={}, label="a\nb")).startswith(
        "<Trial 0 complete, a\\nb; hint: generator small > "
    )


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
    assert f"  ({calls} fresh, 0 banked)  " in first
    assert all(line.endswith(describe(trial)) for line, trial in zip((first, late), trials[:1] * 2, strict=True))
    assert any(" 0 banked)" not in line for line in others)
    assert "fresh" not in refused
    assert "banked)" in late, "validation and test"


@pytest.mark.parametrize("terminal", [True, False])
def test_why_calls_failed_stands_before_what_may_be_cut(terminal: bool, tmp_path: Path) -> None:  # noqa: FBT001
    text = io.StringIO()

    async def run(path: Path) -> None:
        search = build(load_spec(path, ["limits.trials=1"]), tmp_path / "run")
        view = LiveView(
            search, Console(file=text, width=80, force_terminal=terminal, force_jupyter=False, color_system=None)
        )
        search.study.on_trial = view.on_trial
        try:
            await search.run()
        finally:
            await search.close()

    with server_process("--fault", "400", "--every", "3") as url:
        asyncio.run(run(write_task(tmp_path / "task", url, Task(sampler="random"))))
    first, *others = text.getvalue().splitlines()
    assert re.match(r"trial 0   infeasible  \d calls failed \(rejected\)\.  \d+% of its answers failed, ", first)
    assert all(line.startswith("trial ") for line in others)
    assert terminal == (len(first) <= 80) == first.endswith("\u2026")
