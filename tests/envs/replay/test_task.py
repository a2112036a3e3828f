"""Options are what shares of a budget buy, and configurations are all that the budget pays."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from apportion.envs.replay.composed import Composed
from apportion.envs.replay.rule import Rule
from apportion.envs.replay.rules import RULES, Verified
from apportion.envs.replay.task import Stage, stage
from apportion.errors import RecordedError
from tests.envs.replay.tables import recorded, some

TENTHS = st.lists(st.integers(1, 10), min_size=1, max_size=6, unique=True).map(sorted)
PRICES = st.lists(st.integers(1, 12), min_size=1, max_size=3)
ONE: list[Rule] = [RULES["any_correct"]]


def made(
    prices: Sequence[float], budget: float, shares: Sequence[float], draws: int = 8, name: str = "s"
) -> Stage[Rule]:
    table = some(0, 3, len(prices), draws)
    return stage(name, table, "", {f"m{i}": float(p) for i, p in enumerate(prices)}, ONE, budget, shares)


@given(PRICES, st.integers(1, 40), TENTHS, st.none() | st.integers(1, 9), st.data())
def test_options_are_what_shares_buy(
    prices: list[int], budget: int, tenths: list[int], most: int | None, data: st.DataObject
) -> None:
    sizes = [[data.draw(st.integers(1, 12)) for _ in prices] for _ in range(2)]
    table = recorded([[[(0, True)] * size for size in row] for row in sizes])
    rules = [RULES["any_correct"], Verified(0.9, 0.8)]
    expected: dict[tuple[str, int, int], int] = {}
    for i, price in enumerate(prices):
        bound = min(sizes[0][i], sizes[1][i], 99 if most is None else most)
        for k, tenth in reversed([*enumerate(tenths)]):
            n = min(int(Fraction(tenth * budget, 10 * price)), bound)
            expected |= {(f"m{i}", n, rule): k for rule in range(2) if n}
    named = {f"m{i}": float(price) for i, price in reversed([*enumerate(prices)])}
    shares = [tenth / 10 for tenth in tenths]
    if not expected:
        with pytest.raises(RecordedError, match="raise the budget"):
            stage("s", table, "", named, rules, budget, shares, most)
        return
    own = stage("s", table, "", named, rules, budget, shares, most)
    assert {(own.models[o.arm], o.n, o.rule): o.share for o in own.options} == expected
    assert len(own.options) == len(expected), "no option twice"
    assert set(own.models) == {model for model, _, _ in expected}, "who cannot pay for a draw takes no part"
    assert [table.pairs[column][1] for column in own.columns] == [*own.models]
    assert own.prices.tolist() == [named[model] for model in own.models]
    assert own.most.tolist() == [max(n for m, n, _ in expected if m == model) for model in own.models]
    assert own.calls.tolist() == [o.n for o in own.options]
    assert own.cost.tolist() == [named[own.models[o.arm]] * o.n for o in own.options]


def test_draws_are_counted_as_in_decimals() -> None:
    own = made([0.1], 0.3, [1.0])  # 0.3 / 0.1 is below 3 in floating point, and 3 x 0.1 above 0.3
    assert own.calls.tolist() == [3]
    assert len(Composed("t", (own,), 0.3, 2, 1).configurations) == 1


@given(PRICES, PRICES, st.integers(1, 30), TENTHS, st.sampled_from([1e-12, 1.0, 1e12]))
def test_configurations_are_all_within_the_budget(
    first: list[int], second: list[int], budget: int, tenths: list[int], unit: float
) -> None:
    shares = [tenth / 10 for tenth in tenths]
    scaled = [[price * unit for price in prices] for prices in (first, second)]
    assume(budget * tenths[-1] >= 10 * max(min(first), min(second)))
    stages = made(scaled[0], budget * unit, shares, name="a"), made(scaled[1], budget * unit, shares, name="b")
    task = Composed("t", stages, budget * unit, 2, 1)
    whole = [[round(own.prices[o.arm] / unit) * o.n for o in own.options] for own in stages]
    expected = {
        (i, j) for i, j in itertools.product(*(range(len(w)) for w in whole)) if whole[0][i] + whole[1][j] <= budget
    }
    if not expected:
        with pytest.raises(RecordedError, match=r"a configuration must cost at most .* none does; raise the budget"):
            _ = task.configurations
        return
    found = task.configurations
    assert {(i, j) for i, j in found.tolist()} == expected and len(found) == len(expected)
    assert (task.cost(found) / unit).tolist() == pytest.approx([whole[0][i] + whole[1][j] for i, j in found.tolist()])
    assert task.calls(found).tolist() == [stages[0].options[i].n + stages[1].options[j].n for i, j in found.tolist()]


def test_no_stage_but_their_sum_passes_the_budget() -> None:
    task = Composed("t", (made([3], 4, [1.0]), made([2], 4, [0.5])), 4.0, 2, 1)
    with pytest.raises(RecordedError, match="a configuration must cost at most 4, but none does; raise the budget"):
        _ = task.configurations


def test_a_stage_that_nobody_can_work_at() -> None:
    with pytest.raises(
        RecordedError,
        match="one draw of some model of 's' must cost at most 2, but the cheapest costs 3; raise the budget",
    ):
        made([5, 3], 4, [0.25, 0.5])


def test_too_many_configurations_are_not_listed() -> None:
    own = made([1], 8, [k / 8 for k in range(1, 9)])
    task = Composed("t", (own,) * 7, 56.0, 2, 1)
    with pytest.raises(RecordedError, match="at most 2000000 configurations, got 2097152; cut some"):
        _ = task.configurations
    assert len(Composed("t", (own,) * 2, 16.0, 2, 1).configurations) == 64


def test_a_model_that_is_not_recorded() -> None:
    with pytest.raises(RecordedError, match="lacks 'm9'; it has m0"):
        stage("s", some(0, 3, 1, 4), "", {"m9": 1.0}, ONE, 4, [1.0])


def test_a_cell_that_was_not_recorded() -> None:
    table = recorded([[[(0, True)], [(0, True)]], [[(0, True)], []]])
    with pytest.raises(RecordedError, match="must hold 1 samples of 'm1' for each question, but has 0 for 'q1'"):
        stage("s", table, "", {"m0": 1.0, "m1": 1.0}, ONE, 4, [1.0])


def test_draws_are_without_replacement_and_judged_as_recorded() -> None:
    cells = [[[(10 * q + i, (q + i) % 3 == 0) for i in range(4 + q)]] for q in range(3)]
    own = stage("s", recorded(cells), "", {"m0": 1.0}, ONE, 4, [1.0])
    questions = np.array([2, 0, 1, 2])
    drawn = own.drawn(0, questions, np.random.default_rng(0))
    assert drawn.questions.tolist() == [2, 0, 1, 2] and drawn.samples.shape == (4, 4)
    for q, samples, answers, correct in zip(questions, drawn.samples, drawn.answers, drawn.correct, strict=True):
        assert len(set(samples.tolist())) == 4
        assert [*zip(answers.tolist(), correct.tolist(), strict=True)] == [cells[q][0][i] for i in samples]


def test_every_draw_comes_at_every_place_as_often() -> None:
    own = stage("s", recorded([[[(i, False) for i in range(5)]]]), "", {"m0": 1.0}, ONE, 3, [1.0])
    taken = own.drawn(0, np.zeros(20_000, dtype=np.int64), np.random.default_rng(1)).samples
    shares = np.array([np.bincount(column, minlength=5) / len(taken) for column in taken.T])
    assert shares.shape == (3, 5)
    assert np.abs(shares - 0.2).max() < 4.5 * np.sqrt(0.2 * 0.8 / len(taken))


def test_the_smallest_recording() -> None:
    small, large = (stage("s", some(0, size, 1, 4), "", {"m0": 1.0}, ONE, 4, [0.5]) for size in (3, 5))
    assert Composed("t", (large, small), 4.0, 2, 1).least_questions == 3
