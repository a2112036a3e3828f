"""Spending by the draw finds what is best, stops early, and buys the draws that say most of the choice."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest

from apportion.envs.replay.composed import Composed
from apportion.envs.replay.market import Currency, Market, Spent
from apportion.envs.replay.recorded import Recorded
from apportion.envs.replay.rules import RULES
from apportion.envs.replay.task import stage
from apportion.search import market as protocol
from apportion.search.allocator import by_draw
from apportion.search.allocator.belief import Belief, Believer
from apportion.search.allocator.by_draw import _buy, _gain, _leader, search_by_draw
from apportion.search.market import Floats
from tests.bench.searchers.easy import assert_a_seed_decides, best, easy, mixture, searched
from tests.envs.replay.tables import recorded as table_of

QUESTIONS, SAMPLES = 40, 20


def rivals(
    shares: Mapping[str, float | Floats], prices: Mapping[str, float], search: int = 40, most: int = 1
) -> Composed:
    """A task of one stage, whose models are right on shares of their draws, more on easier questions."""
    ease = np.linspace(0.4, 1.6, QUESTIONS)
    right = np.column_stack([np.clip(np.rint(ease * SAMPLES * own), 0, SAMPLES) for own in shares.values()]).astype(int)
    questions = tuple(f"{q:02}" for q in range(QUESTIONS))
    pairs = tuple(("", model) for model in shares)
    table = Recorded("rivals", questions, pairs, np.full(right.shape, SAMPLES), right, None)
    own = stage("answer", table, "", prices, [RULES["any_correct"]], 4.0, (0.25, 0.5, 1.0), most)
    return Composed("rivals", (own,), budget=4.0, search=search, trials=60)


@pytest.mark.parametrize("currency", ["draws", "cost"])
@pytest.mark.parametrize("stages", [1, 2])
@pytest.mark.parametrize("seed", range(5))
def test_the_clearly_best_is_found_for_a_small_share_of_the_cap(stages: int, seed: int, currency: Currency) -> None:
    market = Market(easy(stages), seed, currency)
    assert searched(search_by_draw, market, seed)  # it stops by itself
    assert market.leads[-1].configuration == best(market)
    assert market.spent < 0.05 * market.cap


@pytest.mark.parametrize("make", [lambda: replace(easy(2), combine="mean"), mixture], ids=["mean", "any"])
@pytest.mark.parametrize("seed", range(4))
def test_the_best_is_found_where_shares_count_or_any_suffices(make: Callable[[], Composed], seed: int) -> None:
    task = make()
    market = Market(task, seed)
    assert searched(search_by_draw, market, seed)
    assert market.leads[-1].configuration == best(market) and np.median(task.truth) < 0.9 * task.truth.max()
    assert market.leads[-1].sure > 0.5 and market.spent < 0.1 * market.cap


def test_models_that_complement_each_other_are_mixed() -> None:
    """Each is right on questions of its own, so that a draw of each is better than two of one."""
    first = np.arange(QUESTIONS) % 2 == 0
    right = SAMPLES * np.column_stack([first, ~first]).astype(int)
    table = Recorded("t", tuple(map(str, range(QUESTIONS))), (("", "a"), ("", "b")), 0 * right + SAMPLES, right, None)
    rules = [RULES["any_correct"]]
    stages = [stage(m, table, "", {m: 1.0}, rules, 2.0, (0.5, 1.0), optional=True) for m in ("a", "b")]
    market = Market(Composed("t", tuple(stages), 2.0, 30, 60, "any"), 0)
    assert searched(search_by_draw, market)
    row = market.configurations[market.leads[-1].configuration]
    assert [market.option(s, o).n for s, o in enumerate(row)] == [1, 1]


@pytest.mark.parametrize("votes", ["apart", "alike"])
def test_a_vote_is_chosen_by_how_right_and_wrong_draws_agree(votes: str) -> None:
    """A weak model whose wrong draws differ is better than a fair one whose wrong draws agree, if many vote."""
    cells = [
        [[(0, True)] * 8 + [(1 + i, False) for i in range(12)], [(0, True)] * 9 + [(1, False)] * 11],
        [[(i, i < 8) for i in range(20)], [(0, i < 9) if i < 9 else (i, False) for i in range(20)]],
    ]
    table = table_of([cells[votes == "alike"]] * QUESTIONS)
    own = stage("vote", table, "", {"m0": 1.0, "m1": 1.0}, [RULES["majority"]], 9.0, (1 / 9, 1.0))
    market = Market(Composed("vote", (own,), 9.0, 40, 60), 0)
    assert searched(search_by_draw, market)
    option = market.option(0, market.configurations[market.leads[-1].configuration, 0])
    assert (option.arm, option.n) == ((1, 9) if votes == "alike" else (0, 9))


@pytest.mark.parametrize("value", [0.1, 0.7, 0.3, 1.0])
def test_it_ends_where_all_is_known_to_be_equal(value: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """The mean of equal numbers of single precision may be above them."""
    market = Market(easy(), 0)
    monkeypatch.setattr(market, "worth", lambda s, o, p, habits: np.full((*p.shape, len(o)), value))
    assert searched(search_by_draw, market) and 0.0 <= market.leads[-1].sure <= 1.0


@pytest.mark.parametrize("seed", range(3))
def test_a_probability_is_stated_where_all_configurations_are_looked_at(seed: int) -> None:
    market = Market(easy(2), seed)
    searched(search_by_draw, market, seed)
    assert all(math.isnan(lead.sure) or 0.0 <= lead.sure <= 1.0 for lead in market.leads)
    assert 0.0 <= market.leads[0].sure <= 1.0
    assert market.leads[-1].sure > 0.8


def test_the_stated_probability_takes_the_examples_for_a_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each model is good at questions of its own, so that it hangs on the examples which of them is better."""
    first = np.arange(QUESTIONS) % 20 < 11
    shares: dict[str, float | Floats] = {"one": np.where(first, 2.0, 0.0), "other": np.where(first, 0.0, 2.0)}

    def said() -> float:
        markets = [Market(rivals(shares, {"one": 1.0, "other": 1.0}, most=4), seed) for seed in range(8)]
        assert all(searched(search_by_draw, market, seed) for seed, market in enumerate(markets))
        return float(np.mean([market.leads[-1].sure for market in markets]))

    before = said()
    monkeypatch.setattr(Belief, "values_over_all", lambda self, rows, rng: self.values(rows))
    assert before < said() - 0.04


def test_a_seed_gives_the_same_search() -> None:
    assert_a_seed_decides(search_by_draw, easy(2))


@pytest.mark.parametrize("search", [1, 3, 40])
def test_it_ends_even_if_it_is_never_content(search: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(by_draw, "GAIN", 0.0)
    market = Market(rivals({"one": 0.50, "other": 0.52}, {"one": 1.0, "other": 1.0}, search, most=4), 0)
    assert searched(search_by_draw, market)
    assert market.drawn.max() <= 4 and market.spent == market.drawn.sum() <= market.cap


def test_it_stops_sooner_where_less_is_at_stake(monkeypatch: pytest.MonkeyPatch) -> None:
    spent = []
    for gain in (1.0, 0.005, 0.0):
        monkeypatch.setattr(by_draw, "GAIN", gain)
        market = Market(rivals({"one": 0.50, "other": 0.52}, {"one": 1.0, "other": 1.0}, most=4), 0)
        searched(search_by_draw, market)
        spent.append(market.spent)
    rounds = by_draw.PATIENCE - 1  # of the least batch, after the first draws
    assert spent[0] == 2 * by_draw.START + rounds * by_draw.BATCH < spent[1] < spent[2]


@pytest.mark.parametrize("currency", ["draws", "cost"])
@pytest.mark.parametrize("trials", [1, 2])
def test_the_cap_is_kept_and_its_exception_goes_through(trials: int, currency: Currency) -> None:
    market = Market(easy(2, trials), 0, currency)
    market.cap = min(market.cap, 60.0)
    with pytest.raises(Spent):
        search_by_draw(market, np.random.default_rng(0))
    assert 0 < market.spent <= market.cap and market.leads


def test_one_configuration_needs_no_more_than_the_first_draws() -> None:
    market = Market(rivals({"only": 0.5}, {"only": 4.0}), 0)
    assert len(market.configurations) == 1 and searched(search_by_draw, market)
    assert market.drawn.sum() == by_draw.START and market.leads[-1].sure == 1.0


@pytest.mark.parametrize("seed", range(5))
def test_close_rivals_are_asked_more_than_what_is_clearly_worse(seed: int) -> None:
    shares = {"first": 0.62, "second": 0.56, "poor": 0.05, "poorer": 0.03}
    market = Market(rivals(shares, dict.fromkeys(shares, 4.0)), seed)
    searched(search_by_draw, market, seed)
    drawn = market.drawn.sum(axis=1)
    assert drawn[:2].sum() >= 2 * drawn[2:].sum()


def test_where_two_cells_say_the_same_the_cheaper_is_bought() -> None:
    prices = {"dear": 2.0, "cheap": 1.0}
    for currency, cheap in (("cost", 1.0), ("draws", 0.0)):
        market = Market(rivals(dict.fromkeys(prices, 0.5), prices), 0, cast(Currency, currency))
        gain = np.array([[1.0], [0.9]]) * np.linspace(1.0, 1.01, market.split.size)
        assert _buy(market, gain)
        assert market.drawn.sum() == by_draw.BATCH
        assert market.drawn[1].sum() / market.drawn.sum() == cheap


def test_what_gains_most_is_bought_where_draws_are_left() -> None:
    market = Market(rivals({"a": 0.5, "b": 0.5}, {"a": 1.0, "b": 1.0}, most=2), 0)
    gain = np.zeros(market.drawn.shape)
    gain[0, :3], gain[1, 7] = 1.0, 0.5
    for turn in (1, 2):
        assert _buy(market, gain)
        assert (market.drawn == turn * (gain > 0)).all()
    assert not _buy(market, gain) and market.drawn.sum() == 8


# --- one more draw, against what conditioning the samples says --------------------------------------------------------

ARMS = [[0, 1, 1], [2, 3, 3]]  # of the options of two stages
ROWS = np.array([[0, 1], [2, 0], [1, 2]])
BELIEVER = cast(Believer, SimpleNamespace(arm=lambda s, number: ARMS[s][number]))


def a_belief(*, shared: bool = False) -> Belief:
    """6 samples of 3 examples and of 2 that are unseen; all stages must be right, or any where they are shared."""
    rng = np.random.default_rng(0)
    p = rng.uniform(0.05, 0.95, (6, 4, 5))
    worth: list[Floats] = [
        np.stack([p[:, a], p[:, a + 1] ** 2, 1 - (1 - p[:, a + 1]) ** 3], axis=1)  # of three options
        for a in (0, 2)
    ]

    def combined(parts: Sequence[Floats]) -> Floats:
        return parts[0] + parts[1] - parts[0] * parts[1] if shared else parts[0] * parts[1]

    return Belief(cast(protocol.Market, SimpleNamespace(shared=shared, combined=combined)), p, worth, 3)


def told(p: Floats, worth: Floats) -> float:
    """By how much a draw lowers the variance of a worth: samples weighed by how likely they make what it said."""
    expected = 0.0
    for likely in (p, 1.0 - p):
        mean = float((likely * worth).sum() / likely.sum())
        expected += likely.mean() * float((likely * (worth - mean) ** 2).sum() / likely.sum())
    return float(worth.var()) - expected


@pytest.mark.parametrize("shared", [False, True])
def test_the_gain_is_the_variance_that_one_draw_is_expected_to_take(*, shared: bool) -> None:
    belief = a_belief(shared=shared)
    of = {0: 0.5, 2: 0.3}
    expected = np.zeros((4, 3))
    for configuration, weight in of.items():
        for s, number in enumerate(ROWS[configuration]):
            other = belief.worth[1 - s][:, ROWS[configuration][1 - s], :3].mean(axis=0)
            arm = ARMS[s][number]
            for example in range(3):
                counts = 1 - other[example] if shared else other.mean()  # as far as the other stage leaves it to this
                variance = told(belief.p[:, arm, example], belief.worth[s][:, number, example])
                expected[arm, example] += weight * counts**2 * variance
    assert _gain(BELIEVER, belief, ROWS, of) == pytest.approx(expected, rel=1e-6)
    assert (expected[[0, 1, 3]] > 0).all() and (expected[2] == 0).all()


def test_a_draw_that_is_sure_tells_nothing() -> None:
    belief = a_belief()
    belief.p[:, 0], belief.worth[0][:, 0] = 1.0, 1.0
    assert _gain(BELIEVER, belief, ROWS, {0: 1.0})[0] == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize(("lead", "kept"), [(0.001, True), (0.5, False), (-0.1, True)])
def test_the_leader_stays_where_another_leads_by_noise_only(lead: float, kept: bool) -> None:  # noqa: FBT001
    noise = np.tile([0.3, -0.3], 32)
    values = np.column_stack([np.full(64, 0.4), np.full(64, 0.2), 0.4 + lead + noise])
    assert _leader(values, 0) == (0 if kept else 2)
    assert _leader(values, None) == (2 if lead > 0 else 0)
