"""Searchers by trial with a model of their own: coordinate-wise greedy, a quadratic and a logit-linear surrogate.

They know models, prices and numbers of draws of options, and what measuring configurations gave, not single draws.
CMA-ES is left out: Optuna's sampler of that name has no categorical parameters, and a model is one.

Constants were tuned on the tasks of experiments/searchers with seeds 1000-1009 in the currency of draws, without the
bank, by the regret at the end, averaged over tasks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import combinations_with_replacement
from typing import Any

import numpy as np
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution

from apportion.bench.searchers.by_trial import Searcher, Space, Trials
from apportion.envs.replay.market import Market

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

RANDOM = 0.3  # share of random proposals after the start; 0 and 0.1 tried
QUADRATIC = 20, 10.0  # random trials at the start (5 and 10 tried), and the ridge (0.1 and 1 tried)
LOGIT_LINEAR = 30, 1.0  # the same; 5, 10 and 20, and 0.1 and 10 tried


def greedy(market: Market, rng: np.random.Generator) -> None:
    """Change one parameter after the other while that is better, then begin anew: the greedy search of ITAS.

    (Archon, arXiv 2409.15254.) The parameters are the model, the share and, where there are several, the rule of each
    stage. Values are tried in random order and the first better one is taken; to try all of a parameter and take the
    best, and to begin anew after one pass, were tried and are worse.
    """
    trials, space = Trials(market), Space(market)
    domains = {name: _domain(own) for name, own in space.distributions.items()}
    every = np.arange(len(market.configurations))
    while len(left := np.setdiff1d(every, list(trials.values))):
        at, before = int(rng.choice(left)), -1
        while at != before:
            before = at
            for name, values in domains.items():
                own = _parameters(market, at)
                near = (space.find({**own, name: int(value)}) for value in rng.permutation(values))
                at = _better(trials, at, near)


def _domain(distribution: BaseDistribution) -> list[int]:
    if isinstance(distribution, CategoricalDistribution):
        return [value for value in distribution.choices if isinstance(value, int)]
    assert isinstance(distribution, IntDistribution)
    return list(range(distribution.low, distribution.high + 1))


def _parameters(market: Market, configuration: int) -> dict[str, int]:
    """Parameters of a configuration, by their names in `Space`."""
    parameters = {}
    for stage, number in zip(market.task.stages, market.configurations[configuration], strict=True):
        option = stage.options[number]
        parameters[f"{stage.name}.model"] = option.arm
        parameters[f"{stage.name}.share"] = option.share
        parameters[f"{stage.name}.rule"] = option.rule
    return parameters


def _better(trials: Trials, at: int, others: Iterable[int | None]) -> int:
    """The first of some configurations that is better than one, or that one; None stands for one over the budget."""
    return next((c for c in others if c is not None and _value(trials, c) > _value(trials, at)), at)


def _value(trials: Trials, configuration: int) -> float:
    """What a configuration gave; it is measured once."""
    known = trials.values.get(configuration)
    return known[0] if known else trials.measure(configuration)


def surrogate(features: Callable[[Market], Floats], start: int, ridge: float) -> Searcher:
    """Random trials, then what a linear model of the logit has for the best that was not measured, or a random one.

    Args:
        features: configurations x features.
        start: random trials before the first fit.
        ridge: penalty on the squares of the coefficients.
    """

    def search(market: Market, rng: np.random.Generator) -> None:
        trials, x = Trials(market), features(market)
        unmeasured = np.ones(len(x), dtype=bool)
        while unmeasured.any():
            if len(trials.values) < start or rng.random() < RANDOM:
                chosen = int(rng.choice(np.flatnonzero(unmeasured)))
            else:
                value = predicted(x, list(trials.values), _logits(trials, market.split.size), ridge)
                chosen = int(np.where(unmeasured, value, -np.inf).argmax())
            trials.measure(chosen)
            unmeasured[chosen] = False

    return search


def predicted(x: Floats, rows: Sequence[int], y: Floats, ridge: float) -> Floats:
    """What a ridge regression of y on some rows of x has for every row, up to the intercept, which is not penalised."""
    known = x[rows] - x[rows].mean(axis=0)
    weights = np.linalg.solve(known.T @ known + ridge * np.eye(x.shape[1]), known.T @ (y - y.mean()))
    return np.asarray(x @ weights)


def _logits(trials: Trials, size: int) -> Floats:
    """Logit of what each configuration gave, half an example added on either side so that it is finite."""
    mean = np.array([known[0] for known in trials.values.values()])
    right = mean * size + 0.5
    return np.asarray(np.log(right / (size + 1.0 - right)))


def quadratic(market: Market) -> Floats:
    """Features of MAP's surrogate (arXiv 2406.07529): a quadratic in log price and log share of all stages, and models.

    MAP fits its quadratic through a sigmoid; here it is fitted to the logit.
    """
    logs = []
    for stage, chosen in zip(market.task.stages, market.configurations.T, strict=True):
        price = np.array([stage.prices[option.arm] for option in stage.options])
        logs += [_standard(np.log(price)[chosen]), _standard(_log(stage.cost)[chosen])]
    squares = [a * b for a, b in combinations_with_replacement(logs, 2)]
    return np.column_stack([*logs, *squares, *_choices(market, "arm"), *_choices(market, "rule")])


def logit_linear(market: Market) -> Floats:
    """Features of a model linear in log n, with an intercept and a slope of each model: as arXiv 2410.04343, section 5.

    Intercepts and slopes are of all models, and what each model adds to them.
    """
    logs = [
        _standard(_log(stage.calls)[chosen])[:, None]
        for stage, chosen in zip(market.task.stages, market.configurations.T, strict=True)
    ]
    models = _choices(market, "arm")
    slopes = [model * log for model, log in zip(models, logs, strict=True)]
    return np.column_stack([*logs, *models, *slopes, *_choices(market, "rule")])


def _choices(market: Market, name: str) -> list[Floats]:
    """Which arm or rule each configuration takes, 1 in its column: configurations x numbers, for each stage."""
    tables = []
    for stage, chosen in zip(market.task.stages, market.configurations.T, strict=True):
        number = np.array([getattr(option, name) for option in stage.options])
        tables.append(np.eye(int(number.max()) + 1)[number[chosen]])
    return tables


def _log(values: NDArray[np.number[Any]]) -> Floats:
    """Logarithms of numbers or prices of draws; none count as half of the fewest."""
    return np.asarray(np.log(np.where(values > 0, values, values[values > 0].min() / 2)))


def _standard(values: Floats) -> Floats:
    """Values with mean 0 and standard deviation 1; zeros if all are the same."""
    return np.asarray((values - values.mean()) / (values.std() or 1.0))


SURROGATES: dict[str, Searcher] = {
    "greedy": greedy,
    "quadratic": surrogate(quadratic, *QUADRATIC),
    "logit_linear": surrogate(logit_linear, *LOGIT_LINEAR),
}
"""Searchers by trial with a model of their own, by name."""
