"""The allocator: decides which draw to buy next, and stops when more draws would hardly better the decision.

It knows a market of draws, and nothing of where they come from.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count

import numpy as np

from apportion.search.allocator.success import SuccessModel
from apportion.search.market import Floats, Ints, Market

SAMPLES = 64  # of the posterior; the decision's loss is a mean over them
START = 4  # first draws of each arm, on as many examples
BATCH, GROWTH = 16, 0.15  # draws bought before the model is fitted again: so many, or this share of those bought
WHOLE = 6  # every so many rounds all configurations are looked at; in between only those that might be the best
GAIN = 0.0005  # accuracy that the search stops at, when knowing all about the examples is expected to gain no more
PATIENCE = 3  # rounds in a row in which it must be: a mean over samples errs
SPREAD = 1.0  # weight of an example in the Bayesian bootstrap
NEAR = 0.99  # share of the best's value that counts as within 1 % of it


@dataclass(frozen=True, eq=False)
class Belief:
    """Samples of what options are worth on the examples, given all draws; 0 for options that were not asked about.

    Attributes:
        p: by stage, success probabilities: samples x arms x examples.
        worth: by stage, samples x options x examples.
    """

    p: list[Floats]
    worth: list[Floats]

    def values(self, configurations: Ints, weights: Sequence[Floats] | None = None) -> Floats:
        """Values of configurations, the examples weighed alike or by sample: samples x configurations."""
        total = np.ones(())
        for s, worth in enumerate(self.worth):
            mean = worth.mean(axis=2) if weights is None else np.matmul(worth, weights[s][:, :, None])[..., 0]
            total = total * mean[:, configurations[:, s]]
        return total


def search_by_draw(market: Market, rng: np.random.Generator) -> None:
    """Buy draws until the expected gain of knowing everything about the examples is below `GAIN`.

    Each round fits a hierarchical model of success to all draws, lets the configuration lead whose expected value is
    highest, and buys the draws that most reduce what is unknown of it and of those that may beat it, for their price:
    of one more draw on a cell with success p, the variance of a worth f falls by cov(f, p)^2 / (p (1 - p)). Half goes
    to the leader and half to its rivals, by what is lost where they are better, as in top-two Thompson sampling
    (Russo 2016). The stated probability weighs the examples by a Bayesian bootstrap (Rubin 1981): the split is a
    sample too.
    """
    stages = market.configurations.shape[1]
    arms = [np.array([a for a, arm in enumerate(market.arms) if arm.stage == s]) for s in range(stages)]
    examples = market.drawn.shape[1]
    models = [SuccessModel(np.array([market.arms[a].size for a in own]), examples) for own in arms]
    for arm in range(len(market.arms)):
        market.buy(arm, rng.permutation(examples)[:START])
    every = np.arange(len(market.configurations))
    contenders, leader, settled = every, None, 0
    for turn in count():
        whole = turn % WHOLE == 0 or settled == PATIENCE - 1  # what is stated at the end is of all configurations
        asked = every if whole else contenders
        rows = market.configurations[asked]
        belief = _believe(market, rows, arms, models, rng)
        values = belief.values(rows)
        at = _leader(values, None if leader is None else int(np.searchsorted(asked, leader)))
        leader = int(asked[at])
        if whole:
            weights = [rng.dirichlet(np.full(examples, SPREAD), SAMPLES) for _ in range(stages)]
            over_all = belief.values(rows, weights)
            market.lead(leader, float((over_all[:, at] >= NEAR * over_all.max(axis=1)).mean()))
        else:
            market.lead(leader)
        lost = values.max(axis=1) - values[:, at]
        settled = settled + 1 if lost.mean() < GAIN else 0
        if whole and (settled >= PATIENCE or len(every) == 1):
            return
        contenders = asked[values.max(axis=0) >= values[:, at].mean()]
        rivals = np.bincount(values.argmax(axis=1), weights=lost / (lost.sum() or 1.0), minlength=len(rows))
        gain = _gain(market, belief, arms, rows, {at: 0.5} | {int(c): rivals[c] / 2 for c in np.flatnonzero(rivals)})
        if not _buy(market, gain):
            if whole:
                return
            settled = PATIENCE - 1


def _leader(values: Floats, leader: int | None) -> int:
    """The configuration of the highest mean; another than the last only if its lead is more than the samples' noise."""
    best = int(values.mean(axis=0).argmax())
    if leader is None:
        return best
    ahead = values[:, best] - values[:, leader]
    return best if ahead.mean() > ahead.std() / np.sqrt(len(ahead)) else leader


def _believe(
    market: Market, rows: Ints, arms: list[Ints], models: list[SuccessModel], rng: np.random.Generator
) -> Belief:
    """Learn from all draws, and look at the options of some configurations."""
    belief = Belief([], [])
    for s, (own, model) in enumerate(zip(arms, models, strict=True)):
        model.fit(market.right[own], market.drawn[own])
        options, examples = market.options(s), market.drawn.shape[1]
        asked = np.unique(rows[:, s])
        used = np.unique([options[o].arm for o in asked])
        p = np.zeros((SAMPLES, len(own), examples), dtype=np.float32)
        worth = np.zeros((SAMPLES, len(options), examples), dtype=np.float32)
        p[:, used] = model.sample(SAMPLES, rng, used)
        for o in asked:
            worth[:, o] = market.worth(s, int(o), p[:, options[o].arm])
        belief.p.append(p)
        belief.worth.append(worth)
    return belief


def _gain(market: Market, belief: Belief, arms: list[Ints], rows: Ints, of: dict[int, float]) -> Floats:
    """By how much one more draw on a cell lowers the variance of the values of some configurations: arms x examples."""
    gain = np.zeros(market.drawn.shape)
    means = [worth.mean(axis=(0, 2)) for worth in belief.worth]
    for configuration, weight in of.items():
        row = rows[configuration]
        for s, number in enumerate(row):
            option = market.options(s)[number]
            p, worth = belief.p[s][:, option.arm], belief.worth[s][:, number]
            covariance = (worth * p).mean(axis=0) - worth.mean(axis=0) * p.mean(axis=0)
            chance = p.mean(axis=0)
            others = np.prod([means[r][row[r]] for r in range(len(row)) if r != s])
            gain[arms[s][option.arm]] += weight * np.square(others * covariance) / (chance * (1.0 - chance) + 1e-9)
    return gain


def _buy(market: Market, gain: Floats) -> bool:
    """Buy a draw on each of the cells that gain most for their price. False if none gains anything."""
    price = np.array([arm.price for arm in market.arms])
    most = np.array([arm.most for arm in market.arms])
    gain = np.where(market.drawn < most[:, None], gain / price[:, None], 0.0)
    batch = max(BATCH, int(GROWTH * market.drawn.sum()))
    best = np.argsort(-gain, axis=None)[:batch]
    best = best[gain.flat[best] > 0.0]
    arm, example = np.unravel_index(best, gain.shape)
    for own in np.unique(arm):
        market.buy(int(own), example[arm == own])
    return len(best) > 0
