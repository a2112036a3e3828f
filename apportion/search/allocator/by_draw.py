"""The allocator: decides which draw to buy next, and stops when more draws would hardly better the decision.

It knows a market of draws, and nothing of where they come from.
"""

from __future__ import annotations

from itertools import count

import numpy as np

from apportion.search.allocator.belief import Belief, Believer
from apportion.search.allocator.stated import stated
from apportion.search.market import Floats, Ints, Market

START = 4  # first draws of each arm, on as many examples
BATCH, GROWTH = 16, 0.15  # draws bought before the model is fitted again: so many, or this share of those bought
LEAST = 0.25  # of a batch is bought at least: where few draws gain, several on a cell, or rounds would be many
WHOLE = 6  # every so many rounds all configurations are looked at; in between only those that might be the best
GAIN = 0.0005  # accuracy that the search stops at, when knowing all about the examples is expected to gain no more
PATIENCE = 3  # rounds in a row in which it must be: a mean over samples errs


def search_by_draw(market: Market, rng: np.random.Generator) -> None:
    """Buy draws until the expected gain of knowing everything about the examples is below `GAIN`.

    Each round fits a hierarchical model of success to all draws, lets the configuration lead whose expected value is
    highest, and buys the draws that most reduce what is unknown of it and of those that may beat it, for their price:
    of one more draw on a cell with success p, the variance of a worth f falls by cov(f, p)^2 / (p (1 - p)). Half goes
    to the leader and half to its rivals, by what is lost where they are better, as in top-two Thompson sampling
    (Russo 2016). The stated probability is over all examples there may be: the split is a sample too.
    """
    examples = market.drawn.shape[1]
    believer = Believer(market)
    for arm in range(len(market.arms)):
        market.buy(arm, rng.permutation(examples)[:START])
    every = np.arange(len(market.configurations))
    contenders, leader, settled = every, None, 0
    for turn in count():
        whole = turn % WHOLE == 0 or settled == PATIENCE - 1  # what is stated at the end is of all configurations
        asked = every if whole else contenders
        rows = market.configurations[asked]
        belief = believer.look(rows, rng, unseen=whole)
        values = belief.values(rows)
        at = _leader(values, None if leader is None else int(np.searchsorted(asked, leader)))
        leader = int(asked[at])
        if whole:
            market.lead(leader, stated(belief.values_over_all(rows, rng), at))
        else:
            market.lead(leader)
        lost = values.max(axis=1) - values[:, at]
        settled = settled + 1 if lost.mean() < GAIN else 0
        if whole and (settled >= PATIENCE or len(every) == 1):
            return
        mean = values[:, at].mean(dtype=np.float64)  # that of equal values rounds above them in single precision
        contenders = asked[values.max(axis=0) >= mean]
        rivals = np.bincount(values.argmax(axis=1), weights=lost / (lost.sum() or 1.0), minlength=len(rows))
        gain = _gain(believer, belief, rows, {at: 0.5} | {int(c): rivals[c] / 2 for c in np.flatnonzero(rivals)})
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


def _gain(believer: Believer, belief: Belief, rows: Ints, of: dict[int, float]) -> Floats:
    """By how much one more draw on a cell lowers the variance of the values of some configurations: arms x examples."""
    n = belief.examples
    gain = np.zeros((belief.p.shape[1], n))
    for configuration, weight in of.items():
        row = rows[configuration]
        for s, number in enumerate(row):
            arm = believer.arm(s, number)
            p, worth = belief.p[:, arm, :n], belief.worth[s][:, number, :n]
            covariance = (worth * p).mean(axis=0) - worth.mean(axis=0) * p.mean(axis=0)
            chance = p.mean(axis=0)
            moved = np.square(belief.slope(row, s) * covariance) / (chance * (1.0 - chance) + 1e-9)
            gain[arm] += weight * moved
    return gain


def _buy(market: Market, gain: Floats) -> bool:
    """Buy draws on the cells that gain most for their price, several on each where few gain. False if none does."""
    price = np.array([arm.price for arm in market.arms])
    most = np.array([arm.most for arm in market.arms])
    gain = np.where(market.drawn < most[:, None], gain / price[:, None], 0.0)
    batch = max(BATCH, int(GROWTH * market.drawn.sum()))
    best = np.argsort(-gain, axis=None)[:batch]
    best = best[gain.flat[best] > 0.0]
    arm, example = np.unravel_index(best, gain.shape)
    for _ in range(max(1, int(LEAST * batch / max(1, len(best))))):
        for own in np.unique(arm):
            asked = example[arm == own]
            market.buy(int(own), asked[market.drawn[own, asked] < most[own]])
    return len(best) > 0
