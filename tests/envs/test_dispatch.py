"""Draws are bought once, retried with patience, entered in the ledger as what they were, and never for ever."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from apportion.envs.dispatch import ATTEMPTS, MOST_RETRY_AFTER_S, Dispatcher
from apportion.envs.limits import Limits
from apportion.envs.openai import OpenAIWorker
from apportion.envs.worker import Reply, Request
from apportion.errors import LimitReached
from apportion.store import Calls, Draw, Memory, MemoryCalls
from apportion.store.books import Books
from apportion.store.calls import MOST_PURCHASES
from apportion.testing.fakes import ScriptedWorker
from apportion.testing.server import FaultRule, MockServer, hashed_reply
from tests.envs.kit import GOOD, Script, bought, entries, failing, one, saying
from tests.support import NO_LIMITS, SAMPLING, dispatcher, open_calls, rows

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


LIVES: dict[str, Script] = {
    "well": [GOOD],
    "refused, then well": [failing("server"), failing("rate_limited"), GOOD],
    "broken, then well": [failing("timeout"), failing("connection"), GOOD],
    "broken for ever": [failing("timeout")] * MOST_PURCHASES,
    "rejected": [failing("rejected")],
}


@pytest.mark.parametrize("life", LIVES)
def test_books_in_memory_and_on_disk_say_the_same(tmp_path: Path, life: str) -> None:
    async def run(give: Dispatcher) -> list[Draw]:
        together = await asyncio.gather(one(give), one(give))
        return [*together, *([await one(give)] if together[0].status == "ok" else [])]

    def lived(calls: Books) -> tuple[list[Draw], object, object]:
        draws = asyncio.run(run(dispatcher(calls, ScriptedWorker(LIVES[life]))))
        sums = calls.ledger()["candidate"]
        assert (sums.pop("seconds"), calls.spent()) >= (0.0, (1, 0, 0.0))  # the one thing that is measured
        return draws, sums, calls.spent()

    with open_calls(tmp_path / "a.sqlite") as calls:
        assert lived(calls) == lived(MemoryCalls(Memory(), "run"))


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


def timed(path: Path, script: Script, backoff_s: float) -> float:
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


def test_a_server_that_asks_for_a_very_long_pause_counts_as_down(tmp_path: Path) -> None:
    path = tmp_path / "a.sqlite"
    draw, _ = bought(path, [failing("rate_limited", retry_after_s=MOST_RETRY_AFTER_S + 1)])
    assert draw.status == "failed"
    assert entries(path) == [("rate_limited", "no", 1)]


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
    """Of requests that a server answers, some of them by errors that are tried again."""
    now = peak = 0

    class Counting(OpenAIWorker):
        async def complete(self, request: Request) -> Reply:
            nonlocal now, peak
            now += 1
            peak = max(peak, now)
            try:
                return await super().complete(request)
            finally:
                now -= 1

    async def run(calls: Calls) -> list[Draw]:
        async with MockServer(reply=hashed_reply, reply_ms=10, faults=[FaultRule("500", every=20)]) as server:
            give = dispatcher(calls, Counting(server.url), concurrency=slots)
            draws = await asyncio.gather(*(one(give, f"question {n}") for n in range(8 * slots)))
            assert give.in_flight == 0
            await give.close()
            return draws

    with open_calls(tmp_path / "a.sqlite") as calls:
        draws = asyncio.run(run(calls))
    assert {draw.status for draw in draws} == {"ok"}
    assert peak == slots
    assert max(draw.in_flight for draw in draws) == slots
