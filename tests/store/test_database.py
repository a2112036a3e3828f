"""The store file as its writers see it: order, kills, crowds, failed writes, and the end."""

from __future__ import annotations

import asyncio
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from apportion.errors import StoreError
from apportion.store.database import Database
from tests.store.kit import SCHEMA, Insert, ids, insert
from tests.support import ROOT, rows


def bounded(work: Callable[[], object], seconds: float = 10.0) -> None:
    """Run `work` in a thread and fail when it hangs."""
    errors: list[BaseException] = []

    def body() -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001 - raised again below, in the test's own thread
            errors.append(error)

    thread = threading.Thread(target=body, daemon=True)
    thread.start()
    thread.join(seconds)
    assert not thread.is_alive(), "it hangs"
    if errors:
        raise errors[0]


# --- order -----------------------------------------------------------------------------------------------------------


def test_operations_run_in_the_order_of_submission_however_they_are_submitted(tmp_path: Path) -> None:
    database, seen = Database(tmp_path / "a.sqlite", SCHEMA), list[int]()

    def note(n: int) -> Insert:
        def operation(connection: sqlite3.Connection) -> None:
            seen.append(n)
            insert(n)(connection)

        return operation

    async def submit() -> None:
        waits = []
        for n in range(0, 3000, 2):
            database.post(note(n))
            waits.append(asyncio.ensure_future(database.write(note(n + 1))))
            await asyncio.sleep(0)  # the write is submitted by its first step
        await asyncio.gather(*waits)

    asyncio.run(submit())
    assert seen == list(range(3000))
    database.close()
    assert ids(tmp_path / "a.sqlite") == seen


WRITER = """
import sys
from pathlib import Path
from apportion.store.database import Database
database = Database(Path(sys.argv[1]), sys.argv[2])
n = 0
while True:
    database.post(lambda connection, n=n: connection.execute("INSERT INTO item VALUES (?, 'me', '')", (n,)))
    n += 1
    if n % 50 == 0:
        database.flush()
        print(n, flush=True)
"""


def test_what_survives_a_kill_is_a_prefix_that_holds_all_that_was_flushed(tmp_path: Path) -> None:
    path = tmp_path / "a.sqlite"
    for flushes in (1, 7, 40):
        path.unlink(missing_ok=True)
        command = [sys.executable, "-c", WRITER, str(path), SCHEMA]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
            assert process.stdout is not None
            flushed = max(int(process.stdout.readline()) for _ in range(flushes))
            process.kill()
            flushed = max([flushed, *(int(line) for line in process.stdout.read().splitlines() if line.endswith("0"))])
        kept = ids(path)
        assert kept == list(range(len(kept)))
        assert len(kept) >= flushed


def test_nothing_is_committed_after_a_failed_write(tmp_path: Path) -> None:
    """Later operations may rest on the failed one, so the file must stop at the prefix before it."""
    path = tmp_path / "a.sqlite"
    database = Database(path, SCHEMA)
    running, going = threading.Event(), threading.Event()

    def held(connection: sqlite3.Connection) -> None:
        running.set()
        going.wait(10)

    database.post(insert(0))
    database.flush()
    database.post(held)
    assert running.wait(10)
    for n in range(1, 2000):  # several groups wait behind the one that is held
        database.post(insert(n) if n != 1000 else insert(0))
    going.set()
    with pytest.raises(StoreError, match="UNIQUE"):
        database.close()
    kept = ids(path)
    assert kept == list(range(len(kept)))
    assert len(kept) <= 1000


# --- crowds ----------------------------------------------------------------------------------------------------------

CROWD = """
import sys, time
from pathlib import Path
from apportion.store.database import Database
folder, who, schema, rounds, pace = Path(sys.argv[1]), sys.argv[2], sys.argv[3], int(sys.argv[4]), float(sys.argv[5])
print("ready", flush=True)
began = float(sys.stdin.readline())
for n in range(rounds):
    while time.time() < began + n * pace:
        time.sleep(0.0005)
    database = Database(folder / f"{n}.sqlite", schema)
    for _ in range(5):
        database.post(lambda connection: connection.execute("INSERT INTO item (who, text) VALUES (?, '')", (who,)))
    database.close()
"""
PROCESSES, ROUNDS, PACE_S = 8, 40, 0.05  # the race that this is about is lost in one of some hundred rounds


def test_eight_processes_open_one_new_file_at_once_and_all_write(tmp_path: Path) -> None:
    pipe = subprocess.PIPE
    told = [SCHEMA, str(ROUNDS), str(PACE_S)]
    commands = [[sys.executable, "-c", CROWD, str(tmp_path / "new"), str(who), *told] for who in range(PROCESSES)]
    processes = [subprocess.Popen(c, stdin=pipe, stdout=pipe, stderr=pipe, text=True, cwd=ROOT) for c in commands]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    began = time.time() + 0.1
    for process in processes:
        assert process.stdin is not None
        process.stdin.write(f"{began}\n")
        process.stdin.flush()
    assert [process.communicate(timeout=60)[1] for process in processes] == [""] * PROCESSES
    for n in range(ROUNDS):
        written = rows(tmp_path / "new" / f"{n}.sqlite", "SELECT who, count(*) FROM item GROUP BY who")
        assert written == [(str(who), 5) for who in range(PROCESSES)]


def test_threads_and_loops_share_one_open_file(tmp_path: Path) -> None:
    database = Database(tmp_path / "a.sqlite", SCHEMA)

    async def many(first: int) -> None:
        await asyncio.gather(*(database.write(insert(n)) for n in range(first, first + 200)))

    threads = [threading.Thread(target=asyncio.run, args=(many(1000 * i),)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert database.read("SELECT count(*) FROM item") == [(800,)]
    database.close()


# --- failures and ends -----------------------------------------------------------------------------------------------


def test_after_a_failed_write_everything_raises_until_the_file_is_opened_again(tmp_path: Path) -> None:
    path = tmp_path / "a.sqlite"
    database = Database(path, SCHEMA)
    database.run(insert(1))
    database.post(insert(1))
    with pytest.raises(StoreError, match="UNIQUE"):
        database.flush()
    with pytest.raises(StoreError, match="UNIQUE"):
        database.post(insert(2))
    with pytest.raises(StoreError, match="UNIQUE"):
        asyncio.run(database.write(insert(3)))
    assert database.read("SELECT id FROM item") == [(1,)]
    with pytest.raises(StoreError, match="UNIQUE"):
        database.close()
    database.close()
    again = Database(path, SCHEMA)
    again.run(insert(2))
    again.close()
    assert ids(path) == [1, 2]


def test_an_operation_that_raises_fails_its_whole_group(tmp_path: Path) -> None:
    database = Database(tmp_path / "a.sqlite", SCHEMA)

    def wrong(connection: sqlite3.Connection) -> None:
        insert(1)(connection)
        raise KeyError("a mistake of ours")

    with pytest.raises(StoreError, match="a mistake of ours"):
        database.run(wrong)
    with pytest.raises(StoreError):
        database.close()
    assert ids(tmp_path / "a.sqlite") == []


def test_a_connection_that_is_gone_is_said_to_all_who_wait(tmp_path: Path) -> None:
    database = Database(tmp_path / "a.sqlite", SCHEMA)

    def use() -> None:
        with pytest.raises(StoreError, match="closed database"):
            database.run(lambda connection: connection.close())
        with pytest.raises(StoreError, match="closed database"):
            database.run(insert(1))

    bounded(use)
    with pytest.raises(StoreError):
        database.close()


def test_closing_twice_and_using_a_closed_store(tmp_path: Path) -> None:
    database = Database(tmp_path / "a.sqlite", SCHEMA)
    database.post(insert(1))
    database.close()
    database.close()
    assert ids(tmp_path / "a.sqlite") == [1]

    def use(work: Callable[[], object]) -> None:
        with pytest.raises(StoreError, match="closed"):
            work()

    bounded(lambda: use(database.flush))
    bounded(lambda: use(lambda: database.post(insert(2))))
    bounded(lambda: use(lambda: asyncio.run(database.write(insert(2)))))
    bounded(lambda: use(lambda: database.read("SELECT 1")))
    assert ids(tmp_path / "a.sqlite") == [1]


def test_a_loop_that_is_closed_while_it_writes_hangs_nobody(tmp_path: Path) -> None:
    database = Database(tmp_path / "a.sqlite", SCHEMA)
    going = threading.Event()

    def held(connection: sqlite3.Connection) -> None:
        going.wait(10)
        insert(1)(connection)

    async def leave() -> None:
        task = asyncio.ensure_future(database.write(held))
        await asyncio.sleep(0.01)
        task.cancel()

    asyncio.run(leave())
    going.set()
    bounded(lambda: database.run(insert(2)))
    bounded(database.close)
    assert ids(tmp_path / "a.sqlite") == [1, 2]


def test_a_cancelled_write_is_still_made_and_the_others_get_their_answers(tmp_path: Path) -> None:
    database = Database(tmp_path / "a.sqlite", SCHEMA)

    async def some() -> None:
        tasks = [asyncio.ensure_future(database.write(insert(n))) for n in range(20)]
        await asyncio.sleep(0)
        tasks[3].cancel()
        ended = await asyncio.gather(*tasks, return_exceptions=True)
        assert [isinstance(e, asyncio.CancelledError) for e in ended] == [n == 3 for n in range(20)]

    asyncio.run(some())
    database.close()
    assert ids(tmp_path / "a.sqlite") == list(range(20))


def test_one_group_costs_little_more_than_one_row(tmp_path: Path) -> None:
    database = Database(tmp_path / "a.sqlite", SCHEMA)
    began = time.perf_counter()
    for n in range(5000):
        database.post(insert(n))
    database.close()
    assert time.perf_counter() - began < 5, "5000 single commits with fsync would take longer"
