"""What later prompts read of a stage: items that it picked, or how its program ran, and who still reads the answer."""

from __future__ import annotations

import asyncio

import pytest

from apportion.envs import parsers, retelling
from apportion.envs.environment import Environment
from apportion.envs.sandbox import Sandbox
from apportion.envs.stage import Example, Stage
from apportion.graphs.graph import Graph, Node
from apportion.store.calls import DrawStatus
from tests.envs.test_environment import HOW, Scripted
from tests.envs.test_sandbox import needs_bwrap

CHUNKS = ["[1] one", "[2] two", "[3] three"]


@pytest.mark.parametrize(
    ("answer", "told"),
    [("2", "[2] two"), ("1, 3", "[1] one\n[3] three"), ("0, 2, 4, 999999", "[2] two"), ("9", "")],
)
def test_picked(answer: str, told: str) -> None:
    for value in (CHUNKS, "\n".join(CHUNKS)):
        assert asyncio.run(retelling.picked("chunks")(answer, {"chunks": value}, Sandbox())) == told


@needs_bwrap
@pytest.mark.parametrize(
    ("program", "told"),
    [
        ("print('hello')", "It was run and ended without an error.\nIt printed:\nhello"),
        ("x = 1", "It was run and ended without an error.\nIt printed:\n(nothing)"),
    ],
)
def test_a_run(program: str, told: str) -> None:
    assert asyncio.run(retelling.run(program, {}, Sandbox())) == f"```python\n{program}\n```\n{told}"


@needs_bwrap
def test_a_failed_run_tells_the_error_and_its_line() -> None:
    told = asyncio.run(retelling.run("print('a' * 5000)\nprint(leger)", {}, Sandbox()))
    assert "It was run and failed: NameError: name 'leger' is not defined" in told
    assert 'File "main.py", line 2' in told and len(told) < 1500


def test_later_prompts_read_what_was_picked_and_the_answer_stays() -> None:
    stages = {
        "s": Stage("s", "Which of {chunks}?", parsers.ids, HOW, retell=retelling.picked("chunks")),
        "t": Stage("t", "With {s}: {q}?", parsers.text, HOW),
    }
    graph = Graph(
        (
            Node("d", "s", "generator", "m", 3),
            Node("v", "s", "id_voter", inputs=("d",)),
            Node("a", "t", "generator", "m", inputs=("v",)),
        )
    )

    async def answer(model: str, prompt: str, index: int) -> tuple[DrawStatus, str]:
        return "ok", ("[1, 2]", "[2, 3]", "Passages [2] and [1].")[index] if prompt.startswith("Which") else "well"

    dispatcher = Scripted(answer)
    rollout = asyncio.run(Environment(stages, dispatcher).run(graph, Example("x", {"q": "why", "chunks": CHUNKS})))
    assert dispatcher.asked[-1][1] == "With [1] one\n[2] two: why?"
    assert (rollout.answer, rollout.answer_of("s"), rollout.answer_of("t")) == ("well", "1, 2", "well")
    assert [run.retold for run in rollout.nodes.values()] == [None, "[1] one\n[2] two", None]
