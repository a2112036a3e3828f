"""A search by an agent, killed between any two steps of a round, ends as if never killed and asks nothing twice."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

import apportion
from tests.agent.planner import planner_process, write
from tests.support import ROOT, rows, run_cli, start_cli, wait_until

STEPS = ("recall", "diagnose", "guide", "propose", "validate", "repair", "hand_over")
VARYING = ("folder", "elapsed_s", "ledger", "break_even")
KILLED = """
import os, signal, sys
from apportion.agent.tts.loop import Loop
from apportion.cli import main

def killed(loop, state):
    if state["brief"].round == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return step(loop, state)

step = getattr(Loop, sys.argv[1])
killed.__name__ = sys.argv[1]
setattr(Loop, sys.argv[1], killed)
sys.exit(main(sys.argv[2:]))
"""


def sent(log: Path) -> list[str]:
    """Hashes of the bodies that a server has answered."""
    return [json.loads(line)["sha256"] for line in log.read_bytes().splitlines()] if log.exists() else []


def shown(run: Path) -> dict[str, Any]:
    said: dict[str, Any] = json.loads(json.dumps(apportion.open_run(run).to_dict()))
    return {name: value for name, value in said.items() if name not in VARYING}


def test_killed_between_any_two_steps_of_a_round(tmp_path: Path) -> None:
    models, asked, run = tmp_path / "models.jsonl", tmp_path / "asked.jsonl", tmp_path / "run"
    with planner_process(models) as url, planner_process(asked) as planner:
        task = write(tmp_path, url, planner, agent=", memory_tokens: 300")
        apportion.load(task).run(tmp_path / "whole")
        before = {models: len(sent(models)), asked: len(sent(asked))}
        whole = Counter(sent(asked))
        assert set(whole.values()) == {1}
        for step in STEPS:
            command = [sys.executable, "-c", KILLED, step, "run", str(task), "--out", str(run)]
            ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
            assert "Traceback" not in ended.stderr
            assert ended.returncode == -signal.SIGKILL
        code, _, err = run_cli("run", task, "--out", run)
        assert (code, err) == (0, "")
    assert shown(run) == shown(tmp_path / "whole")
    again = Counter(sent(asked)[before[asked] :])
    assert again == whole, "every question was asked once, and no other"
    assert max(Counter(sent(models)[before[models] :]).values()) == 1


def test_a_question_in_flight_at_a_kill_is_lost_and_asked_again(tmp_path: Path) -> None:
    asked, run = tmp_path / "asked.jsonl", tmp_path / "run"
    with planner_process(tmp_path / "models.jsonl") as url, planner_process(asked, 600) as planner:
        task = write(tmp_path, url, planner, trials=4)
        with start_cli("run", task, "--out", run) as process:
            wait_until(lambda: len(sent(asked)) == 1)
            process.kill()
        code, _, err = run_cli("run", task, "--out", run)
        assert (code, err) == (0, "")
    ledger = apportion.open_run(run).to_dict()["ledger"]["searcher"]
    assert ledger["calls_lost"] == 1
    assert Counter(sent(asked)).most_common(2)[0][1] == 2 and len(sent(asked)) == ledger["attempts"]
    spent = rows(
        run / "run.sqlite", "SELECT count(*) FROM attempt JOIN call ON call.id = call WHERE spender = 'searcher'"
    )
    assert spent == [(ledger["attempts"],)]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_the_agent_thinks_ends_it_in_good_order(tmp_path: Path, number: signal.Signals) -> None:
    asked, run = tmp_path / "asked.jsonl", tmp_path / "run"
    with planner_process(tmp_path / "models.jsonl") as url, planner_process(asked, 20_000) as planner:
        task = write(tmp_path, url, planner, timeout_s=30)
        with start_cli("run", task, "--out", run) as process:
            wait_until(lambda: (run / "run.sqlite").exists() and thinking(run))
            began = time.monotonic()
            process.send_signal(number)
            out, err = process.communicate(timeout=10)
        assert time.monotonic() - began < 5
        assert process.returncode == {signal.SIGINT: 130, signal.SIGTERM: 143}[number]
        assert "go on with: apportion run" in out and err == ""
    assert apportion.open_run(run).to_dict()["ledger"]["searcher"]["calls_lost"] == 1


def thinking(run: Path) -> bool:
    """Whether a question is booked."""
    tables = [name for (name,) in rows(run / "run.sqlite", "SELECT name FROM sqlite_master")]
    return "call" in tables and rows(run / "run.sqlite", "SELECT 1 FROM call WHERE spender = 'searcher'") != []
