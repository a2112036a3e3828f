"""A SQLite file with one writer thread and group commit. It knows nothing of what is stored.

Everything that is submitted in one moment is committed together with one `fsync` (WAL, `synchronous=FULL`), in the
order of submission: what is on disk is always a prefix of what was submitted, so an operation that was decided by an
earlier one never survives without it. A commit of a single row costs about as much as one of a hundred.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import queue
import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any, TypeVar

from apportion.errors import StoreError

T = TypeVar("T")
Operation = Callable[[sqlite3.Connection], Any]

APPLICATION_ID = 0x41505054  # "APPT", so that `file` and we can tell our files from others
VERSION = 2
GROUP = 512  # operations in one commit at most: bounds the wait of the first in a burst
BUSY_S = 60.0  # another process may hold the write lock for a checkpoint on a slow disk


class Database:
    """An open store file. Thread-safe.

    Args:
        path: the file; it and its schema are made if need be.
        schema: `CREATE TABLE IF NOT EXISTS` statements.

    Raises:
        StoreError: not a store, written by a newer version, or not writable.
    """

    def __init__(self, path: Path, schema: str) -> None:
        self.path = path
        with self.explained("opened"):
            path.parent.mkdir(parents=True, exist_ok=True)
            with _alone(path):
                self._writer = _connect(path)
                _prepare(self._writer, path, schema)
            self._reader = _connect(path)
        self._reading = threading.Lock()
        self._failure: StoreError | None = None
        self._gate = threading.Lock()  # nothing may be queued behind the end, where nobody would answer it
        self._closed = False
        self._queue: queue.SimpleQueue[tuple[Operation, _Answer] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name=f"store {path.name}", daemon=True)
        self._thread.start()

    def read(self, sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Rows of committed data."""
        with self._reading, self.explained("read"):
            return self._reader.execute(sql, parameters).fetchall()

    def post(self, operation: Operation) -> None:
        """Submit a write without waiting for it. A failure is raised by the next call.

        Raises:
            StoreError: an earlier write failed.
        """
        self._submit(operation, _Answer())

    def run(self, operation: Callable[[sqlite3.Connection], T]) -> T:
        """Write and wait until it is on disk; blocks the thread.

        Raises:
            StoreError: the write failed.
        """
        future: Future[T] = Future()
        self._submit(operation, _Answer(future=future))
        return future.result()

    async def write(self, operation: Callable[[sqlite3.Connection], T]) -> T:
        """Write and await that it is on disk.

        Raises:
            StoreError: the write failed.
        """
        loop = asyncio.get_running_loop()
        waiter: asyncio.Future[T] = loop.create_future()
        self._submit(operation, _Answer(waiter=waiter, loop=loop))
        return await waiter

    def flush(self) -> None:
        """Wait until everything submitted so far is on disk; blocks the thread.

        Raises:
            StoreError: a write failed.
        """
        self.run(lambda connection: None)

    def close(self) -> None:
        """Commit what was submitted and close the file. May be called twice.

        Raises:
            StoreError: a write failed; the second call does not say it again.
        """
        with self._gate:
            if self._closed:
                return
            self._closed = True
            self._queue.put(None)
        self._thread.join()
        self._reader.close()
        self._writer.close()
        if self._failure:
            raise self._failure

    def _submit(self, operation: Operation, answer: _Answer) -> None:
        with self._gate:
            if self._failure:
                raise self._failure
            if self._closed:
                raise StoreError(f"{self.path} must be open to be written, but it is closed; open it again.")
            self._queue.put((operation, answer))

    def _work(self) -> None:
        while True:
            item = self._queue.get()
            if item is None:
                return
            batch = [item]
            ended = False
            with contextlib.suppress(queue.Empty):
                while len(batch) < GROUP:
                    item = self._queue.get_nowait()
                    if item is None:
                        ended = True
                        break
                    batch.append(item)
            self._commit(batch)
            if ended:
                return

    def _commit(self, batch: list[tuple[Operation, _Answer]]) -> None:
        results: list[Any]
        try:
            if self._failure:  # what was queued behind a failed write may rest on it
                raise self._failure
            with self.explained("written"):
                self._writer.execute("BEGIN IMMEDIATE")
                results = [operation(self._writer) for operation, _ in batch]
                self._writer.execute("COMMIT")
        except BaseException as error:  # noqa: BLE001 - handed to the callers, who wait in other threads
            with contextlib.suppress(sqlite3.Error):  # then the disk is gone; SQLite rolls back when it is opened again
                if self._writer.in_transaction:
                    self._writer.execute("ROLLBACK")
            failure = error if isinstance(error, StoreError) else StoreError(f"{self.path}: {error!r}")
            self._failure = failure
            results = [failure] * len(batch)
        _deliver([answer for _, answer in batch], results)

    @contextlib.contextmanager
    def explained(self, what: str) -> Iterator[None]:
        """Turn what SQLite and the disk say into a StoreError."""
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            raise StoreError(f"{self.path} must be {what}, but: {error}; {_remedy(str(error))}") from error


class _Answer:
    """Where the outcome of one operation goes: to a thread, to a coroutine, or nowhere."""

    __slots__ = ("future", "loop", "waiter")

    def __init__(
        self,
        future: Future[Any] | None = None,
        waiter: asyncio.Future[Any] | None = None,
        loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        self.future = future
        self.waiter = waiter
        self.loop = loop


def _deliver(answers: list[_Answer], results: list[Any]) -> None:
    """Hand out the results, waking each event loop once for the whole group."""
    by_loop: dict[asyncio.AbstractEventLoop, list[tuple[asyncio.Future[Any], Any]]] = {}
    for answer, result in zip(answers, results, strict=True):
        if answer.future is not None:
            _settle(answer.future, result)
        elif answer.waiter is not None and answer.loop is not None:
            by_loop.setdefault(answer.loop, []).append((answer.waiter, result))
    for loop, settled in by_loop.items():
        with contextlib.suppress(RuntimeError):  # the loop was closed while its writes were under way
            loop.call_soon_threadsafe(_settle_all, settled)


def _settle_all(settled: list[tuple[asyncio.Future[Any], Any]]) -> None:
    for waiter, result in settled:
        if not waiter.done():
            _settle(waiter, result)


def _settle(future: Future[Any] | asyncio.Future[Any], result: Any) -> None:
    if isinstance(result, StoreError):
        future.set_exception(result)
    else:
        future.set_result(result)


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=BUSY_S, isolation_level=None, check_same_thread=False)
    connection.execute("PRAGMA synchronous=FULL")
    return connection


def version_of(connection: sqlite3.Connection, path: Path) -> int:
    """The format of a store, 0 of an empty file.

    Raises:
        StoreError: it is no store, or a later version wrote it.
    """
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if application != APPLICATION_ID and tables:
        raise StoreError(f"{path} must be a store of apportion, but it is another SQLite file; name another path.")
    if version > VERSION:
        raise StoreError(f"{path} must be of format {VERSION} or older, got {version}; update apportion.")
    return int(version)


def _prepare(connection: sqlite3.Connection, path: Path, schema: str) -> None:
    version_of(connection, path)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.executescript(
        f"BEGIN IMMEDIATE; PRAGMA application_id={APPLICATION_ID}; PRAGMA user_version={VERSION}; {schema}; COMMIT;"
    )


@contextlib.contextmanager
def _alone(path: Path) -> Iterator[None]:
    """One process at a time opens a new file: switching to WAL is not covered by SQLite's own busy handler."""
    with path.with_name(path.name + ".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _remedy(message: str) -> str:
    if "full" in message or "No space" in message:
        return "free space on that disk and run the same command again."
    if "not a database" in message or "malformed" in message:
        return "it is not a store or is damaged; move it away."
    if "locked" in message:
        return "another process holds it; wait for that process."
    return "check that the folder exists and may be written."
