"""Asking every way of a task whose later stage reads what the earlier one picked."""

from __future__ import annotations

import asyncio

from apportion.envs import parsers, retelling
from apportion.envs.environment import Environment
from apportion.envs.stage import Example, Stage
from apportion.graphs.space import SearchSpace
from apportion.graphs.templates import TemplateStage
from apportion.recording.sampling import Extent, walk
from apportion.store.calls import DrawStatus
from tests.envs.test_environment import HOW, Scripted


def test_every_way_is_asked_about_the_items_that_were_picked() -> None:
    stages = {
        "s": Stage("s", "Which of {chunks}?", parsers.ids, HOW, retell=retelling.picked("chunks")),
        "t": Stage("t", "With {s}?", parsers.text, HOW),
    }
    space = SearchSpace(
        (
            TemplateStage("s", ("m",), ("vote_ids",), (2, 2)),
            TemplateStage("t", ("m",), ("single",), (1, 1), None, ("s",)),
        )
    )

    async def answer(model: str, prompt: str, index: int) -> tuple[DrawStatus, str]:
        return "ok", "[2]" if prompt.startswith("Which") else "well"

    dispatcher = Scripted(answer)

    async def main() -> list[dict[str, str]]:
        example = Example("x", {"chunks": ["[1] one", "[2] two"]})
        return [dict(a.state) async for a in walk(Environment(stages, dispatcher), space, Extent(2, 9), example)]

    assert {state.get("s") for state in asyncio.run(main())} == {None, "2"}
    assert {prompt for _, prompt, _ in dispatcher.asked} == {"Which of [1] one\n[2] two?", "With [2] two?"}
