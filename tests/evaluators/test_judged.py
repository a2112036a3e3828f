"""Mathematics that is the same and that is not, hostile mathematics, and generated tasks with their own scores."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from apportion.envs.stage import Example
from apportion.evaluators import EVALUATORS, judge
from apportion.evaluators.answers import Evaluator
from apportion.evaluators.judge import JudgeError
from apportion.evaluators.judged import ReasoningGym, bare, names, rows


async def told(evaluator: Evaluator, answer: str, target: object) -> float:
    value = evaluator(answer, Example("row", {"target": target}))
    assert not isinstance(value, float | bool)
    return float(await value)


# --- mathematics -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def math_equal() -> Iterator[Evaluator]:
    pytest.importorskip("math_verify")
    yield EVALUATORS["math_equal"](field="target")


@pytest.mark.parametrize(
    ("target", "answer", "same"),
    [
        (r"\frac{1}{2}", "1/2", True),
        (r"\frac{1}{2}", "0.5", True),
        (r"\frac12", r"The answer is $\frac{2}{4}$.", True),
        (r"\frac{1}{2}", r"So we get \boxed{\dfrac{1}{2}}", True),
        (r"\frac{1}{2}", "2", False),
        (r"3\sqrt{2}", r"\sqrt{18}", True),
        ("x^2+2x+1", "(x+1)^2", True),
        ("x^2+2x+1", "(x-1)^2", False),
        (r"(3, \frac{\pi}{2})", r"$(3,\pi/2)$", True),
        ("(3,4)", "(4,3)", False),
        ("4,6", "6, 4", True),
        ("[2,5)", "[2,5]", False),
        ("1,234", "1234", True),
        (r"\$32,348", "32348", True),
        (r"\$18.90", "So it costs $18.9$ dollars.", True),
        ("2", "1, 2, 3", False),
        ("2", "$1$ or $2$ or $3$", False),
        ("2", r"\boxed{1} \boxed{2}", False),
        ("2", "1=2=3", False),
        (["1", r"\sqrt{2}"], r"$\sqrt{2}$", True),
        (r"90^\circ", "90", True),
        (r"\text{Ann}", "Ann", True),
        (r"\text{even}", "odd", False),
        (r"\text{June 20}", "June 20", True),
        (r"\text{June 20}", "June 21", False),
        (r"\begin{pmatrix}1\\2\end{pmatrix}", r"\begin{pmatrix} 1 \\ 2 \end{pmatrix}", True),
        ("1 1/2", "11/2", False),
        (7, "7", True),
        (["1", "2"], "2.0", True),
        ("7", "", False),
        ("7", "I do not know", False),
        (r"\ngobble(", r"\ngobble(", True),
    ],
)
def test_math_equal(math_equal: Evaluator, target: object, answer: str, same: bool) -> None:  # noqa: FBT001
    assert asyncio.run(told(math_equal, answer, target)) == float(same)


HOSTILE = (
    "9^{9^{9^{9}}}",
    "2^{2^{40}}",
    "10000000!!!",
    "{" * 1_000_000,
    "(" * 20_000,
    "\\frac{1}{" * 2000 + "1" + "}" * 2000,
    "\\sqrt{" * 5000,
    "\\sum_{n=1}^{10^{30}} \\frac{1}{n}",
    "\\int e^{x^{x^x}} dx",
    "$" * 5001,
    "\\boxed{" * 3000,
    "\0",
)


def test_what_is_hostile_is_wrong_and_in_time(math_equal: Evaluator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judge.Judge.ask, "__defaults__", (0.5,))  # seconds

    async def main() -> list[float]:
        return [await told(math_equal, text, "5") for text in (*HOSTILE, "10/2")]

    assert asyncio.run(asyncio.wait_for(main(), 60)) == [0.0] * len(HOSTILE) + [1.0]


def test_a_simple_text_needs_no_process() -> None:
    evaluator = EVALUATORS["math_equal"](field="target")

    async def main() -> float:
        async with asyncio.timeout(0.1):
            return await told(evaluator, "$ x  + 1$.", "x + 1")

    assert asyncio.run(main()) == 1.0


@pytest.mark.parametrize(("one", "other"), [("x", "X"), ("1 2", "12"), ("-1", "1"), ("{1}", "1")])
def test_the_quick_path_keeps_apart_what_may_differ(one: str, other: str) -> None:
    assert bare(one) != bare(other)


# --- reasoning-gym ---------------------------------------------------------------------------------------------------


async def made(name: str, size: int, seed: int) -> list[dict[str, Any]]:
    return [row async for row in rows(name, size, seed)]


@pytest.fixture(scope="module")
def gym() -> Evaluator:
    pytest.importorskip("reasoning_gym")
    return EVALUATORS["reasoning_gym"](field="target")


DATASETS = ("chain_sum", "countdown", "letter_counting", "knights_knaves", "spiral_matrix", "shortest_path")


@pytest.mark.parametrize("name", DATASETS)
def test_rows_are_the_same_for_a_seed_and_their_answers_are_right(gym: Evaluator, name: str) -> None:
    first, again, other = (asyncio.run(made(name, 3, seed)) for seed in (5, 5, 6))
    assert first == again and len({row["id"] for row in first + other}) == 6
    assert [row["question"] for row in first] != [row["question"] for row in other]
    for row in first:
        assert asyncio.run(told(gym, row["answer"], row["made"])) == 1.0
        assert asyncio.run(told(gym, "nothing of the kind", row["made"])) < 0.5


def test_an_answer_other_than_the_rows_may_be_right(gym: Evaluator) -> None:
    (row,) = asyncio.run(made("countdown", 1, 5))
    assert asyncio.run(told(gym, f"({row['answer']})", row["made"])) == 1.0


def test_a_row_that_would_be_made_otherwise_is_an_error(gym: Evaluator) -> None:
    (row,) = asyncio.run(made("chain_sum", 1, 5))
    with pytest.raises(JudgeError, match=r"^a row must be made as it was, but this version .* 'row' .* make the file"):
        asyncio.run(told(gym, row["answer"], {**row["made"], "sha256": "0" * 16}))


@pytest.mark.parametrize(
    ("change", "law"),
    [
        ({"sha256": "0" * 16}, "^a row must be made as it was"),
        ({"size": 0}, r"^a row must be made again within 5 s and 1 GB to be scored, but 'second' is not; leave it out"),
        ({"dataset": "composite"}, r"^a row must be made again .*"),
        ({"dataset": "countdwn"}, "^a data set must be one of reasoning-gym's"),
    ],
)
def test_every_row_is_checked_beforehand(change: dict[str, Any], law: str) -> None:
    pytest.importorskip("reasoning_gym")
    gym = ReasoningGym("target")
    (row,) = asyncio.run(made("chain_sum", 1, 5))
    good, bad = Example("first", {"target": row["made"]}), Example("second", {"target": {**row["made"], **change}})
    asyncio.run(gym.check([good, good]))
    with pytest.raises(JudgeError, match=law):
        asyncio.run(gym.check([good, bad]))


def test_what_makes_no_rows_is_said(gym: Evaluator) -> None:
    with pytest.raises(JudgeError, match=r"^a data set must be one of reasoning-gym's, but 'countdwn' is none; "):
        asyncio.run(made("countdwn", 1, 5))
    with pytest.raises(JudgeError, match=r"^composite must make a row by itself .* but did not make row 0; take"):
        asyncio.run(made("composite", 1, 5))
    assert {*DATASETS, "composite"} <= {*asyncio.run(names())}
