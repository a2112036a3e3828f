"""MATH, MMLU and HumanEval: made-up rows in their formats, wrong ones, and tasks on them."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apportion.errors import SpecError
from apportion.spec import extras, load_spec, records
from apportion.spec.benchmarks import boxed
from apportion.spec.data import read

MATH: dict[str, Any] = {
    "problem": "What is half of one?",
    "level": "Level 1",
    "type": "Algebra",
    "solution": "It is not $\\boxed{1}$ but $\\boxed{\\frac{1}{2}}$.",
}
MMLU: dict[str, Any] = {"question": "Which?", "choices": ["this", "that", "none"], "answer": 1, "subject": "pointing"}
HUMANEVAL: dict[str, Any] = {
    "task_id": "Made/0",
    "prompt": "def one():\n",
    "entry_point": "one",
    "canonical_solution": "    return 1\n",
    "test": "def check(candidate):\n    assert candidate() == 1\n",
}


def table(folder: Path, name: str, content: str | bytes, file: str = "data") -> Any:
    path = folder / file
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read(path, "file", "id", name)


def row(folder: Path, name: str, *records: dict[str, Any]) -> dict[str, Any]:
    """The last row of a file of lines, which must be without a mistake."""
    found = table(folder, name, "".join(f"{json.dumps(record)}\n" for record in records))
    assert not found.problems
    return dict(list(found.rows.values())[-1])


def test_math(tmp_path: Path) -> None:
    found = {"id": "1", **{key: MATH[key] for key in ("problem", "level", "type")}, "answer": "\\frac{1}{2}"}
    assert row(tmp_path, "math", MATH) == found


def test_math_500(tmp_path: Path) -> None:
    other = {"problem": "?", "solution": "no box", "answer": "7", "subject": "Algebra", "level": 2, "unique_id": "a/1"}
    assert row(tmp_path, "math", other) == {"id": "a/1", "problem": "?", "level": 2, "type": "Algebra", "answer": "7"}
    assert row(tmp_path, "math", {"problem": "?", "answer": "7"}) == {"id": "1", "problem": "?", "answer": "7"}


@pytest.mark.parametrize(
    ("solution", "answer"),
    [
        ("\\boxed{1}", "1"),
        ("\\boxed{\\{1, 2\\}}", "\\{1, 2\\}"),
        ("\\boxed{ \\{ }", "\\{"),
        ("\\boxed {1}{2}", "1"),
        ("\\fbox{x}", "x"),
        ("$\\boxed 5$.", "5"),
        ("so \\boxed 5.", "5"),
        ("\\boxed{1} and \\boxed{2", None),
        ("\\boxed{}", None),
        ("\\boxed", None),
        ("\\boxes{1}", None),
        ("", None),
    ],
)
def test_boxed(solution: str, answer: str | None) -> None:
    assert boxed(solution) == answer


BALANCED = st.recursive(st.sampled_from(["1", "x+", "\\{", "\\\\", "\\frac"]), lambda s: st.lists(s).map("{}".join))


@given(inside=BALANCED.map(lambda text: f"a{text}b"), before=st.text(), after=st.text("{}abc $"))
def test_the_braces_of_a_box_are_balanced(inside: str, before: str, after: str) -> None:
    whole = inside.replace("{}", "{y}")
    assert boxed(f"{before} \\boxed{{{whole}}}{after}") == whole


def test_mmlu(tmp_path: Path) -> None:
    found = {"subject": "pointing", "question": "Which?", "choices": "A. this\nB. that\nC. none", "answer": "B"}
    assert row(tmp_path, "mmlu", MMLU) == {"id": "1", **found}
    assert row(tmp_path, "mmlu", MMLU, {**MMLU, "answer": " B", "id": "b"}) == {"id": "b", **found}


def test_mmlu_as_it_is_published(tmp_path: Path) -> None:
    found = table(tmp_path, "mmlu", 'One?,a,"b, c",7,0.5,B\n"Two,\nor?",w,x,y,z,D\n')
    assert not found.problems and list(found.rows.values()) == [
        {"id": "1", "question": "One?", "choices": "A. a\nB. b, c\nC. 7\nD. 0.5", "answer": "B"},
        {"id": "2", "question": "Two,\nor?", "choices": "A. w\nB. x\nC. y\nD. z", "answer": "D"},
    ]


@pytest.mark.parametrize("packed", [False, True])
def test_humaneval(tmp_path: Path, packed: bool) -> None:  # noqa: FBT001
    content = f"{json.dumps(HUMANEVAL)}\n".encode()
    found = table(tmp_path, "humaneval", gzip.compress(content) if packed else content, "x.gz" if packed else "x")
    fields = {"prompt": "def one():\n", "entry_point": "one", "tests": HUMANEVAL["test"]}
    assert not found.problems and list(found.rows.values()) == [{"id": "Made/0", **fields}]


BAD: list[tuple[str, dict[str, Any] | str, str]] = [
    ("math", {**MATH, "solution": "1"}, "file:1: solution: must hold its answer as \\boxed{…}, but holds none; mend"),
    ("math", {**MATH, "solution": None}, "file:1: solution: every row must have `solution`, but this one does not"),
    ("math", {**MATH, "answer": 7}, "file:1: answer: must be text, but is 7"),
    ("math", {**MATH, "problem": ""}, "file:1: problem: must be text, but is empty text"),
    ("math", {**MATH, "unique_id": [1]}, "file:1: unique_id: must be text or a whole number, but is a list of 1"),
    ("mmlu", {**MMLU, "choices": ["a"]}, "file, row 1: choices: must be a list of 2 to 26, but is a list of 1"),
    ("mmlu", {**MMLU, "choices": ["a", 1]}, "file, row 1: choices: must be texts, but one is not"),
    ("mmlu", {**MMLU, "answer": 3}, "file, row 1: answer: must be a letter to C or a number from 0 to 2, but is 3"),
    ("mmlu", {**MMLU, "answer": "D"}, "file, row 1: answer: must be a letter to C or a number from 0 to 2, but is 'D'"),
    ("mmlu", {**MMLU, "answer": True}, "file, row 1: answer: must be a letter to C or a number from 0 to 2, but is tr"),
    ("mmlu", {**MMLU, "answer": "AB"}, "file, row 1: answer: must be a letter to C or a number from 0 to 2, but is 'A"),
    ("mmlu", "q,a,b,c,d,E\n", "file, row 1: answer: must be a letter to D or a number from 0 to 3, but is 'E'"),
    ("mmlu", "q,a,b,c,A\n", "file, row 1: data: a row must have 6 cells"),
    ("humaneval", {**HUMANEVAL, "entry_point": "a b"}, "file:1: entry_point: must be the name of a function, but is"),
    ("humaneval", {**HUMANEVAL, "test": 1}, "file:1: test: must be text, but is 1"),
    ("humaneval", {}, "file:1: entry_point: every row must have `entry_point`, but this one does not; mend the line"),
]


@pytest.mark.parametrize(("name", "content", "problem"), BAD, ids=lambda value: str(value)[:60])
def test_a_bad_row_is_one_problem_with_its_place(
    tmp_path: Path, name: str, content: dict[str, Any] | str, problem: str
) -> None:
    (found,) = table(tmp_path, name, content if isinstance(content, str) else json.dumps(content)).problems
    assert str(found).startswith(problem)


@pytest.mark.parametrize("name", ["math", "mmlu", "humaneval"])
@pytest.mark.parametrize("spoilt", [None, 1, "", "x", [], [1], [[1]], {}, {"a": 1}, [None], ["a", None]], ids=str)
def test_no_value_makes_a_reader_raise(tmp_path: Path, name: str, spoilt: object) -> None:
    good = {"math": MATH, "mmlu": MMLU, "humaneval": HUMANEVAL}[name]
    for key in (*good, "id", "unique_id", "answer"):
        found = table(tmp_path, name, json.dumps({**good, key: spoilt}))
        assert len(found.rows) + len(found.problems) == 1


@pytest.mark.parametrize("content", [b"", b"no gzip", gzip.compress(b"{}" * 9)[:-9], gzip.compress(b"")])
def test_a_packed_file_that_is_none_is_said(tmp_path: Path, content: bytes) -> None:
    (found,) = table(tmp_path, "jsonl", content, "data.gz").problems
    assert str(found).startswith(("file: data: a .gz file must be whole, but is not: ", "file: data: must hold at lea"))


def test_a_packed_file_that_swells_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "MOST_UNPACKED", 1000)
    (found,) = table(tmp_path, "jsonl", gzip.compress(b" " * 1001), "data.gz").problems
    assert str(found) == "file: data: the file must unpack to at most 1,000 bytes; take a sample of it"


# --- tasks on them ---------------------------------------------------------------------------------------------------

TASK = """\
name: public
models:
  small: {{endpoint: "http://127.0.0.1:8000/v1", model: small, parameters: 1e9, price: null}}
data:
  path: data.jsonl
  format: {format}
  split: {{search: 2, validation: 1, test: 1}}
stages:
  - {{name: solve, prompt: "{prompt}", models: [small], templates: [single], max_tokens: 64}}
evaluators:
  right: {{{evaluator}}}
objectives: [{{maximize: right}}]
"""


def said(folder: Path, rows: list[dict[str, Any]], parts: dict[str, str], settings: tuple[str, ...] = ()) -> list[str]:
    """What is wrong with a task, without the folder's name."""
    (folder / "data.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    path = folder / "task.yaml"
    path.write_text(TASK.format(**parts))
    try:
        load_spec(path, settings)
    except SpecError as error:
        return [problem.replace(f"{folder}/", "") for problem in error.problems]
    return []


ON_MATH = {"format": "math", "prompt": "{problem}", "evaluator": "math_equal: answer"}
ON_MMLU = {"format": "mmlu", "prompt": "{question}\\n{choices}", "evaluator": "choice: answer"}
ON_HUMANEVAL = {"format": "humaneval", "prompt": "{prompt}", "evaluator": "unit_tests: tests"}
ON_GYM = {"format": "jsonl", "prompt": "{question}", "evaluator": "reasoning_gym: made"}
MADE = {"dataset": "chain_sum", "seed": 1, "size": 4, "index": 0, "sha256": "0" * 16}
LOOP = "def check(candidate):\n    for n in range(3):\n        assert candidate(n) == n\n"


def tasks(test: str = HUMANEVAL["test"]) -> list[dict[str, Any]]:
    return [{**HUMANEVAL, "task_id": f"Made/{n}", "test": test if n < 2 else HUMANEVAL["test"]} for n in range(6)]


def test_tasks_on_public_data_are_valid(tmp_path: Path) -> None:
    assert said(tmp_path, [MATH] * 4, ON_MATH) == []
    assert said(tmp_path, [MMLU] * 4, ON_MMLU) == []
    assert said(tmp_path, tasks(), ON_HUMANEVAL) == []
    rows = [{"id": n, "question": "?", "answer": "1", "made": {**MADE, "index": n}} for n in range(4)]
    assert said(tmp_path, rows, ON_GYM) == []


def test_tests_that_cannot_be_read_are_refused_at_once_with_their_ids(tmp_path: Path) -> None:
    (problem,) = said(tmp_path, tasks(LOOP), ON_HUMANEVAL)
    assert problem == (
        "data.jsonl: tests: every test must be asserts of calls and literals, but 2 of 6 are not: in that of 'Made/0' "
        "line 2, `for n in range(3):`, is no assert of literals; leave them out: add Made/0, Made/1 to `without` of "
        "`data`"
    )
    left_out = ("data.without=[Made/0, Made/1]",)
    assert said(tmp_path, tasks(LOOP), ON_HUMANEVAL, left_out) == []
    loaded = load_spec(tmp_path / "task.yaml", left_out)
    dealt = (*loaded.rows.search, *loaded.rows.validation, *loaded.rows.test)
    assert {row["id"] for row in dealt} == {f"Made/{n}" for n in range(2, 6)}


@pytest.mark.parametrize(
    ("rows", "parts", "settings", "problem"),
    [
        (
            tasks(),
            ON_HUMANEVAL,
            ("data.without=[Made/7]",),
            "data.without.0: must be the id of a row, but 'Made/7' is n",
        ),
        (tasks(), ON_HUMANEVAL, ("data.split.search=7",), "the splits must fit the data, but they take 9 rows of 6"),
        (
            tasks(),
            ON_HUMANEVAL,
            ("evaluators.right.unit_tests={field: tests, entry: name}",),
            "evaluators.right.unit_tests.entry: must be a field of the data, but 'name' is not",
        ),
        (
            [{"id": n, "a": {"x": 1}} for n in range(4)],
            {**ON_MATH, "format": "jsonl", "prompt": "x", "evaluator": "math_equal: a"},
            (),
            "data.jsonl:1: a: must be text or a number for `math_equal`, but is a mapping of x; mend the row",
        ),
        (
            [{"id": n, "question": "?", "made": {**MADE, "seed": True}} for n in range(4)],
            ON_GYM,
            (),
            "made: must say how `apportion data reasoning-gym` made the row, but its `seed` is true; use that file's",
        ),
        (
            [{"id": n, "question": "?", "made": "x"} for n in range(4)],
            ON_GYM,
            (),
            "made: must say how `apportion data reasoning-gym` made the row, but is 'x'; use that file's `made`",
        ),
    ],
)
def test_what_does_not_fit_is_said(
    tmp_path: Path, rows: list[dict[str, Any]], parts: dict[str, str], settings: tuple[str, ...], problem: str
) -> None:
    found = said(tmp_path, rows, parts, settings)
    assert any(problem in line for line in found), found


@pytest.mark.parametrize(("parts", "extra"), [(ON_MATH, "math"), (ON_GYM, "reasoning")])
def test_a_missing_extra_is_said_before_anything_is_bought(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, parts: dict[str, str], extra: str
) -> None:
    monkeypatch.setattr(extras, "find_spec", lambda name: None)
    rows = [{"id": n, **MATH, "question": "?", "made": MADE} for n in range(4)]
    kind = parts["evaluator"].partition(":")[0]
    (problem,) = said(tmp_path, rows, parts)
    assert problem.startswith(f"task.yaml:11: evaluators.right.{kind}: must have its library, but ")
    assert problem.endswith(f" is not installed; pip install 'apportion[{extra}]'")
