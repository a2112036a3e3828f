"""The synthetic tables of experiments/agenttts obey the insights of AgentTTS, or break the one that they say."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from apportion.bench.searchers.task_file import load
from apportion.envs.replay.task import Task

pytest.importorskip("pyarrow")
FOLDER = Path(__file__).parents[3] / "experiments" / "agenttts" / "synthetic"
LEVELS = (12, 62, 78, 115, 260, 814)  # ten and sixty samples of 3B; one and forty of 7B; one of 70B; one of 72B
Values = dict[tuple[tuple[str, int], tuple[str, int]], float]


def values(name: str, tmp_path: Path) -> Values:
    """True values at the budget of 1000, of few numbers of samples, by models and samples of both stages."""
    text = (FOLDER / f"{name}-1000.yaml").read_text(encoding="utf-8").replace(f"{name}.parquet", str(FOLDER / name))
    lines = [line for line in text.splitlines() if not line.startswith("shares:")]
    lines = [line + ".parquet" if line.strip().startswith("data:") else line for line in lines]
    path = tmp_path / "task.yaml"
    path.write_text("\n".join([*lines, f"shares: [{', '.join(str(level / 1000) for level in LEVELS)}]\n"]))
    task = load(path)
    return {_named(task, row.tolist()): float(v) for row, v in zip(task.configurations, task.truth, strict=True)}


def _named(task: Task, row: list[int]) -> tuple[tuple[str, int], tuple[str, int]]:
    first, second = (
        (own.models[own.options[n].arm].removeprefix("synthetic-"), own.options[n].n)
        for own, n in zip(task.stages, row, strict=True)
    )
    return first, second


ONE_72B, ONE_7B, MANY_7B = ("72b", 1), ("7b", 1), ("7b", 40)
FEW_3B, MANY_3B, ONE_70B = ("3b", 10), ("3b", 60), ("70b", 1)


def test_a_table_obeys_the_three_insights(tmp_path: Path) -> None:
    of = values("obeys", tmp_path)
    assert of[ONE_72B, ONE_70B] > of[MANY_7B, ONE_70B] + 0.05, "selecting wants the large model at equal compute"
    assert of[ONE_72B, MANY_3B] > of[ONE_72B, ONE_70B] + 0.02, "answering does not"
    assert of[ONE_72B, FEW_3B] > of[ONE_72B, MANY_3B] + 0.02, "sixty are beyond the peak"
    assert of[ONE_7B, MANY_3B] > of[ONE_7B, FEW_3B] + 0.02, "but not after a poor selection"


def test_a_table_has_the_largest_model_best_everywhere(tmp_path: Path) -> None:
    of = values("breaks-1", tmp_path)
    assert of[ONE_72B, ONE_70B] > of[MANY_7B, ONE_70B] + 0.05
    assert of[ONE_72B, ONE_70B] > of[ONE_72B, MANY_3B] + 0.05


def test_in_a_table_more_samples_always_help(tmp_path: Path) -> None:
    of = values("breaks-2", tmp_path)
    for first in (ONE_72B, ONE_7B):
        assert of[first, MANY_3B] > of[first, FEW_3B] + 0.1
    assert of[MANY_7B, MANY_3B] > of[ONE_7B, MANY_3B]


def test_in_a_table_a_better_first_stage_wants_more_samples(tmp_path: Path) -> None:
    of = values("breaks-3", tmp_path)
    gain = {first: of[first, MANY_3B] - of[first, FEW_3B] for first in (ONE_72B, ONE_7B)}
    assert gain[ONE_72B] > gain[ONE_7B] + 0.05


def test_the_script_makes_the_files_that_are_there(tmp_path: Path) -> None:
    subprocess.run([sys.executable, str(FOLDER / "make.py"), str(tmp_path)], check=True, timeout=120)
    made = {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.suffix == ".yaml"}
    assert made == {path.name: path.read_bytes() for path in FOLDER.glob("*.yaml")} and len(made) == 16
    import pyarrow.parquet as pq

    for name in ("obeys", "breaks-1", "breaks-2", "breaks-3"):
        assert pq.read_table(tmp_path / f"{name}.parquet").equals(pq.read_table(FOLDER / f"{name}.parquet"))


def test_prices_are_those_of_the_paper() -> None:
    task = load(FOLDER / "obeys-1000.yaml")
    dearest = {own.name: float((own.prices + own.once).max()) for own in task.stages}
    assert dearest == pytest.approx({"select": 814.0, "answer": 114.67}, abs=0.01)
