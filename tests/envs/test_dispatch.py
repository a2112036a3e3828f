"""Draws are bought once, retried with patience, entered in the ledger whatever happens, and never for ever."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import pytest

from apportion.envs.dispatch import ATTEMPTS, Dispatcher
from apportion.envs.limits import Limits
from apportion.envs.openai import OpenAIWorker
from apportion.envs.worker import Reply, Usage
from apportion.errors import LimitReached, StoreError, WorkerError
from apportion.store import Calls, Draw
from apportion.store.calls import MOST_PURCHASES
from apportion.testing.answers import Json
from apportion.testing.fakes import FakeWorker, ScriptedWorker
from apportion.testing.server import FaultRule, MockServer, hashed_reply
from tests.support import NO_LIMITS, SAMPLING, ask, dispatcher, open_calls, rows, tiny_disk

Script = Sequence[Reply | WorkerError]
GOOD = Reply("well said", "ok", "stop", Usage(3, 2), 0.1, 0.2)


def failing(kind: str, retry_after_s: float | None = None) -> WorkerError:
    return WorkerError(cast(Any, kind), f"it was {kind}", status=500, retry_after_s=retry_after_s)


def saying(text: str = "said", latency_s: float = 0.0) -> FakeWorker:
    return FakeWorker(lambda request: text, latency_s)


async def one(give: Dispatcher, text: str = "q", index: int = 0) -> Draw:
    return await give.draw("m", ask(text), SAMPLING, index, "candidate")


def bought(path: Path, script: Script, limits: Limits = NO_LIMITS) -> tuple[Draw, ScriptedWorker]:
    """One draw in a session of its own, by a worker that plays `script` and must not be asked for more."""
    worker = ScriptedWorker(script)
    with open_calls(path) as calls:
        return asyncio.run(one(dispatcher(calls, worker, limits))), worker


def entries(path: Path) -> list[tuple[str, str, int]]:
    """Outcome, billed and final of every attempt in the ledger, in order."""
    return rows(path, "SELECT outcome, billed, final FROM attempt ORDER BY call, n")


# --- bought once -----------------------------------------------------------------------------------------------------


def test_what_many_want_at_once_is_bought_once(tmp_path: Path) -> None:
    worker = saying("said", 0.01)

    async def run(give: Dispatcher) -> list[Draw]:
        return await asyncio.gather(*(one(give) for _ in range(50)))

    with open_calls(tmp_path / "a.sqlite") as calls:
        draws = asyncio.run(run(dispatcher(calls, worker)))
        assert len(worker.requests) == 1
        assert len(set(map(id, draws))) == 1
        sums = calls.ledger()["candidate"]
        assert (sums["calls_fresh"], sums["calls_banked"], sums["attempts"]) == (1, 49, 1)


def test_what_is_in_the_bank_costs_nothing_and_leaves_a_hit(tmp_path: Path) -> None:
    path = tmp_path / "a.sqlite"
    first, _ = bought(path, [GOOD])
    with open_calls(path) as calls:
        before = calls.ledger()["candidate"]
        give = dispatcher(calls, ScriptedWorker([]), Limits(calls=1))  # not even a limit that is used up stops it
        give.write_off()
        assert asyncio.run(one(give)) == first
        after = calls.ledger()["candidate"]
    assert rows(path, "SELECT run, spender, key, idx FROM hit") == [("run", "candidate", first.key, 0)]
    assert after == {**before, "calls_banked": 1}


def test_a_server_that_takes_seeds_gets_another_for_each_sample_and_the_same_again(tmp_path: Path) -> None:
    def seeds(path: Path) -> list[int | None]:
        worker = saying()
        with open_calls(path) as calls:
            give = dispatcher(calls, worker)
            object.__setattr__(give.endpoints["m"], "seeds", True)

            async def run() -> None:
                for index in range(4):
                    await one(give, index=index)

            asyncio.run(run())
        return [request.seed for request in worker.requests]

    first = seeds(tmp_path / "a.sqlite")
    assert len(set(first)) == 4 and None not in first
    assert first == seeds(tmp_path / "b.sqlite")


# --- retries ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["rate_limited", "server", "unreachable"])
def test_what_was_not_billed_is_retried_up_to_a_number_of_times(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "a.sqlite"
    draw, _ = bought(path, [failing(kind)] * (ATTEMPTS - 1) + [GOOD])
    assert (draw.status, draw.text) == ("ok", "well said")
    assert entries(path) == [(kind, "no", 0)] * (ATTEMPTS - 1) + [("ok", "yes", 1)]

    path = tmp_path / "b.sqlite"
    draw, _ = bought(path, [failing(kind)] * ATTEMPTS)
    assert (draw.status, draw.finish_reason) == ("failed", kind)
    assert entries(path) == [(kind, "no", int(n == ATTEMPTS - 1)) for n in range(ATTEMPTS)]
    draw, _ = bought(path, [GOOD])
    assert draw.status == "ok", "an outage says nothing of the draw: the next session may buy it"


def test_what_a_retry_cannot_mend_is_sent_once(tmp_path: Path) -> None:
    draw, _ = bought(tmp_path / "a.sqlite", [failing("rejected")])
    assert draw.status == "failed"
    assert entries(tmp_path / "a.sqlite") == [("rejected", "no", 1)]
    assert rows(tmp_path / "a.sqlite", "SELECT status, message FROM attempt") == [(500, "it was rejected")]


BROKEN = ["timeout", "connection", "bad_response", "incomplete"]


@pytest.mark.parametrize("kind", BROKEN)
def test_what_may_have_been_billed_is_bought_three_times_in_all(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "a.sqlite"
    draw, _ = bought(path, [failing(kind)] * MOST_PURCHASES)
    assert draw.status == ("timeout" if kind == "timeout" else "failed")
    assert entries(path) == [(kind, "possibly", int(n == 2)) for n in range(MOST_PURCHASES)]
    again, _ = bought(path, [])
    assert again == draw
    assert len(entries(path)) == MOST_PURCHASES


def test_broken_purchases_add_up_over_sessions(tmp_path: Path) -> None:
    path = tmp_path / "a.sqlite"
    with pytest.raises(LimitReached):
        bought(path, [failing("connection")] * 2, Limits(calls=2))
    draw, _ = bought(path, [failing("timeout")], Limits(calls=3))
    assert draw.status == "timeout"
    again, _ = bought(path, [])
    assert again == draw
    assert [billed for _, billed, _ in entries(path)] == ["possibly"] * MOST_PURCHASES


def test_a_broken_reply_does_not_spoil_the_next(tmp_path: Path) -> None:
    draw, _ = bought(tmp_path / "a.sqlite", [failing("incomplete"), failing("server"), failing("timeout"), GOOD])
    assert draw.status == "ok"
    again, _ = bought(tmp_path / "a.sqlite", [])
    assert again == draw


def test_a_timeout_among_refusals_does_not_pass_for_an_answer(tmp_path: Path) -> None:
    """It will be bought again, so its example must not count as answered wrongly."""
    path = tmp_path / "a.sqlite"
    draw, _ = bought(path, [failing("rate_limited")] * (ATTEMPTS - 1) + [failing("timeout")])
    assert draw.status == "failed"
    draw, _ = bought(path, [GOOD])
    assert draw.status == "ok"


def test_every_attempt_is_charged_as_what_it_was(tmp_path: Path) -> None:
    path = tmp_path / "a.sqlite"
    draw, _ = bought(path, [failing("server"), failing("timeout"), GOOD])
    costs = rows(path, "SELECT prompt_tokens, completion_tokens, flops, usd FROM attempt ORDER BY n")
    refused, broken, good = costs
    assert refused == (0, 0, 0.0, 0.0)
    assert broken[1] == SAMPLING.max_tokens and broken[2] > 0 and broken[3] > 0
    assert good == (3, 2, draw.flops, draw.usd) and draw.usd == (3 * 1.0 + 2 * 2.0) / 1e6
    with open_calls(path) as calls:
        sums = calls.ledger()["candidate"]
        assert (sums["prompt_tokens"], sums["completion_tokens"]) == (broken[0] + 3, SAMPLING.max_tokens + 2)
        assert sums["usd"] == pytest.approx(sum(cost[3] for cost in costs))


def timed(path: Path, script: Sequence[Reply | WorkerError], backoff_s: float) -> float:
    with open_calls(path) as calls:
        give = dispatcher(calls, ScriptedWorker(script), backoff_s=backoff_s)
        began = time.perf_counter()
        asyncio.run(one(give))
        return time.perf_counter() - began


def test_pauses_grow_and_what_the_server_asks_is_waited_for(tmp_path: Path) -> None:
    short = timed(tmp_path / "a.sqlite", [failing("server"), GOOD], 0.1)
    long = timed(tmp_path / "b.sqlite", [failing("server")] * 3 + [GOOD], 0.1)
    assert short >= 0.05 and 0.5 * (0.1 + 0.2 + 0.4) <= long < 5
    asked = timed(tmp_path / "c.sqlite", [failing("rate_limited", retry_after_s=0.3), GOOD], 0.001)
    assert 0.3 <= asked < 3
    at_once = timed(tmp_path / "d.sqlite", [failing("rate_limited", retry_after_s=0.0), GOOD], 0.001)
    assert at_once < 0.3


def test_a_pause_that_no_server_may_ask_for_is_cut_short(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("apportion.envs.dispatch.MOST_RETRY_AFTER_S", 0.1)
    assert timed(tmp_path / "a.sqlite", [failing("rate_limited", retry_after_s=1e9), GOOD], 0.001) < 3


# --- over HTTP -------------------------------------------------------------------------------------------------------


def over_http(path: Path, faults: Sequence[FaultRule], limits: Limits = NO_LIMITS) -> tuple[Draw, MockServer]:
    async def run() -> tuple[Draw, MockServer]:
        async with MockServer(faults=faults) as server:
            with open_calls(path) as calls:
                give = dispatcher(calls, OpenAIWorker(server.url, timeout_s=0.2), limits)
                try:
                    return await one(give), server
                finally:
                    await give.close()

    return asyncio.run(run())


@pytest.mark.parametrize(
    ("fault", "outcome", "billed"),
    [
        ("429", "rate_limited", "no"),
        ("500", "server", "no"),
        ("503", "server", "no"),
        ("reset", "connection", "possibly"),
        ("hang", "timeout", "possibly"),
        ("cut_mid_event", "incomplete", "possibly"),
        ("html", "bad_response", "possibly"),
    ],
)
def test_a_server_that_recovers_is_forgiven(tmp_path: Path, fault: str, outcome: str, billed: str) -> None:
    path = tmp_path / "a.sqlite"
    draw, server = over_http(path, [FaultRule(fault, first=2)])
    assert draw.status == "ok"
    assert server.requests == 3 and server.completed == 1
    assert entries(path) == [(outcome, billed, 0), (outcome, billed, 0), ("ok", "yes", 1)]


def test_a_server_that_is_down_costs_nothing_and_spoils_no_draw(tmp_path: Path) -> None:
    """Nothing was sent, so nothing can have been billed: when the server is back the draw can be bought."""
    path = tmp_path / "a.sqlite"

    async def run(calls: Calls) -> Draw:
        async with MockServer() as server:
            url = server.url
        give = dispatcher(calls, OpenAIWorker(url))
        try:
            return await one(give)
        finally:
            await give.close()

    with open_calls(path) as calls:
        assert asyncio.run(run(calls)).status == "failed"
        sums = calls.ledger()["candidate"]
        assert (sums["calls_failed"], sums["prompt_tokens"], sums["usd"]) == (1, 0, 0.0)
    assert entries(path) == [("unreachable", "no", int(n == ATTEMPTS - 1)) for n in range(ATTEMPTS)]
    draw, _ = bought(path, [GOOD])
    assert draw.status == "ok"


@pytest.mark.parametrize("slots", [1, 5, 16])
def test_no_more_requests_are_in_flight_than_there_are_slots(tmp_path: Path, slots: int) -> None:
    """Counted at the server as connections: a request has one to itself, and an idle one is used again."""
    peak = 0

    async def run(calls: Calls) -> list[Draw]:
        def reply(body: Json) -> str:
            nonlocal peak
            peak = max(peak, server.open_connections)
            return hashed_reply(body)

        async with MockServer(reply=reply, reply_ms=10, faults=[FaultRule("500", every=4)]) as server:
            give = dispatcher(calls, OpenAIWorker(server.url), concurrency=slots)
            draws = await asyncio.gather(*(one(give, f"question {n}") for n in range(8 * slots)))
            assert give.in_flight == 0
            await give.close()
            return draws

    with open_calls(tmp_path / "a.sqlite") as calls:
        draws = asyncio.run(run(calls))
    assert {draw.status for draw in draws} == {"ok"}
    assert peak == slots
    assert max(draw.in_flight for draw in draws) == slots


# --- cancellation and ends -------------------------------------------------------------------------------------------


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
