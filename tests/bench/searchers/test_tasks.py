"""Tasks of experiments/searchers are what their documents say, and synthetic ones are called so."""

from __future__ import annotations

import runpy
from pathlib import Path

import numpy as np
import pytest

from apportion.bench.searchers.task_file import load
from apportion.envs.replay.chained import Chained
from apportion.envs.replay.composed import Composed

pq = pytest.importorskip("pyarrow.parquet")
FOLDER = Path(__file__).parents[3] / "experiments" / "searchers"
TASKS = sorted((FOLDER / "tasks").glob("**/*.yaml"))


@pytest.mark.parametrize("path", TASKS, ids=lambda path: path.stem)
def test_a_task_loads_and_is_called_what_it_is(path: Path) -> None:
    task = load(path)
    assert task.name == path.stem and len(task.configurations) > 0
    made_up = path.parent.name == "synthetic"
    models = {model for own in task.stages for model in own.models}
    for said in (task.name, *(own.recorded.dataset for own in task.stages), *models):
        assert said.startswith("synthetic-") == made_up
    assert path.read_text(encoding="utf-8").startswith("# Synthetic, ") == made_up


def curve(task: Composed | Chained, fixed: dict[str, tuple[str, int]], stage: str, model: str) -> dict[int, float]:
    """True values by the draws of a model of a stage, the other stages being fixed."""
    values = {}
    for row, truth in zip(task.configurations, task.truth, strict=True):
        chosen = {own.name: own.options[o] for own, o in zip(task.stages, row, strict=True)}
        named = {own.name: own.models[chosen[own.name].arm] for own in task.stages}
        if named[stage] == model and all((named[s], chosen[s].n) == fixed[s] for s in fixed):
            values[chosen[stage].n] = float(truth)
    return values


def test_the_synthetic_tables_are_made_again(tmp_path: Path) -> None:
    runpy.run_path(str(FOLDER / "data" / "make_synthetic.py"))["main"](tmp_path)
    for name in ("synthetic_peaks.parquet", "synthetic_chain.parquet"):
        assert pq.read_table(tmp_path / name).equals(pq.read_table(FOLDER / "data" / name))


def test_the_synthetic_vote_betters_and_then_worsens() -> None:
    task = load(FOLDER / "tasks" / "synthetic" / "synthetic-peaks.yaml")
    assert isinstance(task, Composed)
    for model, peak in (("small", 16), ("medium", 13)):
        values = curve(task, {}, "answer", f"synthetic-{model}")
        best = max(values, key=values.__getitem__)
        assert best == peak and min(values) < best < max(values)
        assert values[best] - values[max(values)] > 0.01 and values[best] - values[min(values)] > 0.12


def test_in_the_synthetic_chain_what_is_found_moves_the_best_number_of_draws() -> None:
    task = load(FOLDER / "tasks" / "synthetic" / "synthetic-chain.yaml")
    assert isinstance(task, Chained)
    best = {}
    for found in (("synthetic-small", 1), ("synthetic-large", 6), ("synthetic-large", 12)):
        values = curve(task, {"find": found}, "answer", "synthetic-small")
        assert max(values) == 32, "the budget pays for as many after all of these"
        best[found] = max(values, key=values.__getitem__)
        if found == ("synthetic-large", 6):
            assert max(values[n] for n in (16, 24, 32)) - min(values[n] for n in (16, 24, 32)) < 0.001  # a plateau
    assert best["synthetic-small", 1] == 32 and best["synthetic-large", 12] == 16
    assert task.truth.max() == pytest.approx(0.671, abs=5e-4) and not task.unrecorded.any() and task.truth_error == 0


def test_scores_of_a_reward_model_as_published() -> None:
    """The accuracy of the best-scored of all 8 and that of a vote are those of the source's own figures."""
    task = load(FOLDER / "tasks" / "math100-rm.yaml")
    own = task.stages[0]
    named = [(own.rules[own.options[o].rule].name, own.options[o].n) for (o,) in task.configurations]
    found = dict(zip(named, task.truth.tolist(), strict=True))
    assert found["best_scored", 8] == pytest.approx(0.940) and found["majority", 8] == pytest.approx(0.925)
    assert found["weighted", 1] == found["majority", 1] == pytest.approx(0.91)


def test_a_mixture_is_better_than_any_model_alone() -> None:
    task = load(FOLDER / "tasks" / "humaneval-mixture.yaml")
    used = np.array(
        [[own.options[o].n > 0 for own, o in zip(task.stages, row, strict=True)] for row in task.configurations]
    )
    alone = task.truth[used.sum(axis=1) == 1].max()
    assert task.truth.max() > alone + 0.05


def test_the_chain_of_the_quickstart() -> None:
    """The best is a vote of the small model on the capital, and one of the large model on what it says."""
    task = load(FOLDER / "tasks" / "quickstart-chain.yaml")
    assert isinstance(task, Chained) and task.least_questions == 90
    named = [
        [(own.models[own.options[o].arm], own.options[o].n) for own, o in zip(task.stages, row, strict=True)]
        for row in task.configurations
    ]
    assert [("large", 3), ("large", 2)] in named and [("large", 3), ("large", 3)] not in named
    assert named[int(task.truth.argmax())] == [("small", 7), ("large", 3)]
    assert task.truth.max() == pytest.approx(0.657, abs=5e-4) and not task.unrecorded.any()
    alone = max(truth for truth, own in zip(task.truth, named, strict=True) if own[0][0] == own[1][0])
    assert alone < task.truth.max() - 0.05
