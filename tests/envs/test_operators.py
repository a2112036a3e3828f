"""Each role with bought draws that the test writes: what is asked, what is kept, how it ends."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apportion.envs import parsers
from apportion.envs.operators import OPERATORS, SCORER_SAMPLING, Job
from apportion.envs.rollout import Candidate, NodeRun
from apportion.envs.stage import Stage
from apportion.envs.worker import Message, Sampling
from apportion.graphs.graph import Node
from apportion.graphs.roles import ROLES
from apportion.store.calls import Draw, DrawStatus

HOW = Sampling(0.7, 64, 0.9, ("#",))
STAGE = Stage("s", "Hint: {hint}\nWhat is {question}?", parsers.number, HOW, "Be brief, {name}.")
VALUES: Mapping[str, object] = {"hint": "none", "question": "2 + {2}", "name": "{hint}", "unused": 1}
SYSTEM = Message("system", "Be brief, {hint}.")
TASK = "Hint: none\nWhat is 2 + {2}?"
Answer = str | tuple[DrawStatus, str]

FUSER = f"""\
{TASK}

Several answers to the task above were written independently:

[1] It is 4.
[2] I say 5.

Compare them, keep what they agree on or what is best supported, and give one final answer. \
Use exactly the form that the task asks for and write nothing else."""
REFINER = f"""\
{TASK}

A first answer to the task above is:

It is 4.

Check it against the task. If it is wrong, correct it; if it is right, repeat it. \
Use exactly the form that the task asks for and write nothing else."""
SCORER = f"""\
Grade one answer to a task.

Task:
{TASK}

Answer:
It is 4.

How likely is it that this answer is correct, from 0 (certainly wrong) to 10 (certainly right)? \
Reply with one number only."""


class Shop:
    """Sells what the test says, and keeps the orders."""

    def __init__(self, sell: Callable[[str, int], Answer]) -> None:
        self.orders: list[tuple[str, tuple[Message, ...], Sampling, int]] = []
        self._sell = sell

    async def buy(self, model: str, messages: tuple[Message, ...], sampling: Sampling, index: int) -> Draw:
        self.orders.append((model, messages, sampling, index))
        await asyncio.sleep(0.001 * (3 - index % 4))  # what is asked first comes last
        answer = self._sell(messages[-1].content, index)
        key = messages[-1].content
        return Draw(key, index, "ok", answer) if isinstance(answer, str) else Draw(key, index, *answer)


def cards(*texts: str) -> tuple[Candidate, ...]:
    return tuple(Candidate(text, parsers.number(text)) for text in texts)


def play(
    role: str, sell: Callable[[str, int], Answer], *texts: str, samples: int = 1, start: int = 0
) -> tuple[NodeRun, Shop]:
    """Run a role over candidates of these texts."""
    shop = Shop(sell)
    node = Node("n", "s", role, "m" if ROLES[role].calls_model else None, samples)
    return asyncio.run(_finish(Job(node, STAGE, VALUES, start, cards(*texts), shop.buy))), shop


async def _finish(job: Job) -> NodeRun:
    return await OPERATORS[job.node.role](job)


def nothing(prompt: str, index: int) -> Answer:
    raise AssertionError("nothing should be bought")


def grades(given: Mapping[str, Answer]) -> Callable[[str, int], Answer]:
    """A scorer's replies by the text that it grades."""
    return lambda prompt, index: next(grade for text, grade in given.items() if f"Answer:\n{text}\n" in prompt)


def test_every_role_has_an_operator() -> None:
    assert set(OPERATORS) == set(ROLES)


def test_a_generator_draws_its_samples_from_its_start() -> None:
    run, shop = play("generator", lambda prompt, index: f"It is {index}.", samples=3, start=5)
    assert run.status == "ok" and run.candidates == cards("It is 5.", "It is 6.", "It is 7.")
    assert [draw.index for draw in run.draws] == [5, 6, 7]
    assert shop.orders == [("m", (SYSTEM, Message("user", TASK)), HOW, index) for index in (5, 6, 7)]


def test_a_stage_without_a_system_message_has_none() -> None:
    shop = Shop(lambda prompt, index: "1")
    stage = Stage("s", "{hint}", parsers.text, HOW)
    asyncio.run(_finish(Job(Node("n", "s", "generator", "m"), stage, VALUES, 0, (), shop.buy)))
    assert shop.orders[0][1] == (Message("user", "none"),)


@pytest.mark.parametrize(
    ("role", "texts", "prompt"),
    [
        ("fuser", ("  It is 4.\n", "I say 5."), FUSER),
        ("refiner", ("It is 4.",), REFINER),
    ],
)
def test_the_whole_prompt(role: str, texts: tuple[str, ...], prompt: str) -> None:
    _, shop = play(role, lambda prompt, index: "4", *texts, start=2)
    ((model, messages, _, index),) = shop.orders
    assert (model, index) == ("m", 2)
    assert messages == (SYSTEM, Message("user", prompt))


def test_the_whole_prompt_of_a_scorer() -> None:
    _, shop = play("scorer", lambda prompt, index: "1", "It is 4.", "I say 5.")
    assert shop.orders[0] == ("m", (SYSTEM, Message("user", SCORER)), SCORER_SAMPLING, 0)
    assert shop.orders[1][1][1].content == SCORER.replace("It is 4.", "I say 5.")


def test_a_candidate_is_never_read_as_a_template() -> None:
    _, shop = play("refiner", lambda prompt, index: "4", "{task} {candidates} {{}}")
    assert "\n\n{task} {candidates} {{}}\n\n" in shop.orders[0][1][1].content


def test_a_fuser_is_cool_and_a_refiner_is_not() -> None:
    _, fused = play("fuser", lambda prompt, index: "4", "4", "5")
    _, refined = play("refiner", lambda prompt, index: "4", "4")
    assert fused.orders[0][2] == Sampling(0.3, 64, 0.9, ("#",)) and refined.orders[0][2] == HOW


@pytest.mark.parametrize(
    ("replies", "status", "kept"),
    [
        (("1", ("truncated", "2"), "3"), "ok", ("1", "3")),
        ((("truncated", "1"), ("failed", ""), ("refused", "")), "truncated", ()),
        ((("failed", ""), ("timeout", ""), ("refused", "")), "refused", ()),
        ((("failed", ""), ("timeout", ""), ("failed", "")), "timeout", ()),
        ((("failed", ""), ("failed", ""), ("failed", "")), "failed", ()),
    ],
)
def test_only_whole_replies_are_candidates(
    replies: tuple[Answer, ...], status: DrawStatus, kept: tuple[str, ...]
) -> None:
    run, _ = play("generator", lambda prompt, index: replies[index], samples=3)
    assert (run.status, run.candidates, len(run.draws)) == (status, cards(*kept), 3)


@pytest.mark.parametrize(
    ("texts", "winner"),
    [
        (("1", "2", "2"), "2"),
        (("1", "2"), "1"),
        (("2", "1", "1", "2"), "2"),
        (("none", "no", "it is 3"), "it is 3"),
        (("none", "no"), "none"),
        (("a 7", "b 8", "c 8"), "b 8"),
    ],
)
def test_vote(texts: tuple[str, ...], winner: str) -> None:
    run, _ = play("voter", nothing, *texts)
    assert run == NodeRun("ok", cards(winner))


def test_votes_are_equal_but_for_case_and_white_space() -> None:
    candidates = tuple(Candidate(text, text) for text in ("Rome", "PARIS", "paris", "new  york"))
    job = Job(Node("n", "s", "voter"), STAGE, VALUES, 0, candidates, Shop(nothing).buy)
    assert asyncio.run(_finish(job)).candidates == candidates[1:2]


@given(st.lists(st.sampled_from(["1", "2", "3", "none"]), min_size=1, max_size=9))
def test_a_vote_keeps_the_first_of_the_most_frequent(texts: list[str]) -> None:
    run, _ = play("voter", nothing, *texts)
    values = [text for text in texts if text != "none"] or texts[:1]
    assert run.candidates == cards(max(values, key=lambda text: (values.count(text), -values.index(text))))


def test_a_scorer_grades_each_distinct_value_once_in_the_order_of_drawing() -> None:
    run, shop = play("scorer", lambda prompt, index: "5", "is 1", "is 2", "no", "was 2", "was 1", samples=2, start=10)
    asked = [(messages[1].content.split("Answer:\n")[1].split("\n")[0], index) for _, messages, _, index in shop.orders]
    assert sorted(asked) == [("is 1", 10), ("is 1", 11), ("is 2", 12), ("is 2", 13)]
    assert [draw.index for draw in run.draws] == [10, 11, 12, 13]
    assert run.candidates == cards("is 1")  # all equal: the first drawn


@pytest.mark.parametrize(
    ("texts", "given", "winner"),
    [
        (("1", "2", "3"), {"1": "3", "2": "9", "3": "8"}, "2"),
        (("1", "2", "2"), {"1": "5", "2": "5"}, "2"),  # equal grades: the most frequent
        (("1", "2"), {"1": "5", "2": "5"}, "1"),  # then the first drawn
        (("2", "1", "1", "2"), {"1": "5", "2": "5"}, "2"),
        (("1", "1", "2"), {"1": "good", "2": "bad"}, "1"),  # no grades: the most frequent
        (("1", "1", "2"), {"1": "good", "2": "0"}, "2"),  # any grade is better than none
        (("1", "2"), {"1": "Score: 7/10", "2": "9/10"}, "2"),
        (("1", "2"), {"1": "8/10", "2": "9"}, "2"),
        (("1", "2"), {"1": "10", "2": "99"}, "1"),  # grades end at 10
        (("1", "2"), {"1": "-5", "2": "0"}, "1"),  # and begin at 0
        (("1", "2"), {"1": ("failed", ""), "2": "1"}, "2"),
        (("1", "2"), {"1": ("refused", "9"), "2": "1"}, "2"),
        (("1", "2"), {"1": ("truncated", "9 because"), "2": "1"}, "1"),
    ],
)
def test_score(texts: tuple[str, ...], given: Mapping[str, Answer], winner: str) -> None:
    run, _ = play("scorer", grades(given), *texts)
    assert (run.status, run.candidates) == ("ok", cards(winner))


def test_grades_of_one_text_are_averaged() -> None:
    run, _ = play("scorer", lambda p, index: ("9", "1", "6", "6")[index], "1", "2", samples=2)
    assert run.candidates == cards("2")


@pytest.mark.parametrize(("texts", "kept"), [(("x", "is 1", "1"), "is 1"), (("x", "y"), "x"), (("7",), "7")])
def test_what_leaves_no_choice_is_not_graded(texts: tuple[str, ...], kept: str) -> None:
    assert play("scorer", nothing, *texts)[0] == NodeRun("ok", cards(kept))


def test_a_scorer_that_nobody_answers_fails() -> None:
    run, _ = play("scorer", grades({"1": ("failed", ""), "2": ("timeout", "")}), "1", "2")
    assert (run.status, run.candidates, len(run.draws)) == ("timeout", (), 2)
