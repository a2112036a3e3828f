"""The store file under what happens to files: torn writes, full and read-only disks, other programs' files."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
from pathlib import Path

import pytest

from apportion.errors import StoreError
from apportion.store.database import Database
from tests.store.kit import SCHEMA, insert
from tests.support import tiny_disk

# --- torn files ------------------------------------------------------------------------------------------------------


def crashed(path: Path, copy: Path) -> None:
    """Copy an open store as a kill would leave it: file and write-ahead log, without its shared index."""
    shutil.copyfile(path, copy)
    shutil.copyfile(f"{path}-wal", f"{copy}-wal")


def opened(path: Path) -> list[int]:
    database = Database(path, SCHEMA)
    try:
        database.run(insert(10**6))  # it can also be written to
        return [n for (n,) in database.read("SELECT id FROM item WHERE id < 1000000 ORDER BY id")]
    finally:
        database.close()


@pytest.fixture
def torn(tmp_path: Path) -> tuple[Path, int, int]:
    """A crashed store of 30 commits and one more, and the length of its log before and after the last."""
    path = tmp_path / "whole.sqlite"
    database = Database(path, SCHEMA)
    for n in range(30):
        database.run(insert(n, "x" * 300))
    before = Path(f"{path}-wal").stat().st_size
    database.run(insert(30, "y" * 6000))
    after = Path(f"{path}-wal").stat().st_size
    crashed(path, tmp_path / "crashed.sqlite")
    database.close()
    return tmp_path / "crashed.sqlite", before, after


def test_a_commit_torn_at_any_byte_is_dropped_and_nothing_before_it(torn: tuple[Path, int, int]) -> None:
    crashed_path, before, after = torn
    log = Path(f"{crashed_path}-wal").read_bytes()
    assert after - before > 8000, "the last commit must be large enough to be torn in many places"
    path = crashed_path.with_name("torn.sqlite")
    edges = {before, before + 1, before + 23, before + 24, after - 1}
    for cut in sorted(edges | set(range(before, after, 211))):
        for tail in (b"", b"\0" * (after - cut), b"\xff" * 100):
            shutil.copyfile(crashed_path, path)
            Path(f"{path}-wal").write_bytes(log[:cut] + tail)
            Path(f"{path}-shm").unlink(missing_ok=True)
            assert opened(path) == list(range(30)), f"cut at {cut}"
    shutil.copyfile(crashed_path, path)
    Path(f"{path}-wal").write_bytes(log[:after] + b"\xff" * 5000)
    assert opened(path) == list(range(31))


def test_bytes_torn_onto_the_main_file_lose_nothing(torn: tuple[Path, int, int]) -> None:
    whole = torn[0].with_name("whole.sqlite")  # closed in good order: everything is in the main file
    for size in (1, 100, 4095, 4096, 4097, 20000):
        path = whole.with_name("tail.sqlite")
        path.write_bytes(whole.read_bytes() + b"\xa5" * size)
        assert opened(path) == list(range(31))


# --- disks -----------------------------------------------------------------------------------------------------------


def test_a_full_disk_is_said_and_costs_nothing_that_was_committed(tmp_path: Path) -> None:
    with tiny_disk(tmp_path / "disk") as disk:
        ballast, path = disk / "ballast", disk / "a.sqlite"
        ballast.write_bytes(b"0" * 60_000)
        database, done = Database(path, SCHEMA), -1
        with pytest.raises(StoreError) as refused:
            for n in range(10_000):
                database.run(insert(n, "x" * 1000))
                done = n
        message = str(refused.value)
        assert str(path) in message and "free space" in message and "\n" not in message
        with pytest.raises(StoreError):
            database.run(insert(0))
        with pytest.raises(StoreError):
            database.close()
        database.close()
        ballast.unlink()
        assert done > 10
        assert opened(path) == list(range(done + 1))


def test_a_disk_that_is_full_from_the_start(tmp_path: Path) -> None:
    with tiny_disk(tmp_path / "disk") as disk:
        with (disk / "ballast").open("wb", buffering=0) as ballast, pytest.raises(OSError):
            while True:
                ballast.write(b"0" * 4096)
        with pytest.raises(StoreError, match="free space on that disk") as refused:
            Database(disk / "a.sqlite", SCHEMA)
        assert str(disk) in str(refused.value)
        (disk / "ballast").unlink()
        assert opened(disk / "a.sqlite") == []


def test_a_read_only_disk(tmp_path: Path) -> None:
    with tiny_disk(tmp_path / "disk") as disk:
        opened(disk / "a.sqlite")
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        for name in ("a.sqlite", "new.sqlite", "folder/new.sqlite"):
            with pytest.raises(StoreError, match=r"Read-only.*; check that the folder exists and may be written"):
                Database(disk / name, SCHEMA)


def test_a_folder_that_cannot_be_made() -> None:
    with pytest.raises(StoreError, match="check that the folder exists and may be written"):
        Database(Path("/proc/none/a.sqlite"), SCHEMA)


# --- other files -----------------------------------------------------------------------------------------------------


def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("these are my notes\n" * 100)
    with pytest.raises(StoreError, match=r"not a database; it is not a store or is damaged; move it away\."):
        Database(path, SCHEMA)
    assert path.read_text() == "these are my notes\n" * 100


def test_another_programs_database(tmp_path: Path) -> None:
    path = tmp_path / "other.sqlite"
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE trials (id)")
    connection.close()
    before = path.read_bytes()
    with pytest.raises(StoreError, match=r"another SQLite file; name another path\."):
        Database(path, SCHEMA)
    assert path.read_bytes() == before


def test_a_store_of_a_newer_version(tmp_path: Path) -> None:
    path = tmp_path / "a.sqlite"
    opened(path)
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA user_version = 7")
    connection.close()
    before = path.read_bytes()
    with pytest.raises(StoreError, match=r"format 2 or older, got 7; update apportion\."):
        Database(path, SCHEMA)
    assert path.read_bytes() == before


def test_a_folder_in_place_of_the_file(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=str(tmp_path)):
        Database(tmp_path, SCHEMA)
