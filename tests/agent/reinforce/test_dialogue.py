"""A question is put once, and once more where its reply cannot be used; silence is nothing to repair."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest

from apportion.agent.question import Question
from apportion.agent.reinforce import prompting
from apportion.agent.reinforce.brief import Brief
from apportion.agent.reinforce.dialogue import Dialogue, Outcome, Put
from apportion.agent.reinforce.reply import Answer, answer_of, mixes_of
from tests.agent.reinforce.kit import DECIDED, Told, brief, one

SPACE = one()
KNOWN = brief(SPACE)
TABLE, OTHER = "solve.1: to 2=0.50", "solve.2: to final=0.25"
GRAPH = ["solve.1: model large; to final", DECIDED]
GOOD = json.dumps({"table": [TABLE], "graph": GRAPH, "expected": 0.7})
HALF = json.dumps({"table": [TABLE], "graph": ["solve.1: model gpt-9"]})
NONE = "I would rather not."
SILENT = "the agent must answer, but said nothing more; tell it more."
LAW = "the reply must be a JSON object with a `table` and a `graph`, but none can be read; write one."


def put(answers: Sequence[str]) -> tuple[Outcome[Answer], list[Question[Brief]]]:
    agent = Told(answers)
    question = Put(
        "update",
        "What next?",
        prompting.update_schema(KNOWN.space),
        KNOWN,
        lambda text, earlier: answer_of(text, KNOWN, earlier),
        lambda found: bool(found.table and found.params),
    )
    return Dialogue(agent).put(question), agent.questions


def said(question: Question[Brief]) -> list[tuple[str, str]]:
    return [(message.role, message.content) for message in question.messages]


@pytest.mark.parametrize(
    ("answers", "asked", "second", "has"),
    [
        ([GOOD, NONE], 1, "none", "table graph"),
        ([HALF, GOOD, NONE], 2, "of use", "table graph"),
        ([NONE, GOOD, NONE], 2, "of use", "table graph"),
        ([NONE, HALF, GOOD], 2, "of use", "table"),
        ([HALF, NONE, GOOD], 2, "of no use", "table"),
        ([HALF, HALF, GOOD], 2, "of no use", "table"),
        ([NONE, NONE, GOOD], 2, "of no use", ""),
        ([HALF], 2, "of no use", "table"),
        ([NONE], 2, "of no use", ""),
    ],
    ids=[
        "good",
        "mended",
        "read at last",
        "half at last",
        "worse at last",
        "stubborn",
        "never read",
        "half, then silent",
        "prose, then silent",
    ],
)
def test_one_repair_at_most(answers: list[str], asked: int, second: str, has: str) -> None:
    end, questions = put(answers)
    assert end.asked == len(questions) == asked and end.repaired is (second == "of use")
    assert end.found is not None
    assert (bool(end.found.table), bool(end.found.params)) == ("table" in has, "graph" in has)
    assert [own.purpose for own in questions] == ["update", "repair"][:asked]


def test_silence_is_no_reply_and_is_not_repaired() -> None:
    end, questions = put([])
    assert end == Outcome(None, False, 1, [SILENT]) and len(questions) == 1


def test_what_was_wrong_is_kept_of_both_replies_and_of_silence() -> None:
    assert put([NONE, NONE])[0].refused == [LAW, LAW]
    assert put([NONE])[0].refused == [LAW, SILENT]
    assert put([GOOD])[0].refused == []
    first, second = put([HALF, NONE])[0].refused
    assert first.startswith("graph: `solve.1.model` must be one of") and second == LAW


def test_where_enough_can_be_used_the_rest_is_not_asked_again() -> None:
    more = json.dumps({"table": [TABLE, "solve.9: x"], "graph": GRAPH})
    end, questions = put([more, GOOD])
    assert len(questions) == 1 and len(end.refused) == 1 and "got 'solve.9'" in end.refused[0]


def test_a_graph_that_is_left_out_is_not_wrong() -> None:
    end, questions = put([json.dumps({"table": [TABLE], "graph": None, "expected": None}), GOOD])
    assert len(questions) == 1 and end.found is not None and end.found.params is None


def test_halves_of_two_replies_make_a_whole() -> None:
    end, _ = put([HALF, json.dumps({"table": [], "graph": GRAPH})])
    assert end.repaired and end.found is not None
    assert end.found.table == {"solve.1>2": {"no": 0.5, "yes": 0.5}} and end.found.params is not None


def test_the_conversation_that_the_agent_is_shown() -> None:
    _, [first, second] = put([HALF, GOOD])
    system = prompting.messages()[0].content
    assert said(first) == [("system", system), ("user", "What next?")]
    wrong = "graph: `solve.1.model` must be one of small, large, got 'gpt-9'; choose one."
    again = f"Not all of that can be used:\n{wrong}\n\nReply once more in the same form."
    assert said(second) == [*said(first), ("assistant", HALF), ("user", again)]
    assert (
        first.schema == second.schema == prompting.update_schema(KNOWN.space) and first.brief is second.brief is KNOWN
    )


def test_braces_of_a_reply_are_no_template() -> None:
    hostile = json.dumps({"table": ["{wrong} {system}: {0}"], "graph": ["{{wrong}}"]})
    _, [_, second] = put([hostile, GOOD])
    assert said(second)[2] == ("assistant", hostile)
    assert "got '{{wrong}}'" in said(second)[3][1] and "got '{wrong} {system}'" in said(second)[3][1]


def test_of_very_much_that_is_wrong_few_lines_are_told_the_graph_s_first() -> None:
    _, [_, second] = put([json.dumps({"table": ["x"] * 40, "graph": ["y"]}), GOOD])
    lines = said(second)[3][1].splitlines()
    assert lines[1].startswith("graph: ") and all(line.startswith("table, line ") for line in lines[2:6])
    assert lines[6:] == ["(15 more)", "", "Reply once more in the same form."]


def test_nothing_of_a_question_stays_for_the_next() -> None:
    agent = Told([NONE, HALF, NONE, NONE])
    dialogue = Dialogue(agent)

    def read(text: str, earlier: Any) -> tuple[Answer, list[str]]:
        return answer_of(text, KNOWN, earlier)

    question = Put("update", "What next?", {}, KNOWN, read, lambda found: False)
    assert dialogue.put(question).found == Answer({"solve.1>2": {"no": 0.5, "yes": 0.5}})
    assert dialogue.put(question) == Outcome(Answer(), False, 2, [LAW, LAW])
    assert len(agent.questions[2].messages) == 2


def test_mixes_are_asked_again_where_there_is_none_at_all() -> None:
    good, bad = {"solve": {"small": 4}}, {"solve": {"gpt-9": 4}}
    for answers, asked, found in (
        ([[good, bad]], 1, [good]),
        ([[bad], [bad, good]], 2, [good]),
        ([[bad], [bad]], 2, []),
    ):
        agent = Told([json.dumps({"mixes": own}) for own in answers])
        put_ = Put("mix", "Which?", {}, KNOWN, lambda text, _: mixes_of(text, KNOWN, 2), bool)
        end = Dialogue(agent).put(put_)
        assert (end.found, end.asked, end.repaired) == (found, asked, asked == 2 and bool(found))
