"""`apportion bench searchers` as users meet it: a small race, its JSON, tables and plots, going on, mistakes."""

from __future__ import annotations

import csv
import json
import random
import re
from pathlib import Path
from typing import Any

import pytest

from apportion.cli import main

pytest.importorskip("pyarrow")

TASK = """\
name: {name}
search: 12
trials: 10
budget: 8
shares: [0.25, 0.5, 1.0]
stages:
  answer: {{data: table.csv, prices: {{weak: 1, fair: 2, strong: 4}}}}
"""
SAMPLERS = "random,tpe,random+bank,tpe+bank"


def write_tasks(folder: Path) -> list[str]:
    """Two task files over one table of counts of three models on 30 questions."""
    rng = random.Random(7)
    with (folder / "table.csv").open("w", newline="", encoding="utf-8") as lines:
        table = csv.writer(lines)
        table.writerow(["dataset", "question_id", "model", "n_samples", "n_correct"])
        for question in range(30):
            ease = rng.random()
            for model, skill in (("weak", 0.3), ("fair", 0.6), ("strong", 0.9)):
                table.writerow(["small", question, model, 8, sum(rng.random() < ease * skill for _ in range(8))])
    paths = []
    for name in ("first [a]", "second"):
        path = folder / f"{name.split()[0]}.yaml"
        path.write_text(TASK.format(name=name), encoding="utf-8")
        paths.append(str(path))
    return paths


@pytest.fixture(scope="module")
def tasks(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    return write_tasks(tmp_path_factory.mktemp("tasks"))


@pytest.fixture(scope="module")
def written(tasks: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The runs of a race with three seeds."""
    out = tmp_path_factory.mktemp("runs") / "new" / "runs.jsonl"
    assert main(race(tasks, out)) == 0
    return out


def race(tasks: list[str], out: Path, *more: str) -> list[str]:
    return [
        "bench", "searchers", *tasks, "--samplers", SAMPLERS, "--seeds", "3", "--workers", "1", "--out", str(out), *more
    ]  # fmt: skip


def said(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of a command, in this process."""
    capsys.readouterr()
    try:
        code = main(arguments)
    except SystemExit as ended:
        assert isinstance(ended.code, int)
        code = ended.code
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_runs_that_were_written_are_not_made_again(
    tasks: list[str], written: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = written.read_text()
    assert len(before.splitlines()) == 2 * 4 * 3
    monkeypatch.setattr("multiprocessing.get_context", lambda method: pytest.fail("a process was wanted"))
    code, out, err = said(race(tasks, written, "--json"), capsys)
    assert code == 0 and written.read_text() == before
    assert err.splitlines()[-1].startswith("24/24 runs")
    assert said(race(tasks, written, "--json"), capsys)[1] == out


def test_what_lacks_is_made_and_written(
    tasks: list[str], written: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    part = tmp_path / "part.jsonl"
    lines = written.read_text().splitlines(keepends=True)
    part.write_text("".join(lines[:-1]))
    assert said(race(tasks, part), capsys)[0] == 0
    again = part.read_text().splitlines(keepends=True)
    assert again[:-1] == lines[:-1]
    new, old = json.loads(again[-1]), json.loads(lines[-1])
    assert {**new, "seconds": 0} == {**old, "seconds": 0}


def test_the_json(tasks: list[str], written: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = said(race(tasks, written, "--json"), capsys)
    found = json.loads(out, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    assert code == 0 and [own["task"] for own in found["tasks"]] == ["first [a]", "second"]
    for own in found["tasks"]:
        assert 0 < own["optimum"] <= 1
        assert list(own["samplers"]) == SAMPLERS.split(",")
        for figures in own["samplers"].values():
            check(figures, own["cap"])
    assert found["summary"]["multi"] == {}
    assert list(found["summary"]["single"]) == SAMPLERS.split(",")
    wanted = {"spend_to_tpe_geomean", "draws_to_99_geomean", "hit_99", "oracle_hit_99"}
    assert all(
        own.keys() >= wanted and None not in own.values()
        for own in map(draws_only, found["summary"]["single"].values())
    )
    assert found["ranks"]["mean_rank"].keys() == set(SAMPLERS.split(","))


def draws_only(own: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in own.items() if not key.startswith("cost_")}


def check(figures: dict[str, Any], cap: float) -> None:
    for share in ("hit_95", "hit_99", "final_value_ratio", "spend_to_tpe", "oracle_hit_99"):
        assert 0 <= figures[share] <= 1
    assert 1 <= figures["draws_to_95"] <= figures["draws_to_99"] <= cap * (1 + 1e-9)
    assert figures["cost_to_99"] is None
    assert figures["trials_to_99"] is None or figures["trials_to_99"] >= 0
    assert figures["runs"] == 3


def test_cost_is_another_race(
    tasks: list[str], written: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "runs.jsonl"
    out.write_text(written.read_text())
    arguments = ["bench", "searchers", tasks[1], "--samplers", "random", "--seeds", "1", "--currency", "cost"]
    code, text, _ = said([*arguments, "--workers", "1", "--out", str(out), "--json"], capsys)
    (task,) = json.loads(text)["tasks"]
    own = task["samplers"]["random"]
    assert code == 0 and own["draws_to_99"] is None and 0 < own["cost_to_99"] <= task["cap"] * (1 + 1e-9)
    assert own["spend_to_tpe"] is None
    assert len(out.read_text().splitlines()) == 24 + 1


def test_the_tables(tasks: list[str], written: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = said(race(tasks, written), capsys)
    assert code == 0
    for part in ("first [a]: optimum", "second: optimum", "Over the tasks of one stage (2)", "critical difference"):
        assert part in out
    assert "several stages" not in out
    assert len(re.findall(r"^tpe\+bank .*\d", out, re.MULTILINE)) == 4
    assert max(map(len, out.splitlines())) <= 160


def test_a_plot_of_each_task(
    tasks: list[str], written: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("matplotlib")
    folder = tmp_path / "deep" / "plots"
    assert said(race(tasks, written, "--plot", str(folder)), capsys)[0] == 0
    assert sorted(path.name for path in folder.iterdir()) == ["first-a-.png", "second.png"]
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in folder.iterdir())


MISTAKES = {
    "no task": ([], r"apportion bench searchers: .*TASK.*"),
    "no such task file": (["{folder}/none.yaml"], r"{folder}/none\.yaml must be a readable task file.*mend the path\."),
    "an unknown sampler": (["{task}", "--samplers", "tpe,best+bank"], r"a sampler must be one of .*got 'best'.*"),
    "no sampler": (["{task}", "--samplers", "tpe,"], r"a sampler must be one of .*got ''.*"),
    "no seed": (["{task}", "--seeds", "0"], r"`--seeds` must be at least 1, got 0; raise it\."),
    "no worker": (["{task}", "--workers", "0"], r"`--workers` must be at least 1, got 0; raise it\."),
    "seeds that are no number": (["{task}", "--seeds", "many"], r"apportion bench searchers: .*--seeds.*'many'.*"),
    "another currency": (["{task}", "--currency", "euro"], r"apportion bench searchers: .*'euro'.*"),
    "two tasks of one name": (["{task}", "{twin}"], r"each task must have a name .*'second'; rename one\."),
    "a file of runs that is a folder": (["{task}", "--out", "{folder}"], r"{folder} must be writable, but .*"),
    "a folder of plots that is a file": (["{task}", "--plot", "{task}"], r".*must be writable, but .*"),
    "a file of runs that is another": (["{task}", "--out", "{task}"], r"each line of .* must be a run, but line 1.*"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_line_and_exit_code_2(
    mistake: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = write_tasks(tmp_path)[1]
    twin = tmp_path / "twin.yaml"
    twin.write_text(Path(own).read_text())
    places = {"task": own, "twin": str(twin), "folder": str(tmp_path)}
    arguments, expected = MISTAKES[mistake]
    code, out, err = said(["bench", "searchers", *(word.format(**places) for word in arguments)], capsys)
    assert (code, out) == (2, "")
    pattern = re.sub(r"\{(\w+)\}", lambda match: re.escape(places[match[1]]), expected)
    assert re.fullmatch(pattern, err.rstrip("\n")), err
