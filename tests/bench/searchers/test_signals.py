"""A race that is interrupted, terminated or killed: no process is left, what ended is kept, and a rerun goes on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.bench.searchers.test_command import write_tasks
from tests.support import wait_until

pytest.importorskip("pyarrow")
pytestmark = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="processes are looked up in /proc")

QUICK, SEEDS, WORKERS = 3, 6, 2
SEARCHER = f"""\
import os, time

def search(market, rng):
    market.lead(0)
    if market.seed >= {QUICK} and "HURRY" not in os.environ:
        time.sleep(600)
"""
CODES = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGKILL: -signal.SIGKILL}


@dataclass
class Raced:
    """A race in a session of its own, whose first seeds are quick and whose others do not end."""

    process: subprocess.Popen[str]
    out: Path

    @property
    def written(self) -> list[str]:
        return self.out.read_text().splitlines(keepends=True) if self.out.exists() else []

    def running(self) -> list[str]:
        """Command lines of the processes of the session, but for the command itself."""
        found = []
        for folder in Path("/proc").iterdir():
            if folder.name.isdigit() and int(folder.name) != self.process.pid:
                try:
                    state, _, _, session = (folder / "stat").read_text().rpartition(")")[2].split()[:4]
                    line = (folder / "cmdline").read_text()
                except OSError:
                    continue  # it has ended
                if int(session) == self.process.pid and state not in "ZX":
                    found.append(line.replace("\0", " "))
        return found

    def workers(self) -> list[str]:
        return [line for line in self.running() if "spawn_main" in line]


@contextmanager
def raced(folder: Path, **environment: str) -> Iterator[Raced]:
    (folder / "slow.py").write_text(SEARCHER)
    out = folder / "runs.jsonl"
    command = [
        sys.executable, "-m", "apportion.cli", "bench", "searchers", str(folder / "first.yaml"), "--samplers",
        "slow:search", "--seeds", str(SEEDS), "--workers", str(WORKERS), "--out", str(out), "--json",
    ]  # fmt: skip
    path = os.pathsep.join(filter(None, (str(folder), os.environ.get("PYTHONPATH"))))
    pipe, variables = subprocess.PIPE, {**os.environ, "PYTHONPATH": path, **environment}
    with subprocess.Popen(
        command, stdout=pipe, stderr=pipe, text=True, env=variables, start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # tests may be a job that ignores it
    ) as process:  # fmt: skip
        own = Raced(process, out)
        try:
            yield own
        finally:
            if process.poll() is None or own.running():
                os.killpg(process.pid, signal.SIGKILL)


def ended(own: Raced) -> str:
    """What it said on stderr, when all of its processes have gone."""
    own.process.wait(timeout=30)
    wait_until(lambda: not own.running())
    assert own.process.stdout is not None and own.process.stderr is not None
    assert own.process.stdout.read() == ""
    return own.process.stderr.read()


@pytest.mark.parametrize("number", CODES, ids=lambda number: number.name)
def test_amid_runs(number: signal.Signals, tmp_path: Path) -> None:
    write_tasks(tmp_path)
    with raced(tmp_path) as own:
        wait_until(lambda: len(own.written) == QUICK)
        assert len(own.workers()) == WORKERS
        own.process.send_signal(number)
        said = ended(own)
        assert own.process.returncode == CODES[number]
        assert "Traceback" not in said and (number == signal.SIGKILL or "leaked" not in said), said
        kept = own.written
    assert sorted(json.loads(line)["job"]["seed"] for line in kept) == list(range(QUICK))
    with raced(tmp_path, HURRY="1") as again:
        out, err = again.process.communicate(timeout=60)
        assert again.process.returncode == 0, err
        assert again.written[:QUICK] == kept and len(again.written) == SEEDS
        assert json.loads(out)["tasks"][0]["samplers"]["slow:search"]["runs"] == SEEDS


@pytest.mark.parametrize("number", CODES, ids=lambda number: number.name)
@pytest.mark.parametrize("whom", ["command", "group"])
def test_while_workers_start(number: signal.Signals, whom: str, tmp_path: Path) -> None:
    """A terminal sends an interrupt to all processes of the command."""
    write_tasks(tmp_path)
    with raced(tmp_path) as own:
        wait_until(lambda: len(own.workers()) == WORKERS)
        if whom == "group":
            os.killpg(own.process.pid, number)
        else:
            own.process.send_signal(number)
        said = ended(own)
        assert own.process.returncode == CODES[number] and not own.written
        # A worker that is killed out of its parent's hands while it is handed over may say that it got nothing.
        assert number == signal.SIGKILL or "Traceback" not in said, said
