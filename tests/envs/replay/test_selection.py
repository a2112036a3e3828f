"""What is said of k draws is what all subsets of them say."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable
from statistics import mean

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from apportion.envs.replay.selection import any_correct, best_scored, majority, verified

DRAWN = st.lists(st.booleans(), min_size=1, max_size=7)


def subsets(n: int, k: int) -> Iterable[tuple[int, ...]]:
    return itertools.combinations(range(n), k)


@given(DRAWN, st.data())
def test_any_correct(drawn: list[bool], data: st.DataObject) -> None:
    k = data.draw(st.integers(1, len(drawn)))
    expected = mean(any(drawn[i] for i in chosen) for chosen in subsets(len(drawn), k))
    assert any_correct(sum(drawn), len(drawn), k) == pytest.approx(expected, abs=1e-12)


def test_any_correct_of_many_questions_at_once() -> None:
    found = any_correct([0, 1, 387, 1100], [10, 10, 1100, 1100], 2)
    assert found.tolist() == pytest.approx([0.0, 0.2, 1 - 713 * 712 / (1100 * 1099), 1.0])


@given(DRAWN, st.floats(0, 1), st.floats(0, 1), st.data())
def test_verified(drawn: list[bool], completeness: float, soundness: float, data: st.DataObject) -> None:
    k = data.draw(st.integers(1, min(4, len(drawn))))
    expected = 0.0
    for chosen in subsets(len(drawn), k):
        for accepted in itertools.product((True, False), repeat=k):
            p = 1.0
            for i, says in zip(chosen, accepted, strict=True):
                yes = completeness if drawn[i] else 1.0 - soundness
                p *= yes if says else 1.0 - yes
            among = [i for i, says in zip(chosen, accepted, strict=True) if says] or chosen
            expected += p * mean(drawn[i] for i in among)
    expected /= len(list(subsets(len(drawn), k)))
    assert verified(sum(drawn), len(drawn), k, completeness, soundness) == pytest.approx(expected, abs=1e-12)


def test_perfect_and_blind_verifiers() -> None:
    c, n = np.arange(9), np.full(9, 8)
    assert verified(c, n, 5, 1.0, 1.0) == pytest.approx(any_correct(c, n, 5), abs=1e-12)
    for blind in (0.0, 0.5, 1.0):
        assert verified(c, n, 5, blind, 1.0 - blind) == pytest.approx(c / 8, abs=1e-12)


def test_a_bad_verifier_is_worse_with_more_draws() -> None:
    few, many = (float(verified(10, 100, k, 0.5, 0.3)) for k in (1, 50))
    assert many < few == pytest.approx(0.1)


@given(st.lists(st.integers(-1, 3), min_size=1, max_size=7), st.data())
def test_majority(answers: list[int], data: st.DataObject) -> None:
    """Answer 0 is correct, half of the draws with answer 1 are, and -1 is silence."""
    k = data.draw(st.integers(1, len(answers)))
    share = {0: 1.0, 1: 0.5}
    values = []
    for chosen in subsets(len(answers), k):
        votes = Counter(answers[i] for i in chosen if answers[i] >= 0)
        best = [answer for answer, count in votes.items() if count == max(votes.values())]
        values.append(mean(share.get(answer, 0.0) for answer in best) if best else 0.0)
    counts = Counter(answers)
    named = [answer for answer in counts if answer >= 0]
    found = majority([counts[a] for a in named], [share.get(a, 0.0) for a in named], k, counts[-1])
    assert found == pytest.approx(mean(values), abs=1e-12)


def test_majority_of_many_draws_stays_a_probability() -> None:
    assert majority([60, 40], [1.0, 0.0], 99) == pytest.approx(1.0, abs=1e-9)
    assert majority([30, 30, 30, 10], [1.0, 0.0, 0.0, 0.0], 100) == pytest.approx(1 / 3, abs=1e-9)
    assert majority([45, 55], [1.0, 0.0], 1) == pytest.approx(0.45)
    assert 0.0 < majority([45, 55], [1.0, 0.0], 25) < 0.45


@given(st.lists(st.tuples(st.integers(0, 3), st.booleans()), min_size=1, max_size=7), st.data())
def test_best_scored(draws: list[tuple[int, bool]], data: st.DataObject) -> None:
    k = data.draw(st.integers(1, len(draws)))
    values = []
    for chosen in subsets(len(draws), k):
        top = max(draws[i][0] for i in chosen)
        values.append(mean(draws[i][1] for i in chosen if draws[i][0] == top))
    found = best_scored([score for score, _ in draws], [right for _, right in draws], k)
    assert found == pytest.approx(mean(values), abs=1e-12)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: any_correct([1, 3], [4, 2], 1), "of n draws, from 0 to n must be correct"),
        (lambda: any_correct([1], [4], 5), r"k must be from 1 to the draws of each question \(4\), got 5"),
        (lambda: any_correct([1], [4], 0), "k must be from 1"),
        (lambda: verified([1], [4], 2, 1.5, 0.5), "`completeness` must be from 0 to 1, got 1.5"),
        (lambda: verified([1], [4], 2, 0.5, float("nan")), "`soundness` must be from 0 to 1, got nan"),
        (lambda: majority([1, 2], [1.0], 1), "each answer must have votes"),
        (lambda: majority([1, 2], [1.0, 0.0], 4), "k must be from 1 to the 3 draws, got 4"),
        (lambda: best_scored([float("nan")], [True], 1), "each of 1 draws must have a finite score"),
        (lambda: best_scored([1.0], [True], 2), "k must be from 1 to the 1 draws, got 2"),
    ],
)
def test_what_cannot_be_drawn_is_refused(call: object, said: str) -> None:
    assert callable(call)
    with pytest.raises(ValueError, match=said):
        call()
