"""A run on a disk that cannot be written is shown, recorded and learnt from; going on with it is refused."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import apportion
from apportion.run import RunFolder
from tests.envs.test_sandbox import needs_bwrap
from tests.support import ROOT, Task, server_process, write_task

pytestmark = needs_bwrap


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("archive")
    with server_process() as url:
        task = write_task(folder, url, Task(trials=2, sampler="random"))
        apportion.load(task).run(folder / "run")
        yield folder / "run"


def read_only(*arguments: str | Path, writable: Path | None = None) -> subprocess.CompletedProcess[str]:
    """A command where nothing but one folder can be written."""
    binds = [] if writable is None else ["--bind", str(writable), str(writable)]
    view = ["bwrap", "--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc", *binds]
    command = [*view, sys.executable, "-m", "apportion.cli", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)


def test_it_is_shown_as_elsewhere(run: Path) -> None:
    here = subprocess.run(
        [sys.executable, "-m", "apportion.cli", "show", str(run)], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    there = read_only("show", run)
    assert (there.returncode, there.stdout) == (0, here.stdout) and here.stdout


def test_it_is_recorded(run: Path, tmp_path: Path) -> None:
    done = read_only("record", run, "-o", tmp_path / "all.parquet", writable=tmp_path)
    assert done.returncode == 0 and (tmp_path / "all.parquet").stat().st_size, done.stderr


def test_another_run_learns_from_it(run: Path, tmp_path: Path) -> None:
    asked = ["search.sampler=mlcopilot", f"search.warm_start=[{run}]"]
    options = [part for text in asked for part in ("--set", text)]
    done = read_only("run", run.parent / "task.yaml", "--out", tmp_path / "second", *options, writable=tmp_path)
    assert done.returncode == 0, done.stderr
    with contextlib.closing(RunFolder.view(tmp_path / "second")) as folder:
        assert "similar task" in folder.trials.fact("knowledge")


def test_what_would_be_written_is_refused(run: Path) -> None:
    done = read_only("run", run.parent / "task.yaml", "--out", run)
    assert done.returncode == 2 and "Read-only file system" in done.stderr.splitlines()[-1]


def test_what_was_written_last_is_not_left_out(run: Path, tmp_path: Path) -> None:
    left = Path(shutil.copytree(run, tmp_path / "left"))
    (left / "run.sqlite-wal").write_bytes(b"1")
    done = read_only("show", left)
    (line,) = done.stderr.splitlines()
    assert done.returncode == 2 and "must have been closed to be looked at here" in line and "; copy its folder" in line
