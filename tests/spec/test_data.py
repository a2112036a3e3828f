"""The data file: lines that are wrong, fields that are absent, and how rows are dealt."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apportion.errors import SpecError
from apportion.spec import load_spec
from apportion.spec.data import Table, deal
from apportion.spec.schema import SplitCounts

Spoil = Callable[..., list[str]]

ROW = '{"id": 1, "facts": "f", "question": "q", "answer": "7"}'


def said(folder: Path, content: str | bytes) -> list[str]:
    """What is said of the good task over other data."""
    data = folder / "facts.jsonl"
    data.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(SpecError) as error:
        load_spec(folder / "spec.yaml")
    return [line.replace(f"{folder}/", "") for line in error.value.problems]


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("", "facts.jsonl: data: must hold at least one row, but is empty; write one object a line"),
        ("\n \n", "facts.jsonl: data: must hold at least one row, but is empty"),
        (f"{ROW}\n{{", "facts.jsonl:2: data: each line must be one JSON object, but this is not: Expecting"),
        (f"{ROW}\n[1]", "facts.jsonl:2: data: each line must be one JSON object, but this is a list of 1; mend"),
        ('{"id": 1}{"id": 2}', "facts.jsonl:1: data: each line must be one JSON object, but this is not: Extra data"),
        ('{"id": NaN}', "facts.jsonl:1: data: each line must be one JSON object, but this is not: NaN is no JSON"),
        (
            '{"id": 1, "id": 2}',
            "facts.jsonl:1: data: each line must be one JSON object, but this is not: a key is given",
        ),
        ('{"id": 1, "x": ' + "[" * 100_000, "facts.jsonl:1: data: each line must be one JSON object"),
        ('{"id": ' + "9" * 5000 + "}", "facts.jsonl:1: data: each line must be one JSON object"),
        ('{"id": 1, "x": "\\ud800"}', "facts.jsonl:1: data: text must be whole characters"),
        (b'{"id": "\xff"}', "facts.jsonl:1: data: the line must be UTF-8, but is not; mend the line or remove it"),
        ('{"question": "q"}', "facts.jsonl:1: id: the id must be text or a whole number, but is absent"),
        ('{"id": 1.5}', "facts.jsonl:1: id: the id must be text or a whole number, but is 1.5"),
        ('{"id": true}', "facts.jsonl:1: id: the id must be text or a whole number, but is true"),
        ('{"id": ""}', "facts.jsonl:1: id: the id must be text or a whole number, but is empty text"),
        (f"{ROW}\n\n{ROW}", "facts.jsonl:3: id: ids must be unique, but '1' is on line 1 too; mend"),
        (ROW + "\n" + ROW.replace("1", '"1"'), "facts.jsonl:2: id: ids must be unique"),
        (f'{ROW}\n{{"id": 2, "facts": "f", "question": "q"}}', "facts.jsonl:2: answer: every row must have the field"),
        (f'{ROW}\n{{"id": 2, "facts": "f", "question": null, "answer": 1}}', "facts.jsonl:2: question: every row must"),
        (ROW, "spec.yaml:21: data.split: the splits must fit the data, but they take 10 rows of 1; lower them"),
    ],
    ids=lambda value: repr(value[:30]),
)
def test_wrong_data(folder: Path, content: str | bytes, problem: str) -> None:
    found = said(folder, content)
    assert any(line.startswith(problem) for line in found), found
    assert all(line.isprintable() and len(line) < 400 for line in found)


def test_a_field_that_many_rows_lack_is_one_problem(folder: Path) -> None:
    rows = "".join(
        json.dumps({"id": n, "facts": "f", "question": "q"} | ({} if n else {"answer": "1"})) + "\n" for n in range(50)
    )
    (found,) = said(folder, rows)
    assert found == (
        "facts.jsonl:2: answer: every row must have the field, but this one and 48 more rows do not; "
        "add it, or remove the row"
    )


def test_many_bad_lines_are_cut(folder: Path) -> None:
    found = said(folder, "{\n" * 5000)
    assert len(found) == 21 and "4980 more lines of this file are wrong" in "".join(found)


def test_rows_and_digest(folder: Path) -> None:
    data = folder / "facts.jsonl"
    data.write_bytes(b"\xef\xbb\xbf" + data.read_bytes().replace(b"\n", b"\r\n\r\n"))
    loaded = load_spec(folder / "spec.yaml")
    rows = (*loaded.rows.search, *loaded.rows.validation, *loaded.rows.test)
    assert sorted(row["id"] for row in rows) == [str(n) for n in range(10)]
    assert rows[0]["facts"] == ["a", "b"]
    assert loaded.data_sha256 == hashlib.sha256(data.read_bytes()).hexdigest()


def test_dealing_follows_the_seed_only(folder: Path) -> None:
    first = load_spec(folder / "spec.yaml").rows
    data = folder / "facts.jsonl"
    data.write_text("\n".join(reversed(data.read_text().splitlines())))
    assert load_spec(folder / "spec.yaml").rows == first
    assert load_spec(folder / "spec.yaml", ["seed=8"]).rows != first


def test_dealing_is_the_same_on_every_machine(folder: Path) -> None:
    """A golden order: a change of it would silently move test rows into the search."""
    rows = load_spec(folder / "spec.yaml").rows
    assert [row["id"] for row in rows.search] == ["4", "7", "3", "8"]


@given(st.integers(0, 2**32 - 1), st.tuples(*[st.integers(1, 9)] * 3), st.integers(0, 5))
def test_splits_are_disjoint_and_full(seed: int, counts: tuple[int, int, int], spare: int) -> None:
    rows = {line: {"id": str(line)} for line in range(1, sum(counts) + spare + 1)}
    split = SplitCounts(search=counts[0], validation=counts[1], test=counts[2])
    splits, problems = deal(Table("f", rows, "id", "", ()), split, seed)
    assert problems == []
    assert (len(splits.search), len(splits.validation), len(splits.test)) == counts
    assert len({row["id"] for row in (*splits.search, *splits.validation, *splits.test)}) == sum(counts)


def _with_splits(folder: Path, words: list[str | None]) -> None:
    rows = [{"id": n, "facts": "f", "question": "q", "answer": "1", "part": word} for n, word in enumerate(words)]
    (folder / "facts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_split_by_field(folder: Path) -> None:
    _with_splits(folder, ["test", "search", "validation", "search"])
    rows = load_spec(folder / "spec.yaml", ["data.split={field: part}"]).rows
    assert [row["id"] for row in rows.search] == ["1", "3"]
    assert [row["id"] for row in rows.test] == ["0"]


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (
            ["test", "search", "train"],
            "facts.jsonl:3: part: must be one of search, validation, test, but is 'train'; write",
        ),
        (["test", "search"], "facts.jsonl: part: every split must have a row, but none is 'validation'; write it"),
        (["test", "search", "validation", None], "facts.jsonl:4: part: every row must have the field"),
    ],
)
def test_split_by_field_that_is_wrong(folder: Path, spoil: Spoil, words: list[str | None], problem: str) -> None:
    _with_splits(folder, words)
    found = spoil(("{search: 4, validation: 3, test: 3}", "{field: part}"))
    assert found[0].startswith(problem)


def test_patterns_of_the_regex_evaluator_must_compile(folder: Path, spoil: Spoil) -> None:
    data = folder / "facts.jsonl"
    data.write_text(data.read_text().replace('"answer": "3"', '"answer": "("').replace('"answer": "5"', '"answer": 5'))
    found = spoil(("{exact: answer}", "{regex: answer}"))
    patterns = [line.split(": must")[0] for line in found if "regular expression" in line]
    assert patterns == ["facts.jsonl:4: answer", "facts.jsonl:6: answer"]


def test_expected_values_must_fit_their_evaluator(folder: Path, spoil: Spoil) -> None:
    data = folder / "facts.jsonl"
    data.write_text(data.read_text().replace('"answer": "3"', '"answer": "n/a"'))
    assert spoil(("{exact: answer}", "{contains: answer}"))[0] == (
        "facts.jsonl:4: answer: must be a number for `numeric`, but is 'n/a'; mend the row"
    )
    found = spoil(("{exact: answer}", "{json_fields: {field: answer, fields: [a]}}"))
    assert any("must be a JSON object for `json_fields`" in line for line in found)
