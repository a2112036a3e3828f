"""Calls in the store: booked before they are sent, their attempts, their results (the bank), and the sums (the ledger).

Tables:
  prompt   what was asked: model identity, messages and sampling parameters, once per key
  call     the intent to buy one draw; in flight until one of its attempts is final
  attempt  one request that was sent, how it ended and what it cost
  result   the bank: one finished completion for each (key, sample index)
  first_token  log-probabilities of the alternatives to a result's first token, where they were asked for and given
  hit      one use of a completion that was already in the bank
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import sqlite3
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields
from operator import attrgetter
from typing import Any, Literal, NamedTuple

from apportion.store.database import Database

DrawStatus = Literal["ok", "truncated", "refused", "timeout", "failed"]
Spender = Literal["candidate", "judge", "searcher"]
Billed = Literal["yes", "possibly", "no"]
Sums = dict[str, float | int | None]

SPENDERS: tuple[Spender, ...] = ("candidate", "judge", "searcher")

MOST_PURCHASES = 3  # a broken reply may have been billed: bought at most twice again, then the draw stands as failed

SCHEMA = """
CREATE TABLE IF NOT EXISTS prompt (key TEXT PRIMARY KEY, request TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS call (
    id INTEGER PRIMARY KEY, run TEXT NOT NULL, spender TEXT NOT NULL, model TEXT NOT NULL, key TEXT NOT NULL,
    idx INTEGER NOT NULL, booked_at REAL NOT NULL);
CREATE INDEX IF NOT EXISTS call_by_run ON call (run, spender);
CREATE TABLE IF NOT EXISTS attempt (
    call INTEGER NOT NULL REFERENCES call, n INTEGER NOT NULL, final INTEGER NOT NULL, outcome TEXT NOT NULL,
    billed TEXT NOT NULL, prompt_tokens INTEGER NOT NULL, completion_tokens INTEGER NOT NULL, flops REAL NOT NULL,
    usd REAL, seconds REAL NOT NULL, status INTEGER, message TEXT, PRIMARY KEY (call, n)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS result (
    key TEXT NOT NULL, idx INTEGER NOT NULL, call INTEGER NOT NULL REFERENCES call, status TEXT NOT NULL,
    text TEXT NOT NULL, finish_reason TEXT NOT NULL, prompt_tokens INTEGER NOT NULL,
    completion_tokens INTEGER NOT NULL, usage_estimated INTEGER NOT NULL, ttft_s REAL, latency_s REAL NOT NULL,
    in_flight INTEGER NOT NULL, flops REAL NOT NULL, usd REAL, measured_at REAL NOT NULL,
    PRIMARY KEY (key, idx)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS first_token (
    key TEXT NOT NULL, idx INTEGER NOT NULL, logprobs TEXT NOT NULL, PRIMARY KEY (key, idx)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS hit (run TEXT NOT NULL, spender TEXT NOT NULL, key TEXT NOT NULL, idx INTEGER NOT NULL);
CREATE INDEX IF NOT EXISTS hit_by_run ON hit (run, spender);
"""


SELECT_RESULT = (
    "SELECT status, text, finish_reason, prompt_tokens, completion_tokens, usage_estimated, ttft_s, latency_s,"
    " in_flight, flops, usd, logprobs FROM result LEFT JOIN first_token USING (key, idx) WHERE key = ? AND idx = ?"
)
INSERT_RESULT = "INSERT OR IGNORE INTO result VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
INSERT_CALL = (  # nothing where another process has bought the draw meanwhile
    "INSERT INTO call (run, spender, model, key, idx, booked_at) SELECT ?, ?, ?, ?, ?, ?"
    " WHERE NOT EXISTS (SELECT 1 FROM result WHERE key = ? AND idx = ?)"
)
BANKED = ("ok", "truncated", "refused")
NEVER = (0, "")


@dataclass(frozen=True, slots=True)
class Draw:
    """One completion: what the model said, what it cost, how long it took when it was first measured.

    Attributes:
        status: `ok`, `truncated` at max_tokens, `refused`; `timeout` and `failed` when there is no reply.
        in_flight: requests in flight at the same server when it was sent, itself included.
        usd: None when the model has no known price.
        first_token: log-probabilities of the likeliest first tokens; empty when they are not known.
    """

    key: str
    index: int
    status: DrawStatus
    text: str = ""
    finish_reason: str = ""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    usage_estimated: bool = False
    ttft_s: float | None = None
    latency_s: float = 0.0
    in_flight: int = 0
    flops: float = 0.0
    usd: float | None = None
    first_token: Mapping[str, float] = field(default_factory=dict, hash=False)


class Attempt(NamedTuple):
    """One request that was sent.

    Attributes:
        outcome: `ok`, `truncated`, `refused`, the kind of a `WorkerError`, or `lost` when we were killed meanwhile.
        billed: whether the provider charged for it, as far as can be told.
    """

    outcome: str
    billed: Billed
    prompt_tokens: int
    completion_tokens: int
    flops: float
    usd: float | None
    seconds: float
    status: int | None = None
    message: str | None = None


@dataclass(frozen=True, slots=True)
class Booking:
    """An intent that is on record: the call may be sent.

    Attributes:
        purchases: attempts at this draw, in this and earlier runs, that may have been billed and gave nothing.
    """

    call: int
    purchases: int


canonical = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), sort_keys=True).encode
"""A value as the one JSON text that keys are made of."""
_values = attrgetter(*[field.name for field in fields(Draw)][2:-1])  # `astuple` copies deeply, and this is a hot path


def draw_key(identity: str, messages: Iterable[tuple[str, str]], sampling: str) -> tuple[str, str]:
    """Key of a prompt and the canonical JSON it is the SHA-256 of (32 hexadecimal digits are kept).

    Args:
        messages: role and content of each.
        sampling: canonical JSON already, as many prompts share it.
    """
    said = ",".join([f"[{canonical(role)},{canonical(content)}]" for role, content in messages])
    request = f"[{canonical(identity)},[{said}],{sampling}]"
    return hashlib.sha256(request.encode()).hexdigest()[:32], request


class Broken:
    """Draws that were bought for nothing: how often each, and how that ended the last time."""

    def __init__(self) -> None:
        self._ends: dict[tuple[str, int], tuple[int, str]] = {}

    def add(self, key: str, index: int, outcome: str) -> None:
        """Count one more."""
        self._ends[key, index] = (self.purchases(key, index) + 1, outcome)

    def note(self, key: str, index: int, attempt: Attempt) -> None:
        """Count an attempt if it may have been billed for nothing. One that was lost says nothing of its draw."""
        if attempt.billed == "possibly" and attempt.outcome != "lost":
            self.add(key, index, attempt.outcome)

    def purchases(self, key: str, index: int) -> int:
        """How often a draw was bought for nothing."""
        return self._ends.get((key, index), NEVER)[0]

    def standing(self, key: str, index: int) -> Draw:
        """The failed draw that stands where `MOST_PURCHASES` were for nothing."""
        _, outcome = self._ends[key, index]
        return Draw(key, index, "timeout" if outcome == "timeout" else "failed", finish_reason=outcome)


class Calls:
    """The bank and the ledger of one run, over a store that several runs may share.

    Args:
        database: the open store.
        run: identity of the run; every row that it writes carries it.
    """

    books_ahead = True  # a booking waits for the disk

    def __init__(self, database: Database, run: str) -> None:
        self.run = run
        self._database = database
        self._prompts: set[str] = set()  # keys that are known to be in the store
        self._broken = self._read_broken()

    def find(self, key: str, index: int) -> Draw | None:
        """The banked completion of a draw, None if it was never bought."""
        rows = self._database.read(SELECT_RESULT, (key, index))
        return _draw(key, index, rows[0]) if rows else None

    def standing(self, key: str, index: int) -> Draw | None:
        """The failed draw that stands for one that was bought too often for nothing, None if it may be bought."""
        too_often = self._broken.purchases(key, index) >= MOST_PURCHASES
        return self._broken.standing(key, index) if too_often else None

    async def book(self, spender: Spender, model: str, key: str, request: str, index: int) -> Booking | Draw:
        """Put the intent to buy a draw on disk.

        Returns:
            The booking; or the completion itself where another process has bought it meanwhile, or a failed draw where
            it was bought too often for nothing.

        Raises:
            StoreError: it could not be written, so nothing may be sent.
        """
        purchases = self._broken.purchases(key, index)
        if standing := self.standing(key, index):
            return standing
        row = (self.run, spender, model, key, index, time.time(), key, index)
        new = key not in self._prompts
        made: list[int] = []  # what the operation has entered once it has run

        def operation(connection: sqlite3.Connection) -> Booking | Draw:
            if new:
                connection.execute("INSERT OR IGNORE INTO prompt VALUES (?, ?)", (key, request))
            cursor = connection.execute(INSERT_CALL, row)
            if cursor.rowcount:
                assert cursor.lastrowid is not None
                made.append(cursor.lastrowid)
                return Booking(cursor.lastrowid, purchases)
            return _draw(key, index, connection.execute(SELECT_RESULT, (key, index)).fetchone())

        try:
            booking = await self._database.write(operation)
        except asyncio.CancelledError:  # the write is made all the same, and nothing will be sent
            self._database.post(lambda connection: _abandon(connection, made))
            raise
        self._prompts.add(key)
        return booking

    def record_attempt(self, call: int, n: int, attempt: Attempt, draw: Draw) -> None:
        """Enter a request that gave no usable reply and will be made again."""
        self._broken.note(draw.key, draw.index, attempt)
        self._database.post(lambda connection: _insert_attempt(connection, call, n, attempt, final=False))

    async def recorded(self) -> None:
        """Wait until what was entered is on disk.

        Raises:
            StoreError: it could not be written, so nothing more may be sent.
        """
        await self._database.write(lambda connection: None)

    async def finish(self, call: int, n: int, attempt: Attempt, draw: Draw) -> Draw:
        """Put the attempt that ended a call on disk, with its completion or its final failure, in one transaction.

        Returns:
            What counts: the draw, or the completion that another process has banked for it meanwhile.

        Raises:
            StoreError: it could not be written.
        """
        self._broken.note(draw.key, draw.index, attempt)
        row = (draw.key, draw.index, call, *_values(draw), time.time())

        def operation(connection: sqlite3.Connection) -> Draw:
            _insert_attempt(connection, call, n, attempt, final=True)
            if draw.status not in BANKED:
                return draw
            if connection.execute(INSERT_RESULT, row).rowcount:
                if draw.first_token:
                    first = json.dumps(dict(draw.first_token))
                    connection.execute("INSERT INTO first_token VALUES (?, ?, ?)", (draw.key, draw.index, first))
                return draw
            return _draw(draw.key, draw.index, connection.execute(SELECT_RESULT, (draw.key, draw.index)).fetchone())

        return await self._database.write(operation)

    def abandon(self, call: int) -> None:
        """End a call that will not be pursued: its last attempt is final; without one the booking is struck."""
        self._database.post(lambda connection: _abandon(connection, [call]))

    def hit(self, spender: Spender, key: str, index: int) -> None:
        """Enter the use of a completion that was already paid for."""
        row = (self.run, spender, key, index)
        self._database.post(lambda connection: connection.execute("INSERT INTO hit VALUES (?, ?, ?, ?)", row))

    def write_off(self, cost: Callable[[str, str], Attempt]) -> int:
        """Book what was in flight when this run was killed as possibly billed.

        Only the process that holds the run's lock may call it.

        Args:
            cost: from a model and the JSON of its request to the attempt that is entered for it.

        Returns:
            The number of calls that were in flight.
        """

        def operation(connection: sqlite3.Connection) -> int:
            rows = connection.execute(
                "SELECT id, model, request, (SELECT count(*) FROM attempt WHERE attempt.call = call.id)"
                " FROM call JOIN prompt USING (key) WHERE run = ?"
                " AND NOT EXISTS (SELECT 1 FROM attempt WHERE attempt.call = call.id AND final)",
                (self.run,),
            ).fetchall()
            for call, model, request, n in rows:
                _insert_attempt(connection, call, n, cost(model, request), final=True)
            return len(rows)

        return self._database.run(operation)

    def ledger(self) -> dict[str, Sums]:
        """Sums by spender over this run: calls fresh, banked and failed, tokens, FLOPs, USD, seconds.

        `usd` is None when a model without a known price was called. Costs include attempts that failed and may have
        been billed, and those that were in flight at a kill.
        """
        self._database.flush()
        return {spender: self._sums(spender) for spender in SPENDERS}

    def failures(self) -> list[tuple[str, str, str, int]]:
        """What went wrong most often in this run: model, kind, the server's or our words, how often; three at most."""
        self._database.flush()
        rows = self._database.read(
            "SELECT model, outcome, coalesce(message, ''), count(*) AS times FROM attempt JOIN call"
            " ON attempt.call = call.id WHERE run = ? AND billed != 'yes' AND outcome != 'lost'"
            " GROUP BY model, outcome, message ORDER BY times DESC, model LIMIT 3",
            (self.run,),
        )
        return [(model, outcome, message, times) for model, outcome, message, times in rows]

    def spent(self) -> tuple[int, int, float]:
        """Attempts sent, tokens and USD (unknown prices left out) of this run so far, all spenders together."""
        rows = self._database.read(
            "SELECT count(*), coalesce(sum(prompt_tokens + completion_tokens), 0), coalesce(sum(attempt.usd), 0)"
            " FROM attempt JOIN call ON attempt.call = call.id WHERE call.run = ?",
            (self.run,),
        )
        calls, tokens, usd = rows[0]
        return int(calls), int(tokens), float(usd)

    def _sums(self, spender: Spender) -> Sums:
        who = (self.run, spender)
        ((banked,),) = self._database.read("SELECT count(*) FROM hit WHERE run = ? AND spender = ?", who)
        ((attempts, fresh, lost, ended, unpriced, prompt, completion, flops, usd, seconds),) = self._database.read(
            "SELECT count(*), coalesce(sum(outcome IN ('ok', 'truncated', 'refused')), 0),"
            " coalesce(sum(outcome = 'lost'), 0), coalesce(sum(final), 0), coalesce(sum(usd IS NULL), 0),"
            " coalesce(sum(prompt_tokens), 0), coalesce(sum(completion_tokens), 0), coalesce(sum(flops), 0.0),"
            " coalesce(sum(usd), 0.0), coalesce(sum(seconds), 0.0) FROM attempt JOIN call ON attempt.call = call.id"
            " WHERE run = ? AND spender = ?",
            who,
        )
        return {
            "calls_fresh": fresh,
            "calls_banked": banked,
            "calls_failed": ended - fresh - lost,
            "calls_lost": lost,
            "attempts": attempts,
            "prompt_tokens": prompt,
            "completion_tokens": completion,
            "flops": flops,
            "usd": None if unpriced else usd,
            "seconds": seconds,
        }

    def _read_broken(self) -> Broken:
        """What was bought for nothing in any run of the store."""
        broken = Broken()
        for key, index, outcome in self._database.read(
            "SELECT key, idx, outcome FROM attempt JOIN call ON attempt.call = call.id"
            " WHERE billed = 'possibly' AND outcome != 'lost' ORDER BY call, n"
        ):
            broken.add(key, index, outcome)
        return broken


def _insert_attempt(connection: sqlite3.Connection, call: int, n: int, attempt: Attempt, *, final: bool) -> None:
    connection.execute("INSERT INTO attempt VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", (call, n, final, *attempt))


def _abandon(connection: sqlite3.Connection, calls: Iterable[int]) -> None:
    for call in calls:
        (n,) = connection.execute("SELECT max(n) FROM attempt WHERE call = ?", (call,)).fetchone()
        if n is None:
            connection.execute("DELETE FROM call WHERE id = ?", (call,))
        else:
            connection.execute("UPDATE attempt SET final = 1 WHERE call = ? AND n = ?", (call, n))


def _draw(key: str, index: int, row: tuple[Any, ...]) -> Draw:
    status, text, finish, prompt, completion, estimated, ttft_s, latency_s, in_flight, flops, usd, first = row
    measured = (ttft_s, latency_s, in_flight, flops, usd, {} if first is None else json.loads(first))
    return Draw(key, index, status, text, finish, prompt, completion, bool(estimated), *measured)
