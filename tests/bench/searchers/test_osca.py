"""OSCA climbs on the shares of draws that were right, within the cap, on any task with a perfect checker."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from apportion.bench.searchers.osca import Allocations, osca
from apportion.bench.searchers.registry import SEARCHERS
from apportion.envs.replay.composed import Composed
from apportion.envs.replay.market import Currency, Market
from apportion.envs.replay.recorded import Recorded
from apportion.envs.replay.rule import Rule
from apportion.envs.replay.rules import RULES, Verified
from apportion.envs.replay.task import stage
from apportion.errors import RecordedError
from tests.bench.searchers.easy import best, easy, mixture, searched
from tests.bench.searchers.easy import recorded as easy_table

HALVES = [[8, 0, 1]] * 15 + [[0, 8, 1]] * 15  # right of 8 samples: each of two models solves half of the questions


def complementary(trials: int = 60) -> Composed:
    """Two models that solve a half each, and one that solves all now and then; two draws may be made."""
    correct = np.array(HALVES)
    pairs = tuple(("", m) for m in ("first", "second", "third"))
    names = tuple(f"{q:02}" for q in range(len(HALVES)))
    table = Recorded("halves", names, pairs, np.full(correct.shape, 8), correct, None)
    made = [stage(m, table, "", {m: 1.0}, [RULES["any_correct"]], 2.0, (0.5, 1.0), optional=True) for _, m in pairs]
    return Composed("halves", tuple(made), 2.0, 20, trials, "any")


@pytest.mark.parametrize("make", [lambda: easy(1), lambda: easy(2), mixture, complementary])
@pytest.mark.parametrize("seed", range(3))
def test_the_clearly_best_is_found(make: object, seed: int) -> None:
    assert callable(make)
    market = Market(make(), seed)
    searched(osca, market, seed)
    assert market.leads[-1].configuration == best(market)


def test_models_that_complement_each_other_share_the_budget() -> None:
    market = Market(complementary(), 0)
    searched(osca, market)
    chosen = market.configurations[market.leads[-1].configuration]
    assert [market.option(s, o).n for s, o in enumerate(chosen)] == [1, 1, 0]
    assert market.task.truth.max() == 1.0


@pytest.mark.parametrize("trials", [1, 2, 5])
@pytest.mark.parametrize("currency", ["draws", "cost"])
def test_the_cap_is_kept_and_something_leads(trials: int, currency: Currency) -> None:
    for task in (easy(2, trials), mixture(trials)):
        market = Market(task, 0, currency)
        searched(osca, market)
        assert 0 < market.spent <= market.cap * (1 + 1e-9)
        assert market.leads and market.leads[0].spent < market.cap


def test_it_leads_from_the_first_model_on_and_after_every_round() -> None:
    market = Market(easy(), 0)
    leads: list[float] = []
    lead = market.lead

    def noted(configuration: int, sure: float = float("nan")) -> None:
        leads.append(market.spent)
        lead(configuration, sure)

    market.lead = noted  # type: ignore[method-assign]
    assert searched(osca, market), "it ends when every draw that an option may take is bought"
    assert leads == [30, 60, 90, 180, 270, 360]
    assert (market.drawn == 4).all()


def test_of_one_stage_the_best_model_and_number_by_the_shares_leads() -> None:
    market = Market(easy(), 3)
    allocations = Allocations(market)
    rng = np.random.default_rng(0)
    for arm, times in ((0, 3), (1, 2), (2, 1)):
        for _ in range(times):
            market.buy(arm, np.arange(30))
        rates = market.right / np.maximum(market.drawn, 1)
        values = [(1 - (1 - rates[o.arm]) ** o.n).mean() for o in market.options(0)]
        at = allocations.best(None, rng)
        assert values[market.configurations[at][0]] == max(values)


@pytest.mark.parametrize("seed", range(5))
def test_no_step_betters_where_a_climb_ends(seed: int) -> None:
    rng = np.random.default_rng(seed)
    market = Market(mixture(), seed)
    allocations = Allocations(market)
    for arm in range(3):
        market.right[arm], market.drawn[arm] = rng.integers(0, 5, 30), 4
    found = allocations.best(None, rng)
    rates = market.right / 4

    def value(row: tuple[int, ...]) -> float:
        missed = [(1 - rates[s]) ** market.option(s, o).n for s, o in enumerate(row)]
        return float(1 - np.prod(missed, axis=0).mean())

    rows = [tuple(row) for row in market.configurations.tolist()]
    near = [row for row in rows if sum(a != b for a, b in zip(row, rows[found], strict=True)) <= 2]
    assert 1 < len(near) < len(rows)
    assert value(rows[found]) == pytest.approx(max(map(value, near)), abs=1e-12)


def with_rules(*rules: Rule) -> Composed:
    table = easy_table()
    own = stage("s", table, "", {"fair": 1.0, "good": 1.0}, rules, 4.0, (0.25, 1.0))
    return Composed("rules", (own,), 4.0, 30, 60)


def test_other_rules_than_a_perfect_checker_are_left_out() -> None:
    market = Market(with_rules(Verified(0.9, 0.8), RULES["any_correct"]), 0)
    searched(osca, market)
    assert {market.option(0, market.configurations[lead.configuration][0]).rule for lead in market.leads} == {1}
    assert market.leads[-1].configuration == best(market)


def test_what_it_does_not_know_is_refused() -> None:
    with pytest.raises(RecordedError, match="OSCA needs any_correct at every stage, but 's' has it not; leave one out"):
        osca(Market(with_rules(Verified(0.9, 0.8)), 0), np.random.default_rng(0))


def test_a_seed_gives_the_same_search() -> None:
    runs = []
    for seed in (3, 3, 4):
        market = Market(easy(2, 5), 0)
        searched(SEARCHERS["osca"], market, seed)
        runs.append([lead[:2] for lead in market.leads])
    assert runs[0] == runs[1] != runs[2]


def test_allocations_are_all_configurations_with_a_perfect_checker() -> None:
    market = Market(mixture(), 0)
    rows = {tuple(row) for row in Allocations(market).rows.tolist()}
    assert rows == {row for row in itertools.product(range(4), repeat=3) if 0 < sum((0, 1, 2, 4)[o] for o in row) <= 4}
