"""Searchers by draw find what is clearly best, within the cap; a market's scores are those of its single draws."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from apportion.bench.searchers import by_draw
from apportion.bench.searchers.by_draw import BY_DRAW, Floats, Ints, Sheet, signed_rank
from apportion.envs.replay.market import Currency, Market, Spent
from tests.bench.searchers.easy import assert_a_seed_decides, best, easy, searched

NAMES = sorted(BY_DRAW)
EXHAUSTIVE = ["epsilon_greedy", "successive_halving", "ucb_e"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("stages", [1, 2])
@pytest.mark.parametrize("seed", range(3))
def test_the_clearly_best_is_found(name: str, stages: int, seed: int) -> None:
    market = Market(easy(stages), seed)
    searched(BY_DRAW[name], market, seed)
    assert market.leads[-1].configuration == best(market)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("trials", [1, 2, 5])
@pytest.mark.parametrize("currency", ["draws", "cost"])
def test_the_cap_is_kept_and_something_leads(name: str, trials: int, currency: Currency) -> None:
    market = Market(easy(2, trials), 0, currency)
    searched(BY_DRAW[name], market)
    assert 0 < market.spent <= market.cap * (1 + 1e-9)
    assert market.leads


@pytest.mark.parametrize("name", NAMES)
def test_a_seed_gives_the_same_search(name: str) -> None:
    assert_a_seed_decides(BY_DRAW[name], easy(2, 5))


@pytest.mark.parametrize("name", EXHAUSTIVE)
def test_it_ends_when_every_candidate_is_known_on_all_examples(name: str) -> None:
    market = Market(easy(), 0)
    assert searched(BY_DRAW[name], market)
    assert (market.drawn == 4).all()
    assert market.spent == market.drawn.sum() < market.cap


@pytest.mark.parametrize("name", ["elimination", "racing"])
def test_what_is_worse_is_dropped_before_all_examples_are_bought(name: str) -> None:
    market = Market(easy(), 0)
    assert searched(BY_DRAW[name], market)
    assert market.drawn.sum() < market.drawn.size * 4


@pytest.mark.parametrize("name", NAMES)
def test_of_a_large_space_a_part_is_searched(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(by_draw, "MOST", 5)
    market = Market(easy(2), 0)
    scored: set[int] = set()
    score = market.score

    def noted(configuration: int, examples: Ints) -> Floats:
        scored.add(configuration)
        return score(configuration, examples)

    monkeypatch.setattr(market, "score", noted)
    assert searched(BY_DRAW[name], market)
    assert len(scored) == 5


def test_a_sheet_leads_with_the_best_of_those_known_on_most_examples() -> None:
    market = Market(easy(), 0)
    sheet = Sheet(market, np.random.default_rng(0))
    rows = {int(configuration): row for row, configuration in enumerate(sheet.candidates)}
    worst, top = int(market.task.truth.argmin()), best(market)
    sheet.score(rows[worst], 20)
    sheet.score(rows[top], 10)
    assert market.leads[-1].configuration == worst
    sheet.score(rows[top], 20)
    assert market.leads[-1].configuration == top
    spent = market.spent
    sheet.score(rows[top], 15)
    assert market.spent == spent and sheet.done[rows[top]] == 20


@given(st.lists(st.integers(-3, 3), min_size=1, max_size=7))
def test_signed_rank_against_all_signs(differences: list[int]) -> None:
    some = np.array([d for d in differences if d], dtype=float)
    ranks = np.array([(abs(some) < abs(d)).sum() + ((abs(some) == abs(d)).sum() + 1) / 2 for d in some])
    sums = [float((ranks * signs).sum()) for signs in itertools.product((-1, 1), repeat=len(some))]
    spread = float(np.std(sums)) or 1.0
    expected = float((np.sign(some) * ranks).sum()) / spread
    assert signed_rank(np.array([differences], dtype=float))[0] == pytest.approx(expected, abs=1e-9)


def test_signed_rank_of_rows_and_of_a_textbook_example() -> None:
    # Hollander & Wolfe, depression scores before and after: sum of positive ranks 5 of 45, all of different size.
    after_before = [-0.952, 0.147, -1.022, -0.430, -0.620, -0.590, -0.490, 0.080, -0.010]
    z = (5 - 22.5) / np.sqrt(9 * 10 * 19 / 24)
    found = signed_rank(np.array([after_before, np.zeros(9), np.ones(9)]))
    assert found.tolist() == pytest.approx([z, 0.0, 3.0])


def test_scores_are_those_of_draws_bought_one_by_one() -> None:
    task = easy(2)
    market, other = Market(task, 5), Market(task, 5)
    examples = np.array([7, 2, 19])
    configuration = best(market)
    scores = market.score(configuration, examples)
    bought = [[other.buy(arm, examples) for _ in range(4)] for arm in (1, 4)]
    assert scores.tolist() == np.array(bought).any(axis=1).all(axis=0).tolist()
    assert (market.drawn == other.drawn).all() and (market.right == other.right).all()
    assert market.spent == other.spent == 24


def test_scores_share_draws_and_pay_for_those_that_lack() -> None:
    market = Market(easy(), 1)
    two, four = (next(i for i, o in enumerate(market.task.stages[0].options) if o[:2] == (1, n)) for n in (2, 4))
    market.buy(1, np.array([0, 1]))
    market.score(two, np.array([1, 2]))
    assert market.spent == 2 + 1 + 2
    market.score(four, np.array([0, 1, 2]))
    assert market.spent == 12
    market.score(two, np.array([0, 1, 2]))
    assert market.spent == 12
    assert market.drawn[1, :4].tolist() == [4, 4, 4, 0]


def test_a_score_of_all_examples_is_a_trial_with_the_bank() -> None:
    market, banked = Market(easy(2), 2), Market(easy(2), 2, bank=True)
    everyone = np.arange(market.split.size)
    for configuration in (0, 40, 80):
        assert market.score(configuration, everyone).mean() == banked.measure(configuration)
    assert market.spent == banked.spent


def test_a_score_beyond_the_cap_buys_nothing() -> None:
    market = Market(easy(trials=1), 0)
    everyone = np.arange(market.split.size)
    with pytest.raises(Spent):
        market.score(best(market), everyone)
    assert market.spent == 0 and not market.drawn.any() and not market.right.any()
