"""Tables of what a vote and a best score are worth hold what independent draws say."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apportion.envs.replay import rates
from apportion.envs.replay.rates import COARSE, GRID, Floats
from apportion.envs.replay.rules import RULES
from tests.envs.replay.test_rules import once

TABLED = 1e-6  # the table is of single precision
SHARE = st.floats(0, 1)
P_POINT = st.integers(0, GRID - 1).map(lambda at: at / (GRID - 1))
POINT = st.integers(0, COARSE - 1).map(lambda at: at / (COARSE - 1))


def vote(p: float, n: int, right: float, wrong: float) -> float:
    return float(rates.vote(np.array(p), n, np.array(right), np.array(wrong)))


def enumerated(p: float, n: int, right: float, wrong: float) -> float:
    """Over all results of n draws: the main right answer, the main wrong one, or one of its own, right or wrong."""
    chances = p * right, (1.0 - p) * wrong, p * (1.0 - right), (1.0 - p) * (1.0 - wrong)
    total = 0.0
    for kinds in itertools.product([kind for kind in range(4) if chances[kind]], repeat=n):
        draws = [(kind if kind < 2 else 10 + i, kind in (0, 2)) for i, kind in enumerate(kinds)]
        total += math.prod(chances[kind] for kind in kinds) * once(RULES["majority"], draws)
    return total


def everywhere(n: int) -> tuple[Floats, Floats]:
    """What a vote of n is worth on a grid finer than the table's: p by right by wrong; and p."""
    p, right, wrong = np.meshgrid(np.linspace(0, 1, 61), np.linspace(0, 1, 13), np.linspace(0, 1, 13), indexing="ij")
    return rates.vote(p, n, right, wrong), p


@settings(max_examples=60, deadline=None)
@given(P_POINT, st.integers(1, 5), POINT, POINT)
def test_a_vote_is_exact_where_it_is_tabled(p: float, n: int, right: float, wrong: float) -> None:
    assert vote(p, n, right, wrong) == pytest.approx(enumerated(p, n, right, wrong), abs=TABLED)


@settings(max_examples=60, deadline=None)
@given(SHARE, st.integers(1, 5), SHARE, SHARE)
def test_a_vote_is_near_elsewhere(p: float, n: int, right: float, wrong: float) -> None:
    assert vote(p, n, right, wrong) == pytest.approx(enumerated(p, n, right, wrong), abs=TABLED if n < 3 else 5e-3)


@pytest.mark.parametrize(
    ("p", "n", "right", "wrong", "expected"),
    [
        (0.5, 3, 1.0, 1.0, 0.5),  # two answers, equally likely
        (0.5, 3, 1.0, 0.0, 0.625),  # 2 or 3 right of 3: 1/2; one of 3 right: 3/8, taken once in three
        (0.5, 3, 0.0, 1.0, 0.375),  # the other way round
        (0.25, 5, 0.0, 0.0, 0.25),  # every draw an answer of its own: one of them at random
        (0.25, 3, 1.0, 1.0, 0.15625),  # p^3 + 3 p^2 (1 - p)
    ],
)
def test_votes_by_hand(p: float, n: int, right: float, wrong: float, expected: float) -> None:
    assert vote(p, n, right, wrong) == pytest.approx(expected, abs=TABLED)


@pytest.mark.parametrize("n", [1, 2])
def test_votes_of_one_and_of_two_are_worth_a_draw(n: int) -> None:
    value, p = everywhere(n)
    assert value == pytest.approx(p, abs=TABLED)


def binomial_vote(p: float, n: int) -> float:
    """Probability that the right one of two answers has most of n votes."""
    chances = ((k, math.comb(n, k) * p**k * (1.0 - p) ** (n - k)) for k in range(n + 1))
    return sum(chance * (1.0 if 2 * k > n else 0.5 * (2 * k == n)) for k, chance in chances)


@pytest.mark.parametrize("n", [10, 25, 100])
def test_votes_of_many_for_one_of_two_answers(n: int) -> None:
    p = np.array([0.0, 0.25, 0.4, 0.475, 0.5, 0.75, 1.0])
    found = rates.vote(p, n, np.ones(()), np.ones(()))
    assert found.tolist() == pytest.approx([binomial_vote(own, n) for own in p.tolist()], abs=TABLED)


@pytest.mark.parametrize("n", [3, 4, 15, 40])
def test_agreement_of_right_draws_helps_a_vote_and_that_of_wrong_ones_does_not(n: int) -> None:
    value, _ = everywhere(n)
    assert value.min() >= 0 and value.max() <= 1 + TABLED
    steps = [np.diff(value, axis=axis) for axis in range(3)]
    assert steps[0].min() > -TABLED, "nor does a better draw harm"
    assert steps[1].min() > -TABLED < -steps[2].max()
    assert steps[1].max() > 0.02 < -steps[2].min(), "both matter"
    assert value[0] == pytest.approx(0.0, abs=TABLED) and value[-1] == pytest.approx(1.0, abs=TABLED)


@pytest.mark.parametrize("n", [3, 8, 31])
def test_right_and_wrong_may_change_places(n: int) -> None:
    value, _ = everywhere(n)
    assert value == pytest.approx(1.0 - value[::-1].transpose(0, 2, 1), abs=2 * TABLED)


def test_shares_of_any_shape_that_fit_each_other() -> None:
    p, right, wrong = np.full((4, 1, 3), 0.6, dtype=np.float32), np.full((2, 3), 0.75), np.array([0.0, 0.5, 1.0])
    found = rates.vote(p, 5, right, wrong)
    assert found.shape == (4, 2, 3)
    assert found[3, 1].tolist() == pytest.approx([enumerated(0.6, 5, 0.75, own) for own in wrong.tolist()], abs=1e-6)


@settings(max_examples=40)
@given(SHARE, st.integers(1, 12))
def test_a_best_score_between_knowing_all_and_nothing(p: float, n: int) -> None:
    found = rates.best(np.array(p), n, np.linspace(0, 1, 13))
    assert (np.diff(found) <= 1e-9).all(), "the oftener a wrong draw is ahead the worse"
    assert found[6] == pytest.approx(p, abs=1e-6), "scores that say nothing"
    assert found[0] <= 1 - (1 - p) ** n + 1e-3 and found[-1] >= p**n - 1e-3
