"""A search that wires slots, killed in any of its states, ends as if never killed and asks nothing twice."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import apportion
from tests.agent.reinforce.planner import planner_process, write
from tests.support import ROOT, run_cli

STATES = {
    "sweep": ("apportion.agent.reinforce.loop", "sweep", 1),
    "in a sweep": ("apportion.agents.reinforce", "BenchmarkProbe.scores", 4),
    "name mixes": ("apportion.agent.reinforce.loop", "Loop._named", 1),
    "ask": ("apportion.agent.reinforce.dialogue", "Dialogue.ask", 1),
    "validate": ("apportion.agent.reinforce.dialogue", "Dialogue.validate", 1),
    "repair": ("apportion.agent.reinforce.dialogue", "Dialogue.repair", 1),
    "pretest": ("apportion.agent.reinforce.loop", "raced", 1),
    "in a pretest": ("apportion.agent.reinforce.pretest", "_mean", 2),
    "draw": ("apportion.agent.reinforce.sampler", "AgentReinforceSampler._drawn", 1),
    "round": ("apportion.agent.reinforce.loop", "Loop.round", 1),
    "credit": ("apportion.agents.reinforce", "BenchmarkProbe.credit", 1),
    "ask for a table": ("apportion.agent.reinforce.dialogue", "Dialogue.ask", 1),
    "validate a table": ("apportion.agent.reinforce.dialogue", "Dialogue.validate", 1),
    "repair a table": ("apportion.agent.reinforce.dialogue", "Dialogue.repair", 1),
    "learn": ("apportion.agent.reinforce.learner", "Learner.learn", 1),
    "measure": ("apportion.search.measuring", "Measurer.measure", 2),
    "second update": ("apportion.agent.reinforce.learner", "Learner.learn", 2),
}
"""What kills the process: module, name and which call of it; in the order in which a search comes to them."""
VARYING = ("folder", "elapsed_s", "ledger", "break_even")
KILLED = """
import functools, importlib, os, signal, sys
from apportion.cli import main

module, path, times = sys.argv[1], sys.argv[2], int(sys.argv[3])
owner = importlib.import_module(module)
*parents, name = path.split(".")
for parent in parents:
    owner = getattr(owner, parent)
step, calls = getattr(owner, name), []

@functools.wraps(step)
def killed(*arguments, **named):
    calls.append(None)
    if len(calls) == times:
        os.kill(os.getpid(), signal.SIGKILL)
    return step(*arguments, **named)

setattr(owner, name, killed)
sys.exit(main(sys.argv[4:]))
"""


@dataclass(frozen=True)
class Whole:
    """A search that nobody has killed.

    Attributes:
        task: its file; other searches of it ask the same servers the same questions.
        found: what it says of itself.
        models, asked: logs of the servers.
        drawn, planned: what they were asked.
    """

    task: Path
    found: dict[str, Any]
    models: Path
    asked: Path
    drawn: Counter[str]
    planned: Counter[str]


def sent(log: Path) -> list[str]:
    """Hashes of the bodies that a server has answered."""
    return [json.loads(line)["sha256"] for line in log.read_bytes().splitlines()] if log.exists() else []


def shown(run: Path) -> dict[str, Any]:
    """What `show --json` says, without what differs from run to run."""
    found: dict[str, Any] = json.loads(json.dumps(apportion.open_run(run).to_dict()))
    return {name: value for name, value in found.items() if name not in VARYING}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Whole]:
    folder = tmp_path_factory.mktemp("whole")
    models, asked = folder / "models.jsonl", folder / "asked.jsonl"
    with planner_process(models) as url, planner_process(asked) as planner:
        task = write(folder, url, planner)
        code, _, err = run_cli("run", task, "--out", folder / "run")
        assert (code, err) == (0, "")
        found = shown(folder / "run")
        yield Whole(task, found, models, asked, Counter(sent(models)), Counter(sent(asked)))


def test_it_asks_for_mixes_and_updates_and_repairs_both(whole: Whole) -> None:
    agent = whole.found["agent"]
    rounds = agent["rounds"]
    assert len(rounds) >= 3 and {own["questions"] for own in rounds} == {2}
    assert whole.planned.total() == 2 * len(rounds) and set(whole.planned.values()) == {1}
    assert agent["sources"]["repaired"] >= 2 and agent["sources"]["drawn"] >= 2 and agent["sources"]["pretest"] == 1
    assert rounds[0]["mix"] and rounds[0]["pretested"] and rounds[0]["swept"]


def test_killed_in_every_state_it_ends_as_if_never_killed(whole: Whole, tmp_path: Path) -> None:
    drawn, planned, run = len(sent(whole.models)), len(sent(whole.asked)), tmp_path / "run"
    for state, (module, path, times) in STATES.items():
        command = [sys.executable, "-c", KILLED, module, path, str(times), "run", str(whole.task), "--out", str(run)]
        ended = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=60, check=False)
        assert ended.returncode == -signal.SIGKILL, (state, ended.stderr)
    code, _, err = run_cli("run", whole.task, "--out", run)
    assert (code, err) == (0, "")
    assert shown(run) == whole.found
    assert Counter(sent(whole.asked)[planned:]) == whole.planned, "every question was asked once, and no other"
    again = Counter(sent(whole.models)[drawn:])
    assert again.keys() == whole.drawn.keys() and max(again.values()) <= 3, "but for what was in flight"
