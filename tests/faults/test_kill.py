"""Searches that are killed at random moments, stopped by signals, started twice: nothing is lost or bought twice.

Real processes, real signals; what was sent is read from the log of a server in a process of its own.
"""

from __future__ import annotations

import hashlib
import json
import random
import signal
import sqlite3
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

import apportion
from apportion.envs.openai import OpenAIWorker
from apportion.envs.worker import Message, Request, Sampling
from tests.support import Task, rows, run_cli, server_process, start_cli, tiny_disk, wait_until, write_task

MOST_KILLS = 5
VARYING = ("folder", "elapsed_s", "ledger", "break_even")
"""What `show --json` says that does depend on how often a search was interrupted."""


def billed(log: Path) -> list[str]:
    """Hashes of the bodies that the server has answered, in order."""
    return [json.loads(line)["sha256"] for line in log.read_bytes().splitlines()] if log.exists() else []


def body_sha256(request: str, index: int, key: str) -> str:
    """Hash of the body that a draw is asked for with, from the bank's record of it."""
    identity, messages, (temperature, max_tokens, top_p, stop) = json.loads(request)
    asked = tuple(Message(role, content) for role, content in messages)
    how = Sampling(temperature, max_tokens, top_p, tuple(stop))
    body = OpenAIWorker("http://host/v1")._body(Request(identity.split("#")[1], asked, how, int(key[:7], 16) + index))
    return hashlib.sha256(body).hexdigest()


BANKED = "SELECT request, idx, key FROM result JOIN prompt USING (key)"
IN_FLIGHT = (
    "SELECT request, idx, key FROM call JOIN prompt USING (key)"
    " WHERE NOT EXISTS (SELECT 1 FROM attempt WHERE attempt.call = call.id AND final)"
)


@dataclass
class Left:
    """What a killed process left behind."""

    banked: set[str] = field(default_factory=set)
    in_flight: set[str] = field(default_factory=set)
    texts: list[tuple[Any, ...]] = field(default_factory=list)
    told: dict[int, str] = field(default_factory=dict)


def left_in(run: Path) -> Left:
    store = run / "run.sqlite"
    tables = rows(store, "SELECT name FROM sqlite_master") if store.exists() else []
    if ("result",) not in tables:
        return Left()
    records = rows(store, "SELECT number, record FROM trial ORDER BY number")
    return Left(
        {body_sha256(*row) for row in rows(store, BANKED)},
        {body_sha256(*row) for row in rows(store, IN_FLIGHT)},
        rows(store, "SELECT key, idx, text FROM result ORDER BY 1, 2"),
        {number: record for number, record in records if json.loads(record)["state"] != "running"},
    )


def shown(run: Path) -> dict[str, Any]:
    """What `show --json` prints."""
    said: dict[str, Any] = json.loads(json.dumps(apportion.open_run(run).to_dict()))
    return said


def comparable(said: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in said.items() if name not in VARYING}


def trials_in(run: Path) -> int:
    """Trials that a search has asked for so far."""
    try:
        return int(rows(run / "run.sqlite", "SELECT count(*) FROM trial")[0][0])
    except sqlite3.Error:
        return 0  # there is no such file or table yet


def killed_after(command: Sequence[str | Path], progress: Callable[[], int], steps: int, pause_s: float) -> bool:
    """Kill a command a moment after so many steps more; False when it ended before."""
    before = progress()
    with start_cli(*command) as process:
        wait_until(lambda: progress() >= before + steps or process.poll() is not None)
        time.sleep(pause_s)
        alive = process.poll() is None
        process.kill()
        _, err = process.communicate(timeout=10)
        assert "Traceback" not in err
        assert alive or process.returncode == 0
        return alive


@pytest.mark.parametrize(("seed", "sampler"), [(1, "tpe"), (2, "nsga2"), (3, "grid")])
def test_killed_at_random_it_ends_as_if_never_killed(tmp_path: Path, seed: int, sampler: str) -> None:
    chance, log = random.Random(seed), tmp_path / "billed.jsonl"
    with server_process("--reply-ms", "10", log=log) as url:
        task = write_task(tmp_path, url, Task(seed=seed, sampler=sampler, trials=8))
        apportion.load(task).run(tmp_path / "whole")
        earlier = len(billed(log))
        lefts: list[Left] = []
        run, sent_at_kill = tmp_path / "killed", list[int]()
        for kill in range(MOST_KILLS):
            progress, most = ((lambda: len(billed(log)), 60), (lambda: trials_in(run), 6))[kill % 2]
            command = ("run", task, "--out", run)
            if not killed_after(command, progress, chance.randint(1, most), chance.uniform(0, 0.02)):
                break
            time.sleep(0.1)  # for the server to read what was on its way
            lefts.append(left_in(run))
            sent_at_kill.append(len(billed(log)))
        assert lefts, "it was never killed"
        code, _, err = run_cli("run", task, "--out", run)
        assert (code, err) == (0, "")
        sent = billed(log)[earlier:]

    one, other = shown(tmp_path / "whole"), shown(run)
    assert comparable(one) == comparable(other)
    final = left_in(run)
    assert final.texts == left_in(tmp_path / "whole").texts
    numbers = [number for (number,) in rows(run / "run.sqlite", "SELECT number FROM trial ORDER BY number")]
    assert numbers == list(range(len(numbers)))
    for left in lefts:
        assert set(left.texts) <= set(final.texts), "a completion was lost or changed"
        assert left.told.items() <= final.told.items(), "a finished trial was lost or changed"
    for left, at in zip(lefts, sent_at_kill, strict=True):
        assert not left.banked & set(billed(log)[at:]), "what was in the bank was sent again"
    times = Counter(sent)
    for body, count in times.items():
        assert count <= 1 + sum(body in left.in_flight for left in lefts)
    ledger = other["ledger"]["candidate"]
    assert ledger["calls_lost"] == sum(len(left.in_flight) for left in lefts)
    assert sum(count - 1 for count in times.values()) <= ledger["calls_lost"]
    assert ledger["attempts"] >= len(sent)
    assert ledger["calls_fresh"] == len(final.texts) == one["ledger"]["candidate"]["calls_fresh"]
    assert set(times) == final.banked


def test_a_kill_does_not_refill_a_limit(tmp_path: Path) -> None:
    """What may have been billed counts: all sessions together stay within the cap, counted at the server."""
    log, cap = tmp_path / "billed.jsonl", 60
    with server_process("--reply-ms", "40", log=log) as url:
        task = write_task(tmp_path, url, Task(trials=20))
        limited = ("run", task, "--out", tmp_path / "run", "--set", f"limits.calls={cap}")
        for _ in range(3):
            killed_after(limited, lambda: len(billed(log)), 6, 0.01)
        code, out, err = run_cli(*limited)
        assert code in (0, 4), out + err
        assert "Traceback" not in out + err
        assert len(billed(log)) <= cap
    said = shown(tmp_path / "run")
    assert len(billed(log)) <= said["ledger"]["candidate"]["attempts"] <= cap
    assert said["ledger"]["candidate"]["calls_lost"] > 0


# --- signals ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("number", "expected"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_it_in_good_order(tmp_path: Path, number: signal.Signals, expected: int) -> None:
    log = tmp_path / "billed.jsonl"
    with server_process("--reply-ms", "1500", log=log) as url:
        task = write_task(tmp_path, url)
        with start_cli("run", task, "--out", tmp_path / "run") as process:
            wait_until(lambda: len(billed(log)) >= 4)
            process.send_signal(number)
            began = time.monotonic()
            out, err = process.communicate(timeout=10)
        assert time.monotonic() - began < 5
        assert process.returncode == expected
        assert f"go on with: apportion run {task} --out {tmp_path / 'run'}" in out
        assert err == ""
        said = shown(tmp_path / "run")
        assert said["state"] == "searching"
        assert said["ledger"]["candidate"]["calls_lost"] == len(billed(log)) > 0
        assert left_in(tmp_path / "run").in_flight == set(), "a stop in good order leaves nothing in flight"
        assert said["elapsed_s"] > 0


@pytest.mark.parametrize("after_s", [0.0, 0.2, 0.4])
def test_a_signal_while_it_starts(tmp_path: Path, after_s: float) -> None:
    with server_process("--reply-ms", "200") as url:
        task = write_task(tmp_path, url)
        with start_cli("run", task, "--out", tmp_path / "run") as process:
            maps = Path(f"/proc/{process.pid}/maps")
            wait_until(lambda: "numpy" in maps.read_text())  # Python has started, and we are at our imports
            time.sleep(after_s)
            process.send_signal(signal.SIGINT)
            _, err = process.communicate(timeout=10)
        # Interrupted in some of its own code, CPython ends by the signal itself: the same 130 to a shell.
        assert process.returncode in (130, -signal.SIGINT)
        assert err == ""


def test_a_second_signal_does_no_harm(tmp_path: Path) -> None:
    log = tmp_path / "billed.jsonl"
    with server_process("--reply-ms", "1500", log=log) as url:
        with start_cli("run", write_task(tmp_path, url), "--out", tmp_path / "run") as process:
            wait_until(lambda: len(billed(log)) >= 4)
            for _ in range(5):
                process.send_signal(signal.SIGINT)
                time.sleep(0.002)
            _, err = process.communicate(timeout=10)
        assert (process.returncode, err) == (130, "")
        assert left_in(tmp_path / "run").in_flight == set()


# --- the same folder again -------------------------------------------------------------------------------------------


def test_a_finished_search_buys_nothing_and_says_the_same(tmp_path: Path) -> None:
    log, run = tmp_path / "billed.jsonl", tmp_path / "run"
    with server_process(log=log) as url:
        task = write_task(tmp_path, url)
        assert run_cli("run", task, "--out", run)[0] == 0
        before, sent = shown(run), len(billed(log))
        code, out, err = run_cli("run", task, "--out", run)
        assert (code, err) == (0, "")
        assert "nothing to buy" in out
        assert len(billed(log)) == sent
        assert shown(run) == before

        code, out, err = run_cli("run", task, "--out", run, "--set", "seed=5", "--set", "models.small.price.prompt=0.3")
        assert (code, out) == (2, "")
        assert "spec.seed: 0 -> 5" in err and "spec.models.small.price.prompt: 0.1 -> 0.3" in err
        assert "name another folder with --out" in err and err.count("\n") == 1
        data = tmp_path / "data.jsonl"
        data.write_text(data.read_text().replace("number 1?", "number one?"))
        code, out, err = run_cli("run", task, "--out", run)
        assert code == 2 and "differs in data" in err
        assert shown(run) == before
        assert len(billed(log)) == sent


def test_one_process_at_a_time_runs_in_a_folder_and_any_may_look(tmp_path: Path) -> None:
    log, run = tmp_path / "billed.jsonl", tmp_path / "run"
    with server_process("--reply-ms", "300", log=log) as url:
        task = write_task(tmp_path, url)
        with start_cli("run", task, "--out", run) as first:
            wait_until(lambda: len(billed(log)) >= 4)
            code, out, err = run_cli("run", task, "--out", run)
            assert (code, out) == (2, "")
            assert f"one process at a time may run in {run}" in err and "Traceback" not in err
            assert shown(run)["state"] == "searching"
            assert first.poll() is None
        with start_cli("run", task, "--out", run) as second:
            wait_until(lambda: len(billed(log)) >= 8 or second.poll() is not None)
            assert second.poll() is None, "a killed process holds no lock"


def test_a_disk_that_fills_up_in_mid_search_is_said_and_nothing_is_lost(tmp_path: Path) -> None:
    log = tmp_path / "billed.jsonl"
    with server_process(log=log) as url, tiny_disk(tmp_path / "disk", "512k") as disk:
        task, run = write_task(tmp_path, url, Task(trials=20)), disk / "run"
        (disk / "ballast").write_bytes(b"0" * 200_000)
        code, out, err = run_cli("run", task, "--out", run)
        assert code == 2, out
        assert err.count("\n") == 1 and str(run) in err and "free space on that disk" in err
        assert "Traceback" not in out
        left, sent = left_in(run), len(billed(log))
        assert left.told
        (disk / "ballast").unlink()
        subprocess.run(["mount", "-o", "remount,size=8m", str(disk)], check=True)
        code, out, err = run_cli("run", task, "--out", run)
        assert (code, err) == (0, ""), err
        final = left_in(run)
        assert left.told.items() <= final.told.items()
        assert set(left.texts) <= set(final.texts)
        assert not left.banked & set(billed(log)[sent:])
