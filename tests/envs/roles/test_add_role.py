"""Roles of the user's own: a module as a user writes it, and what is refused."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any
from unittest.mock import patch

import pytest

import apportion
from apportion.envs import parsers
from apportion.envs.environment import Environment, _operated
from apportion.envs.roles import OPERATORS, Job, NodeRun, Role, add_role, prompts
from apportion.envs.sandbox import Sandbox
from apportion.envs.stage import Example, Stage
from apportion.envs.worker import Sampling
from apportion.errors import GraphError, RoleError
from apportion.graphs.graph import Node
from apportion.graphs.roles import ROLES
from apportion.store.calls import Draw
from tests.envs.roles.kit import cards, play
from tests.envs.roles.test_conformance import World, assert_sound, graph_of

MODULE = '''
"""A debater: reads what the others say and answers again."""

import apportion
from apportion.envs.roles import Job, NodeRun, Role

PROMPT = """{task}

Others say:

{candidates}

Name a flaw in what they say, then give your own answer."""


async def debate(job: Job) -> NodeRun:
    return job.answered(await job.ask(job.dressed(job.candidates), job.sampling))


apportion.add_role("debater", Role("new", 2, comments="reads"), debate, PROMPT)
'''


REPEAT = Role("new", 1)


async def repeat(job: Job) -> NodeRun:
    return NodeRun("ok", job.candidates[:1])


async def other(job: Job) -> NodeRun:
    raise NotImplementedError


@pytest.fixture(autouse=True)
def _only_for_one_test() -> Iterator[None]:
    with patch.dict(ROLES), patch.dict(OPERATORS), patch.dict(prompts.added):
        yield


def define() -> None:
    """Run the user's module, as an import or a cell of a notebook does."""
    exec(MODULE, {"__name__": "debate"})  # noqa: S102


def test_a_role_of_a_users_module_plays() -> None:
    define()
    run, shop = play("debater", lambda prompt, index: f"I say {index}.", "4", "5", samples=2)
    assert run.candidates == cards("I say 0.", "I say 1.", node="n")
    assert shop.prompts[0].endswith(
        "Others say:\n\n4\n---\n5\n\nName a flaw in what they say, then give your own answer."
    )
    environment = Environment({"s": Stage("s", "{q}", parsers.text, Sampling(0.7, 16))}, World(0, 0.0, logprobs=False))
    assert_sound(asyncio.run(environment.run(graph_of("debater"), Example("x", {"q": "why"}))))


def test_a_module_may_be_run_again() -> None:
    define()
    first = OPERATORS["debater"]
    define()
    assert OPERATORS["debater"] is not first


def test_the_door_is_at_the_top() -> None:
    assert apportion.add_role is add_role
    assert "add_role" in dir(apportion)


REFUSED: dict[str, tuple[tuple[Any, ...], str]] = {
    "another operator": (
        ("repeater", REPEAT, other),
        "a role is added once, but 'repeater' is there and does something else; choose another name.",
    ),
    "another prompt": (
        ("repeater", REPEAT, repeat, "{task}"),
        "a role is added once, but 'repeater' is there and does something else; choose another name.",
    ),
    "other rules": (
        ("repeater", Role("kept", 1), repeat),
        "a role is added once, but 'repeater' is there with other rules; choose another name.",
    ),
    "a built-in role": (
        ("voter", ROLES["voter"], repeat),
        "a role is added once, but 'voter' is there and does something else; choose another name.",
    ),
    "no role": (("new", "new", repeat), "a role must be a Role with an `async def`, but 'new' has new and <function"),
    "no coroutine": (("new", REPEAT, cards), "a role must be a Role with an `async def`, but 'new' has Role("),
    "no name": (
        ("../voter", REPEAT, repeat),
        "a role's name must be a lower-case word such as 'debater', got '../voter'; ",
    ),
    "no template": (
        ("new", REPEAT, repeat, "{task"),
        "the prompt of role 'new' must be a template: braces must be paired",
    ),
    "an unknown name": (
        ("new", REPEAT, repeat, "{task} {question}"),
        "a role's prompt may use {task} and {candidates}, but that of 'new' uses {question}; put that into",
    ),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_is_wrong_is_refused_and_leaves_nothing(what: str) -> None:
    add_role("repeater", REPEAT, repeat)
    add_role("repeater", REPEAT, repeat)
    before = dict(ROLES), dict(OPERATORS), dict(prompts.added)
    given, said = REFUSED[what]
    with pytest.raises(GraphError) as error:
        add_role(*given)
    assert str(error.value).startswith(said) and "\n" not in str(error.value)
    assert (ROLES, OPERATORS, prompts.added) == before


def test_a_role_without_a_prompt_that_wants_one_is_told() -> None:
    async def ask(job: Job) -> NodeRun:
        return job.answered(await job.ask(job.dressed(job.candidates), job.sampling))

    add_role("asker", REPEAT, ask)
    with pytest.raises(GraphError, match="needs a prompt, but 'asker' has none; give it to add_role"):
        play("asker", lambda prompt, index: "4", "4")


def test_what_a_users_operator_raises_is_told_in_one_line() -> None:
    async def stumble(job: Job) -> NodeRun:
        raise ZeroDivisionError("two\nlines")

    add_role("stumbler", REPEAT, stumble)
    stage = Stage("s", "q", parsers.text, Sampling(0.0, 8))
    job = Job(Node("n", "s", "stumbler", "m"), stage, {}, 0, cards("4"), never_sold, Sandbox())
    with pytest.raises(RoleError) as error:
        asyncio.run(_operated(job))
    assert str(error.value) == "a role must not raise, but 'stumbler' does: ZeroDivisionError: two lines; mend it."


async def never_sold(model: str, messages: object, sampling: Sampling, index: int) -> Draw:
    raise AssertionError("nothing is asked for")
