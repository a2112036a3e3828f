"""Bank and ledger, on disk and in memory, against a plain model of them, over any sequence of uses and sessions."""

from __future__ import annotations

import asyncio
import dataclasses
import itertools
import json
import shutil
import tempfile
from collections import Counter
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar, cast

import hypothesis.strategies as st
from hypothesis import HealthCheck, settings
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, precondition, rule

from apportion.store import Calls, Database, Draw, Memory, MemoryCalls
from apportion.store.calls import MOST_PURCHASES, SCHEMA, Attempt, Spender
from tests.store.kit import attempt_of

T = TypeVar("T")
SPENDERS: tuple[Spender, ...] = ("candidate", "judge", "searcher")


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
    """Every sequence of uses, by one session after another, against dictionaries and sums."""

    open_bookings: Bundle[int] = Bundle("open_bookings")
    calls: Calls | MemoryCalls

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.texts = itertools.count()
        self.entries: dict[int, Entry] = {}
        self.banked: dict[tuple[str, int], Draw] = {}
        self.broken: dict[tuple[str, int], int] = {}
        self.hits: list[tuple[str, str]] = []
        self.session: set[int] = set()
        self._open("a")

    def teardown(self) -> None:
        self._close()
        self.loop.close()

    def _open(self, run: str) -> None:
        """Begin a session of a run."""
        raise NotImplementedError

    def _close(self) -> None:
        """End the session."""

    def _results(self) -> list[tuple[str, int, str]]:
        """Key, index and text of what is kept in the bank."""
        raise NotImplementedError

    def _in_flight(self) -> list[int]:
        """The calls that are kept without an end."""
        raise NotImplementedError

    def _wait(self, work: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(work)

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
        """The next session; what the last one had in flight it has lost."""
        self._close()
        self.session = set()
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
        assert sorted(self._results()) == sorted((d.key, d.index, d.text) for d in self.banked.values())

    @invariant()
    def in_flight_is_what_has_no_final_attempt(self) -> None:
        assert sorted(self._in_flight()) == sorted(n for n, entry in self.entries.items() if not entry.ended)

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

    @invariant()
    def failures_are_the_most_frequent(self) -> None:
        made = [a for e in self.entries.values() if e.run == self.calls.run for a in e.attempts]
        times = Counter((a.outcome, a.message or "") for a in made if a.billed != "yes" and a.outcome != "lost")
        told = {(outcome, words): n for _, outcome, words, n in self.calls.failures()}
        assert told.items() <= times.items()
        assert sorted(told.values()) == sorted(times.values())[-3:]


class OnDisk(Ledger):
    """Sessions are processes, one after another, on one store file."""

    def __init__(self) -> None:
        memory = "/dev/shm" if Path("/dev/shm").is_dir() else None  # thousands of commits; none of them meets a crash
        self.folder = Path(tempfile.mkdtemp(prefix="apportion-test-", dir=memory))
        super().__init__()

    def teardown(self) -> None:
        super().teardown()
        shutil.rmtree(self.folder)

    def _open(self, run: str) -> None:
        self.database = Database(self.folder / "bank.sqlite", SCHEMA)
        self.calls = Calls(self.database, run)

    def _close(self) -> None:
        self.database.close()

    def _stored(self, sql: str) -> list[tuple[Any, ...]]:
        self.database.flush()
        return self.database.read(sql)

    def _results(self) -> list[tuple[str, int, str]]:
        return self._stored("SELECT key, idx, text FROM result")

    def _in_flight(self) -> list[int]:
        unended = "NOT EXISTS (SELECT 1 FROM attempt WHERE attempt.call = call.id AND final)"
        return [n for (n,) in self._stored(f"SELECT id FROM call WHERE {unended}")]


class InMemory(Ledger):
    """Sessions are runs of one process, one after another, over one memory."""

    def __init__(self) -> None:
        self.memory = Memory()
        super().__init__()

    def _open(self, run: str) -> None:
        self.calls = MemoryCalls(self.memory, run)

    def _results(self) -> list[tuple[str, int, str]]:
        return [(key, index, draw.text) for (key, index), draw in self.memory.results.items()]

    def _in_flight(self) -> list[int]:
        return [number for number, call in self.memory.calls.items() if not call.ended]


TestOnDisk = OnDisk.TestCase
TestInMemory = InMemory.TestCase
TestOnDisk.settings = TestInMemory.settings = settings(
    max_examples=30, stateful_step_count=30, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
