"""Replies that are good, and how they are read: every line of what is wrong is held to what a line may be."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from apportion.agent.reinforce.brief import Brief
from apportion.agent.reinforce.mixes import Mix
from apportion.agent.reinforce.reply import MOST_WRONG, Answer, answer_of, mixes_of
from apportion.graphs.notation import to_lines
from apportion.graphs.parameters import Value
from apportion.graphs.space import SearchSpace
from tests.agent.reinforce.kit import DECIDED, brief, one, two

ONE, TWO = one(), two()
KNOWN = brief(ONE)
LONGEST = 700  # characters of a line that says what is wrong
MOMENT = 5.0  # seconds that the worst of replies may take on a busy machine; it takes a tenth of that

MIX = {"solve": {"small": 3, "large": 1}}
MIXES = json.dumps({"mixes": [MIX]})
ROW = "solve.1: model small=0.70, large=0.30; to 2=0.50"
READ: Mapping[str, Mapping[Value, float]] = {
    "solve.1.model": {"small": 0.7, "large": 0.3},
    "solve.1>2": {"no": 0.5, "yes": 0.5},
}
CHAIN = ["solve.1: model small; to 2", "solve.2: model large; role refiner; to final", DECIDED]
WHOLE = json.dumps({"table": [ROW], "graph": CHAIN, "expected": 0.7})


def named(text: str, known: Brief = KNOWN, most: int = 2) -> tuple[list[Mix], list[str]]:
    found, wrong = mixes_of(text, known, most)
    check(wrong)
    return found, wrong


def read(text: str, known: Brief = KNOWN, earlier: Answer | None = None) -> tuple[Answer, list[str]]:
    found, wrong = answer_of(text, known, earlier)
    check(wrong)
    return found, wrong


def check(wrong: list[str]) -> None:
    assert len(wrong) <= MOST_WRONG
    for line in wrong:
        assert line.isprintable() and len(line) < LONGEST


def table(*lines: Any) -> str:
    return json.dumps({"table": lines, "graph": None, "expected": None})


def graph(*lines: Any, **more: Any) -> str:
    return json.dumps({"table": [], "graph": lines, **more})


def built(found: Answer, space: SearchSpace = ONE) -> list[str]:
    assert found.params is not None
    return to_lines(space, found.params)
