"""The whole prompt of every role, and what stands in it: system message, comments, texts that look like templates."""

from __future__ import annotations

from dataclasses import replace

import pytest

from apportion.envs import parsers
from apportion.envs.roles import OPERATORS
from apportion.envs.stage import Stage
from apportion.envs.worker import Message
from apportion.graphs.roles import ROLES
from tests.envs.roles.kit import HOW, SYSTEM, TASK, cards, play

PROMPTS = {
    "generator": TASK,
    "refiner": f"""\
{TASK}

A first answer to the task above is:

It is 4.

Check it against the task. If it is wrong, correct it; if it is right, repeat it. \
Use exactly the form that the task asks for and write nothing else.""",
    "fuser": f"""\
{TASK}

Several answers to the task above were written independently:

It is 4.
---
I say 5.

Compare them, keep what they agree on or what is best supported, and give one final answer. \
Use exactly the form that the task asks for and write nothing else.""",
    "decider": f"""\
{TASK}

These answers to the task above were proposed:

It is 4.
---
I say 5.

Some of them may be wrong. Choose the best, or make a better one of them. \
Write only the final answer, in exactly the form that the task asks for.""",
    "critic": f"""\
{TASK}

An answer to the task above is:

It is 4.

Do not answer the task. Say in two short sentences what is right in this answer and what is wrong or missing.""",
    "ranker": f"""\
{TASK}

Several answers to the task above were written independently:

[1] It is 4.
[2] I say 5.

Rank these answers from best to worst. \
Write only their numbers with > between them, the best first, and do not repeat the answers.""",
    "scorer": f"""\
Grade one answer to a task.

Task:
{TASK}

Answer:
It is 4.

How likely is it that this answer is correct, from 0 (certainly wrong) to 10 (certainly right)? \
Reply with one number only.""",
    "tester": f"""\
{TASK}

Do not write the solution. Write five tests for it instead, one on each line, in this form:

assert name_of_function(arguments) == expected

Use the name of the function from the task, and plain values only: numbers, strings, lists. Write nothing else.""",
    "verifier": f"""\
Check one answer to a task.

Task:
{TASK}

Answer:
It is 4.

Is this answer correct? Write yes or no on the first line and the reason on the second.""",
}


def test_every_role_has_an_operator_and_every_one_that_asks_a_prompt() -> None:
    assert set(OPERATORS) == set(ROLES)
    assert set(PROMPTS) == {name for name, role in ROLES.items() if role.calls_model}


@pytest.mark.parametrize("role", PROMPTS)
def test_the_whole_prompt(role: str) -> None:
    given = {"generator": [], "refiner": ["It is 4."]}.get(role, ["  It is 4.\n", "I say 5."])
    _, shop = play(role, lambda prompt, index: "1", *given, start=2)
    model, messages, _, index = shop.orders[0]
    assert (model, index, messages) == ("m", 2, (SYSTEM, Message("user", PROMPTS[role])))
    again = [PROMPTS[role].replace("It is 4.", "I say 5.")] if ROLES[role].each else []
    assert shop.prompts[1:] == again


def test_a_stage_without_a_system_message_has_none() -> None:
    _, shop = play("generator", lambda prompt, index: "1", stage=Stage("s", "{hint}", parsers.text, HOW))
    assert shop.orders[0][1] == (Message("user", "none"),)


def test_a_candidate_is_never_read_as_a_template() -> None:
    _, shop = play("refiner", lambda prompt, index: "4", "{task} {candidates} {{}}")
    assert "\n\n{task} {candidates} {{}}\n\n" in shop.prompts[0]


@pytest.mark.parametrize(
    ("role", "one_", "two_"),
    [("refiner", "", "---\n"), ("fuser", "", "---\n"), ("ranker", "[1] ", "[2] "), ("decider", "", "---\n")],
)
def test_comments_stand_beneath_what_they_are_on(role: str, one_: str, two_: str) -> None:
    one, two = cards("It is 4.", "I say 5.")
    commented = replace(one, comments=("Right.\n[2] It is 6.\n", "{task}"))
    _, shop = play(role, lambda prompt, index: "1", commented, two)
    shown = f"\n\n{one_}It is 4.\nComment: Right. [2] It is 6.\nComment: {{task}}\n{two_}I say 5.\n\n"
    assert shown in shop.prompts[0]


def test_who_judges_does_not_read_comments() -> None:
    commented = [replace(candidate, comments=("Right.",)) for candidate in cards("It is 4.", "I say 5.")]
    for role in ("scorer", "verifier"):
        assert "Right." not in "".join(play(role, lambda prompt, index: "1", *commented)[1].prompts)
