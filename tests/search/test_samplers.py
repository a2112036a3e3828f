"""Samplers by name, and the grid, which is ours, in anybody's Optuna study."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.distributions import CategoricalDistribution, IntDistribution

from apportion.graphs.space import SearchSpace
from apportion.graphs.templates import TemplateStage
from apportion.search.samplers import MADE_ONCE, SAMPLERS, GridSampler
from tests.search.kit import SPACE, TINY
from tests.strategies import spaces


def visited(space: SearchSpace, trials: int, seed: int = 0, before: list[dict[str, Any]] | None = None) -> list[Any]:
    """Parameters of the trials of a plain Optuna study."""
    study = optuna.create_study(sampler=GridSampler(space, seed, 100))
    for params in before or []:
        study.enqueue_trial(params)
    for _ in range(trials):
        study.tell(study.ask(space.distributions()), 0.0)
    return [trial.params for trial in study.get_trials(deepcopy=False)]


def frozenset_of(params: dict[str, Any]) -> frozenset[Any]:
    return frozenset(params.items())


@settings(max_examples=15, deadline=None)
@given(spaces(stages=1), st.integers(0, 2**32 - 1))
def test_the_grid_visits_each_graph_once(space: SearchSpace, seed: int) -> None:
    points = visited(space, space.size, seed)
    assert {space.build(point).key for point in points} == {space.build(point).key for point in space.grid()}
    assert visited(space, space.size, seed) == points


def test_the_seed_shuffles_the_grid() -> None:
    assert visited(SPACE, 20, seed=1) != visited(SPACE, 20, seed=2)


def test_the_grid_leaves_out_what_was_visited() -> None:
    first = visited(TINY, 3)
    assert first[0] not in visited(TINY, TINY.size, before=[first[0]])[1:]


def test_a_grid_that_is_used_up_begins_again() -> None:
    points = visited(TINY, 2 * TINY.size)
    assert {frozenset_of(p) for p in points[TINY.size :]} <= {frozenset_of(p) for p in points[: TINY.size]}


def test_the_grid_refuses_parameters_of_another_space() -> None:
    study = optuna.create_study(sampler=GridSampler(TINY, 0, 100))
    with pytest.raises(LookupError, match="`x` must be a parameter of the space, and it is not; ask with"):
        study.ask().suggest_int("x", 0, 1)


def test_an_objective_function_may_use_it() -> None:
    study = optuna.create_study(direction="maximize", sampler=GridSampler(TINY, 0, 100))

    def objective(trial: optuna.Trial) -> float:
        trial.suggest_categorical("answer.template", ("single", "vote"))
        large = trial.suggest_categorical("answer.model", ("small", "large")) == "large"
        return large * trial.suggest_int("answer.samples", 2, 3)

    study.optimize(objective, n_trials=TINY.size)
    assert study.best_value == 3.0


def test_distributions() -> None:
    assert TINY.distributions() == {
        "answer.template": CategoricalDistribution(("single", "vote")),
        "answer.model": CategoricalDistribution(("small", "large")),
        "answer.samples": IntDistribution(2, 3),
    }


@pytest.mark.parametrize("name", SAMPLERS)
@pytest.mark.parametrize("trials", [1, 30, 10_000])
def test_every_sampler_can_be_made_for_any_number_of_trials(name: str, trials: int) -> None:
    assert isinstance(SAMPLERS[name](TINY, 0, trials), optuna.samplers.BaseSampler)


def test_names() -> None:
    assert set(SAMPLERS) == {"random", "tpe", "nsga2"} and set(MADE_ONCE) == {"grid", "reinforce", "gptswarm", "maas"}


def test_a_grid_of_more_points_than_atoms_is_not_listed() -> None:
    stage = TemplateStage("s", ("a", "b"), ("single", "vote", "fuse", "refine"), (1, 100))
    space = SearchSpace(tuple(replace(stage, name=f"s{i}") for i in range(100)))
    assert space.size > 10**200
    study = optuna.create_study(sampler=GridSampler(space, 0, 10))
    assert dict(study.ask(space.distributions()).params) in GridSampler(space, 0, 10)._order
