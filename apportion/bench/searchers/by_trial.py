"""Searchers whose unit of spending is a trial: a configuration is proposed, measured on the whole split, and told.

They know the market's configurations and what measuring them gave.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from apportion.envs.replay.market import Market

if TYPE_CHECKING:
    import optuna

REPEATS_IN_A_ROW = 200  # proposals that were measured before; then a searcher has nothing new to say
MOST_ASKS = 8  # times the trials that the cap is made for; with a bank trials get cheap, and samplers slow
POPULATION = 10  # of NSGA-II

Searcher = Callable[[Market, np.random.Generator], None]
"""Buys from a market, and says what leads, until it raises `Spent` or the searcher has done enough."""


class Trials:
    """Measures configurations and lets the one with the best mean lead.

    Attributes:
        values: measurements of each configuration so far.
    """

    def __init__(self, market: Market) -> None:
        self.market = market
        self.values: dict[int, list[float]] = {}
        self._means: dict[int, float] = {}
        self.repeats = 0

    def measure(self, configuration: int) -> float:
        """Measure it; with the bank, what was measured before is known."""
        known = self.values.setdefault(configuration, [])
        self.repeats = self.repeats + 1 if known else 0
        known.append(known[0] if known and self.market.bank else self.market.measure(configuration))
        self._means[configuration] = sum(known) / len(known)
        self.market.lead(max(self._means, key=self._means.__getitem__))
        return known[-1]


def random(market: Market, rng: np.random.Generator) -> None:
    """Configurations in random order, each once."""
    trials = Trials(market)
    for configuration in rng.permutation(len(market.configurations)):
        trials.measure(int(configuration))


def grid(market: Market, rng: np.random.Generator) -> None:
    """Configurations evenly spread over their list, in its order, as many as the cap pays for on average."""
    trials = Trials(market)
    count = len(market.configurations)
    for configuration in np.unique(np.linspace(0, count - 1, min(count, market.task.trials)).astype(int)):
        trials.measure(int(configuration))


def of_optuna(make: Callable[[int], optuna.samplers.BaseSampler]) -> Searcher:
    """An Optuna sampler over a model, a share of the budget and, where there are several, a rule for each stage."""

    def search(market: Market, rng: np.random.Generator) -> None:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # samplers marked experimental
            study = optuna.create_study(direction="maximize", sampler=make(int(rng.integers(2**31))))
            space = Space(market)
            trials = Trials(market)
            for _ in range(MOST_ASKS * market.task.trials):
                if trials.repeats >= REPEATS_IN_A_ROW:
                    break
                trial = study.ask(space.distributions)
                configuration = space.find(trial.params)
                if configuration is None:
                    trial.set_constraint("budget", 1.0)
                    study.tell(trial, state=optuna.trial.TrialState.PRUNED)
                    trials.repeats += 1
                else:
                    trial.set_constraint("budget", -1.0)
                    study.tell(trial, trials.measure(configuration))

    return search


class Space:
    """Optuna's view of a market: the parameters, and the configuration that some values of them are."""

    def __init__(self, market: Market) -> None:
        from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution

        self._market = market
        self.distributions: dict[str, BaseDistribution] = {}
        self._options: list[dict[tuple[int, int, int], int]] = []
        for stage in market.task.stages:
            self._options.append({(o.arm, o.share, o.rule): i for i, o in enumerate(stage.options)})
            shares = sorted({o.share for o in stage.options})
            self.distributions[f"{stage.name}.model"] = CategoricalDistribution(list(range(len(stage.models))))
            self.distributions[f"{stage.name}.share"] = IntDistribution(shares[0], shares[-1])
            if len(stage.rules) > 1:
                self.distributions[f"{stage.name}.rule"] = CategoricalDistribution(list(range(len(stage.rules))))
        self._index = {tuple(row): i for i, row in enumerate(market.configurations.tolist())}

    def find(self, params: dict[str, int]) -> int | None:
        """The configuration of these values, None if it is over the budget.

        A share that gives a model no other number of draws than a smaller one does stands for that one.
        """
        row = []
        for stage, options in zip(self._market.task.stages, self._options, strict=True):
            model, rule = params[f"{stage.name}.model"], params.get(f"{stage.name}.rule", 0)
            share = params[f"{stage.name}.share"]
            option = next((options[k] for s in range(share, -1, -1) if (k := (model, s, rule)) in options), None)
            if option is None:
                return None
            row.append(option)
        return self._index.get(tuple(row))


def _tpe(seed: int) -> optuna.samplers.BaseSampler:
    import optuna

    return optuna.samplers.TPESampler(seed=seed, multivariate=True)


def _nsga2(seed: int) -> optuna.samplers.BaseSampler:
    import optuna

    return optuna.samplers.NSGAIISampler(seed=seed, population_size=POPULATION)


def _gp(seed: int) -> optuna.samplers.BaseSampler:
    import optuna

    return optuna.samplers.GPSampler(seed=seed)


BY_TRIAL: dict[str, Searcher] = {
    "random": random,
    "grid": grid,
    "tpe": of_optuna(_tpe),
    "nsga2": of_optuna(_nsga2),
    "gp": of_optuna(_gp),
}
"""Searchers by trial, by name."""
