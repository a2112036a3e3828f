"""The tester: tests are read as literals, code runs in a real sandbox, what passes most is kept."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apportion.envs import parsers
from apportion.envs.cases import CaseResult, CasesRun
from apportion.envs.parsers import code_in
from apportion.envs.roles.tester import MOST_CASES, TEST_TOKENS, Case, read_tests
from apportion.envs.sandbox import Sandbox, SandboxError
from apportion.envs.stage import Stage
from apportion.envs.worker import Sampling
from tests.envs.roles.kit import HOW, cards, nothing, play, scores, texts
from tests.strategies import anything

CODE = Stage("s", "Write {question}.", parsers.text, HOW)
RIGHT = "Here:\n```python\ndef add(a, b):\n    return a + b\n```\nDone."
WRONG = "def add(a, b):\n    return a - b"
BROKEN = "def add(a, b:\n    return a + b"
TESTS = "assert add(1, 2) == 3\nassert add(0, 0) == 0\nassert add(2, 0) == 2\nassert add(2, 2) == 5"

needs_bwrap = pytest.mark.skipif(not Path("/usr/bin/bwrap").exists(), reason="needs bubblewrap")


class Pretended(Sandbox):
    """Answers a call of any code with the number of the code's lines."""

    def __init__(self) -> None:
        super().__init__()
        self.ran: list[tuple[str, str, int]] = []

    async def check(self) -> None:
        pass

    async def run(
        self, code: str, function: str, cases: Sequence[Sequence[object]], *, deadline_s: float = 5.0
    ) -> CasesRun:
        self.ran.append((code, function, len(cases)))
        await asyncio.sleep(0)
        return CasesRun((CaseResult("value", code.count("\n") + 1),) * len(cases), "")


class Nowhere(Sandbox):
    async def check(self) -> None:
        raise SandboxError("no wall stands here")


def code(*given: str) -> list[Any]:
    return [replace(c, value=c.text.strip() or None) for c in cards(*given)]


@needs_bwrap
def test_what_passes_most_is_kept() -> None:
    run, shop = play("tester", lambda prompt, index: TESTS, *code(BROKEN, WRONG, RIGHT), stage=CODE, keep=3)
    assert (run.status, texts(run), scores(run)) == ("ok", [RIGHT, WRONG, BROKEN], [0.75, 0.5, 0.0])
    assert [order[2:] for order in shop.orders] == [(Sampling(0.7, TEST_TOKENS, 0.9), 0)]
    assert "return" not in shop.prompts[0], "who writes the tests does not see the code"


def test_code_is_run_once_and_ties_go_to_the_first() -> None:
    sandbox = Pretended()
    given = code("def f(): 1", "def f():\n  2", "```\ndef f():\n  2\n```", "def f():\n  3")
    run, _ = play("tester", lambda p, i: "f() == 2", *given, samples=2, stage=CODE, keep=2, sandbox=sandbox)
    assert [c.origin[1] for c in run.candidates] == [1, 2] and scores(run) == [1.0, 1.0]
    assert sandbox.ran == [("def f(): 1", "f", 1), ("def f():\n  2", "f", 1), ("def f():\n  3", "f", 1)]
    assert [draw.index for draw in run.draws] == [0, 1]


def test_tests_that_nobody_can_read_leave_the_candidates_without_a_score() -> None:
    run, shop = play("tester", lambda p, i: "I cannot.", *code(WRONG, RIGHT), stage=CODE, sandbox=Pretended())
    assert (run.status, texts(run), scores(run), len(shop.orders)) == ("ok", [WRONG], [None], 1)
    assert texts(play("weighted_voter", nothing, *run.candidates)[0]) == [WRONG]


def test_one_program_is_tested_only_where_its_score_meets_others() -> None:
    given = code(WRONG, f"```\n{WRONG}\n```", "")
    run, _ = play("tester", nothing, *given, stage=CODE, keep=3, sandbox=Pretended())
    assert (texts(run), scores(run)) == ([c.text for c in given[:2]], [None, None])
    run, _ = play("tester", lambda p, i: "add(1) == 2", *given, stage=CODE, keep=3, weighed=True, sandbox=Pretended())
    assert scores(run) == [1.0, 1.0]


def test_a_tester_that_nobody_answers_gives_nothing() -> None:
    run, _ = play("tester", lambda p, i: ("timeout", ""), *code(WRONG, RIGHT), stage=CODE, sandbox=Pretended())
    assert (run.status, run.candidates, len(run.draws)) == ("timeout", (), 1)


def test_without_a_sandbox_nothing_is_bought() -> None:
    with pytest.raises(SandboxError, match="no wall"):
        play("tester", nothing, *code(WRONG, RIGHT), stage=CODE, sandbox=Nowhere())


CASES: dict[str, tuple[list[object], object] | None] = {
    'assert f(1, "a") == 3': ([1, "a"], 3),
    "f([1, 2]) == [2]": ([[1, 2]], [2]),
    "- `assert f(-1.5) == None`": ([-1.5], None),
    "3. f({'a': [True]}) == (1, 2)  # a pair": ([{"a": [True]}], (1, 2)),
    "    assert f() == {1, 2}, 'a message'": ([], {1, 2}),
    r"assert f('\d') == '\d'": ([r"\d"], r"\d"),
    "assert f((1, 2)) == 3": None,  # a tuple would come as a list
    "assert f({1: 2}) == 3": None,  # and this key as a text
    "assert f(b'a') == 3": None,
    "assert f(x=1) == 3": None,
    "assert f(*[1]) == 3": None,
    "assert f(1) == g(1)": None,
    "assert f(open('/etc/passwd').read()) == 3": None,
    "assert f(9 ** 9 ** 9) == 3": None,
    "assert f(1) < 3": None,
    "assert f(1) == 3 == 3": None,
    "assert o.f(1) == 3": None,
    "assert __import__('os') == 1": None,
    "assert g(1) == 1": None,  # nobody defines it
    "f(1) == 3; f(2) == 4": None,
    "f(1\x00) == 3": None,
    "f(" + "[" * 190 + "]" * 190 + ") == 3": None,
    "f(" + "-" * 390 + "1) == 3": None,
    "f(" + "9" * 500 + ") == 3": None,
    "def f(a): return 1": None,
    "": None,
}


@pytest.mark.parametrize("line", CASES, ids=lambda line: line[:30])
def test_a_case_is_a_call_with_literals(line: str) -> None:
    stated = CASES[line]
    found = read_tests([f"Tests:\n{line}\n"], {"f"})
    if line.count("[") == 190:  # how deep Python's parser goes is its own affair
        assert len(found) <= 1
    else:
        assert found == ([] if stated is None else [Case("f", *stated)])


def test_cases_are_of_the_function_that_most_of_them_call_each_once_and_not_many() -> None:
    said = ["f(1) == 1\ng(1) == 1\nf(2) == 2\n", "f(1) == 1\nh(1) == 1\nh(2) == 1\nh(3) == 1"]
    assert read_tests(said, {"f", "g"}) == [Case("f", [1], 1), Case("f", [2], 2)]
    assert len(read_tests(["\n".join(f"f({n}) == {n}" for n in range(99))], {"f"})) == MOST_CASES


@given(anything | st.text("f()[]{}=!1,'\"-# \n\\", max_size=80))
def test_any_reply_is_read_without_a_fault(said: str) -> None:
    assert all(case.function == "f" for case in read_tests([said, f"assert f({said}) == {said}"], {"f"}))


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (WRONG, WRONG),
        (RIGHT, "def add(a, b):\n    return a + b"),
        ("```\na\n```\n```\nb\n```", "a"),
        ("```python\nnever closed", "```python\nnever closed"),
        ("``` ```", "``` ```"),
        ("", ""),
    ],
)
def test_code_is_the_first_block_or_the_whole_text(text: str, found: str) -> None:
    assert code_in(text) == found


def test_a_megabyte_of_backticks_is_read_in_one_pass() -> None:
    text = "`" * 1_000_000
    assert code_in(text) == text  # minutes, if each fence were tried against each
