"""What the reliability tests share: a small task, servers and command lines in processes of their own, tiny disks."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from apportion.envs.dispatch import Dispatcher
from apportion.envs.endpoint import Endpoint
from apportion.envs.limits import Allowance, Limits
from apportion.envs.worker import Message, Sampling, Worker
from apportion.graphs.cost import ModelCard
from apportion.store import Calls, Database
from apportion.store.books import Books
from apportion.store.calls import SCHEMA

ROOT = Path(__file__).parent.parent
CARD = ModelCard("m", 1e9, 16, 2048, 1.0, 2.0)
SAMPLING = Sampling(0.7, 16)
NO_LIMITS = Limits()

TASK = """\
name: tiny
seed: {seed}
models:
  small: {{endpoint: {url}, model: small, parameters: 1e9, price: {{prompt: 0.1, completion: 0.2}}, seeds: {seeds},
    timeout_s: {timeout_s}, concurrency: {concurrency}, rates: {{prefill_tok_s: 1000, decode_tok_s: 50}}{extra}}}
  large: {{endpoint: {url}, model: large, parameters: 8e9, price: {{prompt: 1, completion: 2}}, seeds: {seeds},
    timeout_s: {timeout_s}, concurrency: {concurrency}, rates: {{prefill_tok_s: 500, decode_tok_s: 20}}{extra}}}
data: {{path: data.jsonl, split: {split}}}
stages:
  - name: hint
    prompt: "Give a hint. {{question}}"
    models: [small, large]
    templates: [single, vote]
    samples: [1, 3]
    max_tokens: 16
  - name: answer
    prompt: "Hint: {{hint}}. {{question}}"
    parse: {{choice: [alpha, bravo, delta, echo, golf, hotel]}}
    models: [small, large]
    templates: [single, vote, fuse]
    samples: [1, 3]
    max_tokens: 16
evaluators:
  accuracy: {{exact: target}}
objectives:
  - maximize: accuracy
  - minimize: flops
limits: {{trials: {trials}}}
search: {{sampler: {sampler}, finalists: 2}}
"""


@dataclass(frozen=True)
class Task:
    """A task file for `write_task`; the values are those of its keys."""

    seed: int = 0
    timeout_s: float = 5.0
    concurrency: int = 8
    split: str = "{search: 6, validation: 4, test: 4}"
    trials: int = 4
    sampler: str = "tpe"
    seeds: bool = True
    extra: str = ""


def write_task(folder: Path, url: str, task: Task = Task()) -> Path:
    """Write a two-stage task and its data; the mock server's hashed replies get some of its answers right."""
    folder.mkdir(parents=True, exist_ok=True)
    words = ("alpha", "bravo", "delta", "echo")
    rows = [{"id": f"q{i}", "question": f"Which is number {i}?", "target": words[i % 4]} for i in range(40)]
    (folder / "data.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    path = folder / "task.yaml"
    path.write_text(TASK.format(url=url, **{**vars(task), "seeds": json.dumps(task.seeds)}))
    return path


@contextlib.contextmanager
def server_process(*arguments: str, log: Path | None = None, module: str = "apportion.testing.server") -> Iterator[str]:
    """The URL of a mock server in a process of its own."""
    logged = ["--log", str(log)] if log else []
    command = [sys.executable, "-m", module, *logged, *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        try:
            assert process.stdout is not None
            yield process.stdout.readline().strip()
        finally:
            process.kill()


def _heed_interrupts() -> None:
    """A shell lets its background jobs ignore SIGINT, and their children inherit that: tests may be such a job."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@contextlib.contextmanager
def start_cli(*arguments: str | Path, **environment: str) -> Iterator[subprocess.Popen[str]]:
    """The command line as a child process, its output piped as plain text; killed at the end if it still runs."""
    command = [sys.executable, "-m", "apportion.cli", *map(str, arguments)]
    pipe, variables = subprocess.PIPE, {**os.environ, **environment}
    with subprocess.Popen(
        command, stdout=pipe, stderr=pipe, text=True, cwd=ROOT, env=variables, preexec_fn=_heed_interrupts
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def run_cli(*arguments: str | Path, timeout_s: float = 60.0, **environment: str) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of the command line in a child process."""
    with start_cli(*arguments, **environment) as process:
        out, err = process.communicate(timeout=timeout_s)
        return process.returncode, out, err


def wait_until(condition: Callable[[], bool], timeout_s: float = 30.0) -> None:
    """Poll until `condition` holds; fail when it does not in time."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.002)


def rows(path: Path, sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
    """Read a store as any SQLite client would, past our own code."""
    with contextlib.closing(sqlite3.connect(path, timeout=10)) as connection:
        return connection.execute(sql, parameters).fetchall()


@contextlib.contextmanager
def tiny_disk(folder: Path, size: str = "256k") -> Iterator[Path]:
    """A file system of that size, in memory; skips the test where it cannot be mounted."""
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)], capture_output=True, text=True
    )
    if mounted.returncode:
        pytest.skip(f"a tmpfs cannot be mounted here: {mounted.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@contextlib.contextmanager
def quick_retries() -> Iterator[None]:
    """Searches of this process pause for a moment only before a retry."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Dispatcher, "_pause_s", lambda dispatcher, n, retry_after_s: 0.001)
        yield


@contextlib.contextmanager
def open_calls(path: Path, run: str = "run") -> Iterator[Calls]:
    """Bank and ledger of a run in a store file."""
    database = Database(path, SCHEMA)
    try:
        yield Calls(database, run)
    finally:
        database.close()


def dispatcher(
    calls: Books,
    worker: Worker,
    limits: Limits = NO_LIMITS,
    *,
    concurrency: int = 4,
    backoff_s: float = 0.001,
    identity: str = "m",
) -> Dispatcher:
    """A dispatcher with one endpoint, `m`, that retries almost at once."""
    endpoint = Endpoint(CARD, worker, "m", identity, concurrency)
    return Dispatcher(calls, {"m": endpoint}, Allowance(limits), backoff_s)


def ask(text: str) -> tuple[Message, ...]:
    """A prompt of one user message."""
    return (Message("user", text),)
