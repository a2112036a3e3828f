"""Whole searches against a server that commits each of its faults: they end, count every request, believe nothing."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from apportion.build import build
from apportion.cli.common import EXIT
from apportion.search.study import Outcome
from apportion.spec import load_spec
from apportion.testing.answers import FAULTS
from apportion.testing.server import FaultRule, MockServer
from tests.support import Task, quick_retries, rows, write_task

MOST_SECONDS = 60.0
TINY = Task(timeout_s=20.0, trials=1, split="{search: 2, validation: 1, test: 1}", seeds=False)
HURRIED = replace(TINY, timeout_s=0.4)
SILENT = ("hang", "stall")  # these only end by the clock, so they get a machine that is not busy with the others
AT_ONCE = 6

ESTIMATED = {name for name in FAULTS if name.startswith("usage_")}
"""Replies that are whole and only miscounted: the one kind of fault that may pass, flagged."""

WITHOUT_ANSWER = {
    "length": "truncated",
    "content_null": "refused",
    "content_empty": "refused",
    "content_filter": "refused",
    "hang": "timeout",
    "stall": "timeout",
}
"""Faults that are the model's answer, or its lack of one: they count as wrong."""

FOR_GOOD = {"400", "401_echo", "redirect"}
"""Faults that no retry can mend."""

PASSING = sorted(set(FAULTS) - ESTIMATED - FOR_GOOD - {"length", "content_null", "content_empty", "content_filter"})
"""Faults after which the same request is sent again."""


@dataclass(frozen=True)
class Seen:
    """What a search left behind, and what its server counted."""

    outcome: Outcome
    requests: int
    attempts: int
    store: Path

    def scores(self) -> list[tuple[Any, ...]]:
        return rows(self.store, "SELECT graph, split, example, status, answer, metrics FROM score ORDER BY 1, 2, 3")

    def statuses(self) -> set[str]:
        return {status for _, _, _, status, _, _ in self.scores()}


async def search(folder: Path, task: Task, *faults: FaultRule) -> Seen:
    async with MockServer(faults=faults) as server:
        run = build(load_spec(write_task(folder, server.url, task)), folder / "run")
        try:
            outcome = await run.run()
            attempts = sum(int(sums["attempts"] or 0) for sums in run.folder.calls.ledger().values())
        finally:
            await run.close()
        return Seen(outcome, server.requests, attempts, folder / "run" / "run.sqlite")


@pytest.fixture(scope="module")
def quick() -> Iterator[None]:
    """Retries without long pauses, and a smaller idea of what is too large."""
    with quick_retries(), pytest.MonkeyPatch.context() as patch:
        patch.setattr("apportion.envs.openai.MAX_REPLY_BYTES", 1 << 17)
        patch.setattr("apportion.testing.answers.OVERSIZED_BYTES", 1 << 18)
        yield


def side_by_side(folder: Path, names: list[str], first: int | None) -> dict[str, Seen]:
    seen: dict[str, Seen] = {}

    async def run(task: Task, queue: Iterator[str]) -> None:
        for name in queue:  # shared: each worker takes the next
            seen[name] = await search(folder / name, task, FaultRule(name, first=first))

    async def run_all() -> None:
        loud = iter([name for name in names if name not in SILENT])
        async with asyncio.timeout(MOST_SECONDS):
            await asyncio.gather(*(run(TINY, loud) for _ in range(AT_ONCE)))
            await asyncio.gather(*(run(HURRIED, iter([name])) for name in SILENT))

    asyncio.run(run_all())
    return seen


@pytest.fixture(scope="module")
def always(quick: None, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Seen]:
    """A search against each fault on every request."""
    return side_by_side(tmp_path_factory.mktemp("always"), list(FAULTS), None)


@pytest.fixture(scope="module")
def once(quick: None, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Seen]:
    """A search against each fault that passes, on the first request of each kind."""
    return side_by_side(tmp_path_factory.mktemp("once"), PASSING, 1)


@pytest.fixture(scope="module")
def honest(quick: None, tmp_path_factory: pytest.TempPathFactory) -> Seen:
    """The same search without a fault."""
    return asyncio.run(search(tmp_path_factory.mktemp("honest"), TINY))


def test_an_honest_server(honest: Seen) -> None:
    assert honest.outcome.state == "done"
    assert honest.requests == honest.attempts
    assert honest.statuses() == {"ok"}
    assert rows(honest.store, "SELECT DISTINCT usage_estimated FROM result") == [(0,)]


@pytest.mark.parametrize("fault", FAULTS)
def test_a_search_against_a_fault_ends_and_counts_every_request(always: dict[str, Seen], fault: str) -> None:
    seen = always[fault]
    assert EXIT[seen.outcome.state] in (0, 3, 4)
    assert seen.requests == seen.attempts > 0
    in_flight = "SELECT count(*) FROM call WHERE id NOT IN (SELECT call FROM attempt WHERE final)"
    assert rows(seen.store, in_flight) == [(0,)]


@pytest.mark.parametrize("fault", FAULTS)
def test_no_fault_counts_as_a_good_reply(always: dict[str, Seen], fault: str) -> None:
    seen = always[fault]
    banked = rows(seen.store, "SELECT status, usage_estimated FROM result")
    if fault in ESTIMATED:
        assert seen.outcome.state == "done"
        assert seen.statuses() == {"ok"}
        assert set(banked) == {("ok", 1)}
    elif fault in WITHOUT_ANSWER:
        assert seen.statuses() == {WITHOUT_ANSWER[fault]}
        assert all(status == WITHOUT_ANSWER[fault] for status, _ in banked)
        assert all(trial["metrics"]["accuracy"]["mean"] == 0.0 for trial in trials(seen))
    else:
        assert seen.outcome.state == "infeasible"
        assert seen.statuses() == {"failed"}
        assert banked == []
        assert all(trial["state"] == "failed" and trial["metrics"] == {} for trial in trials(seen))


@pytest.mark.parametrize("fault", PASSING)
def test_a_fault_that_passes_leaves_no_trace_in_the_numbers(once: dict[str, Seen], honest: Seen, fault: str) -> None:
    seen = once[fault]
    assert seen.outcome.state == "done"
    assert seen.scores() == honest.scores()
    assert [t["metrics"] for t in trials(seen)] == [t["metrics"] for t in trials(honest)]
    ((bodies,),) = rows(seen.store, "SELECT count(*) FROM prompt")  # without seeds, samples of a prompt share a body
    assert seen.requests == seen.attempts == honest.requests + bodies


# --- outages ---------------------------------------------------------------------------------------------------------


class Down(FaultRule):
    """A fault on every request after the first so many."""

    def strikes(self, nth: int, nth_of_body: int) -> bool:
        """Whether the server is down by now."""
        return nth > (self.first or 0)


async def session(folder: Path, port: int, *faults: FaultRule, gone_after: int | None = None) -> Outcome:
    """One session of a search, against a server that stops listening after so many requests."""
    async with contextlib.AsyncExitStack() as stack:
        server = await stack.enter_async_context(MockServer(port=port, faults=faults))
        run = build(load_spec(folder / "task.yaml"), folder / "run")
        try:
            search = asyncio.ensure_future(run.run())
            while gone_after is not None and server.requests < gone_after and not search.done():
                await asyncio.sleep(0.001)
            if gone_after is not None:
                await stack.aclose()
            return await search
        finally:
            await run.close()


async def outage(folder: Path, *faults: FaultRule, gone_after: int | None = None) -> tuple[Outcome, Seen]:
    """A session with an outage, and the next one without."""
    async with MockServer() as server:
        write_task(folder, server.url, replace(TINY, sampler="random"))
        port = int(server.url.split(":")[2].split("/")[0])
    first = await session(folder, port, *faults, gone_after=gone_after)
    second = await session(folder, port)
    return first, Seen(second, 0, 0, folder / "run" / "run.sqlite")


def check_made_up_for(first: Outcome, seen: Seen, honest: Seen) -> None:
    """What could not be measured was owed, and in the end the numbers are those without an outage."""
    assert EXIT[first.state] in (3, 4)
    assert seen.outcome.state == "done"
    assert seen.statuses() == {"ok"}
    assert {trial["state"] for trial in trials(seen)} == {"complete"}
    # A vote may have been held among fewer samples while the server was away; single answers are as they should be.
    singles = {trial["number"] for trial in trials(honest) if trial["label"].startswith("one call")}
    assert [trials(seen)[n] for n in singles] == [trials(honest)[n] for n in singles]


@pytest.mark.parametrize("requests", [0, 1, 3, 7, 12, 20, 26, 30])
def test_a_server_that_refuses_for_a_while(quick: None, honest: Seen, tmp_path: Path, requests: int) -> None:
    check_made_up_for(*asyncio.run(outage(tmp_path, Down("503", first=requests))), honest)


@pytest.mark.parametrize("requests", [0, 9, 29])
def test_a_server_that_is_gone_for_a_while(quick: None, honest: Seen, tmp_path: Path, requests: int) -> None:
    check_made_up_for(*asyncio.run(outage(tmp_path, gone_after=requests)), honest)


def trials(seen: Seen) -> list[dict[str, Any]]:
    return [json.loads(record) for (record,) in rows(seen.store, "SELECT record FROM trial ORDER BY number")]
