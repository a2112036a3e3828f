"""Chains in a race: the synthetic one by searchers of all kinds, and what is said of answers that were not recorded."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from apportion.bench.searchers.figures import entries, report
from apportion.bench.searchers.race import Job, run
from apportion.cli import main
from tests.bench.searchers.test_command import shown
from tests.bench.searchers.test_figures import a_run
from tests.envs.replay import test_chained

pytest.importorskip("pyarrow")
TASK = Path(__file__).parents[3] / "experiments" / "searchers" / "tasks" / "synthetic" / "synthetic-chain.yaml"


def test_the_synthetic_chain_is_raced(capsys: pytest.CaptureFixture[str]) -> None:
    samplers = ["tpe", "tpe+bank", "random", "allocator"]
    asked = ["bench", "searchers", str(TASK), "--samplers", ",".join(samplers), "--seeds", "1", "--workers", "1"]
    assert main([*asked, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    (task,) = found["tasks"]
    assert task["task"] == "synthetic-chain" and task["stages"] == 2 and task["unrecorded"] == 0
    of = task["samplers"]
    assert list(of) == samplers and list(found["summary"]["multi"]) == samplers
    assert all(own["led"] == 1 and 0 < own["spent"] <= 1 for own in of.values())
    assert of["tpe"]["stopped"] == of["random"]["stopped"] == 0 and of["tpe"]["spent"] > 0.9
    assert of["tpe+bank"]["spent"] < of["tpe"]["spent"] / 2 and of["tpe+bank"]["trials"] > of["tpe"]["trials"]
    assert of["allocator"]["stopped"] == 1 and of["allocator"]["trials"] == 0
    assert of["allocator"]["regret_at"]["1.0"] < min(of[name]["regret_at"]["1.0"] for name in samplers[:3])


@pytest.mark.parametrize("sampler", ["racing", "successive_halving", "elimination", "ucb_e", "allocator"])
def test_searchers_by_the_draw_serve_chains(tmp_path: Path, sampler: str) -> None:
    test_chained.made(tmp_path, test_chained.TASK.replace("trials: 3", "trials: 40"))
    done = run(Job(str(tmp_path / "task.yaml"), sampler, 0, "draws", bank=False))
    assert done.itself and done.trials == 0 and 0 < done.spent <= done.cap and done.leads


def test_what_was_not_recorded_is_told(tmp_path: Path) -> None:
    task = test_chained.made(tmp_path)
    done = run(Job(str(tmp_path / "task.yaml"), "random", 0, "draws", bank=False))
    assert done.unrecorded == task.unrecorded.max() > 0
    text = " ".join(shown(done).split())
    assert f"On up to {done.unrecorded:.2g} of the questions a configuration meets an answer that its second" in text
    assert report(entries([done]))["tasks"][0]["unrecorded"] == done.unrecorded
    assert "On up to" not in shown(replace(done, unrecorded=0.0)) and a_run((1, 0.5)).unrecorded == 0
