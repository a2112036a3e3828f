"""Optuna's view of a market holds every configuration, and what over-asks is no draw or over the budget."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from optuna.distributions import CategoricalDistribution, IntDistribution

from apportion.bench.searchers.by_trial import BY_TRIAL, Space
from apportion.envs.replay.market import Market
from tests.bench.searchers.easy import easy, mixture, searched


def domains(space: Space) -> dict[str, list[int]]:
    found = {}
    for name, own in space.distributions.items():
        assert isinstance(own, CategoricalDistribution | IntDistribution)
        choices = own.choices if isinstance(own, CategoricalDistribution) else range(own.low, own.high + 1)
        found[name] = [int(str(choice)) for choice in choices]
    return found


@pytest.mark.parametrize("make", [lambda: easy(2), mixture])
def test_every_configuration_is_found(make: object) -> None:
    assert callable(make)
    market = Market(make(), 0)
    space = Space(market)
    named = domains(space)
    found = {space.find(dict(zip(named, row, strict=True))) for row in itertools.product(*named.values())}
    assert found - {None} == set(range(len(market.configurations)))


def test_a_share_too_small_for_a_draw_stands_for_none() -> None:
    market = Market(mixture(), 0)
    space = Space(market)
    names = [own.name for own in market.task.stages]
    chosen = {f"{name}.model": 0 for name in names} | {f"{names[0]}.share": 1, f"{names[1]}.share": -1}
    at = space.find(chosen | {f"{names[2]}.share": -1})
    assert at is not None
    assert [market.option(s, o).n for s, o in enumerate(market.configurations[at])] == [2, 0, 0]
    assert space.find(chosen | {f"{name}.share": -1 for name in names}) is None, "no draws at all"


@pytest.mark.parametrize("name", sorted(BY_TRIAL))
def test_mixtures_are_searched(name: str) -> None:
    market = Market(mixture(trials=20), 0)
    searched(BY_TRIAL[name], market)
    assert market.leads and 0.8 * market.cap < market.spent <= market.cap * (1 + 1e-9)
    found = market.task.truth[market.leads[-1].configuration]
    assert found > np.median(market.task.truth)
