"""The scripted agent follows each insight it is told, and chance in place of the others; it knows nothing else."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apportion.agent.question import Question
from apportion.agent.tts.allocation import Allocation, Choice, affordable
from apportion.agent.tts.brief import Brief
from apportion.agent.tts.history import History, Origin, Round, Tried
from apportion.agent.tts.initial import initial
from apportion.agent.tts.reply import guidelines, proposals
from apportion.agent.tts.scripted import ScriptedAgent
from tests.agent.tts.kit import Units, two_wiki

Score = Callable[[Allocation], float]


def tried(space: Units, allocations: Sequence[Allocation], score: Score) -> History:
    origin = Origin(0, "initial")
    found = [Tried(n, own, space.cost(own), score(own), origin) for n, own in enumerate(allocations)]
    return History(found, ())


def question(
    space: Units,
    history: History,
    insights: tuple[int, ...] = (1, 2, 3),
    purpose: str = "propose",
    seed: int = 0,
    batch: int = 10,
    *,
    stalled: bool = False,
) -> Question[Brief]:
    rules = [(f"guideline {n}", n) for n in insights]
    return Question(purpose, (), {}, Brief(space, history, insights, rules, batch, stalled, 1, seed))


def proposed(agent: ScriptedAgent, asked: Question[Brief]) -> list[dict[str, Any]]:
    return list(json.loads(agent.answer(asked))["candidates"])


def large_retrieves(allocation: Allocation) -> float:
    """Retrieval wants the largest model; of answers, the smallest is as good, and best with ten samples."""
    retrieve, answer = allocation["retrieve"], allocation["answer"]
    found = {"7b": 0.3, "32b": 0.5, "72b": 0.8}[retrieve.model]
    return found * (0.5 + 0.4 * min(answer.samples, 10) / 10 - 0.002 * max(0, answer.samples - 10))


def test_after_the_initial_trials_each_stage_keeps_the_model_that_did_best_at_equal_compute() -> None:
    space = two_wiki()
    first = proposed(ScriptedAgent(), question(space, tried(space, initial(space), large_retrieves)))
    kept = [(own["stages"]["retrieve"]["model"], own["stages"]["answer"]["model"]) for own in first]
    assert kept.count(("72b", "3b")) >= 5


def test_a_large_model_is_kept_only_where_it_is_clearly_better() -> None:
    space = two_wiki()
    slightly = {"7b": 0.50, "32b": 0.505, "72b": 0.51}

    def score(allocation: Allocation) -> float:
        return slightly[allocation["retrieve"].model] + {"3b": 0.3, "8b": 0.1, "70b": 0.1}[allocation["answer"].model]

    asked = question(space, tried(space, initial(space), score), purpose="guide")
    said = guidelines(ScriptedAgent().answer(asked), (1, 2, 3), 6)
    assert any(insight == 1 and "retrieve 7b, answer 3b" in text for text, insight in said)


def test_samples_are_climbed_while_they_help() -> None:
    space = two_wiki()
    base: Allocation = {"retrieve": Choice("72b", 1), "answer": Choice("3b", 4)}
    fewer: Allocation = {**base, "answer": Choice("3b", 2)}
    history = tried(space, [fewer, base], large_retrieves)
    steps = [own for own in proposed(ScriptedAgent(), question(space, history, (2, 3))) if own["guideline"] == 1]
    assert any(own["stages"]["answer"]["samples"] > 4 for own in steps)


def test_beyond_a_peak_no_more_samples_are_tried() -> None:
    space = two_wiki()
    curve: list[Allocation] = [
        {"retrieve": Choice("72b", 1), "answer": Choice("3b", n)} for n in (1, 5, 8, 10, 12, 20, 60)
    ]
    history = tried(space, curve, large_retrieves)
    steps = [own for own in proposed(ScriptedAgent(), question(space, history, (2,))) if own["guideline"] == 1]
    first = [own["stages"]["answer"] for own in steps if own["stages"]["retrieve"]["samples"] == 1]
    assert first and all(own["samples"] <= 20 for own in first if own["model"] == "3b")


def test_two_stages_are_moved_in_opposite_directions() -> None:
    space = two_wiki(2000.0)
    base: Allocation = {"retrieve": Choice("7b", 6), "answer": Choice("3b", 12)}
    history = tried(space, [base], large_retrieves)
    trades = [own["stages"] for own in proposed(ScriptedAgent(), question(space, history, (3,))) if own["guideline"]]
    assert trades
    for own in trades:
        assert (own["retrieve"]["samples"] - 6) * (own["answer"]["samples"] - 12) < 0


@pytest.mark.parametrize("insight", [1, 2, 3])
def test_what_it_is_not_told_it_neither_says_nor_follows(insight: int) -> None:
    space = two_wiki()
    left = tuple({1, 2, 3} - {insight})
    history = tried(space, initial(space), large_retrieves)
    said = json.loads(ScriptedAgent().answer(question(space, history, left, "guide")))["guidelines"]
    assert {own["insight"] for own in said} == set(left)
    followed = {own["guideline"] for own in proposed(ScriptedAgent(), question(space, history, left, batch=40))}
    assert followed <= {None, 1, 2}  # guidelines of the two that are left


def test_without_the_first_insight_models_are_left_to_chance() -> None:
    space = two_wiki(2000.0)
    history = tried(space, initial(space), large_retrieves)

    def models(insights: tuple[int, ...]) -> set[str]:
        asked = (question(space, history, insights, seed=seed, batch=6) for seed in range(5))
        return {own["stages"]["retrieve"]["model"] for one in asked for own in proposed(ScriptedAgent(), one)}

    assert models((1, 2, 3)) < models((2, 3)) == {"7b", "32b", "72b"}


def test_in_later_rounds_the_first_insight_holds_although_it_is_not_told_again() -> None:
    space = two_wiki()
    before = tried(space, initial(space), large_retrieves)
    later = History(before.tried, [Round(1, [("guideline 1", 1)], ())])
    asked = question(space, later, (2, 3), batch=6)
    kept = proposed(ScriptedAgent(), asked)
    assert {own["stages"]["retrieve"]["model"] for own in kept} == {"72b"}


def test_when_scores_have_stalled_half_of_a_batch_explores() -> None:
    space = two_wiki()
    history = tried(space, initial(space), large_retrieves)
    found = proposed(ScriptedAgent(), question(space, history, stalled=True))
    assert sum(own["guideline"] is None for own in found) >= 5


def test_without_memory_it_does_not_look_at_what_was_tried() -> None:
    space = two_wiki()
    history = tried(space, initial(space), large_retrieves)
    forgetful = ScriptedAgent(memory=False)
    assert forgetful.answer(question(space, history)) == forgetful.answer(question(space, History((), ())))


def test_what_another_study_found_is_tried_first() -> None:
    space = two_wiki()
    known: Allocation = {"retrieve": Choice("72b", 1), "answer": Choice("3b", 50)}
    first, *_ = proposed(ScriptedAgent(known=(known,)), question(space, History((), ()), ()))
    assert first["stages"]["answer"] == {"model": "3b", "samples": 50, "how": ""}


@given(seed=st.integers(0, 2**40), budget=st.sampled_from([120.0, 500.0, 1000.0, 2000.0]), stalled=st.booleans())
def test_every_proposal_is_new_affordable_and_the_same_for_the_same_brief(
    *, seed: int, budget: float, stalled: bool
) -> None:
    space = two_wiki(budget, ("fuse", "vote"))
    before = initial(space)
    asked = question(space, tried(space, before, large_retrieves), seed=seed, stalled=stalled)
    text = ScriptedAgent().answer(asked)
    good, wrong = proposals(text, space, asked.brief.guidelines, before, 10, 1, "agent")
    assert len(good) == 10 and not wrong
    assert all(affordable(space, own.allocation) and own.origin.expected is not None for own in good)
    assert ScriptedAgent().answer(asked) == text
