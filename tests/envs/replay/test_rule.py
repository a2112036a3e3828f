"""Draws are cut as they were bought, and rates are believed as their trials and what is usual of all say."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apportion.envs.replay.rule import WEIGHT, Drawn, believed

TRIED = st.integers(0, 9).flatmap(lambda trials: st.tuples(st.integers(0, trials), st.just(trials)))


def test_draws_of_some_examples() -> None:
    samples = np.arange(12).reshape(3, 4)
    every = Drawn(np.array([7, 8, 9]), samples, samples % 2 == 0, samples * 10, samples / 100)
    part = every.of(np.array([2, 0]), 2)
    assert part.questions.tolist() == [9, 7] and part.samples.tolist() == [[8, 9], [0, 1]]
    assert part.correct.tolist() == [[True, False]] * 2 and part.answers.tolist() == [[80, 90], [0, 10]]
    assert part.chance.tolist() == [[0.08, 0.09], [0.0, 0.01]]


@settings(max_examples=40)
@given(st.lists(TRIED, min_size=1, max_size=5), st.sampled_from([0.1, 0.5, 0.8]))
def test_a_rate_lies_between_its_own_trials_and_what_is_usual(tried: list[tuple[int, int]], guess: float) -> None:
    successes, trials = (np.array(own) for own in zip(*tried, strict=True))
    k = 4000
    found = believed(successes, trials, guess, k, np.random.default_rng(0))
    usual = (successes.sum() + WEIGHT * guess) / (trials.sum() + WEIGHT)
    mean = (successes + WEIGHT * usual) / (trials + WEIGHT)
    deviation = np.sqrt(mean * (1 - mean) / (trials + WEIGHT + 1))  # of a Beta distribution
    assert found.shape == (k, len(tried)) and found.dtype == np.float32
    assert found.min() >= 0 and found.max() <= 1
    assert (np.abs(found.mean(axis=0) - mean) < 5 * deviation / np.sqrt(k)).all()
    assert found.std(axis=0) == pytest.approx(deviation, rel=0.25, abs=0.01)


def test_what_was_never_tried_is_the_guess_until_others_were() -> None:
    rng = np.random.default_rng(0)
    none = np.zeros(2, dtype=np.int64)
    assert believed(none, none, 0.3, 4000, rng).mean(axis=0) == pytest.approx([0.3, 0.3], abs=0.03)
    successes, trials = np.array([90, 0]), np.array([100, 0])
    assert believed(successes, trials, 0.3, 4000, rng).mean(axis=0) == pytest.approx([0.9, 0.888], abs=0.03)
