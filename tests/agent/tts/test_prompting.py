"""The words of every question, as they were read and found good. After a change: `REWRITE=1 pytest tests/agent`."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from apportion.agent.tts import prompting
from apportion.agent.tts.history import History, Origin, Proposal, Round, Tried
from apportion.agent.tts.loop import Loop
from apportion.agent.tts.settings import WAYS, Settings
from tests.agent.tts.kit import Told, Units, two_wiki

KEPT = Path(__file__).parent / "prompts"
GUIDES = json.dumps({"guidelines": [{"text": "Keep 72b for retrieval.", "insight": 1}]})
WRONG = json.dumps({"candidates": [{"stages": {"retrieve": {"model": "72b", "samples": 9}}}]})


def past(space: Units, batches: int) -> History:
    """So many batches of two, each a little worse than the one before."""
    tried, rounds = [], []
    for number in range(2 * batches):
        batch, place = divmod(number, 2)
        allocation = space.allocation(
            {"retrieve.model": "72b", "retrieve.samples": 1, "answer.model": "3b", "answer.samples": 10 + number}
        )
        origin = Origin(
            batch, "agent" if batch else "initial", "Keep 72b for retrieval." if batch else "", expected=0.7
        )
        score = None if number == 1 else 0.61 - 0.01 * number
        tried.append(Tried(number, allocation, space.cost(allocation), score, origin))
        if batch and not place:
            rules = [(f"Rule of round {batch}.", None)]
            rounds.append(Round(batch, rules, [Proposal(allocation, origin)], 2, ["candidate 2: of no use."]))
    return History(tried, rounds)


def asked(way: str, batches: int) -> str:
    space = two_wiki(hows=("fuse", "vote") if batches == 2 else ())
    agent = Told([GUIDES, WRONG, "{}"] if WAYS[way].guidelines else [WRONG, "{}"])
    settings = WAYS[way]
    if way == "mlcopilot":
        settings = Settings(**{**vars(settings), "knowledge": "Large models were best for retrieval."})
    notes = ["Mind the cost."] if batches == 2 else []
    Loop(agent, Settings(**{**vars(settings), "batch": 2})).round(space, past(space, batches), 0, notes)
    parts = []
    for question in agent.questions:
        parts.append(f"===== {question.purpose}, {json.dumps(question.schema)}")
        parts += [f"--- {message.role}\n{message.content}" for message in question.messages]
    return "\n".join(parts) + "\n"


@pytest.mark.parametrize(
    ("way", "batches"), [("agenttts", 1), ("agenttts", 2), ("agenttts", 4), *((way, 2) for way in list(WAYS)[1:])]
)
def test_prompts_are_as_they_were_read(way: str, batches: int) -> None:
    found, file = asked(way, batches), KEPT / f"{way}-{batches}.txt"
    if os.environ.get("REWRITE"):
        file.write_text(found, encoding="utf-8")
    assert found == file.read_text(encoding="utf-8")


def test_one_s_own_priors_are_numbered_after_the_insights() -> None:
    assert list(prompting.priors((1, "Ours.", 3))) == [1, 3, 4]
    assert prompting.priors(("Ours.",)) == {4: "Ours."}
    assert prompting.priors(()) == {}


def test_without_costs_or_a_budget_nothing_is_said_of_them() -> None:
    class Unknown(Units):
        def cost(self, allocation: object) -> float | None:
            return None

    space = Unknown(two_wiki().subtasks, None)
    text = prompting.task(space, "", [])
    assert "adds" not in text and "costs" not in text and "There is no bound on the cost of an answer" in text
