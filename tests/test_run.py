"""A run whose store is damaged is refused in one line, whoever opens it, and nothing in it is lost."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import apportion
from apportion.build import build
from apportion.cli import main
from apportion.errors import StoreError
from apportion.run import STORE, RunFolder
from apportion.spec import load_spec
from tests.agent.planner import planner_process, write
from tests.support import rows

Spoil = Callable[[Any], Any]
CUT = object()


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Path]]:
    """A task and a run of it that is under way, with a nudge."""
    folder = tmp_path_factory.mktemp("whole")
    with planner_process(folder / "models.jsonl") as url, planner_process(folder / "planner.jsonl") as planner:
        task = write(folder, url, planner, trials=5)
        run = folder / "run"
        apportion.load(task).run(run)
        with contextlib.closing(sqlite3.connect(run / STORE)) as store, store:
            store.execute("DELETE FROM fact WHERE name = 'outcome'")
        assert main(["nudge", str(run), "--pin", "answer.model=large", "--note", "Be bold."]) == 0
        yield task, run


@pytest.fixture
def run(whole: tuple[Path, Path], tmp_path: Path) -> Path:
    """A copy of that run."""
    return Path(shutil.copytree(whole[1], tmp_path / "run"))


def spoil(run: Path, table: str, row: str | int, change: object) -> None:
    """Change the JSON of one row: cut it, or put what `change` makes of it."""
    name, column = {"fact": ("name", "value"), "trial": ("number", "record")}[table]
    ((text,),) = rows(run / STORE, f"SELECT {column} FROM {table} WHERE {name} = ?", (row,))
    put = text[: len(text) // 2] if change is CUT else json.dumps(change(json.loads(text)))  # type: ignore[operator]
    with contextlib.closing(sqlite3.connect(run / STORE)) as store, store:
        store.execute(f"UPDATE {table} SET {column} = ? WHERE {name} = ?", (put, row))


def content(run: Path) -> list[list[tuple[Any, ...]]]:
    return [rows(run / STORE, f"SELECT * FROM {table}") for table in ("fact", "trial", "score", "event")]


def within(*place: str | int, put: object = None, lack: bool = False) -> Spoil:
    """What puts a value at a place, or takes away what is there."""

    def change(value: Any) -> Any:
        own = value
        for step in place[:-1]:
            own = own[step]
        if lack:
            del own[place[-1]]
        else:
            own[place[-1]] = put
        return value

    return change


DAMAGED: dict[str, tuple[str, str | int, object, str]] = {
    "a cut fact": ("fact", "learnt", CUT, "fact learnt in .* is not: it is no JSON"),
    "a cut task": ("fact", "fingerprint", CUT, "fact fingerprint in .* is not: it is no JSON"),
    "cut nudges": ("fact", "nudges", CUT, "fact nudges in .* is not: it is no JSON"),
    "a cut trial": ("trial", 1, CUT, "trial 1 in .* is not: it is no JSON"),
    "a task that is a list": ("fact", "fingerprint", lambda _: [], "fingerprint: Input should be an object"),
    "no task": ("fact", "fingerprint", within("spec", lack=True), "the task in .* is not: 'spec' is absent"),
    "an unknown key": ("fact", "fingerprint", within("spec", "colour", put=1), "the task in .* is not: colour: Extra"),
    "a wrong key": ("fact", "fingerprint", within("spec", "seed", put="x"), "the task in .* is not: seed: Input"),
    "a bank that is no path": ("fact", "bank", lambda _: "\0", "bank: String should match"),
    "counts of nothing": ("fact", "learnt", within("sums", 0, put=[1]), r"learnt\.sums\.0\.0: Input should be a"),
    "nudges that are a word": ("fact", "nudges", lambda _: "x", "nudges: Input should be a valid array"),
    "a nudge with another key": ("fact", "nudges", within(0, "mood", put=1), "a nudge must be .*, got .*'mood'"),
    "a nudge without notes": ("fact", "nudges", within(0, "notes", lack=True), "a nudge must be .*, got"),
    "notes that are one": ("fact", "nudges", within(0, "notes", put="Be bold."), "its `notes` are 'Be bold.'"),
    "a pin of another key": ("fact", "nudges", within(0, "pins", put={"answer.mood": "x"}), "its `pins` are"),
    "a pin of words": ("fact", "nudges", within(0, "pins", put={"answer.samples": "two"}), "its `pins` are"),
    "a nudge before all": ("fact", "nudges", within(0, "after", put=-1), "its `after` is -1"),
    "a trial that is a list": ("trial", 1, lambda _: [], "a trial in .* is not"),
    "a trial of another key": ("trial", 1, within("colour", put="red"), "trial 1 in .* is not: colour: Extra"),
    "no graph": ("trial", 1, within("graph", lack=True), "trial 1 in .* is not: 'graph' is absent"),
    "another graph": (
        "trial",
        1,
        within("graph", "nodes", put=[]),
        "trial 1 in .* is not: `nodes` must name .*, got none; bring",
    ),
    "a strange state": ("trial", 1, within("state", put="lost"), "trial 1 in .* is not: state: Input should be"),
    "a number in words": ("trial", 1, within("number", put="one"), "trial one in .* is not: number: Input should be"),
    "half a metric": ("trial", 1, within("metrics", "accuracy", "mean", lack=True), r"metrics\.accuracy\.mean: Field"),
    "nothing measured": ("trial", 1, within("metrics", put={}), "trial 1 in .* is not: what it measured is absent"),
    "another number": ("trial", 1, within("number", put=9), "trial 1 in .* is not: it is gone, or has another number"),
    "memory of a word": ("trial", 1, within("memory", put="all"), "trial 1 in .* is not: memory: Input should be"),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_a_damaged_run_is_said_in_one_line_and_left_as_it_is(
    name: str, run: Path, whole: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    table, row, change, said = DAMAGED[name]
    spoil(run, table, row, change)
    before = content(run)
    for command in (["show", str(run)], ["nudge", str(run), "--note", "Hurry."]):
        capsys.readouterr()
        code, caught = main(command), capsys.readouterr()
        (line,) = caught.err.splitlines()
        assert (code, caught.out) == (2, ""), command
        assert re.search(said, line) and "; bring the " in line, line
    if not said.startswith("the task"):  # a run that goes on says how its task differs
        with pytest.raises(StoreError, match=said):
            build(load_spec(whole[0]), run)
    assert content(run) == before


PROPOSED: dict[str, Spoil] = {
    "memory of a number": within("memory", "agent", put=5),
    "no proposal": within("memory", "agent", "proposal", lack=True),
    "a strange source": within("memory", "agent", "proposal", "origin", "source", put="me"),
    "expected in words": within("memory", "agent", "proposal", "origin", "expected", put="x"),
    "a guideline of a number": within("memory", "agent", "proposal", "origin", "guideline", put=5),
    "a round of nothing": within("memory", "agent", "round", put={"number": 1}),
    "a model that there is not": within("params", "answer.model", put="tiny"),
    "no parameters": within("params", put={}),
}


@pytest.mark.parametrize("name", PROPOSED)
def test_a_damaged_proposal_is_said_in_one_line_too(
    name: str, run: Path, whole: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    ((last,),) = rows(run / STORE, "SELECT max(number) FROM trial")
    spoil(run, "trial", last, PROPOSED[name])
    before = content(run)
    for command in (["show", str(run)], ["run", str(whole[0]), "--out", str(run), "--set", "limits.trials=9"]):
        capsys.readouterr()
        code, caught = main(command), capsys.readouterr()
        assert code == 2 and "; bring the run's store back from a copy." in caught.err.splitlines()[-1]
    assert content(run)[1] == before[1], "no trial is lost"


def test_a_run_without_one_of_its_trials_is_not_gone_on_with(run: Path, whole: tuple[Path, Path]) -> None:
    with contextlib.closing(sqlite3.connect(run / STORE)) as store, store:
        store.execute("DELETE FROM trial WHERE number = 2")
    with pytest.raises(StoreError, match=r"trial 2 in .* is not: it is gone, or has another number; bring"):
        build(load_spec(whole[0]), run)


def test_a_task_that_is_none_any_more_is_not_gone_on_with(run: Path, whole: tuple[Path, Path]) -> None:
    spoil(run, "fact", "fingerprint", within("spec", "seed", put="x"))
    before = content(run)
    with pytest.raises(StoreError, match=r"a run goes on with the spec it began with, but .* spec\.seed: 'x' -> 0"):
        build(load_spec(whole[0]), run)
    assert content(run) == before


def test_a_score_that_is_no_json_is_found_too(run: Path) -> None:
    with contextlib.closing(sqlite3.connect(run / STORE)) as store, store:
        store.execute("UPDATE score SET metrics = '{' WHERE position = 0")
    with pytest.raises(StoreError, match=r"score \w+ in .* is not: it is no JSON"):
        RunFolder.view(run)


def test_a_pin_that_the_space_does_not_have_ends_the_search_in_one_line(
    run: Path, whole: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    spoil(run, "fact", "nudges", within(0, "pins", put={"answer.model": "gpt-9"}))
    assert main(["run", str(whole[0]), "--out", str(run), "--set", "limits.trials=9"]) == 2
    err = capsys.readouterr().err
    assert "a pin that stands must be one that `apportion nudge` takes, got 'answer.model=gpt-9'" in err
    with contextlib.closing(RunFolder.view(run)) as folder:
        assert folder.outcome is None, "it can be gone on with"
    assert main(["nudge", str(run), "--unpin", "answer.model"]) == 0
    assert main(["run", str(whole[0]), "--out", str(run), "--set", "limits.trials=9"]) == 0
