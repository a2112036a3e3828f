"""How far answers agree is learnt from the draws that were bought, and from no other."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apportion.envs.replay.recorded import NONE
from apportion.envs.replay.rule import Drawn, Floats, Ints, believed
from apportion.envs.replay.votes import AGREE, agreement
from tests.envs.replay.tables import Draw

K = 4000
WIDTH = 6
ROW = st.lists(st.tuples(st.integers(-1, 3), st.booleans()), min_size=WIDTH, max_size=WIDTH)
ROWS = st.lists(st.tuples(ROW, ROW, st.integers(0, WIDTH)), min_size=1, max_size=4)


def drawn(rows: list[list[Draw]]) -> Drawn:
    answers, correct = (np.array([[draw[part] for draw in row] for row in rows]) for part in (0, 1))
    return Drawn(np.arange(len(rows)), np.zeros_like(answers), correct.astype(bool), answers, np.zeros(answers.shape))


def agreed(rows: list[list[Draw]], bought: list[int], seed: int = 0) -> tuple[Floats, Floats]:
    """Of right draws, and of wrong ones."""
    right, wrong = agreement(drawn(rows), np.array(bought), K, np.random.default_rng(seed))
    return right, wrong


def repeats(row: list[Draw], n: int, right: bool) -> tuple[int, int]:  # noqa: FBT001
    """Draws of a kind after the first that repeat its commonest answer, and all after the first."""
    of_kind = Counter(answer for answer, correct in row[:n] if answer != NONE and correct == right)
    return (max(of_kind.values()) - 1, of_kind.total() - 1) if of_kind else (0, 0)


@settings(max_examples=60, deadline=None)
@given(ROWS)
def test_trials_are_draws_of_a_kind_after_the_first(rows: list[tuple[list[Draw], list[Draw], int]]) -> None:
    found = agreed([row for row, _, _ in rows], [n for _, _, n in rows])
    rng = np.random.default_rng(0)
    for right, samples in zip((True, False), found, strict=True):
        successes, trials = np.array([repeats(row, n, right) for row, _, n in rows]).T
        assert (samples == believed(successes, trials, AGREE, K, rng)).all()


@settings(max_examples=60, deadline=None)
@given(ROWS)
def test_draws_that_were_not_bought_change_nothing(rows: list[tuple[list[Draw], list[Draw], int]]) -> None:
    bought = [n for _, _, n in rows]
    one, other = (agreed(own, bought) for own in ([row for row, _, _ in rows],
                                                  [row[:n] + later[n:] for row, later, n in rows]))  # fmt: skip
    assert (np.array(one) == np.array(other)).all()


def test_silent_draws_say_nothing_of_either_kind() -> None:
    spoken = [[(0, True), (0, True), (1, False), (2, False), (1, False)]]
    silent = [[(NONE, True), *spoken[0][:2], (NONE, False), *spoken[0][2:], (NONE, False), (NONE, True)]]
    assert (np.array(agreed(spoken, [5])) == np.array(agreed(silent, [9]))).all()


def test_nothing_is_known_before_a_second_draw_of_a_kind() -> None:
    rows: list[list[Draw]] = [[(0, True), (1, False), (0, True)], [(2, False), (0, True), (0, True)]]
    for bought in ([0, 0], [1, 1], [2, 2]):
        for samples in agreed(rows, bought):
            assert samples.shape == (K, 2)
            assert samples.mean(axis=0) == pytest.approx(AGREE, abs=0.03)
            assert samples.std(axis=0) == pytest.approx(12**-0.5, abs=0.02)  # any share is as likely as any other


def kinds(rng: np.random.Generator, examples: int, n: int, right: float, wrong: float) -> list[list[Draw]]:
    """Half right; answer 0 or 1 as often as said of its kind, else one of its own."""
    correct = rng.random((examples, n)) < 0.5
    main = rng.random((examples, n)) < np.where(correct, right, wrong)
    answers: Ints = np.where(main, np.where(correct, 0, 1), 2 + np.arange(n))
    return [list(zip(*row, strict=True)) for row in zip(answers.tolist(), correct.tolist(), strict=True)]


@pytest.mark.parametrize(("right", "wrong"), [(0.9, 0.3), (0.4, 0.7), (1.0, 0.1)])
def test_with_many_draws_both_come_to_the_truth(right: float, wrong: float) -> None:
    rows = kinds(np.random.default_rng(0), 8, 160, right, wrong)
    few, many = agreed(rows, [10] * 8), agreed(rows, [160] * 8)
    assert [samples.mean() for samples in many] == pytest.approx([right, wrong], abs=0.05)
    assert all(samples.std(axis=0).max() < 0.08 for samples in many)
    assert few[0].std(axis=0).mean() > 2 * many[0].std(axis=0).mean()
