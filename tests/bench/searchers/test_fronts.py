"""Fronts against brute forces, and what searchers by trial offer."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st

from apportion.bench.searchers.by_trial import BY_TRIAL, Trials
from apportion.bench.searchers.fronts import relative_hypervolume, undominated
from apportion.envs.replay.market import Market
from tests.bench.searchers.easy import easy, searched

BUDGET = 10.0
POINTS = st.lists(st.tuples(st.sampled_from([0.0, 0.2, 0.5, 0.9, 1.0]), st.sampled_from([1.0, 2.0, 7.0, 10.0])))


def dominated(point: tuple[float, float], by: tuple[float, float]) -> bool:
    return by[0] >= point[0] and by[1] <= point[1] and by != point


@given(POINTS)
def test_the_front_is_what_no_other_dominates(points: list[tuple[float, float]]) -> None:
    accuracy, cost = np.array(points).reshape(-1, 2).T
    found = [points[row] for row in undominated(accuracy, cost)]
    best = {p for p in points if not any(dominated(p, other) for other in points)}
    assert found == sorted(best, key=lambda p: p[1])


@given(POINTS.filter(bool), st.data())
def test_the_hypervolume_is_that_of_a_grid(points: list[tuple[float, float]], data: st.DataObject) -> None:
    """Accuracies are tenths and costs whole numbers, so that cells of a grid are in or out."""
    accuracy, cost = np.array(points).T
    offered = data.draw(st.lists(st.sampled_from(range(len(points)))))

    def cells(rows: list[int]) -> int:
        highs, paid = np.arange(10) / 10 + 0.05, np.arange(10) + 0.5
        return sum(any(h < accuracy[r] and c > cost[r] for r in rows) for h in highs for c in paid)

    whole, part = cells(list(range(len(points)))), cells(offered)
    assert relative_hypervolume(accuracy, cost, BUDGET, offered) == pytest.approx(part / whole if whole else 1.0)


def test_a_hypervolume_by_hand() -> None:
    """0.5 from 1 to 4 and 0.8 from 4 to 10 are 6.3; 0.5 from 1 to 10 is 4.5."""
    accuracy, cost = np.array([0.5, 0.8, 0.6]), np.array([1.0, 4.0, 9.0])
    assert [relative_hypervolume(accuracy, cost, BUDGET, o) for o in ([0, 1], [0], [])] == pytest.approx(
        [1, 4.5 / 6.3, 0]
    )


@pytest.mark.parametrize("kind", ["plain", "bank"])
@pytest.mark.parametrize("name", sorted(BY_TRIAL.keys() - {"gp"}))
def test_searchers_by_trial_offer_what_none_that_they_measured_dominates(
    name: str,
    kind: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made: list[Trials] = []
    init = Trials.__init__

    def noted(own: Trials, market: Market) -> None:
        init(own, market)
        made.append(own)

    monkeypatch.setattr(Trials, "__init__", noted)
    market = Market(easy(2), 3, bank=kind == "bank")
    searched(BY_TRIAL[name], market)
    (trials,) = made
    points = {c: (float(np.mean(v)), float(trials.cost[c])) for c, v in trials.values.items() if v}
    best = {p for p in points.values() if not any(dominated(p, other) for other in points.values())}
    offered = market.fronts[-1].configurations
    assert {points[c] for c in offered} == best and len(offered) == len(best) > 1
    assert all(a.spent <= b.spent and a.configurations != b.configurations for a, b in pairwise(market.fronts))


@pytest.mark.parametrize("name", ["nsga2-pareto", "tpe-pareto"])
def test_with_two_objectives_the_front_is_that_of_the_study(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[optuna.Study] = []
    create = optuna.create_study

    def noted(**settings: Any) -> optuna.Study:
        made.append(create(**settings))
        return made[-1]

    monkeypatch.setattr(optuna, "create_study", noted)
    market = Market(easy(2), 3, bank=True)
    searched(BY_TRIAL[name], market)
    (study,) = made
    assert [direction.name for direction in study.directions] == ["MAXIMIZE", "MINIMIZE"]
    costs = market.task.cost(market.configurations)
    offered = {float(costs[c]) for c in market.fronts[-1].configurations}
    assert {trial.values[1] for trial in study.best_trials} == offered and len(offered) > 1


@pytest.mark.parametrize("front", [[-1], [0, 10**6]])
def test_a_front_is_of_configurations(front: list[int]) -> None:
    with pytest.raises(ValueError, match=r"a front must be of numbers below \d+, got .*; mend the searcher"):
        Market(easy(), 0).front(front)


def test_what_was_offered_is_kept_with_its_spend() -> None:
    market = Market(easy(), 0)
    market.front([2, 0, 2])
    market.measure(0)
    market.front([0, 2])
    market.front([1])
    assert [own.configurations for own in market.fronts] == [(0, 2), (1,)]
    assert [own.spent for own in market.fronts] == [0.0, market.spent] and market.spent > 0
    market.front([])
    assert market.fronts[-1].configurations == ()
