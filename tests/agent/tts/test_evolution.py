"""Evolution breeds from the best: ranks give them the highest probability, and children stay within the space."""

from __future__ import annotations

import json
import random
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from apportion.agent.tts.allocation import Allocation, Choice
from apportion.agent.tts.evolution import EvolutionAgent, crossed, mutated, parents
from apportion.agent.tts.history import History
from apportion.agent.tts.initial import initial
from apportion.agent.tts.reply import proposals
from tests.agent.tts.kit import two_wiki
from tests.agent.tts.test_scripted import large_retrieves, question, tried


def test_the_best_are_the_likeliest_parents() -> None:
    rng = random.Random(0)
    chosen = Counter(parents(4, rng)[0] for _ in range(4000))
    assert chosen[0] > chosen[1] > chosen[2] > chosen[3]
    assert abs(chosen[0] / 4000 - 4 / 10) < 0.03  # n of n (n + 1) / 2


@given(count=st.integers(2, 12), seed=st.integers(0, 2**32))
def test_parents_are_two(count: int, seed: int) -> None:
    first, second = parents(count, random.Random(seed))
    assert first != second and max(first, second) < count


def test_one_point_parts_the_stages_of_both_parents() -> None:
    first: Allocation = {stage: Choice("3b", 1) for stage in "abc"}
    second: Allocation = {stage: Choice("70b", 2) for stage in "abc"}
    rng = random.Random(1)
    children = {tuple(own[stage].model for stage in "abc") for own in (crossed(first, second, rng) for _ in range(99))}
    assert children == {("3b", "3b", "3b"), ("3b", "3b", "70b"), ("3b", "70b", "70b")}


def test_a_step_of_samples_is_a_tenth_of_their_range() -> None:
    space, rng = two_wiki(), random.Random(2)
    base: Allocation = {"retrieve": Choice("7b", 50), "answer": Choice("3b", 1)}
    children = [mutated(base, space, rng) for _ in range(200)]
    assert {own["retrieve"].samples for own in children} == {40, 50, 60}
    assert {own["answer"].samples for own in children} == {1, 11}
    assert {own["retrieve"].model for own in children} == {"7b", "32b", "72b"}


@given(seed=st.integers(0, 2**40), known=st.booleans())
def test_a_batch_is_new_and_affordable(*, seed: int, known: bool) -> None:
    space = two_wiki(500.0, ("fuse", "vote"))
    before = initial(space) if known else []
    asked = question(space, tried(space, before, large_retrieves) if known else History((), ()), (), seed=seed)
    text = EvolutionAgent().answer(asked)
    good, wrong = proposals(text, space, (), before, 10, 1, "agent")
    assert len(good) == 10 and not wrong
    assert EvolutionAgent().answer(asked) == text


def test_it_has_a_guideline_of_its_own() -> None:
    asked = question(two_wiki(), History((), ()), (), "guide")
    assert json.loads(EvolutionAgent().answer(asked))["guidelines"][0]["insight"] is None
