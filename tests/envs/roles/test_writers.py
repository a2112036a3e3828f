"""Roles that write: generator, refiner, fuser, decider, and the critic, who writes beside the texts."""

from __future__ import annotations

from dataclasses import replace

import pytest

from apportion.envs.roles.critic import COMMENT_TOKENS
from apportion.envs.worker import Message, Sampling
from apportion.store.calls import DrawStatus
from tests.envs.roles.kit import HOW, STAGE, SYSTEM, TASK, Answer, cards, play, texts

WRITERS = ("generator", "refiner", "fuser", "decider")


def test_a_generator_draws_its_samples_from_its_start() -> None:
    run, shop = play("generator", lambda prompt, index: f"It is {index}.", samples=3, start=5)
    assert run.status == "ok" and run.candidates == cards("It is 5.", "It is 6.", "It is 7.", node="n")
    assert [draw.index for draw in run.draws] == [5, 6, 7]
    assert shop.orders == [("m", (SYSTEM, Message("user", TASK)), HOW, index) for index in (5, 6, 7)]


@pytest.mark.parametrize("role", WRITERS)
def test_a_text_is_of_the_node_that_wrote_it(role: str) -> None:
    given = cards("4", "5") if role != "generator" else ()
    run, _ = play(role, lambda prompt, index: f"It is {index}.", *given, samples=2)
    assert run.candidates == cards("It is 0.", "It is 1.", node="n")


@pytest.mark.parametrize(
    ("role", "own", "temperature"),
    [
        ("generator", None, 0.7),
        ("generator", 0.0, 0.0),
        ("refiner", None, 0.7),
        ("refiner", 1.2, 1.2),
        ("fuser", None, 0.3),
        ("fuser", 1.2, 1.2),
        ("decider", None, 0.3),
        ("decider", 0.9, 0.9),
    ],
)
def test_temperatures_of_writers(role: str, own: float | None, temperature: float) -> None:
    given = cards("4", "5") if role != "generator" else ()
    _, shop = play(role, lambda prompt, index: "4", *given, temperature=own)
    assert shop.orders[0][2] == replace(HOW, temperature=temperature)


@pytest.mark.parametrize("role", [*WRITERS, "critic", "scorer"])
@pytest.mark.parametrize("own", [0, -0.0, None])
def test_equal_temperatures_are_banked_as_one(role: str, own: float | None) -> None:
    given = cards("4", "5") if role != "generator" else ()
    stage = replace(STAGE, sampling=replace(HOW, temperature=0 if own is None else 0.7))
    _, shop = play(role, lambda prompt, index: "4", *given, temperature=own, stage=stage)
    assert {repr(order[2].temperature) for order in shop.orders} == {"0.0"}


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
    assert (run.status, run.candidates, len(run.draws)) == (status, cards(*kept, node="n"), 3)


def test_a_critic_comments_on_each_text_once_and_passes_all_on() -> None:
    given = cards("is 4", "was 4", "is 4", "no")
    run, shop = play("critic", lambda prompt, index: f"  Point {index}.\n", *given, samples=2, start=10)
    points = {"is 4": (10, 11), "was 4": (12, 13), "no": (14, 15)}
    assert [c.comments for c in run.candidates] == [tuple(f"Point {i}." for i in points[c.text]) for c in given]
    assert [replace(c, comments=()) for c in run.candidates] == list(given)
    assert (run.status, [draw.index for draw in run.draws]) == ("ok", [*range(10, 16)])
    assert {order[2] for order in shop.orders} == {Sampling(0.7, COMMENT_TOKENS, 0.9)}


def test_a_critic_has_a_temperature_of_its_own() -> None:
    _, shop = play("critic", lambda prompt, index: "Fine.", "4", temperature=0.1)
    assert shop.orders[0][2].temperature == 0.1


def test_a_critic_that_is_heard_in_part() -> None:
    said: tuple[Answer, ...] = (("truncated", "Good, but"), ("failed", ""), " \n")
    run, _ = play("critic", lambda prompt, index: said[index], "1", "2", "3")
    assert [c.comments for c in run.candidates] == [("Good, but",), (), ()]


def test_a_critic_that_nobody_answers_gives_nothing() -> None:
    run, _ = play("critic", lambda prompt, index: ("refused", ""), "1", "2")
    assert (run.status, texts(run), len(run.draws)) == ("refused", [], 2)
