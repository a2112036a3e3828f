"""Spending by the example, where stages depend on each other: every configuration is scored on what was bought.

A Gaussian process over the options smooths the mean scores. It knows a market, and nothing of where draws come from.
"""

from __future__ import annotations

import numpy as np

from apportion.search.allocator.stated import stated
from apportion.search.market import Floats, Market

FIRST, MORE = 8, 3  # examples bought at first, and then before each decision
FEWEST = 12  # examples below which the search does not stop
LENGTH = 1.0  # of the kernel, in the logarithm of a number of draws
NO_DRAWS = 0.5  # number that an option of none counts as
OTHER = 0.5  # correlation that another model or rule of a stage leaves
NUGGET = 1e-6  # variance added to all, so that a matrix can be inverted
SAMPLES = 256  # of the posterior
GAIN = 0.001  # accuracy that the search stops at, when knowing the truth is expected to gain no more


def search_by_example(market: Market, rng: np.random.Generator) -> None:
    """Buy all draws of one example after the other, until knowing more is expected to gain less than `GAIN`.

    The leader has the highest posterior mean under a Gaussian process whose noise is the scores' own covariance over
    examples: all configurations are compared on the same ones.
    """
    kernel = _kernel(market)
    order = rng.permutation(market.drawn.shape[1])
    scores = market.scores(order[:FIRST], rng)
    while True:
        n = scores.shape[1]
        values = _posterior(scores, kernel, rng)
        leader = int(values.mean(axis=0).argmax())
        market.lead(leader, stated(values, leader))
        lost = float((values.max(axis=1) - values[:, leader]).mean())
        if n == len(order) or (n >= FEWEST and lost < GAIN):
            return
        scores = np.column_stack([scores, market.scores(order[n : n + MORE], rng)])


def _posterior(scores: Floats, kernel: Floats, rng: np.random.Generator) -> Floats:
    """Samples of the configurations' true values: samples x configurations.

    How hard an example is for all configurations is taken out before their covariance is estimated.
    """
    level = scores.mean()
    apart = scores - scores.mean(axis=0)
    n = scores.shape[1]
    # One example alone says nothing of the noise: it is taken as none there, rather than not a number.
    mean, noise = apart.mean(axis=1), np.atleast_2d(np.cov(apart, ddof=min(1, n - 1))) / n
    prior = kernel * max(float(mean.var() - np.diag(noise).mean()), NUGGET)
    gain = np.linalg.solve(prior + noise + NUGGET * np.eye(len(mean)), prior).T
    covariance = prior - gain @ prior
    root = np.linalg.cholesky((covariance + covariance.T) / 2.0 + NUGGET * np.eye(len(mean)))
    return np.asarray(level + gain @ mean + rng.standard_normal((SAMPLES, len(mean))) @ root.T)


def _kernel(market: Market) -> Floats:
    """Correlation of the values of any two configurations."""
    kernel = np.ones((len(market.configurations),) * 2)
    for s in range(market.configurations.shape[1]):
        options = [market.options(s)[o] for o in market.configurations[:, s]]
        log = np.log([max(option.n, NO_DRAWS) for option in options])
        kernel *= np.exp(-np.square(log[:, None] - log[None, :]) / (2.0 * LENGTH**2))
        for kind in np.array([[option.arm, option.rule] for option in options]).T:
            kernel *= np.where(kind[:, None] == kind[None, :], 1.0, OTHER)
    return kernel
