"""Greedy search and surrogates find what is clearly best, within the cap; the surrogates fit what they can say."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from apportion.bench.searchers.surrogates import SURROGATES, logit_linear, predicted, quadratic
from apportion.envs.replay.composed import Composed
from apportion.envs.replay.market import Currency, Market
from apportion.envs.replay.rules import RULES, Verified
from apportion.envs.replay.task import stage
from tests.bench.searchers.easy import assert_a_seed_decides, best, easy, mixture, recorded, searched

NAMES = sorted(SURROGATES)


def mixed() -> Composed:
    """Two stages, of models at different prices, the second with two rules."""
    prices = {"fair": 0.5, "good": 1.0, "poor": 0.25}
    rules = [RULES["any_correct"], Verified(0.9, 0.8)]
    made = [stage(f"s{s}", recorded(), "", prices, rules[: s + 1], 4.0, (0.125, 0.25, 0.5, 1.0)) for s in range(2)]
    return Composed("mixed", tuple(made), budget=6.0, search=30, trials=60)


@pytest.mark.parametrize("bank", [False, True])
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("stages", [1, 2])
@pytest.mark.parametrize("seed", range(3))
def test_the_clearly_best_is_found(name: str, stages: int, seed: int, bank: bool) -> None:  # noqa: FBT001
    market = Market(easy(stages), seed, bank=bank)
    searched(SURROGATES[name], market, seed)
    assert market.leads[-1].configuration == best(market)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("trials", [3, 10])
@pytest.mark.parametrize("currency", ["draws", "cost"])
def test_the_cap_is_kept_and_something_leads(name: str, trials: int, currency: Currency) -> None:
    market = Market(easy(2, trials), 0, currency)
    assert not searched(SURROGATES[name], market)
    assert 0 < market.spent <= market.cap * (1 + 1e-9)
    assert market.leads


@pytest.mark.parametrize("name", NAMES)
def test_a_seed_gives_the_same_search(name: str) -> None:
    assert_a_seed_decides(SURROGATES[name], mixed())


@pytest.mark.parametrize("name", NAMES)
def test_it_ends_when_every_configuration_was_measured_once(name: str) -> None:
    market = Market(easy(trials=20), 0)
    assert searched(SURROGATES[name], market)
    assert market.trials == len(market.configurations) == 9


def test_greedy_changes_one_parameter_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    market = Market(mixed(), 0)
    chosen: list[int] = []
    measure = market.measure

    def noted(configuration: int) -> float:
        chosen.append(configuration)
        return measure(configuration)

    monkeypatch.setattr(market, "measure", noted)
    searched(SURROGATES["greedy"], market)
    rows = market.configurations[chosen]
    assert len(set(chosen)) == len(chosen)
    changed = [[(rows[i] != rows[j]).sum() for j in range(i)] for i in range(1, 12)]
    assert all(min(differences) <= 1 for differences in changed)


def test_ridge_regression_is_least_squares_when_nothing_is_penalised() -> None:
    rng = np.random.default_rng(0)
    x, weights = rng.normal(size=(30, 4)), np.array([1.0, -2.0, 0.5, 0.0])
    rows = list(range(12))
    y = x[rows] @ weights + 7.0
    assert predicted(x, rows, y, 1e-9) == pytest.approx(x @ weights, abs=1e-6)
    assert np.abs(predicted(x, rows, y, 1e9)).max() < 1e-6


def in_span(features: NDArray[np.float64], values: NDArray[np.float64]) -> bool:
    with_intercept = np.column_stack([np.ones(len(features)), features])
    found = with_intercept @ np.linalg.lstsq(with_intercept, values, rcond=None)[0]
    return bool(np.allclose(found, values, atol=1e-8))


def columns(market: Market) -> tuple[NDArray[np.float64], ...]:
    """Model, rule, log price and log n by stage, each stages x configurations."""
    rows = [
        [(o.arm, o.rule, np.log(own.prices[o.arm]), np.log(o.n)) for o in (own.options[c] for c in chosen)]
        for own, chosen in zip(market.task.stages, market.configurations.T, strict=True)
    ]
    return tuple(np.array(rows).transpose(2, 0, 1))


def test_logit_linear_has_a_line_in_log_n_for_each_model_of_each_stage() -> None:
    market = Market(mixed(), 0)
    model, rule, _, log_n = columns(market)
    lines = (model + 1) ** 2 + (0.3 - model**2) * log_n
    assert in_span(logit_linear(market), lines.sum(axis=0) - 2 * rule[1])
    assert not in_span(logit_linear(market), log_n[0] * log_n[1])
    assert not in_span(logit_linear(market), log_n[0] ** 2)


def test_quadratic_has_all_squares_and_products_of_logs_and_what_a_model_adds() -> None:
    market = Market(mixed(), 0)
    model, rule, log_price, log_n = columns(market)
    log_share = log_price + log_n
    wanted = log_share[0] * log_price[1] - 3 * log_share[1] ** 2 + log_share[0] * log_share[1] + (model[0] == 1)
    assert in_span(quadratic(market), wanted + 2 * rule[1] - log_price[0])
    assert not in_span(quadratic(market), log_share[0] ** 3)


@pytest.mark.parametrize("features", [quadratic, logit_linear])
def test_no_draws_have_features_too(features: Callable[[Market], NDArray[np.float64]]) -> None:
    market = Market(mixture(), 0)
    found = features(market)
    assert np.isfinite(found).all() and len(np.unique(found, axis=0)) == len(market.configurations)
