"""Bank and ledger against a plain model of them, over reopenings, abandoned calls and several runs on one file."""

from __future__ import annotations

import asyncio
import dataclasses
import itertools
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar, cast

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, precondition, rule

from apportion.envs.worker import Reply, Sampling, Usage
from apportion.errors import WorkerError
from apportion.store import Calls, Database, Draw
from apportion.store.calls import MOST_PURCHASES, SCHEMA, Attempt, Billed, Booking, Spender, draw_key
from apportion.testing.fakes import FakeWorker, ScriptedWorker
from tests.support import ROOT, ask, dispatcher, open_calls, rows

T = TypeVar("T")
SPENDERS: tuple[Spender, ...] = ("candidate", "judge", "searcher")


def attempt_of(outcome: str, billed: Billed, prompt: int, completion: int) -> Attempt:
    return Attempt(outcome, billed, prompt, completion, 10.0 * prompt, prompt / 1024, completion / 8)


tokens = st.integers(0, 9)
broken = st.builds(attempt_of, st.sampled_from(["timeout", "connection"]), st.just("possibly"), tokens, tokens)
unbilled = st.builds(attempt_of, st.sampled_from(["server", "rate_limited"]), st.just("no"), st.just(0), st.just(0))
good = st.builds(attempt_of, st.sampled_from(["ok", "truncated", "refused"]), st.just("yes"), tokens, tokens)


@dataclasses.dataclass
class Entry:
    """A call as the model knows it."""

    run: str
    spender: str
    key: str
    index: int
    attempts: list[Attempt] = dataclasses.field(default_factory=list)
    ended: bool = False


class Ledger(RuleBasedStateMachine):
    """Every sequence of uses, by one process after another, against dictionaries and sums."""

    open_bookings: Bundle[int] = Bundle("open_bookings")

    def __init__(self) -> None:
        super().__init__()
        memory = "/dev/shm" if Path("/dev/shm").is_dir() else None  # thousands of commits; none of them meets a crash
        self.folder = Path(tempfile.mkdtemp(prefix="apportion-test-", dir=memory))
        self.loop = asyncio.new_event_loop()
        self.texts = itertools.count()
        self.entries: dict[int, Entry] = {}
        self.banked: dict[tuple[str, int], Draw] = {}
        self.broken: dict[tuple[str, int], int] = {}
        self.hits: list[tuple[str, str]] = []
        self.session: set[int] = set()
        self._open("a")

    def teardown(self) -> None:
        self.database.close()
        self.loop.close()
        shutil.rmtree(self.folder)

    def _open(self, run: str) -> None:
        self.database = Database(self.folder / "bank.sqlite", SCHEMA)
        self.calls = Calls(self.database, run)
        self.session = set()

    def _wait(self, work: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(work)

    def _stored(self, sql: str) -> list[tuple[Any, ...]]:
        self.database.flush()
        return self.database.read(sql)

    def _live(self, call: int) -> bool:
        return call in self.session and not self.entries[call].ended

    def _enter(self, call: int, attempt: Attempt) -> tuple[int, Draw]:
        """Keep the model's books of an attempt; its number, and the draw that failed with it."""
        entry = self.entries[call]
        entry.attempts.append(attempt)
        if attempt.billed == "possibly":
            self.broken[entry.key, entry.index] = self.broken.get((entry.key, entry.index), 0) + 1
        status = "timeout" if attempt.outcome == "timeout" else "failed"
        return len(entry.attempts) - 1, Draw(entry.key, entry.index, status, finish_reason=attempt.outcome)  # type: ignore[arg-type]

    @rule(target=open_bookings, spender=st.sampled_from(SPENDERS), key=st.sampled_from("xy"), index=st.integers(0, 2))
    def book(self, spender: Spender, key: str, index: int) -> int:
        booking = self._wait(self.calls.book(spender, "m", key, json.dumps(key), index))
        bought = self.broken.get((key, index), 0)
        if isinstance(booking, Draw):
            assert (key, index) in self.banked or bought >= MOST_PURCHASES
            if bought < MOST_PURCHASES:
                assert booking == self.banked[key, index]
            else:
                assert booking.status in ("failed", "timeout")
            return -1
        assert (key, index) not in self.banked
        assert booking.purchases == bought < MOST_PURCHASES
        assert booking.call not in self.entries or not self._live(booking.call)
        self.entries[booking.call] = Entry(self.calls.run, spender, key, index)
        self.session.add(booking.call)
        return booking.call

    @rule(call=open_bookings, attempt=broken | unbilled)
    def record_attempt(self, call: int, attempt: Attempt) -> None:
        entry = self.entries.get(call)
        if entry is None or not self._live(call):
            return
        if attempt.billed == "possibly" and self.broken.get((entry.key, entry.index), 0) >= MOST_PURCHASES - 1:
            return  # the dispatcher would end the call with this attempt
        n, draw = self._enter(call, attempt)
        self.calls.record_attempt(call, n, attempt, draw)

    @rule(call=consumes(open_bookings), attempt=broken | unbilled)
    def finish_without_a_reply(self, call: int, attempt: Attempt) -> None:
        entry = self.entries.get(call)
        if entry is None or not self._live(call):
            return
        if attempt.billed == "possibly" and self.broken.get((entry.key, entry.index), 0) >= MOST_PURCHASES:
            return
        n, draw = self._enter(call, attempt)
        assert self._wait(self.calls.finish(call, n, attempt, draw)) == draw
        entry.ended = True

    @rule(call=consumes(open_bookings), attempt=good)
    def finish(self, call: int, attempt: Attempt) -> None:
        entry = self.entries.get(call)
        if entry is None or not self._live(call):
            return
        n, failed = self._enter(call, attempt)
        draw = dataclasses.replace(
            failed, status=cast(Any, attempt.outcome), text=f"text {next(self.texts)}", ttft_s=0.5, latency_s=1.5
        )
        kept = self._wait(self.calls.finish(call, n, attempt, draw))
        entry.ended = True
        assert kept == self.banked.setdefault((entry.key, entry.index), draw)

    @rule(call=consumes(open_bookings))
    def abandon(self, call: int) -> None:
        if call in self.entries and self._live(call):
            self.calls.abandon(call)
            if self.entries[call].attempts:
                self.entries[call].ended = True
            else:
                del self.entries[call]

    @rule(key=st.sampled_from("xy"), index=st.integers(0, 2))
    def find(self, key: str, index: int) -> None:
        assert self.calls.find(key, index) == self.banked.get((key, index))

    @precondition(lambda self: self.banked)
    @rule(data=st.data(), spender=st.sampled_from(SPENDERS))
    def hit(self, data: st.DataObject, spender: Spender) -> None:
        key, index = data.draw(st.sampled_from(sorted(self.banked)))
        self.calls.hit(spender, key, index)
        self.hits.append((self.calls.run, spender))

    @rule(run=st.sampled_from("ab"), write_off=st.booleans())
    def reopen(self, run: str, write_off: bool) -> None:  # noqa: FBT001 - drawn by Hypothesis
        """The next process; what the last one had in flight it has lost."""
        self.database.close()
        self._open(run)
        if write_off:
            lost = attempt_of("lost", "possibly", 3, 5)
            open_ = [e for e in self.entries.values() if e.run == run and not e.ended]
            assert self.calls.write_off(lambda model, request: lost) == len(open_)
            for entry in open_:
                entry.attempts.append(lost)
                entry.ended = True

    @invariant()
    def the_bank_is_what_was_first_bought(self) -> None:
        stored = self._stored("SELECT key, idx, text FROM result")
        assert sorted(stored) == sorted((d.key, d.index, d.text) for d in self.banked.values())

    @invariant()
    def in_flight_is_what_has_no_final_attempt(self) -> None:
        stored = self._stored(
            "SELECT id FROM call WHERE NOT EXISTS (SELECT 1 FROM attempt WHERE attempt.call = call.id AND final)"
        )
        assert sorted(n for (n,) in stored) == sorted(n for n, entry in self.entries.items() if not entry.ended)

    @invariant()
    def broken_draws_are_bought_three_times_in_all(self) -> None:
        assert all(count <= MOST_PURCHASES for count in self.broken.values())

    @invariant()
    def the_ledger_sums_the_model(self) -> None:
        run, sums = self.calls.run, self.calls.ledger()
        for spender in SPENDERS:
            mine = [e for e in self.entries.values() if (e.run, e.spender) == (run, spender)]
            made = [attempt for entry in mine for attempt in entry.attempts]
            fresh = sum(a.billed == "yes" for a in made)
            lost = sum(a.outcome == "lost" for a in made)
            assert sums[spender] == {
                "calls_fresh": fresh,
                "calls_banked": self.hits.count((run, spender)),
                "calls_failed": sum(e.ended for e in mine) - fresh - lost,
                "calls_lost": lost,
                "attempts": len(made),
                "prompt_tokens": sum(a.prompt_tokens for a in made),
                "completion_tokens": sum(a.completion_tokens for a in made),
                "flops": sum(a.flops for a in made),
                "usd": sum(a.usd or 0.0 for a in made),
                "seconds": sum(a.seconds for a in made),
            }
        everything = [a for e in self.entries.values() if e.run == run for a in e.attempts]
        tokens = sum(a.prompt_tokens + a.completion_tokens for a in everything)
        assert self.calls.spent() == (len(everything), tokens, sum(a.usd or 0.0 for a in everything))


TestLedger = Ledger.TestCase
TestLedger.settings = settings(
    max_examples=30, stateful_step_count=30, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)


# --- several runs on one file ----------------------------------------------------------------------------------------


def test_two_runs_share_the_bank_and_keep_ledgers_of_their_own(tmp_path: Path) -> None:
    async def draws(calls: Calls) -> list[Draw]:
        give = dispatcher(calls, FakeWorker(lambda request: f"said in {calls.run}"))
        return [await give.draw("m", ask("same"), Sampling(0.7, 8), index, "candidate") for index in range(3)]

    with open_calls(tmp_path / "bank.sqlite", "a") as a, open_calls(tmp_path / "bank.sqlite", "b") as b:
        first, second = asyncio.run(draws(a)), asyncio.run(draws(b))
        assert first == second
        assert {draw.text for draw in second} == {"said in a"}
        assert (a.ledger()["candidate"]["calls_fresh"], a.ledger()["candidate"]["calls_banked"]) == (3, 0)
        assert (b.ledger()["candidate"]["calls_fresh"], b.ledger()["candidate"]["calls_banked"]) == (0, 3)
        assert b.spent() == (0, 0, 0.0)


def test_runs_that_buy_the_same_draw_at_once_go_on_with_the_same_text(tmp_path: Path) -> None:
    async def both(a: Calls, b: Calls) -> list[Draw]:
        givers = [dispatcher(c, FakeWorker(lambda request, c=c: f"said in {c.run}", 0.05)) for c in (a, b)]  # type: ignore[misc]
        return await asyncio.gather(*(g.draw("m", ask("same"), Sampling(0.7, 8), 0, "candidate") for g in givers))

    with open_calls(tmp_path / "bank.sqlite", "a") as a, open_calls(tmp_path / "bank.sqlite", "b") as b:
        one, other = asyncio.run(both(a, b))
        assert one == other == a.find(one.key, 0) == b.find(one.key, 0)
        assert [c.ledger()["candidate"]["calls_fresh"] for c in (a, b)] == [1, 1], "both were paid for"


BUYER = """
import asyncio, sys
from pathlib import Path
from tests.support import ask, dispatcher, open_calls
from apportion.envs.worker import Sampling
from apportion.testing.fakes import FakeWorker
path, who = Path(sys.argv[1]), sys.argv[2]

async def buy(calls):
    worker = FakeWorker(lambda request: f"{request.messages[0].content} said to {who}", 0.1)
    give = dispatcher(calls, worker, concurrency=64)
    draws = [give.draw("m", ask(f"question {n}"), Sampling(0.7, 8), 0, "candidate") for n in range(50)]
    return [draw.text for draw in await asyncio.gather(*draws)]

with open_calls(path, who) as calls:
    print("ready", flush=True)
    sys.stdin.readline()
    print("\\n".join(asyncio.run(buy(calls))))
"""


def test_two_processes_buying_the_same_draws_end_with_the_same_texts(tmp_path: Path) -> None:
    command = [sys.executable, "-c", BUYER, str(tmp_path / "bank.sqlite")]
    pipe = subprocess.PIPE
    buyers = [
        subprocess.Popen([*command, who], stdin=pipe, stdout=pipe, stderr=pipe, text=True, cwd=ROOT) for who in "ab"
    ]
    for buyer in buyers:
        assert buyer.stdout is not None
        assert buyer.stdout.readline() == "ready\n"
    for buyer in buyers:
        assert buyer.stdin is not None
        buyer.stdin.write("\n")
        buyer.stdin.flush()
    ended = [buyer.communicate(timeout=30) for buyer in buyers]
    assert [errors for _, errors in ended] == ["", ""]
    first, second = (out.splitlines() for out, _ in ended)
    assert first == second
    assert sorted(first) == sorted(text for (text,) in rows(tmp_path / "bank.sqlite", "SELECT text FROM result"))


# --- what makes two draws the same -----------------------------------------------------------------------------------


def test_the_index_is_part_of_a_draw(tmp_path: Path) -> None:
    worker = ScriptedWorker([Reply(f"text {n}", "ok", "stop", Usage(1, 1), None, 0.1) for n in range(3)])

    async def run(calls: Calls) -> list[str]:
        give = dispatcher(calls, worker)
        return [(await give.draw("m", ask("q"), Sampling(0.7, 8), i, "candidate")).text for i in (0, 1, 2, 1, 0, 2)]

    with open_calls(tmp_path / "bank.sqlite") as calls:
        assert asyncio.run(run(calls)) == ["text 0", "text 1", "text 2", "text 1", "text 0", "text 2"]


def test_whatever_changes_the_distribution_of_replies_changes_the_key(tmp_path: Path) -> None:
    usual = Sampling(0.7, 8, 0.9, ("end",))
    samplings = [
        usual,
        dataclasses.replace(usual, temperature=0.8),
        dataclasses.replace(usual, max_tokens=9),
        dataclasses.replace(usual, top_p=1.0),
        dataclasses.replace(usual, stop=("end", "stop")),
    ]

    async def run(calls: Calls) -> list[str]:
        asked = [("m", ask("q"), sampling) for sampling in samplings]
        asked += [("m", ask("Q"), usual), ("m", ask("q") + ask(""), usual), ("other", ask("q"), usual)]
        keys = []
        for identity, messages, sampling in asked:
            give = dispatcher(calls, FakeWorker(lambda request: "said"), identity=identity)
            keys.append((await give.draw("m", messages, sampling, 0, "candidate")).key)
        return keys

    with open_calls(tmp_path / "bank.sqlite") as calls:
        keys = asyncio.run(run(calls))
        assert len(set(keys)) == len(keys)
        assert asyncio.run(run(calls)) == keys


@pytest.mark.parametrize("pieces", [(["a", "b"], ["ab"]), (["a\x00", "b"], ["a", "\x00b"]), (["é"], ["e\u0301"])])
def test_keys_do_not_run_texts_together(pieces: tuple[list[str], list[str]]) -> None:
    one, other = (draw_key("m", [["user", text] for text in texts], [0.7])[0] for texts in pieces)
    assert one != other


# --- purchases for nothing -------------------------------------------------------------------------------------------


def timeouts(n: int) -> ScriptedWorker:
    return ScriptedWorker([WorkerError("timeout", "too slow")] * n)


def test_a_draw_that_stands_as_failed_reads_the_same_in_every_session(tmp_path: Path) -> None:
    """Else a number that was shown with it could not be computed again."""

    async def run(calls: Calls, worker: ScriptedWorker) -> Draw:
        return await dispatcher(calls, worker).draw("m", ask("q"), Sampling(0.7, 8), 0, "candidate")

    for kind, status in (("timeout", "timeout"), ("connection", "failed"), ("bad_response", "failed")):
        path = tmp_path / f"{kind}.sqlite"
        worker = ScriptedWorker([WorkerError(cast(Any, kind), "broken")] * 3)
        with open_calls(path) as calls:
            first = asyncio.run(run(calls, worker))
            again = asyncio.run(run(calls, worker))
        with open_calls(path) as calls:
            later = asyncio.run(run(calls, timeouts(0)))
        assert first == again == later
        assert first.status == status
        assert len(worker.requests) == MOST_PURCHASES


def test_lost_calls_do_not_count_as_broken_purchases(tmp_path: Path) -> None:
    """A kill says nothing of the draw: it is bought again however often we were killed."""
    path = tmp_path / "bank.sqlite"
    for _ in range(5):
        with open_calls(path) as calls:
            booking = asyncio.run(calls.book("candidate", "m", "x", "null", 0))
            assert isinstance(booking, Booking)
            assert booking.purchases == 0
        with open_calls(path) as calls:
            assert calls.write_off(lambda model, request: attempt_of("lost", "possibly", 1, 1)) == 1
            assert calls.write_off(lambda model, request: attempt_of("lost", "possibly", 1, 1)) == 0
    with open_calls(path) as calls:
        assert calls.ledger()["candidate"]["calls_lost"] == 5


def test_only_the_calls_of_the_own_run_are_written_off(tmp_path: Path) -> None:
    path = tmp_path / "bank.sqlite"
    with open_calls(path, "a") as a, open_calls(path, "b") as b:
        asyncio.run(a.book("candidate", "m", "x", "null", 0))
        assert b.write_off(lambda model, request: attempt_of("lost", "possibly", 1, 1)) == 0
        assert a.write_off(lambda model, request: attempt_of("lost", "possibly", 1, 1)) == 1


def test_an_unknown_price_makes_the_sum_unknown(tmp_path: Path) -> None:
    with open_calls(tmp_path / "bank.sqlite") as calls:

        async def run() -> None:
            for index, usd in enumerate((0.5, None)):
                booking = await calls.book("judge", "m", "x", "null", index)
                assert isinstance(booking, Booking)
                attempt = dataclasses.replace(attempt_of("ok", "yes", 1, 1), usd=usd)
                await calls.finish(booking.call, 0, attempt, Draw("x", index, "ok", "text"))

        asyncio.run(run())
        assert calls.ledger()["judge"]["usd"] is None
        assert calls.ledger()["candidate"]["usd"] == 0.0


def test_requests_are_kept_as_they_were_asked(tmp_path: Path) -> None:
    """The bank alone says what was asked, so that a result can be read without the task."""
    with open_calls(tmp_path / "bank.sqlite") as calls:
        give = dispatcher(calls, FakeWorker(lambda request: "said"))
        draw = asyncio.run(give.draw("m", ask("wie heißt du? 🦉"), Sampling(0.7, 8, 0.9, ("x",)), 0, "candidate"))
        ((request,),) = rows(tmp_path / "bank.sqlite", "SELECT request FROM prompt WHERE key = ?", (draw.key,))
        assert json.loads(request) == ["m", [["user", "wie heißt du? 🦉"]], [0.7, 8, 0.9, ["x"]]]
        assert "🦉" in request
