"""Numeric samplers by name. Each is an `optuna.samplers.BaseSampler`, so it also works in anybody's Optuna study."""

from __future__ import annotations

import random
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.exceptions import ExperimentalWarning
from optuna.samplers import BaseSampler, NSGAIISampler, RandomSampler, TPESampler
from optuna.study import Study
from optuna.trial import FrozenTrial

from apportion.graphs.space import SearchSpace

SamplerFactory = Callable[[SearchSpace, int, int], BaseSampler]
"""Search space, seed and planned trials to a sampler."""

SPARE_POINTS = 200  # of the grid, since baselines take some of its points
LISTED_POINTS = 1_000_000  # of a grid that is shuffled as a whole
FEWEST_STARTUP, MOST_STARTUP = 4, 10  # random trials before TPE's model is used; Optuna's own default is 10


class GridSampler(BaseSampler):
    """Every distinct graph of the space once, in an order shuffled by the seed.

    Unlike Optuna's own grid it knows which parameters a template ignores, and does not visit their values.
    """

    def __init__(self, space: SearchSpace, seed: int, trials: int) -> None:
        self._order = [space.point(place) for place in places(space.size, trials + SPARE_POINTS, seed)]
        self._parameters = space.distributions()

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """All parameters, so that they are chosen together."""
        return self._parameters

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """The first point of the order that no earlier trial has."""
        seen = {tuple(sorted(t.params.items())) for t in study.get_trials(deepcopy=False) if t.number != trial.number}
        for point in self._order:
            if tuple(sorted(point.items())) not in seen:
                return point
        return self._order[trial.number % len(self._order)]

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """Not reached: every parameter is sampled together."""
        raise LookupError(f"`{param_name}` must be a parameter of the space, and it is not; ask with the space's own.")


def places(size: int, most: int, seed: int) -> list[int]:
    """Different places of a grid in random order: all of them, or `most` where there are more points than atoms."""
    rng = random.Random(seed)
    if size <= LISTED_POINTS:
        return rng.sample(range(size), size)[:most]
    return list(dict.fromkeys(rng.randrange(size) for _ in range(most)))


class SteadyNSGAIISampler(NSGAIISampler):
    """NSGA-II whose parents stand in the order of their trials.

    Optuna lists them in the order of selection when a generation is first asked for and by number afterwards, so that
    a study that is rebuilt amid a generation would go on differently.
    """

    def select_parent(self, study: Study, generation: int) -> list[FrozenTrial]:
        """The same parents, by number."""
        return sorted(super().select_parent(study, generation), key=lambda trial: trial.number)


def _random(space: SearchSpace, seed: int, trials: int) -> BaseSampler:
    return RandomSampler(seed=seed)


def _tpe(space: SearchSpace, seed: int, trials: int) -> BaseSampler:
    """TPE over all parameters together: what a stage should take depends on what the others take."""
    startup = max(FEWEST_STARTUP, min(MOST_STARTUP, trials // 3))
    with warnings.catch_warnings():  # `multivariate` is marked experimental, as it has been since Optuna 2
        warnings.simplefilter("ignore", ExperimentalWarning)
        return TPESampler(seed=seed, n_startup_trials=startup, multivariate=True)


def _nsga2(space: SearchSpace, seed: int, trials: int) -> BaseSampler:
    return SteadyNSGAIISampler(seed=seed, population_size=max(4, min(50, trials // 4)))


SAMPLERS: Mapping[str, SamplerFactory] = {"random": _random, "tpe": _tpe, "nsga2": _nsga2}
Prices = Mapping[tuple[str, str], float]
"""Stage and model to the nominal price of one call."""


def _reinforce(space: SearchSpace, seed: int, trials: int, prices: Prices, budget: float | None) -> BaseSampler:
    from apportion.search.reinforce.sampler import ReinforceSampler

    return ReinforceSampler(space, seed, None, prices, budget)


def _gptswarm(space: SearchSpace, seed: int, trials: int, prices: Prices, budget: float | None) -> BaseSampler:
    from apportion.search.reinforce.sampler import ReinforceSampler
    from apportion.search.reinforce.settings import GPTSWARM

    return ReinforceSampler(space, seed, GPTSWARM, prices, budget)


def _maas(space: SearchSpace, seed: int, trials: int, prices: Prices, budget: float | None) -> BaseSampler:
    from apportion.search.reinforce.sampler import ReinforceSampler
    from apportion.search.reinforce.settings import MAAS

    return ReinforceSampler(space, seed, MAAS, prices, budget)


def _grid(space: SearchSpace, seed: int, trials: int, prices: Prices, budget: float | None) -> BaseSampler:
    return GridSampler(space, seed, trials)


MADE_ONCE: Mapping[str, Callable[[SearchSpace, int, int, Prices, float | None], BaseSampler]] = {
    "grid": _grid,
    "reinforce": _reinforce,
    "gptswarm": _gptswarm,
    "maas": _maas,
}
"""Samplers that serve a whole study: they seed each trial for themselves, and may draw within a nominal budget."""

optuna.logging.set_verbosity(optuna.logging.WARNING)  # a line for every trial would drown the progress view
