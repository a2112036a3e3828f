"""The files of public data sets: small ones in their formats, and rows of them that are wrong."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from apportion.spec.data import read
from apportion.spec.formats import FORMATS

HOTPOT: dict[str, Any] = {
    "_id": "a1",
    "question": "Who made it?",
    "answer": "Ann",
    "type": "bridge",
    "supporting_facts": [["B", 0], ["A", 1], ["Elsewhere", 0]],
    "context": [["A", ["One. ", "Two\nlines."]], ["C", []], ["B", ["Three."]]],
}
KGQA: dict[str, Any] = {
    "ID": "q1",
    "question": "Which?",
    "topic_entity": {"m.1": "It"},
    "answer": ["X", None, "X", 7],
    "crucial_triples": [["It", "is", "X"]],
    "gt_triples": [["It", "is", "X"], ["X", "of", "Y"]],
    "2hop_triples": [["X", "of", "Y"], ["Z", "by", "It"], ["Z", "by", "It"], ["It", "is", "X"]],
}
TASKBENCH: dict[str, Any] = {
    "id": "1",
    "user_request": "Do it.",
    "task_steps": ["Step 1: do"],
    "task_nodes": [{"task": "do", "arguments": [{"name": "what", "value": 3}, "<node-0>"]}],
    "task_links": [],
}
SRDD = 'Name,Description,Category\nA_B,"Does, or\nnot.",Tools\nA_B,Again.,Tools\n'
TOOLS = {
    "nodes": [
        {"id": "do", "desc": "Does", "parameters": [{"name": "what", "type": "string", "desc": ""}]},
        {"id": "see", "desc": "Sees", "input-type": ["image"], "output-type": ["text"]},
    ]
}
Spoil = Callable[[dict[str, Any]], Any]


def rows(folder: Path, name: str, content: object) -> list[dict[str, Any]]:
    """The rows of a file in some format, which must be without a mistake."""
    table = read(write(folder, content), "file", "id", name)
    assert not table.problems
    return list(table.rows.values())


def said(folder: Path, name: str, content: object) -> str:
    """The one thing that is said of a file."""
    (problem,) = read(write(folder, content), "file", "id", name).problems
    return str(problem)


def write(folder: Path, content: object) -> Path:
    path = folder / "data"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    (folder / "tool_desc.json").write_text(json.dumps(TOOLS))
    return path


def test_hotpotqa(tmp_path: Path) -> None:
    assert rows(tmp_path, "hotpotqa", [HOTPOT]) == [
        {
            "id": "a1",
            "question": "Who made it?",
            "chunks": ["[1] A: One. Two lines.", "[2] C:", "[3] B: Three."],
            "evidence": ["1", "3"],
            "answers": ["Ann"],
        }
    ]


def test_kgqa(tmp_path: Path) -> None:
    (row,) = rows(tmp_path, "kgqa", [KGQA])
    assert {chunk[4:] for chunk in row["chunks"]} == {"It | is | X", "Z | by | It"}
    assert [chunk[:3] for chunk in row["chunks"]] == ["[1]", "[2]"]
    (number,) = row["evidence"]
    assert row["chunks"][int(number) - 1].endswith("It | is | X")
    assert (row["topics"], row["answers"]) == (["It"], ["X", "7"])


def test_kgqa_in_the_words_of_webqsp_and_of_cwq_itself(tmp_path: Path) -> None:
    other = {"QuestionId": "w", "RawQuestion": "who?", "answers": [{"answer": "A", "aliases": ["B", "C"]}]}
    kept = {key: KGQA[key] for key in ("topic_entity", "crucial_triples", "2hop_triples")}
    (row,) = rows(tmp_path, "kgqa", [{**other, **kept}])
    assert (row["id"], row["question"], row["answers"]) == ("w", "who?", ["A", "B", "C"])


def test_no_more_than_a_hundred_triples_distract_and_their_order_is_always_the_same(tmp_path: Path) -> None:
    many = {**KGQA, "2hop_triples": [["s", "r", str(n)] for n in range(300)]}
    first, second = (rows(tmp_path, "kgqa", [row]) for row in (many, many))
    assert first == second and len(first[0]["chunks"]) == 101
    assert first[0]["chunks"] != rows(tmp_path, "kgqa", [{**many, "ID": "q2"}])[0]["chunks"]


@pytest.mark.parametrize("encoded", [False, True])
def test_taskbench(tmp_path: Path, encoded: bool) -> None:  # noqa: FBT001
    lists = {key: TASKBENCH[f"task_{key}"] for key in ("steps", "nodes")}
    other = {"id": "1", "instruction": "Do it."} | {f"tool_{k}": json.dumps(v) for k, v in lists.items()}
    assert rows(tmp_path, "taskbench", f"{json.dumps(other if encoded else TASKBENCH)}\n") == [
        {
            "id": "1",
            "request": "Do it.",
            "tools": ["do(what): Does", "see(image) -> text: Sees"],
            "steps": ["Step 1: do"],
            "nodes": ["do"],
            "arguments": ["do | what | 3", "do | <node-0>"],
        }
    ]


def test_srdd(tmp_path: Path) -> None:
    assert rows(tmp_path, "srdd", SRDD) == [
        {"id": "1 A_B", "name": "A_B", "description": "Does, or\nnot.", "category": "Tools"},
        {"id": "2 A_B", "name": "A_B", "description": "Again.", "category": "Tools"},
    ]


BAD: list[tuple[str, object, str]] = [
    ("hotpotqa", "[", "file: data: the file must be one JSON array of objects, but is not: Expecting"),
    ("hotpotqa", HOTPOT, "file: data: the file must be one JSON array of objects, but is a mapping of _id"),
    ("hotpotqa", [HOTPOT, 1], "file, row 2: data: each item must be a JSON object, but this is 1; mend the row"),
    ("hotpotqa", [HOTPOT, HOTPOT], "file, row 2: id: ids must be unique, but 'a1' is in row 1 too"),
    ("hotpotqa", [{**HOTPOT, "answer": None}], "file, row 1: answer: every row must have `answer`, but this one does"),
    ("hotpotqa", [{**HOTPOT, "_id": 3}], "file, row 1: _id: must be text, but is 3; mend the row or remove it"),
    ("hotpotqa", [{**HOTPOT, "context": [["A", "x"]]}], "file, row 1: context: must be pairs [title, sentences]"),
    ("hotpotqa", [{**HOTPOT, "supporting_facts": ["A"]}], "file, row 1: supporting_facts: must be pairs"),
    ("hotpotqa", [{**HOTPOT, "question": "\ud800"}], "file, row 1: data: text must be whole characters"),
    ("hotpotqa", "[]", "file: data: must hold at least one row, but is empty; write rows"),
    ("kgqa", [{**KGQA, "answer": [None]}], "file, row 1: answer: must hold an answer, but holds none"),
    (
        "kgqa",
        [{**KGQA, "answer": [{"answer": 5, "aliases": 7}]}],
        "file, row 1: answer: must have `aliases` that are a list",
    ),
    ("kgqa", [{**KGQA, "2hop_triples": [["a", "b"]]}], "file, row 1: 2hop_triples: must be triples [head, relation"),
    (
        "kgqa",
        [{**KGQA, "2hop_triples": [], "crucial_triples": []}],
        "file, row 1: 2hop_triples: there must be a",
    ),
    ("kgqa", [{**KGQA, "topic_entity": ["It"]}], "file, row 1: topic_entity: must be an object of names by id"),
    ("kgqa", [{k: v for k, v in KGQA.items() if k != "ID"}], "file, row 1: ID: every row must have `ID` or `Quest"),
    ("taskbench", "{}\n", "file:1: task_nodes: every row must have `task_nodes` or `tool_nodes`"),
    ("taskbench", "{", "file:1: data: each line must be one JSON object, but this is not"),
    (
        "taskbench",
        json.dumps({**TASKBENCH, "task_nodes": "[{"}),
        "file:1: task_nodes: must be a list, but is '[{'; mend the line",
    ),
    (
        "taskbench",
        json.dumps({**TASKBENCH, "task_nodes": [{"task": "x", "arguments": "y"}]}),
        "file:1: arguments: must be a list, but is 'y'",
    ),
    ("srdd", "Name,Description\nA,B\n", "file, row 1: Category: every row must have `Category`"),
    ("srdd", "Name,Description,Category\nA,B\n", "file, row 1: data: a row must have 3 cells like the head"),
    ("srdd", "Name,Description,Category\nA,B,C,D\n", "file, row 1: data: a row must have 3 cells like the head"),
    ("srdd", 'Name,Description,Category\n"A,B,C', "file: data: the file must be a CSV table in UTF-8, but is not"),
    (
        "srdd",
        "Name,Description,Category\nA,B\0,C\n",
        "file, row 1: Description: must be text without a NUL character, b",
    ),
    (
        "srdd",
        "Name,Description,Category\nA,B,C\n\0,B,C\n",
        "file, row 2: Name: must be text without a NUL character, b",
    ),
    ("srdd", "", "file: data: must hold at least one row, but is empty; write rows"),
]


@pytest.mark.parametrize(("name", "content", "problem"), BAD, ids=lambda value: str(value)[:40])
def test_a_bad_row_is_one_problem_with_its_place(tmp_path: Path, name: str, content: object, problem: str) -> None:
    assert said(tmp_path, name, content).startswith(problem)


def test_taskbench_needs_its_tools(tmp_path: Path) -> None:
    path = write(tmp_path, f"{json.dumps(TASKBENCH)}\n")
    (tmp_path / "tool_desc.json").write_text("[]")
    (problem,) = read(path, "file", "id", "taskbench").problems
    assert str(problem).startswith('file: data: tool_desc.json must be {"nodes":')
    (tmp_path / "tool_desc.json").unlink()
    (problem,) = read(path, "file", "id", "taskbench").problems
    assert str(problem) == (
        "file: data: 'tool_desc.json' must lie beside the file, but it does not exist; copy it there"
    )


@pytest.mark.parametrize(
    ("tools", "problem"),
    [
        ("{", "tool_desc.json must be {…}, but is no JSON: Expecting property name"),
        ("[]", "tool_desc.json must be {…}, but has no `nodes`; copy TaskBench's"),
        ('{"nodes": {}}', "tool_desc.json must be {…}, but its `nodes` are an empty mapping; copy"),
        ('{"nodes": []}', "tool_desc.json must be {…}, but its `nodes` are an empty list; copy"),
        ('{"nodes": "ab"}', "tool_desc.json must be {…}, but its `nodes` are 'ab'; copy"),
        ('{"nodes": [1]}', "tool_desc.json, node 1 must be an object with `id` and `desc`, but is 1; mend it"),
        (
            '{"nodes": [GOOD, {"id": "a"}]}',
            "tool_desc.json, node 2 must have `desc` that is text, but has null; mend it",
        ),
        ('{"nodes": [{"id": 7, "desc": "x"}]}', "tool_desc.json, node 1 must have `id` that is text, but has 7; mend"),
        (
            '{"nodes": [GOOD, {"id": "a", "desc": "x", "parameters": [{"type": "t"}]}]}',
            "tool_desc.json, node 2 must have `parameters` that is a list of names, but has a list of 1; mend it",
        ),
        (
            '{"nodes": [{"id": "a", "desc": "x", "input-type": "text"}]}',
            "tool_desc.json, node 1 must have `input-type` that is a list of names, but has 'text'; mend it",
        ),
    ],
)
def test_wrong_tools_are_said_with_their_number(tmp_path: Path, tools: str, problem: str) -> None:
    path = write(tmp_path, f"{json.dumps(TASKBENCH)}\n")
    (tmp_path / "tool_desc.json").write_text(tools.replace("GOOD", json.dumps(TOOLS["nodes"][0])))
    (found,) = read(path, "file", "id", "taskbench").problems
    said = str(found).replace('{"nodes": [{"id": …, "desc": …}, …]}', "{…}")
    assert said.startswith(f"file: data: {problem}")


def test_other_tools_are_another_data_set(tmp_path: Path) -> None:
    path = write(tmp_path, f"{json.dumps(TASKBENCH)}\n")
    before = read(path, "file", "id", "taskbench").sha256
    (tmp_path / "tool_desc.json").write_text(json.dumps({"nodes": []}))
    assert read(path, "file", "id", "taskbench").sha256 != before


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("content", ["", "[", "{}", "[[]]", "[{}]", "[null]", "\x00", "a,b\n1", '"', "[" * 100_000])
def test_no_file_makes_a_reader_raise(tmp_path: Path, name: str, content: str) -> None:
    table = read(write(tmp_path, content), "file", "id", name)
    assert table.problems and not table.rows


SPOILT: list[object] = [None, 1, "", "x", [], [1], [[1]], {}, {"a": 1}, [{}], [None]]


@pytest.mark.parametrize("name", ["hotpotqa", "kgqa", "taskbench"])
@pytest.mark.parametrize("spoilt", SPOILT, ids=str)
def test_no_value_makes_a_reader_raise(tmp_path: Path, name: str, spoilt: object) -> None:
    good = {"hotpotqa": HOTPOT, "kgqa": KGQA, "taskbench": TASKBENCH}[name]
    for key in good:
        row = {**good, key: spoilt}
        content = json.dumps(row) if name == "taskbench" else [row]
        table = read(write(tmp_path, content), "file", "id", name)
        assert len(table.rows) + len(table.problems) == 1
