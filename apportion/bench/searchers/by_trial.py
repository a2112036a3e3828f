"""Searchers whose unit of spending is a trial: a configuration is proposed, measured on the whole split, and told.

They know the market's configurations and what measuring them gave.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Literal

import numpy as np

from apportion.bench.searchers.fronts import undominated
from apportion.envs.replay.market import Market

if TYPE_CHECKING:
    import optuna

REPEATS_IN_A_ROW = 200  # proposals that were measured before; then a searcher has nothing new to say
MOST_ASKS = 8  # times the trials that the cap is made for; with a bank trials get cheap, and samplers slow
POPULATION = 10  # of NSGA-II

Searcher = Callable[[Market, np.random.Generator], None]
"""Buys from a market, and says what leads, until it raises `Spent` or the searcher has done enough."""


class Trials:
    """Measures configurations, lets the one with the best mean lead, and offers those that none dominates.

    Attributes:
        values: measurements of each configuration so far.
        cost: of an answer by each configuration of the market.
    """

    def __init__(self, market: Market) -> None:
        self.market = market
        self.values: dict[int, list[float]] = {}
        self.cost = market.task.cost(market.configurations)
        self._means: dict[int, float] = {}
        self._front: list[int] = []
        self.repeats = 0

    def measure(self, configuration: int) -> float:
        """Measure it; with the bank, what was measured before is known."""
        known = self.values.setdefault(configuration, [])
        self.repeats = self.repeats + 1 if known else 0
        known.append(known[0] if known and self.market.bank else self.market.measure(configuration))
        self._means[configuration] = sum(known) / len(known)
        self.market.lead(max(self._means, key=self._means.__getitem__))
        self._offer(
            [*self._front, configuration] if len(known) == 1 else self._means
        )  # a mean that fell lets others in
        return known[-1]

    def _offer(self, among: Iterable[int]) -> None:
        rows = np.array(list(among))
        means = np.array([self._means[row] for row in rows])
        self._front = rows[undominated(means, self.cost[rows])].tolist()
        self.market.front(self._front)


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


def of_optuna(
    make: Callable[[int], optuna.samplers.BaseSampler], *, pareto: bool = False, needs_values: bool = False
) -> Searcher:
    """An Optuna sampler over a model, a share of the budget and, where there are several, a rule for each stage.

    Args:
        pareto: whether the cost of an answer is a second objective.
        needs_values: whether it learns nothing of a constraint from a trial without a value: then what is over the
            budget is worth what nothing right is worth.
    """
    directions: list[Literal["maximize", "minimize"]] = ["maximize", "minimize"] if pareto else ["maximize"]

    def search(market: Market, rng: np.random.Generator) -> None:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # samplers marked experimental
            study = optuna.create_study(directions=directions, sampler=make(int(rng.integers(2**31))))
            space = Space(market)
            trials = Trials(market)
            for _ in range(MOST_ASKS * market.task.trials):
                if trials.repeats >= REPEATS_IN_A_ROW:
                    break
                trial = study.ask(space.distributions)
                configuration = space.find(trial.params)
                if configuration is None:
                    trial.set_constraint("budget", 1.0)
                    if needs_values:
                        study.tell(trial, 0.0)
                    else:
                        study.tell(trial, state=optuna.trial.TrialState.PRUNED)
                    trials.repeats += 1
                else:
                    trial.set_constraint("budget", -1.0)
                    value = trials.measure(configuration)
                    study.tell(trial, [value, float(trials.cost[configuration])] if pareto else value)

    return search


class Space:
    """Optuna's view of a market: the parameters, and the configuration that some values of them are."""

    def __init__(self, market: Market) -> None:
        from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution

        self._market = market
        self.distributions: dict[str, BaseDistribution] = {}
        self._options: list[dict[tuple[int, int, int], int]] = []
        self._none: list[int | None] = []  # the option of no draws, of each stage
        for stage in market.task.stages:
            self._none.append(next((i for i, o in enumerate(stage.options) if not o.n), None))
            self._options.append({(o.arm, o.share, o.rule): i for i, o in enumerate(stage.options)})
            shares = sorted({o.share for o in stage.options})
            self.distributions[f"{stage.name}.model"] = CategoricalDistribution(list(range(len(stage.models))))
            self.distributions[f"{stage.name}.share"] = IntDistribution(shares[0], shares[-1])
            if len(stage.rules) > 1:
                self.distributions[f"{stage.name}.rule"] = CategoricalDistribution(list(range(len(stage.rules))))
        self._index = {tuple(row): i for i, row in enumerate(market.configurations.tolist())}

    def find(self, params: dict[str, int]) -> int | None:
        """The configuration of these values, None if it is over the budget.

        A share that gives a model no other number of draws than a smaller one does stands for that one; one that pays
        for no draw stands for no draws, where a stage has that option.
        """
        row = []
        for stage, options, none in zip(self._market.task.stages, self._options, self._none, strict=True):
            model, rule = params[f"{stage.name}.model"], params.get(f"{stage.name}.rule", 0)
            share = params[f"{stage.name}.share"]
            option = next((options[k] for s in range(share, -1, -1) if (k := (model, s, rule)) in options), none)
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
    "nsga2-pareto": of_optuna(_nsga2, pareto=True),
    "tpe-pareto": of_optuna(_tpe, pareto=True),
    "gp": of_optuna(_gp, needs_values=True),
}
"""Searchers by trial, by name."""
