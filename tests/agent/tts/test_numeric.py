"""The numeric agent proposes what is expected to improve most, and finds a plain optimum."""

from __future__ import annotations

import json
import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from apportion.agent.tts.allocation import Allocation, Choice
from apportion.agent.tts.history import History
from apportion.agent.tts.initial import initial
from apportion.agent.tts.numeric import NumericAgent, expected_improvement, features
from apportion.agent.tts.reply import proposals
from tests.agent.tts.kit import LLAMA, QWEN, Subtask, Units, two_wiki
from tests.agent.tts.test_scripted import large_retrieves, question, tried


def test_expected_improvement_is_that_of_the_formula() -> None:
    found = expected_improvement(np.array([0.0, 1.0, 1.0, -1.0]), np.array([1.0, 0.0, 2.0, 0.0]), 0.0)
    at_half = 1.0 * 0.5 * (1 + math.erf(0.5 / math.sqrt(2))) + 2.0 * math.exp(-0.125) / math.sqrt(2 * math.pi)
    assert np.allclose(found, [1 / math.sqrt(2 * math.pi), 1.0, at_half, 0.0])


@given(mean=st.floats(-3, 3), deviation=st.floats(0.01, 3), more=st.floats(0.01, 1))
def test_expected_improvement_grows_with_both(mean: float, deviation: float, more: float) -> None:
    rows = np.array([mean, mean + more, mean]), np.array([deviation, deviation, deviation + more])
    base, higher, wider = expected_improvement(*rows, 0.5)
    assert 0 <= base <= higher + 1e-12 and base <= wider + 1e-12


def test_features_tell_models_samples_and_ways_apart() -> None:
    space = two_wiki(hows=("fuse", "vote"))
    base: Allocation = {"retrieve": Choice("7b", 3, "fuse"), "answer": Choice("3b", 1, "vote")}
    other: Allocation = {**base, "answer": Choice("3b", 1, "fuse")}
    rows = features([base, other], space)
    assert rows.shape == (2, 14) and rows[0].tolist() != rows[1].tolist()
    larger: Allocation = {**base, "retrieve": Choice("32b", 3, "fuse")}
    largest: Allocation = {**base, "retrieve": Choice("72b", 3, "fuse")}
    one, near, far = features([base, larger, largest], space)
    assert np.square(one - near).sum() < np.square(one - far).sum(), "near sizes are alike"


def test_it_finds_the_best_model_and_number_of_samples() -> None:
    """As many as the agents of the paper may try: 50."""
    stages = [Subtask("retrieve", QWEN, 2048, 128), Subtask("answer", LLAMA, 256, 64)]
    space = Units(stages, 1000.0, most=20)
    known = initial(space)
    for seed in range(4):
        asked = question(space, tried(space, known, large_retrieves), (), seed=seed)
        good, wrong = proposals(NumericAgent().answer(asked), space, (), known, 10, 1, "agent")
        assert len(good) == 10 and not wrong
        known = [*known, *(own.allocation for own in good)]
    best = max(known, key=large_retrieves)
    assert best["retrieve"].model == "72b" and large_retrieves(best) > 0.68  # of 0.72


def test_it_expects_about_what_its_neighbours_gave_and_is_the_same_for_the_same_brief() -> None:
    space = two_wiki()
    asked = question(space, tried(space, initial(space), large_retrieves), ())
    text = NumericAgent().answer(asked)
    assert all(0.0 < own["expected"] < 1.0 for own in json.loads(text)["candidates"])
    assert NumericAgent().answer(asked) == text


def test_before_two_trials_it_draws_at_random() -> None:
    space = two_wiki()
    good, wrong = proposals(NumericAgent().answer(question(space, History((), ()), ())), space, (), [], 10, 1, "agent")
    assert len(good) == 10 and not wrong
