"""A table of items with the ways to fill and read it, and attempts as ledgers have them, for the tests of the store."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable
from pathlib import Path

from apportion.store import Calls, MemoryCalls
from apportion.store.calls import Attempt, Billed
from tests.support import rows

Store = Callable[[str], contextlib.AbstractContextManager[Calls | MemoryCalls]]
"""From a run to its bank and ledger, which are open inside the `with`: a session."""

SCHEMA = "CREATE TABLE IF NOT EXISTS item (id INTEGER PRIMARY KEY, who TEXT, text TEXT);"
Insert = Callable[[sqlite3.Connection], object]


def insert(n: int, text: str = "") -> Insert:
    """The operation that enters an item."""
    return lambda connection: connection.execute("INSERT INTO item VALUES (?, 'me', ?)", (n, text))


def ids(path: Path) -> list[int]:
    """Items of a store file."""
    return [n for (n,) in rows(path, "SELECT id FROM item ORDER BY id")]


def attempt_of(outcome: str, billed: Billed, prompt: int, completion: int) -> Attempt:
    """An attempt whose costs are exact in binary, so that sums do not depend on their order."""
    return Attempt(outcome, billed, prompt, completion, 10.0 * prompt, prompt / 1024, completion / 8)
