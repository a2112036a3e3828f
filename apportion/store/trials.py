"""Trials, per-example scores and events of a run in the store. Values are JSON; their meaning is the caller's.

Tables:
  fact   named facts of the run: the spec's fingerprint, probed rates, the closing verdict
  trial  one row a trial, written when asked and again when told
  score  what one graph scored on one example of one split
  event  what happened when: starts, stops, limits reached, calls written off
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterable, Mapping
from typing import Any

from apportion.store.database import Database

SCHEMA = """
CREATE TABLE IF NOT EXISTS fact (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS trial (number INTEGER PRIMARY KEY, record TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS score (
    graph TEXT NOT NULL, split TEXT NOT NULL, position INTEGER NOT NULL, example TEXT NOT NULL, status TEXT NOT NULL,
    answer TEXT, metrics TEXT NOT NULL, PRIMARY KEY (graph, split, position)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS event (at REAL NOT NULL, kind TEXT NOT NULL, detail TEXT NOT NULL);
"""

ScoreRow = tuple[str, str, str | None, Mapping[str, float | None]]
"""Example id, status, answer, metrics."""


class Trials:
    """Trials and events of the one run that the file belongs to."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def fact(self, name: str) -> Any:
        """A named fact, None if it was never set."""
        rows = self._database.read("SELECT value FROM fact WHERE name = ?", (name,))
        return json.loads(rows[0][0]) if rows else None

    def set_fact(self, name: str, value: Any) -> None:
        """Write a named fact and wait until it is on disk."""
        row = (name, _dump(value))
        self._database.run(lambda connection: connection.execute("INSERT OR REPLACE INTO fact VALUES (?, ?)", row))

    def all(self) -> list[dict[str, Any]]:
        """Records of all trials in the order of their numbers."""
        return [json.loads(text) for (text,) in self._database.read("SELECT record FROM trial ORDER BY number")]

    async def put(self, number: int, record: Mapping[str, Any], **facts: Any) -> None:
        """Write a trial's record, in place of an earlier one of that number, and facts; returns when all is on disk."""
        row = (number, _dump(record))
        named = [(name, _dump(value)) for name, value in facts.items()]

        def operation(connection: sqlite3.Connection) -> None:
            connection.execute("INSERT OR REPLACE INTO trial VALUES (?, ?)", row)
            connection.executemany("INSERT OR REPLACE INTO fact VALUES (?, ?)", named)

        await self._database.write(operation)

    def put_scores(self, graph: str, split: str, rows: Iterable[ScoreRow]) -> None:
        """Write what a graph scored, one row an example in the order of the split."""
        values = [
            (graph, split, position, example, status, answer, _dump(metrics))
            for position, (example, status, answer, metrics) in enumerate(rows)
        ]

        def operation(connection: sqlite3.Connection) -> None:
            connection.executemany("INSERT OR REPLACE INTO score VALUES (?, ?, ?, ?, ?, ?, ?)", values)

        self._database.post(operation)

    def scores(self, graph: str, split: str) -> list[ScoreRow]:
        """What a graph scored on a split, in its order; empty if it was not measured there."""
        rows = self._database.read(
            "SELECT example, status, answer, metrics FROM score WHERE graph = ? AND split = ? ORDER BY position",
            (graph, split),
        )
        return [(example, status, answer, json.loads(metrics)) for example, status, answer, metrics in rows]

    def log(self, kind: str, **detail: Any) -> None:
        """Enter an event."""
        row = (time.time(), kind, _dump(detail))
        self._database.post(lambda connection: connection.execute("INSERT INTO event VALUES (?, ?, ?)", row))

    def events(self) -> list[tuple[float, str, dict[str, Any]]]:
        """All events in order: UNIX time, kind, detail."""
        rows = self._database.read("SELECT at, kind, detail FROM event ORDER BY rowid")
        return [(at, kind, json.loads(detail)) for at, kind, detail in rows]


def _dump(value: Any) -> str:
    """JSON; refuses NaN and infinities, which no number of ours may be."""
    return json.dumps(value, allow_nan=False, ensure_ascii=False)
