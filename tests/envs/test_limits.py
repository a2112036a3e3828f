"""The purse: never overspent by any interleaving, never waiting for nothing; counted at the server, not by itself."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from types import SimpleNamespace

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from apportion.envs import limits as limits_module
from apportion.envs.dispatch import TEMPLATE_TOKENS, Dispatcher
from apportion.envs.endpoint import text_bytes
from apportion.envs.limits import Allowance, Limits, Spend
from apportion.envs.openai import OpenAIWorker
from apportion.envs.worker import Sampling, Worker
from apportion.errors import LimitReached
from apportion.store import Draw
from apportion.testing.answers import Call, honest_usage
from apportion.testing.fakes import FakeWorker
from apportion.testing.server import FaultRule, MockServer, hashed_reply
from tests.support import ask, dispatcher, open_calls

# --- any interleaving ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Buyer:
    """One request: what it may cost at most, what it costs, and how many turns of the loop pass before and during."""

    most: Spend
    actual: Spend
    before: int
    during: int


@st.composite
def buyers(draw: st.DrawFn) -> Buyer:
    tokens, cents = draw(st.integers(1, 100)), draw(st.integers(0, 100))
    actual = Spend(1, draw(st.integers(0, tokens)), draw(st.integers(0, cents)) / 100)
    return Buyer(Spend(1, tokens, cents / 100), actual, draw(st.integers(0, 8)), draw(st.integers(0, 8)))


caps = st.builds(
    Limits,
    usd=st.none() | st.floats(0.01, 20),
    calls=st.none() | st.integers(1, 30),
    tokens=st.none() | st.integers(1, 1500),
)


def fits(total: Spend, limits: Limits, free: float) -> bool:
    """The rule itself, written down once more."""
    pairs = ((total.calls, limits.calls), (total.tokens, limits.tokens), (total.usd, limits.usd))
    return all(cap is None or amount <= cap * free + 1e-9 for amount, cap in pairs)


@settings(deadline=None, max_examples=150)
@given(st.lists(buyers(), min_size=1, max_size=30), caps, st.sampled_from([0.0, 0.25, 0.6]))
def test_no_interleaving_overspends_or_gives_up_too_early(
    orders: Sequence[Buyer], limits: Limits, share: float
) -> None:
    allowance = Allowance(limits)
    allowance.hold(share)
    held: list[Spend] = []
    spent: list[Spend] = []

    def total() -> Spend:
        return reduce(Spend.plus, [*held, *spent], Spend())

    async def buy(order: Buyer) -> str:
        for _ in range(order.before):
            await asyncio.sleep(0)
        try:
            await allowance.reserve(order.most)
        except LimitReached as limit:
            assert not held, "something in flight could still have made room"
            assert not fits(total().plus(order.most), limits, 1.0 - share)
            return limit.limit
        held.append(order.most)
        assert fits(total(), limits, 1.0 - share)
        for _ in range(order.during):
            await asyncio.sleep(0)
        held.remove(order.most)
        spent.append(order.actual)
        allowance.settle(order.most, order.actual)
        return "bought"

    async def run() -> list[str]:
        async with asyncio.timeout(10):
            return await asyncio.gather(*(buy(order) for order in orders))

    ended = asyncio.run(run())
    assert fits(allowance.spent, limits, 1.0 - share)
    assert ended.count("bought") == len(spent)
    assert allowance.spent.calls == len(spent)
    assert set(ended) <= {"bought", *(name for name in ("usd", "calls", "tokens") if getattr(limits, name) is not None)}


def test_it_waits_while_another_can_make_room_and_raises_when_none_can() -> None:
    async def run() -> None:
        allowance = Allowance(Limits(tokens=100))
        await allowance.reserve(Spend(1, 70))
        waiting = asyncio.ensure_future(allowance.reserve(Spend(1, 60)))
        await asyncio.sleep(0.01)
        assert not waiting.done()
        allowance.settle(Spend(1, 70), Spend(1, 30))
        await waiting
        impossible = asyncio.ensure_future(allowance.reserve(Spend(1, 60)))
        await asyncio.sleep(0.01)
        assert not impossible.done()
        allowance.settle(Spend(1, 60), Spend(1, 60))
        with pytest.raises(LimitReached, match=r"`limits.tokens` is 100: 90 spent, and the next call may need 60"):
            await impossible

    asyncio.run(run())


def test_a_waiter_that_is_cancelled_takes_nothing_with_it() -> None:
    async def run() -> None:
        allowance = Allowance(Limits(calls=1))
        await allowance.reserve(Spend(1))
        waiting = [asyncio.ensure_future(allowance.reserve(Spend(1))) for _ in range(3)]
        await asyncio.sleep(0)
        waiting[0].cancel()
        allowance.settle(Spend(1), Spend())  # it was not sent after all
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert [task.done() for task in waiting] == [True, True, False]
        allowance.settle(Spend(1), Spend(1))
        ended = await asyncio.gather(*waiting, return_exceptions=True)
        assert [type(e) for e in ended] == [asyncio.CancelledError, Spend, LimitReached]

    asyncio.run(run())


def test_rounding_of_many_prices_leaves_nothing_reserved() -> None:
    async def run() -> None:
        allowance = Allowance(Limits(usd=1.0))
        for _ in range(3):
            odd = [Spend(1, 0, 0.1), Spend(1, 0, 0.2), Spend(1, 0, 0.3)]
            for most in odd:
                await allowance.reserve(most)
            for most in reversed(odd):
                allowance.settle(most, Spend(1))
        await allowance.reserve(Spend(1, 0, 1.0))

    asyncio.run(run())


def test_what_is_held_back_is_kept_until_it_is_given_free() -> None:
    async def run() -> None:
        allowance = Allowance(Limits(calls=10))
        allowance.hold(0.5)
        for _ in range(5):
            await allowance.reserve(Spend(1))
            allowance.settle(Spend(1), Spend(1))
        with pytest.raises(LimitReached, match="with 50% kept for validation and test"):
            await allowance.reserve(Spend(1))
        allowance.hold(0.0)
        for _ in range(5):
            await allowance.reserve(Spend(1))
            allowance.settle(Spend(1), Spend(1))
        with pytest.raises(LimitReached, match=r"`limits.calls` is 10: 10 spent"):
            await allowance.reserve(Spend(1))

    asyncio.run(run())


# --- the clock -------------------------------------------------------------------------------------------------------


class Clock:
    """Time that passes only when it is told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(limits_module, "time", SimpleNamespace(monotonic=clock.monotonic))
    return clock


def test_the_clock_runs_over_all_sessions_and_refuses_at_once(clock: Clock) -> None:
    async def run() -> None:
        allowance = Allowance(Limits(wall_s=100.0), elapsed_s=60.0)
        clock.now += 39.9
        await allowance.reserve(Spend(1))
        clock.now += 0.1
        with pytest.raises(LimitReached, match=r"`limits.wall_s` is 100: 100 spent") as reached:
            await allowance.reserve(Spend(1))  # does not wait for the call in flight: it gives no time back
        assert reached.value.limit == "wall_s"
        assert allowance.elapsed_s == pytest.approx(100.0)

    asyncio.run(run())


def test_a_share_of_the_time_is_held_back_too(clock: Clock) -> None:
    async def run() -> None:
        allowance = Allowance(Limits(wall_s=100.0))
        allowance.hold(0.5)
        clock.now += 50.0
        with pytest.raises(LimitReached):
            await allowance.reserve(Spend(1))
        allowance.hold(0.0)
        await allowance.reserve(Spend(1))

    asyncio.run(run())


def test_time_that_runs_out_while_waiting_is_noticed(clock: Clock) -> None:
    async def run() -> None:
        allowance = Allowance(Limits(wall_s=100.0, calls=1))
        await allowance.reserve(Spend(1))
        waiting = asyncio.ensure_future(allowance.reserve(Spend(1)))
        await asyncio.sleep(0)
        clock.now += 100.0
        allowance.settle(Spend(1), Spend())
        with pytest.raises(LimitReached) as reached:
            await waiting
        assert reached.value.limit == "wall_s"

    asyncio.run(run())


# --- 64 calls at once ------------------------------------------------------------------------------------------------

WAYS = 64
HOW = Sampling(0.7, 32)
QUESTION = "what is the answer to question number {}?"


async def want_many(give: Dispatcher, many: int) -> list[Draw | BaseException]:
    prompts = (ask(QUESTION.format(n)) for n in range(many))
    asked = (give.draw("m", prompt, HOW, 0, "candidate") for prompt in prompts)
    try:
        async with asyncio.timeout(30):
            return await asyncio.gather(*asked, return_exceptions=True)
    finally:
        await give.close()


def judged(ended: Sequence[Draw | BaseException], limit: str) -> list[Draw]:
    """The draws; whatever else there is must be the limit."""
    draws = [draw for draw in ended if isinstance(draw, Draw)]
    others = [error for error in ended if not isinstance(error, Draw)]
    assert others and all(isinstance(error, LimitReached) and error.limit == limit for error in others)
    return draws


MOST_TOKENS = text_bytes(ask(QUESTION.format(100))) + TEMPLATE_TOKENS + HOW.max_tokens
CAPS = {
    "calls": Limits(calls=77),
    "tokens": Limits(tokens=4000),
    "usd": Limits(usd=0.004),
}
LEFT = {"calls": 1.0, "tokens": float(MOST_TOKENS), "usd": 2.0 * MOST_TOKENS / 1e6}
"""Less than this may be left of a cap: there was no room for one more call."""


@pytest.mark.parametrize("limit", CAPS)
def test_64_at_once_stay_within_a_cap_and_use_it_up(tmp_path: Path, limit: str) -> None:
    worker = FakeWorker(lambda request: "eight words are said here to every question", 0.002)
    with open_calls(tmp_path / "bank.sqlite") as calls:
        give = dispatcher(calls, worker, CAPS[limit], concurrency=WAYS)
        draws = judged(asyncio.run(want_many(give, 400)), limit)
        ledger = calls.ledger()["candidate"]
    assert len(worker.requests) == len(draws) == ledger["calls_fresh"] == ledger["attempts"]
    spent = {
        "calls": len(worker.requests),
        "tokens": sum(d.prompt_tokens + d.completion_tokens for d in draws),
        "usd": sum(d.usd or 0.0 for d in draws),
    }[limit]
    cap = getattr(CAPS[limit], limit)
    assert cap - LEFT[limit] < spent <= cap
    assert getattr(give.allowance.spent, limit) == pytest.approx(spent)


REFUSED_EVERY = 3


def billed_by(server: MockServer, faults: str) -> Spend:
    """What the server would charge, from what was posted to it: a word is a token, a refusal is free."""
    refused = REFUSED_EVERY if faults == "some refused" else len(server.bodies) + 1
    billed = [body for n, body in enumerate(server.bodies, 1) if n % refused]
    assert len(billed) == server.billed
    usages = [honest_usage(Call(body, "", hashed_reply(body))) for body in billed]
    prompt, completion = (sum(usage[name] for usage in usages) for name in ("prompt_tokens", "completion_tokens"))
    return Spend(server.requests, prompt + completion, (prompt + 2.0 * completion) / 1e6)


def worker_of(server: MockServer, faults: str) -> Worker:
    """Impatient only where replies do not come: a reply that a busy machine is late with is billed as lost."""
    return OpenAIWorker(server.url, timeout_s=0.4 if faults == "some hang" else 20.0)


FAULTY = {
    "honest": (),
    "some refused": (FaultRule("503", every=REFUSED_EVERY),),
    "some cut off": (FaultRule("cut_connection", every=5),),
    "some hang": (FaultRule("hang", every=7),),
}


@pytest.mark.parametrize("faults", FAULTY)
@pytest.mark.parametrize("limit", CAPS)
def test_the_server_never_counts_more_than_the_cap(tmp_path: Path, limit: str, faults: str) -> None:
    async def run() -> tuple[list[Draw | BaseException], MockServer]:
        async with MockServer(reply_ms=5, keep_bodies=True, faults=FAULTY[faults]) as server:
            with open_calls(tmp_path / "bank.sqlite") as calls:
                give = dispatcher(calls, worker_of(server, faults), CAPS[limit], concurrency=WAYS)
                return await want_many(give, 300), server

    ended, server = asyncio.run(run())
    judged(ended, limit)
    billed, cap = billed_by(server, faults), getattr(CAPS[limit], limit)
    assert 0 < getattr(billed, limit) <= cap
    if limit == "calls":
        assert billed.calls == cap
    elif faults in ("honest", "some refused"):
        assert cap - LEFT[limit] < getattr(billed, limit)


def test_what_an_earlier_session_lost_is_charged_to_the_cap(tmp_path: Path) -> None:
    """A kill must not refill the purse: what was in flight may have been billed."""
    path = tmp_path / "bank.sqlite"
    for session in range(3):
        with open_calls(path) as calls:
            for n in range(3):  # booked and, for all that anybody knows, sent
                asyncio.run(
                    calls.book("candidate", "m", f"key {session} {n}", '["m", [["user", "q"]], [0, 8, 1, []]]', 0)
                )
    with open_calls(path) as calls:
        give = dispatcher(calls, FakeWorker(lambda request: "said"), Limits(calls=10))
        assert give.write_off() == 9
        ended = asyncio.run(want_many(give, 3))
        assert len(judged(ended, "calls")) == 1
        assert calls.ledger()["candidate"]["attempts"] == 10
