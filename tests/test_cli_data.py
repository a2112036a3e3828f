"""`apportion data reasoning-gym`: rows that are the same for a seed, and mistakes in one line."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

import pytest

from apportion.cli import main
from apportion.run import RunFolder
from apportion.spec import load_spec

pytest.importorskip("reasoning_gym")
GYM = ("data", "reasoning-gym")

TASK = """\
name: gym
models:
  small: {endpoint: "http://127.0.0.1:8000/v1", model: small, parameters: 1e9, price: null}
data:
  path: rows.jsonl
  split: {search: 2, validation: 1, test: 1}
stages:
  - {name: solve, prompt: "{question}", models: [small], templates: [single], max_tokens: 64}
evaluators:
  score: {reasoning_gym: made}
objectives: [{maximize: score}]
"""


def said(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    code = main([*GYM, *arguments])
    return code, *capsys.readouterr()


def test_rows_are_written_the_same_each_time_and_make_a_task(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = [tmp_path / "rows.jsonl", tmp_path / "again.jsonl"]
    for path in paths:
        arguments = ["letter_counting", "--size", "4", "--seed", "3", "--out", str(path)]
        assert said(arguments, capsys) == (0, f"{path}: 4 rows\n", "")
    assert paths[0].read_bytes() == paths[1].read_bytes()
    rows = [json.loads(line) for line in paths[0].read_text().splitlines()]
    assert [row["id"] for row in rows] == [f"letter_counting-3-{n}" for n in range(4)]
    assert all({*row} == {"id", "question", "answer", "made"} for row in rows)
    (tmp_path / "task.yaml").write_text(TASK)
    assert load_spec(tmp_path / "task.yaml").spec.evaluators["score"].kind == "reasoning_gym"


def test_a_row_that_is_made_otherwise_ends_a_search_before_anything_is_asked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "rows.jsonl"
    assert said(["letter_counting", "--size", "4", "--out", str(path)], capsys)[0] == 0
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    rows[-1]["made"]["sha256"] = "0" * 16
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "task.yaml").write_text(TASK)
    code = main(["run", str(tmp_path / "task.yaml"), "--out", str(tmp_path / "run")])
    err = capsys.readouterr().err
    assert code == 2 and "this version of reasoning-gym makes" in err and err.count("\n") == 1
    with contextlib.closing(RunFolder.view(tmp_path / "run")) as folder:
        assert folder.calls.spent()[0] == 0


def test_the_names_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = said([], capsys)
    assert (code, err) == (0, "") and {"countdown", "knights_knaves"} <= set(out.split())


def test_the_file_is_named_like_the_data(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert said(["chain_sum", "--size", "1"], capsys)[1] == "chain_sum-0.jsonl: 1 row\n"


@pytest.mark.parametrize(
    ("arguments", "mistake"),
    [
        (["chain_sums"], "a data set must be one of reasoning-gym's, but 'chain_sums' is none; "),
        (["chain_sum", "--size", "1", "--out", "{}/no/where"], "the rows must be written, but {}/no/where cannot be ("),
    ],
)
def test_a_mistake_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], mistake: str
) -> None:
    code, out, err = said([argument.format(tmp_path) for argument in arguments], capsys)
    assert (code, out) == (2, "") and err.count("\n") == 1
    assert err.startswith(mistake.format(tmp_path))


@pytest.mark.parametrize("arguments", [["x", "--size", "0"], ["x", "--seed", "-1"], ["x", "--size", "many"]])
def test_a_wrong_number_is_one_line(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main([*GYM, *arguments])
    assert capsys.readouterr().err.count("\n") == 1
