"""`apportion bench searchers` as users meet it: a small race, its JSON, tables and plots, going on, mistakes."""

from __future__ import annotations

import csv
import io
import json
import os
import random
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from apportion.bench.searchers.command import tables
from apportion.bench.searchers.figures import entries, report
from apportion.bench.searchers.race import Run
from apportion.cli import main
from tests.bench.searchers.test_figures import a_run

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
    for share in ("hit_95", "hit_99", "final_value_ratio", "oracle_hit_99"):
        assert 0 <= figures[share] <= 1
    assert (0 <= figures["spend_to_tpe"] <= 1) if figures["reached"] else figures["spend_to_tpe"] is None
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


@pytest.mark.parametrize("width", [80, 120])
def test_the_tables(
    width: int, tasks: list[str], written: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    code, out, _ = said(race(tasks, written), capsys)
    assert code == 0
    for part in ("first [a]: optimum", "second: optimum", "Tasks of one stage (2)", "needs at least 3 tasks"):
        assert part in out
    assert "several stages" not in out
    for name in SAMPLERS.split(","):
        assert len(re.findall(rf"^{re.escape(name)}  .*\d", out, re.MULTILINE)) == 4
    assert "\u2026" not in out and max(map(len, out.splitlines())) <= width
    assert ("ratio" in out) == (width == 120)
    notes = " ".join(out.split("\n\n")[-1].split())
    assert all(f"{name}: " in notes for name in ("hit 99", "Oracle", "Draws to 99", "Spend to TPE", "Right if sure"))


def shown(*runs: Run, width: int = 80) -> str:
    """The tables of runs, as a terminal of that width has them."""
    console = Console(file=io.StringIO(), width=width)
    for part in tables({"currency": runs[0].job.currency, **report(entries(runs))}, width):
        console.print(part)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_large_numbers_have_room_on_a_narrow_terminal() -> None:
    names = "successive_halving", "tpe"
    tables = shown(
        *(
            a_run(
                (270.4 - seed, 0.8, 0.99),
                (147_000, 0.7, 0.9),
                sampler=name,
                bank=True,
                itself=True,
                seed=seed,
                cap=147_130,
            )
            for name in names
            for seed in range(100)
        )
    )
    assert "\u2026" not in tables and "successive_halving+bank  " in tables
    assert "0/100" in tables and "147,130" in tables


def test_a_long_name_is_broken_and_not_cut() -> None:
    name = "some_package.searchers.of_mine.that_have:a_very_long_name_of_their_own_and_do_not_fit_into_a_row"
    tables = shown(a_run((10, 0.8)), a_run((20, 0.8), sampler=name))
    broken = [line.split("  ")[0].strip() for line in tables.splitlines()]
    assert "".join(broken).count(name) == 1
    assert "\u2026" not in tables and re.search(r" 20 +1/\d", tables)


def test_who_never_led_anything_is_said_to_have_not() -> None:
    tables = shown(a_run((10, 0.8)), a_run((10, 0.8), seed=1), a_run(sampler="x"), a_run(sampler="x", seed=1))
    assert re.search(r"^x +led nothing +1,000 +never ", tables, re.MULTILINE)
    assert "x led nothing in 2 of 2 runs" in tables
    tables = shown(a_run((10, 0.8)), a_run((10, 0.8), seed=1), a_run(sampler="x"), a_run((5, 0.8), sampler="x", seed=1))
    assert re.search(r"^x +0\.50 \[", tables, re.MULTILINE) and "x led nothing in 1 of 2 runs" in tables


def test_who_is_below_tpe_from_the_start_needs_nothing() -> None:
    tables = shown(a_run((10, 0.4)), a_run((20, 0.8), sampler="x"))
    assert re.search(r"^x +1\.00 \[.*\] +20 +0 ", tables, re.MULTILINE)


def test_ranks_far_enough_apart_are_told_and_too_few_tasks_are_said() -> None:
    few = shown(*(a_run((10, value), sampler=name, task=t) for t in "ab" for name, value in (("tpe", 0.8), ("x", 0.7))))
    assert "To tell 2 samplers apart, Nemenyi's test needs at least 4 tasks." in " ".join(few.split())
    runs = [a_run((10, value), sampler=name, task=t) for t in "abcd" for name, value in (("tpe", 0.8), ("x", 0.7))]
    assert "Ranks 0.98 or more apart differ" in shown(*runs)
    one = shown(a_run(), a_run(task="another"))
    assert "Nemenyi's test tells 2 to 20 samplers apart, not 1." in " ".join(one.split())


def test_of_a_single_task_nothing_is_summed_up() -> None:
    runs = a_run((10, 0.8)), a_run((20, 0.7), sampler="x")
    alone, two = shown(*runs), shown(*runs, a_run((10, 0.8), task="b"), a_run((20, 0.7), sampler="x", task="b"))
    for title in ("Tasks of one stage", "Mean ranks"):
        assert title not in alone and title in two
    assert len(re.findall(r"^x ", alone, re.MULTILINE)) == 1


def test_a_plot_of_each_task(
    tasks: list[str], written: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("matplotlib")
    folder = tmp_path / "deep" / "plots"
    assert said(race(tasks, written, "--plot", str(folder)), capsys)[0] == 0
    assert sorted(path.name for path in folder.iterdir()) == ["first-a-.png", "second.png"]
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in folder.iterdir())


def test_plots_bear_any_name(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    from apportion.bench.searchers.plots import plot_regret

    (by,) = entries([a_run((10, 0.8)), a_run((20, 0.7), sampler="x" * 3000 + ":$_")]).values()
    figure = plot_regret("a $\\frac b$ of " + "t" * 3000, by)
    figure.savefig(tmp_path / "plot.png")  # a layout without room would warn, and fail here
    width, height = figure.axes[0].get_position().size
    assert width > 0.4 and height > 0.4


def test_two_plots_of_one_file_are_refused_before_the_race(
    tasks: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("matplotlib")
    twin = tmp_path / "twin.yaml"
    table = Path(tasks[0]).parent / "table.csv"
    twin.write_text(Path(tasks[0]).read_text().replace("first [a]", "first (a)").replace("table.csv", str(table)))
    folder = tmp_path / "plots"
    code, out, err = said(["bench", "searchers", tasks[0], str(twin), "--plot", str(folder)], capsys)
    assert (code, out) == (2, "") and not folder.exists()
    assert (
        err
        == f"each plot must have its own file, but {folder}/first-a-.png is of 'first [a]' too; rename 'first (a)'.\n"
    )


NOISY = """\
def search(market, rng):
    print("hello" * 5000)
    market.lead(0)
"""


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no device that is always full")
@pytest.mark.parametrize("full", ["stderr", "stdout"])
def test_progress_that_cannot_be_said_is_lost_and_results_that_cannot_be_are_not(
    full: str, tasks: list[str], tmp_path: Path
) -> None:
    (tmp_path / "noisy.py").write_text(NOISY)
    arguments = [
        "bench",
        "searchers",
        tasks[0],
        "--samplers",
        "noisy:search",
        "--seeds",
        "2",
        "--workers",
        "1",
        "--json",
    ]
    path = os.pathsep.join(filter(None, (str(tmp_path), os.environ.get("PYTHONPATH"))))
    with Path("/dev/full").open("w") as device:
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, full: device}
        done = subprocess.run(
            [sys.executable, "-m", "apportion.cli", *arguments],
            env={**os.environ, "PYTHONPATH": path}, text=True, timeout=120, **pipes,  # type: ignore[call-overload]
        )  # fmt: skip
    if full == "stderr":
        assert done.returncode == 0 and json.loads(done.stdout)["tasks"][0]["samplers"]["noisy:search"]["runs"] == 2
    else:
        assert done.returncode == 2 and done.stderr.splitlines()[-1].startswith("what is printed must be written, but")


MISTAKES = {
    "no task": ([], r"apportion bench searchers: .*TASK.*"),
    "no such task file": (["{folder}/none.yaml"], r"{folder}/none\.yaml must be a readable task file.*mend the path\."),
    "an unknown sampler": (["{task}", "--samplers", "tpe,best+bank"], r"a sampler must be one of .*got 'best'.*"),
    "no sampler": (["{task}", "--samplers", "tpe,"], r"a sampler must be one of .*got ''.*"),
    "no seed": (["{task}", "--seeds", "0"], r"`--seeds` must be at least 1, got 0; raise it\."),
    "no worker": (["{task}", "--workers", "0"], r"`--workers` must be at least 1, got 0; raise it\."),
    "seeds below none": (["{task}", "--seeds", "-3"], r"`--seeds` must be at least 1, got -3; raise it\."),
    "too many seeds": (
        ["{task}", "--seeds", str(10**20)],
        r"a race must have at most 1,000,000 runs, but has 200(,000)+;.*`--seeds`\.",
    ),
    "too many workers": (
        ["{task}", "--workers", str(10**12)],
        r"`--workers` must be at most 1000, got 10+; lower it\.",
    ),
    "workers below none": (["{task}", "--workers", "-1"], r"`--workers` must be at least 1, got -1; raise it\."),
    "workers in floating point": (["{task}", "--workers", "1e12"], r"apportion bench searchers: .*--workers.*'1e12'.*"),
    "workers that are no number": (["{task}", "--workers", "nan"], r"apportion bench searchers: .*--workers.*'nan'.*"),
    "seeds in floating point": (["{task}", "--seeds", "1e20"], r"apportion bench searchers: .*--seeds.*'1e20'.*"),
    "seeds that are no number": (["{task}", "--seeds", "many"], r"apportion bench searchers: .*--seeds.*'many'.*"),
    "another currency": (["{task}", "--currency", "euro"], r"apportion bench searchers: .*'euro'.*"),
    "an empty endpoint": (
        ["{task}", "--agent-model", "m", "--agent-endpoint", ""],
        r"apportion bench searchers: .*must be an http or https URL .*8000/v1, got empty text; see .*",
    ),
    "an endpoint with a secret": (
        ["{task}", "--agent-model", "m", "--agent-endpoint", "http://me:secret@h/v1"],
        r"apportion bench searchers: (?!.*secret@).*without credentials .* got one that may hold a secret; .*",
    ),
    "a searcher without a module": (["{task}", "--samplers", ":search"], r"a sampler must be one of .*got ':search'.*"),
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
