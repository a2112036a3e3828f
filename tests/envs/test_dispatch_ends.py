"""Purchases that are left, cut short, refused by a limit or by the disk: the ledger is whole in the end."""

from __future__ import annotations

import asyncio
import contextlib
import time
from pathlib import Path
from typing import cast

import pytest

from apportion.envs import parsers
from apportion.envs.dispatch import Dispatcher
from apportion.envs.environment import Environment
from apportion.envs.limits import Limits, Spend
from apportion.envs.roles import OPERATORS, Job, NodeRun
from apportion.envs.stage import Example, Stage
from apportion.envs.worker import Reply, Request
from apportion.errors import LimitReached, StoreError
from apportion.graphs.graph import Graph, Node
from apportion.store import Calls, Draw, Memory, MemoryCalls
from apportion.store.calls import SCHEMA
from apportion.store.database import Database
from apportion.testing.fakes import FakeWorker, ScriptedWorker
from tests.envs.kit import GOOD, bought, entries, failing, one, saying
from tests.support import SAMPLING, dispatcher, open_calls, rows, tiny_disk

STAGE = Stage("s", "{q}", parsers.text, SAMPLING)


def test_a_purchase_goes_on_when_one_of_two_waiters_leaves(tmp_path: Path) -> None:
    worker = saying("said", 0.05)

    async def run(give: Dispatcher) -> Draw:
        leaver, stayer = (asyncio.ensure_future(one(give)) for _ in range(2))
        await asyncio.sleep(0.02)
        leaver.cancel()
        draw = await stayer
        assert leaver.cancelled()
        return draw

    with open_calls(tmp_path / "a.sqlite") as calls:
        assert asyncio.run(run(dispatcher(calls, worker))).status == "ok"
    assert len(worker.requests) == 1
    assert entries(tmp_path / "a.sqlite") == [("ok", "yes", 1)]


def test_a_purchase_that_all_have_left_is_kept_for_the_next(tmp_path: Path) -> None:
    worker = saying("said", 0.05)

    async def run(give: Dispatcher) -> Draw:
        leaver = asyncio.ensure_future(one(give))
        await asyncio.sleep(0.02)
        leaver.cancel()
        await asyncio.sleep(0.01)
        return await one(give)

    with open_calls(tmp_path / "a.sqlite") as calls:
        assert asyncio.run(run(dispatcher(calls, worker))).status == "ok"
    assert len(worker.requests) == 1


def test_who_asks_while_a_failure_that_all_have_left_is_entered_is_served_afresh(tmp_path: Path) -> None:
    """That purchase was given up after one request, as nobody was there to wait for another."""
    path = tmp_path / "a.sqlite"

    class Slow(ScriptedWorker):
        async def complete(self, request: Request) -> Reply:
            await asyncio.sleep(0.02)
            database.post(lambda connection: time.sleep(0.05))  # a slow disk
            return await super().complete(request)

    async def run(give: Dispatcher) -> Draw:
        leaver = asyncio.ensure_future(one(give))
        while not give.in_flight:
            await asyncio.sleep(0)
        leaver.cancel()
        while give.in_flight:
            await asyncio.sleep(0)
        return await one(give)

    with contextlib.closing(Database(path, SCHEMA)) as database:
        give = dispatcher(Calls(database, "run"), Slow([failing("server"), GOOD]))
        assert asyncio.run(asyncio.wait_for(run(give), 10)).status == "ok"
    assert entries(path) == [("server", "no", 1), ("ok", "yes", 1)]


def test_a_purchase_that_nobody_wants_any_more_is_not_sent(tmp_path: Path) -> None:
    worker = saying("said", 0.05)

    async def run(give: Dispatcher) -> None:
        stayer, leaver = (asyncio.ensure_future(one(give, text)) for text in ("first", "second"))
        await asyncio.sleep(0.02)  # there is one slot, and the first has it
        leaver.cancel()
        await stayer
        await asyncio.sleep(0.02)

    with open_calls(tmp_path / "a.sqlite") as calls:
        asyncio.run(run(dispatcher(calls, worker, concurrency=1)))
        assert calls.ledger()["candidate"]["attempts"] == 1
    assert [request.messages[0].content for request in worker.requests] == ["first"]
    assert rows(tmp_path / "a.sqlite", "SELECT count(*) FROM call") == [(1,)]


@pytest.mark.parametrize("books", ["on disk", "in memory"])
def test_who_leaves_takes_nothing_with_him(tmp_path: Path, books: str) -> None:
    """Neither what is set aside for a call that was never sent, nor the buyer that others wait for."""
    worker = saying("said", 0.05)

    async def run(give: Dispatcher) -> list[Draw]:
        stayers = [asyncio.ensure_future(one(give, f"first {n}")) for n in range(2)]
        leavers = [asyncio.ensure_future(one(give, f"left {n}")) for n in range(5)]
        last = [asyncio.ensure_future(one(give, f"last {n}")) for n in range(2)]
        await asyncio.sleep(0.02)  # one is sent; one more may be booked; the others are in line
        for leaver in leavers:
            leaver.cancel()
        draws = await asyncio.gather(*stayers, *last)
        stayers[0], late = (asyncio.ensure_future(one(give, f"late {n}")) for n in range(2))
        await asyncio.sleep(0.02)
        late.cancel()
        draws.append(await stayers[0])
        await give.allowance.reserve(Spend(95))  # nothing else is reserved, or this would wait for ever
        return draws

    with open_calls(tmp_path / "a.sqlite") as on_disk:
        calls = on_disk if books == "on disk" else MemoryCalls(Memory(), "run")
        give = dispatcher(calls, worker, Limits(calls=100), concurrency=1)
        draws = asyncio.run(asyncio.wait_for(run(give), 10))
        sums = calls.ledger()["candidate"]
    assert [draw.status for draw in draws] == ["ok"] * 5
    assert sums["attempts"] == sums["calls_fresh"] == len(worker.requests) == 5


def test_a_loop_that_ends_before_a_purchase_begins_leaves_no_buyer_behind() -> None:
    """Else the line would be served by one who is gone, and the next loop would wait for ever."""
    give = dispatcher(MemoryCalls(Memory(), "run"), saying(), concurrency=1)

    async def leave() -> asyncio.Future[Draw]:
        return asyncio.ensure_future(one(give))  # its first step is the last turn of this loop

    assert asyncio.run(leave()).cancelled()
    assert asyncio.run(asyncio.wait_for(one(give, "another"), 10)).status == "ok"


@pytest.mark.parametrize("books", ["on disk", "in memory"])
def test_a_dispatcher_outlives_its_event_loops(tmp_path: Path, books: str) -> None:
    """Whether a loop ends with all done or cuts short what is sent, booked and in line."""
    worker = saying("said", 0.005)

    async def cut_short(give: Dispatcher, session: int) -> list[asyncio.Task[Draw]]:
        left = [asyncio.ensure_future(one(give, f"left {session} {n}")) for n in range(6)]
        await asyncio.sleep(0.008)
        return left

    async def all_done(give: Dispatcher, session: int) -> list[Draw]:
        return await asyncio.wait_for(asyncio.gather(*(one(give, f"{session} {n}") for n in range(6))), 10)

    with open_calls(tmp_path / "a.sqlite") as on_disk:
        give = dispatcher(on_disk if books == "on disk" else MemoryCalls(Memory(), "run"), worker, concurrency=1)
        for session in range(3):
            assert any(left.cancelled() for left in asyncio.run(cut_short(give, session)))
            assert [draw.status for draw in asyncio.run(all_done(give, session))] == ["ok"] * 6


@pytest.mark.parametrize("books", ["on disk", "in memory"])
def test_who_tries_again_and_who_is_booked_do_not_wait_for_each_other(tmp_path: Path, books: str) -> None:
    """The one for room under the cap, the other for the only slot."""
    worker = ScriptedWorker([failing("server"), GOOD])

    async def run(give: Dispatcher) -> list[Draw | BaseException]:
        return [*await asyncio.gather(one(give, "first"), one(give, "second"), return_exceptions=True)]

    with open_calls(tmp_path / "a.sqlite") as on_disk:
        calls = on_disk if books == "on disk" else MemoryCalls(Memory(), "run")
        give = dispatcher(calls, worker, Limits(calls=2), concurrency=1, backoff_s=0.05)
        ended = asyncio.run(asyncio.wait_for(run(give), 10))
    assert sorted(type(end).__name__ for end in ended) == ["Draw", "LimitReached"]


def test_a_buyer_survives_those_who_leave_though_the_books_fail() -> None:
    """That he was stopped for one who left is over with that purchase, even where the books raise an error."""

    class Torn(MemoryCalls):
        def abandon(self, call: int) -> None:
            if call == 1:
                raise StoreError("the disk is gone")
            super().abandon(call)

    worker = ScriptedWorker([failing("server", retry_after_s=60.0), failing("server", retry_after_s=60.0), GOOD])

    async def run(give: Dispatcher) -> Draw:
        leavers = [asyncio.ensure_future(one(give, f"left {n}")) for n in range(2)]
        last = asyncio.ensure_future(one(give, "last"))
        for leaver in leavers:
            await asyncio.sleep(0.02)
            leaver.cancel()
        return await last

    give = dispatcher(Torn(Memory(), "run"), worker, concurrency=1)
    assert asyncio.run(asyncio.wait_for(run(give), 10)).status == "ok"


def test_nothing_more_is_bought_for_a_graph_that_was_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Though an operator holds out against being cancelled: what reads it does not start."""
    fine = OPERATORS["refiner"]
    begun = asyncio.Event()

    async def stubborn(job: Job) -> NodeRun:
        begun.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return await fine(job)
        raise AssertionError("unreachable")

    async def run(give: Dispatcher) -> None:
        running = asyncio.ensure_future(Environment({"s": STAGE}, give).run(graph, Example("x", {"q": "why"})))
        await begun.wait()
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        await asyncio.sleep(0.02)

    graph = Graph(
        (
            Node("d", "s", "generator", "m"),
            Node("r", "s", "refiner", "m", inputs=("d",)),
            *(Node(name, "s", "decider", "m", inputs=("r",)) for name in ("one", "other")),
            Node("v", "s", "voter", inputs=("one", "other")),
        )
    )
    monkeypatch.setitem(OPERATORS, "refiner", stubborn)
    worker = saying()
    asyncio.run(asyncio.wait_for(run(dispatcher(MemoryCalls(Memory(), "run"), worker)), 10))
    assert len(worker.requests) == 2


def test_a_worker_that_is_cancelled_from_within_ends_its_purchase_only(tmp_path: Path) -> None:
    class Fickle(FakeWorker):
        async def complete(self, request: Request) -> Reply:
            if "odd" in request.messages[0].content:
                raise asyncio.CancelledError
            return await super().complete(request)

    async def run(give: Dispatcher) -> list[object]:
        asked = (one(give, text) for text in ("odd", "even", "odd too", "even too"))
        return await asyncio.gather(*asked, return_exceptions=True)

    with open_calls(tmp_path / "a.sqlite") as calls:
        give = dispatcher(calls, Fickle(lambda request: "said"), concurrency=1)
        ended = asyncio.run(asyncio.wait_for(run(give), 10))
    assert [type(end) for end in ended] == [asyncio.CancelledError, Draw, asyncio.CancelledError, Draw]


def test_closing_books_what_is_in_flight_as_lost_and_strikes_what_was_not_sent(tmp_path: Path) -> None:
    path = tmp_path / "a.sqlite"

    async def run(give: Dispatcher) -> None:
        waiting = [asyncio.ensure_future(one(give, f"question {n}")) for n in range(10)]
        await asyncio.sleep(0.1)
        assert give.in_flight == 4
        await give.close()
        ended = await asyncio.gather(*waiting, return_exceptions=True)
        assert all(isinstance(e, asyncio.CancelledError) for e in ended)
        assert give.in_flight == 0

    with open_calls(path) as calls:
        give = dispatcher(calls, saying("said", 60.0), Limits(calls=100))
        asyncio.run(run(give))
        sums = calls.ledger()["candidate"]
        assert (sums["calls_lost"], sums["calls_fresh"], sums["calls_failed"], sums["attempts"]) == (4, 0, 0, 4)
        assert give.allowance.spent.calls == 4
        assert cast(float, sums["usd"]) > 0
    assert entries(path) == [("lost", "possibly", 1)] * 4
    assert rows(path, "SELECT count(*) FROM call") == [(4,)]
    draw, _ = bought(path, [GOOD])
    assert draw.status == "ok"


def test_closing_in_a_pause_between_retries_leaves_the_attempts_that_were_made(tmp_path: Path) -> None:
    path = tmp_path / "a.sqlite"

    async def run(give: Dispatcher) -> None:
        waiting = asyncio.ensure_future(one(give))
        await asyncio.sleep(0.05)
        await give.close()
        with pytest.raises(asyncio.CancelledError):
            await waiting

    with open_calls(path) as calls:
        asyncio.run(run(dispatcher(calls, ScriptedWorker([failing("server", retry_after_s=60.0)]))))
        assert calls.ledger()["candidate"]["calls_failed"] == 1
    assert entries(path) == [("server", "no", 1)]


def test_a_limit_met_while_retrying_leaves_a_whole_ledger(tmp_path: Path) -> None:
    path = tmp_path / "a.sqlite"
    with pytest.raises(LimitReached, match=r"limits\.calls"):
        bought(path, [failing("server")] * 3, Limits(calls=3))
    assert entries(path) == [("server", "no", 0), ("server", "no", 0), ("server", "no", 1)]
    with open_calls(path) as calls:
        sums = calls.ledger()["candidate"]
        assert (sums["attempts"], sums["calls_failed"], sums["calls_fresh"]) == (3, 1, 0)
        assert dispatcher(calls, ScriptedWorker([])).write_off() == 0


def test_a_request_is_on_disk_before_it_is_made_again(tmp_path: Path) -> None:
    """Else a kill in between would forget what may have been billed, and so refill a limit."""
    path = tmp_path / "a.sqlite"
    seen: list[int] = []

    class Looking(ScriptedWorker):
        async def complete(self, request: Request) -> Reply:
            seen.append(len(entries(path)))
            database.post(lambda connection: time.sleep(0.05))  # a slow disk
            return await super().complete(request)

    with contextlib.closing(Database(path, SCHEMA)) as database:
        broken = failing("timeout", retry_after_s=0.0)
        give = dispatcher(Calls(database, "run"), Looking([broken, broken, GOOD]), backoff_s=1e-6)
        assert asyncio.run(one(give)).status == "ok"
    assert seen == [0, 1, 2]


def test_a_limit_met_before_sending_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "a.sqlite"
    with pytest.raises(LimitReached):
        bought(path, [], Limits(tokens=10))
    assert rows(path, "SELECT * FROM call") == []


def test_who_waits_with_others_for_a_purchase_hears_of_the_limit_too(tmp_path: Path) -> None:
    async def run(give: Dispatcher) -> list[object]:
        return await asyncio.gather(*(one(give) for _ in range(5)), return_exceptions=True)

    with open_calls(tmp_path / "a.sqlite") as calls:
        ended = asyncio.run(run(dispatcher(calls, ScriptedWorker([]), Limits(tokens=1))))
    assert [type(e) for e in ended] == [LimitReached] * 5


def test_a_worker_with_a_bug_is_booked_too_and_its_error_is_not_hidden(tmp_path: Path) -> None:
    path = tmp_path / "a.sqlite"
    with open_calls(path) as calls, pytest.raises(AssertionError, match="the script has 0 outcomes"):
        asyncio.run(one(dispatcher(calls, ScriptedWorker([]))))
    assert entries(path) == [("lost", "possibly", 1)]


def test_nothing_is_sent_once_the_disk_is_full(tmp_path: Path) -> None:
    """A call that cannot be booked may not be made, or it would be paid for and forgotten."""
    worker = saying("x" * 2000)

    async def run(give: Dispatcher) -> int:
        for n in range(1000):
            try:
                await one(give, f"question {n} " + "x" * 500)
            except StoreError as error:
                assert "free space" in str(error)
                return n
        raise AssertionError("the disk is never full")

    with tiny_disk(tmp_path / "disk") as disk:
        (disk / "ballast").write_bytes(b"0" * 40_000)
        path = disk / "a.sqlite"
        with pytest.raises(StoreError, match="free space"), open_calls(path) as calls:
            give = dispatcher(calls, worker)
            done = asyncio.run(run(give))
            sent = len(worker.requests)
            assert sent in (done, done + 1)
            with pytest.raises(StoreError):
                asyncio.run(one(give, "another"))
            assert len(worker.requests) == sent
        (disk / "ballast").unlink()
        with open_calls(path) as calls:
            assert calls.ledger()["candidate"]["calls_fresh"] == done
            assert sent - done <= dispatcher(calls, worker).write_off() <= 1


@pytest.mark.parametrize("how", ["[0, 8, 1, []]", "[0, 8, 1, [], 10]"], ids=["plain", "with log-probabilities"])
def test_a_lost_call_is_charged_as_it_was_asked(tmp_path: Path, how: str) -> None:
    path = tmp_path / "a.sqlite"
    with open_calls(path) as calls:
        asyncio.run(calls.book("candidate", "m", "key", f'["m", [["user", "query"]], {how}]', 0))
    with open_calls(path) as calls:
        assert dispatcher(calls, ScriptedWorker([])).write_off() == 1
    assert rows(path, "SELECT outcome, completion_tokens FROM attempt") == [("lost", 8)]
