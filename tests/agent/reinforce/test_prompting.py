"""The words of every question, as they were read and found good. After a change: `REWRITE=1 pytest tests/agent`."""

from __future__ import annotations

import dataclasses
import json
import os
import re
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from apportion.agent.finding import Finding
from apportion.agent.question import Question
from apportion.agent.reinforce import prompting
from apportion.agent.reinforce.brief import Brief
from apportion.agent.reinforce.history import Asked, History
from apportion.agent.reinforce.loop import Loop
from apportion.agent.reinforce.mixes import full_up, mixes
from apportion.agent.reinforce.reply import Answer, answer_of, mixes_of
from apportion.agent.reinforce.settings import Settings
from apportion.graphs.probabilistic import ProbabilisticGraph
from apportion.graphs.roles import ROLES
from apportion.graphs.slots import SlotStage
from apportion.graphs.space import SearchSpace
from apportion.graphs.templates import TemplateStage
from tests.agent.reinforce.kit import DECIDED, MODELS, Measures, Told, brief, one, terms, tried, two, wide
from tests.agent.reinforce.test_feedback import SECRET, credit_of

KEPT = Path(__file__).parent / "prompts"
FINDINGS = (
    Finding(1, True, "solve, as many side by side as can be paid, 12 examples each: 4 small 0.40, 1 large 0.55."),
    Finding(2, False, "solve, large side by side: 1 0.55, 2 0.60."),
    Finding(3, None, "solve: width and depth cannot be paid together."),
    Finding(None, None, "the agent expected too much."),
)
TWO_LINES = [
    "find.2: model large; samples 2; temperature 1.0; to final",
    "solve.1: model small; to 2",
    "solve.2: model large; role refiner; to final",
    "solve.final: role decider; model small",
]
BARE = Settings(insights=(), sweeps=False, credit=False)


@dataclasses.dataclass(frozen=True)
class Case:
    """A search of which each kind of question is kept.

    Attributes:
        found: of the insights.
        credited: whether the probe knows what the parts of a graph did.
    """

    space: SearchSpace
    settings: Settings
    budget: float | None = 9.0
    found: Sequence[Finding] = ()
    notes: Sequence[str] = ()
    credited: bool = False
    trials: bool = True


CASES: Mapping[str, Case] = {
    "plain": Case(one(), Settings(sweeps=False, credit=False)),
    "bare": Case(one(), BARE, None, trials=False),
    "findings": Case(one(), Settings(credit=False, insights=(1, 3, "Our own prior.")), found=FINDINGS),
    "credit": Case(one(), Settings(sweeps=False), credited=True),
    "told": Case(
        two(),
        Settings(sweeps=False, credit=False, knowledge="Large models were best at the end.", initial_insights=False),
        30.0,
        notes=("Mind the cost.", "Two large ones at most."),
    ),
    "no roles": Case(one(), Settings(sweeps=False, credit=False, roles=False)),
}


@cache
def asked(name: str) -> tuple[Question[Brief], ...]:
    """Questions of a search: for mixes, for a table and a graph, and each once more."""
    case = CASES[name]
    agent = Told(["no", "no", json.dumps({"table": ["solve.9: x"] * 7, "graph": ["solve.1: model gpt-9"]}), "no"])
    probe = Measures(lambda graph, place: 0.5) if case.credited or case.found else None
    loop = Loop(case.space, terms(case.space, case.budget), agent, case.settings, probe, 0)
    distribution = ProbabilisticGraph(case.space)
    with mock.patch("apportion.agent.reinforce.loop.sweep", return_value=list(case.found)):
        loop.opening(distribution, case.notes)
    lines = TWO_LINES if len(case.space.stages) == 2 else wide(case.space, 2)
    trials = [tried(case.space, 0, lines, 0.25, round_=None)]
    more = ["solve.1: model large; to final", "find.1: to final"][: len(case.space.stages)]
    trials += [tried(case.space, 1, more, 0.5, source="agent", expected=0.9), tried(case.space, 2, lines, None)]
    if probe is not None and case.credited:
        probe.credits = credit_of(trials[1].graph)
    past = [Asked({}, cut="without solve.3", refused=("graph: of no use.",))]
    history = History(trials, past) if case.trials else History([], [])
    loop.round(distribution, history, case.found, 1, case.notes)
    assert [own.purpose for own in agent.questions] == ["mix", "repair", "update", "repair"]
    return tuple(agent.questions)


def written(questions: Sequence[Question[Brief]]) -> str:
    parts = []
    for question in questions:
        parts.append(f"===== {question.purpose}, {json.dumps(question.schema)}")
        parts += [f"--- {message.role}\n{message.content}" for message in question.messages]
    return "\n".join(parts) + "\n"


def words(name: str, purpose: str) -> str:
    """What is said first of a kind of question."""
    return next(own for own in asked(name) if own.purpose == purpose).messages[1].content


@pytest.mark.parametrize("name", CASES)
def test_prompts_are_as_they_were_read(name: str) -> None:
    found, file = written(asked(name)), KEPT / f"{name.replace(' ', '-')}.txt"
    if os.environ.get("REWRITE"):
        file.parent.mkdir(exist_ok=True)
        file.write_text(found, encoding="utf-8")
    assert found == file.read_text(encoding="utf-8")


# What prompts hold, and what they do not


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("purpose", ["mix", "update"])
def test_the_form_of_an_answer_holds_nothing_that_could_be_copied(name: str, purpose: str) -> None:
    """No model, role, slot, number or probability; and the form itself is no answer that could be used."""
    text = words(name, purpose)
    form = text[text.index("Reply as") :]
    found = re.search(r'such as "(.*?)"', text)
    example = found[1] if found else ""
    assert (purpose == "update") == bool(example)
    chosen = {*MODELS, *ROLES}
    for own in (form.partition(" with ")[0], example):
        assert not set(re.findall(r"\w+", own)) & chosen
        assert not re.search(r"\d", own.replace("solve.1", "").replace("find.1", ""))
    known = brief(CASES[name].space)
    assert mixes_of(form, known, 2)[0] == []
    assert answer_of(form, known)[0] == Answer()
    copied = json.dumps({"table": ["LINE", example], "graph": ["LINE", example], "expected": "SCORE"})
    assert answer_of(copied, known)[0] == Answer()
    assert answer_of(json.dumps({"table": [example], "graph": [example]}), known)[0] == Answer()


def test_of_examples_a_prompt_holds_no_more_than_the_quoted_sample() -> None:
    for name in CASES:
        text = written(asked(name))
        assert (SECRET in text) == (name == "credit")
    for question in asked("credit"):
        lines = [line for message in question.messages for line in message.content.splitlines() if SECRET in line]
        assert all(line.startswith('solve.final wrong: "') and len(line) < 160 for line in lines)


def test_roles_are_left_alone_where_they_are_not_searched() -> None:
    assert "Leave roles as they are." in words("no roles", "update")
    assert "role ROLE" not in words("no roles", "update")
    assert "Leave roles" not in words("plain", "update") and "role ROLE" in words("plain", "update")


def test_the_line_that_is_shown_is_of_a_stage_with_edges_if_there_is_one() -> None:
    assert 'such as "solve.1: model MODEL; role ROLE; to SLOT, final"' in words("told", "update")
    bare = SearchSpace((SlotStage("solve", MODELS, 2, (), ("voter",)),))
    assert 'such as "solve.1: model MODEL; to final"' in prompting.update("", brief(bare), "", "", "")


@pytest.mark.parametrize("name", ["plain", "bare", "told"])
def test_to_the_mixes_that_are_listed_no_slot_can_be_added(name: str) -> None:
    """As it is said of them, also where there is no budget that they could use up."""
    case = CASES[name]
    own = terms(case.space, case.budget)
    assert "no slot can be added" in words(name, "mix")
    assert all(full_up(case.space, own.purse, mix) for mix in mixes(case.space, own.purse))


def test_insights_are_told_by_number_with_what_was_seen_of_each() -> None:
    text = words("findings", "update")
    assert "Insight 1. " in text and "Insight 2. " not in text and "Insight 3. " in text
    assert "Insight 4. Our own prior." in text
    assert f"- Insight 1: It seems to hold here: {FINDINGS[0].text}" in text
    assert f"- Seen here: {FINDINGS[1].text}" in text, "of an insight that is not told the number means nothing"
    assert f"- Insight 3: Seen here: {FINDINGS[2].text}" in text
    assert f"- Seen here: {FINDINGS[3].text}" in text
    assert "Insight" not in words("bare", "update") + words("bare", "mix")
    held = prompting.update("", brief(one(), insights={2: "X."}, findings=FINDINGS[1:2]), "", "", "")
    assert f"- Insight 2: It does not seem to hold here: {FINDINGS[1].text}" in held


def test_the_first_question_is_put_without_insights_where_that_is_wanted() -> None:
    assert "Insight" not in words("told", "mix") and "Insight 1. " in words("told", "update")


def test_one_s_own_priors_are_numbered_after_the_insights() -> None:
    assert list(prompting.priors((1, "Ours.", 3))) == [1, 3, 4]
    assert prompting.priors(("Ours.", "And this.")) == {4: "Ours.", 5: "And this."}
    assert prompting.priors(()) == {}


def test_notes_and_knowledge_are_told_in_every_question() -> None:
    for purpose in ("mix", "update"):
        text = words("told", purpose)
        assert "Seen in other studies:\nLarge models were best at the end." in text
        assert "Note by the person in charge: Mind the cost.\nNote by the person in charge: Two large" in text
        assert "Seen in other studies" not in words("plain", purpose) and "Note by" not in words("plain", purpose)


def test_words_with_braces_are_no_templates() -> None:
    space = one()
    text = prompting.task(space, terms(space), "Use {budget} and {{x}} {", ["{stages}"])
    assert "Use {budget} and {{x}} {" in text and "in charge: {stages}" in text
    again = prompting.update(text, brief(space, insights={1: "{table}"}), "{roles}", "{line}", "{context}")
    assert all(own in again for own in ("Insight 1. {table}", "\n{roles}\n", "\n{line}\n", "\n{context}\n"))
    assert "{wrong} {" in prompting.repair(["{wrong} {"])


def test_without_costs_or_a_budget_nothing_is_said_of_them() -> None:
    space = one()
    text = prompting.task(space, terms(space, None, lambda graph: None), "", [])
    assert "a call)" not in text and "Models: small, large." in text
    assert "There is no bound on the cost of an answer" in text and "units" not in text


def test_a_stage_of_templates_is_told_and_has_no_mix() -> None:
    templates = TemplateStage("find", MODELS, ("single", "vote"), (1, 3))
    space = SearchSpace((templates, SlotStage("solve", MODELS, 2, (), ("voter",), reads=("find",))))
    text = prompting.task(space, terms(space), "", [])
    assert "Stage find: answered by one of single, vote. Models: small (1 a call), large (4 a call)." in text
    schema = prompting.mixes_schema(space, 2)
    assert list(schema["properties"]["mixes"]["items"]["properties"]) == ["solve"]
    question = prompting.mix("", brief(space), 2)
    assert '{"mixes": [{"solve": {MODEL: NUMBER}}]} with 2 mixes' in question and "find" not in question
    assert 'such as "solve.1: model MODEL; to final"' in prompting.update("", brief(space), "", "", "")


def test_of_very_many_mixes_some_are_listed_the_first_and_the_last_among_them() -> None:
    space = one(8)
    listed = [{"solve": {"small": n, "large": 1}} for n in range(1, 200)]
    lines = [line for line in prompting.mix("", brief(space, listed=listed), 2).splitlines() if line.startswith("- ")]
    assert len(lines) == len(set(lines)) == prompting.MOST_SHOWN
    assert lines[0] == "- solve: 1 small, 1 large" and lines[-1] == f"- solve: {len(listed)} small, 1 large"


def test_every_role_of_ours_has_words() -> None:
    assert set(prompting.ROLES) == set(ROLES)


def test_of_what_was_wrong_few_lines_are_told() -> None:
    assert prompting.repair(["one."]).splitlines()[:2] == ["Not all of that can be used:", "one."]
    told = prompting.repair([f"{n}." for n in range(20)]).splitlines()
    assert told[1:7] == ["0.", "1.", "2.", "3.", "4.", "(15 more)"]


def test_those_who_speak_take_turns() -> None:
    said = prompting.messages("a", "b", "c")
    assert [message.role for message in said] == ["system", "user", "assistant", "user"]
    assert [message.content for message in said[1:]] == ["a", "b", "c"] and "JSON object" in said[0].content


# Schemas

ANSWERS: Sequence[tuple[str, str, object, int]] = (
    ("plain", "mix", {"mixes": [{"solve": {"small": 3, "large": 1}}]}, 1),
    ("plain", "mix", {"mixes": [{"solve": {"small": 4, "large": 0}}, {"solve": {"small": 0, "large": 2}}]}, 1),
    ("told", "mix", {"mixes": [{"find": {"small": 1, "large": 0}, "solve": {"small": 0, "large": 2}}]}, 1),
    ("plain", "mix", {"mixes": []}, 0),
    ("plain", "mix", {"mixes": [{"solve": {"small": 5, "large": 0}}]}, 0),
    ("plain", "mix", {"mixes": [{"solve": {"small": -1, "large": 1}}]}, 0),
    ("plain", "mix", {"mixes": [{"solve": {"small": 0.5, "large": 1}}]}, 0),
    ("plain", "mix", {"mixes": [{"solve": {"gpt-9": 1}}]}, 0),
    ("told", "mix", {"mixes": [{"find": {"small": 1, "large": 0}}]}, 0),
    ("plain", "mix", {"mixes": [[]]}, 0),
    ("plain", "update", {"table": ["solve.1: to 2=0.50"], "graph": wide(one(), 4), "expected": 0.5}, 1),
    ("plain", "update", {"table": ["solve.1: to 2=0.50"], "graph": None, "expected": None}, 1),
    ("plain", "update", {"table": [], "graph": [*wide(one(), 1, "large")[:1], DECIDED], "expected": 1}, 1),
    ("plain", "update", {"table": 3, "graph": 4, "expected": None}, 0),
    ("plain", "update", {"table": {"solve.1": "x"}, "graph": {"nodes": []}, "expected": None}, 0),
)


@pytest.mark.parametrize(("name", "purpose", "said", "of_use"), ANSWERS)
def test_schemas_and_what_is_read_agree(name: str, purpose: str, said: object, of_use: int) -> None:
    case, good = CASES[name], bool(of_use)
    known = brief(case.space, terms(case.space, case.budget))
    if purpose == "mix":
        found, wrong = mixes_of(json.dumps(said), known, 2)
        assert bool(found) is good and bool(wrong) is not good
    else:
        answer, wrong = answer_of(json.dumps(said), known)
        assert bool(answer.table or answer.params) is good and bool(wrong) is not good
    jsonschema: Any = pytest.importorskip("jsonschema")
    schema = next(own for own in asked(name) if own.purpose == purpose).schema
    jsonschema.Draft202012Validator.check_schema(schema)
    assert jsonschema.Draft202012Validator(schema).is_valid(said) is good


@pytest.mark.parametrize("name", CASES)
def test_schemas_are_strict_objects_of_which_all_is_required(name: str) -> None:
    """As the strict modes of servers have them."""

    def walk(node: Any) -> None:
        if isinstance(node, Mapping):
            if node.get("type") == "object":
                assert node["additionalProperties"] is False and node["required"] == list(node["properties"])
            for own in node.values():
                walk(own)
        elif isinstance(node, list):
            for own in node:
                walk(own)

    for question in asked(name):
        assert question.schema["type"] == "object"
        walk(question.schema)
