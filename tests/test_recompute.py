"""Every number that a finished run shows is computed again from its bank, with workers that refuse to be called."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import apportion
from apportion.build import Search, build
from apportion.envs.worker import Reply, Request
from apportion.search.objectives import violations
from apportion.search.problem import Measurement
from apportion.search.trial import Trial
from apportion.spec import load_spec
from apportion.statistics import Interval, paired
from tests.support import Task, quick_retries, rows, server_process, write_task


class Refusing:
    """A worker for runs that have everything already."""

    async def complete(self, request: Request) -> Reply:
        """Fail: nothing may be bought."""
        raise AssertionError(f"the bank must have every draw, but it lacks {request}")

    async def close(self) -> None:
        """Nothing to release."""


def reopened(task: Path, run: Path) -> Search:
    """A run whose models cannot be called any more."""
    search = build(load_spec(task), run)
    endpoints = search.dispatcher.endpoints
    search.dispatcher.endpoints = {name: replace(e, worker=Refusing()) for name, e in endpoints.items()}
    return search


async def measured(search: Search, trial: Trial, split: str) -> Measurement:
    return Measurement([row async for row in search.benchmark.measure(trial.graph, split)])


def as_shown(metrics: Mapping[str, Interval]) -> dict[str, Any]:
    return {name: interval.to_dict() for name, interval in metrics.items()}


async def check(task: Path, run: Path) -> int:
    """Compute everything again; returns how many scores were compared."""
    search = reopened(task, run)
    try:
        folder, compared = search.folder, 0
        shown, ledger, told = folder.outcome, folder.calls.ledger(), folder.told()
        assert shown is not None and shown["state"] == "done"
        await search.run()  # the whole search once more: nothing is asked for, the closing is drawn again
        assert folder.outcome == shown
        assert folder.told() == told
        by_key = {trial.key: trial for trial in told}
        stored = rows(run / "run.sqlite", "SELECT DISTINCT graph, split FROM score")
        for key, split in stored:
            again = await measured(search, by_key[key], split)
            assert again.rows == folder.trials.scores(key, split)
            compared += len(again.rows)
        for trial in told:
            if trial.metrics:
                again = await measured(search, trial, "search")
                assert again.metrics() == trial.metrics
                assert (
                    violations(search.study.plan.constraints, again.metrics(), again.failure_rate) == trial.violations
                )
        await check_closing(search, shown["closing"], {trial.number: trial for trial in told})
        fresh = {spender: sums["calls_fresh"] for spender, sums in folder.calls.ledger().items()}
        assert fresh == {spender: sums["calls_fresh"] for spender, sums in ledger.items()}
        return compared
    finally:
        await search.close()


async def check_closing(search: Search, closing: Mapping[str, Any], by_number: Mapping[int, Trial]) -> None:
    for number, metrics in closing["validation"].items():
        assert as_shown((await measured(search, by_number[int(number)], "validation")).metrics()) == metrics
    winner = by_number[closing["winner"]]
    tested = await measured(search, winner, "test")
    assert as_shown(tested.metrics()) == closing["test"]
    if closing["rival_test"] is not None:
        against = await measured(search, by_number[closing["rival"]], "test")
        assert as_shown(against.metrics()) == closing["rival_test"]
        values = [[value or 0.0 for value in m.values("accuracy")] for m in (tested, against)]
        assert paired(*values).to_dict() == closing["difference"]


def with_every_template(task: Path) -> None:
    text = task.read_text()
    task.write_text(
        text.replace("templates: [single, vote, fuse]", "templates: [single, vote, fuse, best_of_n, refine]")
    )


@pytest.mark.parametrize(
    ("rates", "faults"),
    [("given", ()), ("probed", ("--fault", "503", "--every", "7")), ("given", ("--fault", "length", "--every", "5"))],
    ids=["honest", "probed, some refused", "some truncated"],
)
def test_every_number_of_a_run_can_be_had_again_for_nothing(tmp_path: Path, rates: str, faults: Sequence[str]) -> None:
    with server_process("--reply-ms", "5", *faults) as url, quick_retries():
        task = write_task(tmp_path, url, Task(trials=8, sampler="random", timeout_s=20.0))
        with_every_template(task)
        if rates == "probed":
            text = re.sub(r", rates: \{.*?\}", "", task.read_text())
            task.write_text(text.replace("  - minimize: flops\n", "  - minimize: flops\n  - minimize: latency_s\n"))
        result = apportion.load(task).run(tmp_path / "run")
    assert result.summary.state == "done"
    before = result.to_dict()
    compared = asyncio.run(check(task, tmp_path / "run"))
    assert compared > 50
    after = apportion.open_run(tmp_path / "run").to_dict()
    for said in (before, after):
        del said["ledger"], said["break_even"], said["elapsed_s"]  # using the bank is entered, and takes a while
    assert after == before


def test_the_numbers_of_runs_that_share_a_bank_are_in_the_bank(tmp_path: Path) -> None:
    with server_process("--reply-ms", "5") as url:
        task = write_task(tmp_path, url, Task(trials=6, sampler="random"))
        task.write_text(task.read_text() + "bank: bank.sqlite\n")
        first = apportion.load(task).run(tmp_path / "first")
        task.write_text(task.read_text().replace("finalists: 2", "finalists: 3"))
        second = apportion.load(task).run(tmp_path / "second")
    bought = [result.summary.ledger["candidate"]["calls_fresh"] for result in (first, second)]
    assert bought[0] and bought[1] is not None and bought[1] < bought[0] / 2, "the second finds most of it in the bank"
    assert [t.metrics for t in first.summary.trials] == [t.metrics for t in second.summary.trials]
    asyncio.run(check(task, tmp_path / "second"))
