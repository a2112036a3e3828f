"""OSCA (arXiv 2410.22480): the success rate of every model on every training question, and a climb over allocations.

It knows models, numbers of draws and which draws were right; it needs a perfect checker, under which a draw that is
right with probability p leaves a question unsolved after n draws with probability (1 - p)^n.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from apportion.envs.replay.composed import Composed
from apportion.envs.replay.market import Market
from apportion.errors import RecordedError

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

RULE = "any_correct"
STARTS = 3  # of a climb: the allocation that led, and random ones
MOVED = 2  # stages that one step changes: what one gives, another takes


def osca(market: Market, rng: np.random.Generator) -> None:
    """Buy draws of all models on all examples, one after the other, and climb on the shares that were right.

    The paper buys its draws at once and moves one of them at a time between models; here an allocation leads as soon as
    the first model was asked, and a step changes the draws, or the model, of up to two stages. A task of one stage has
    no other allocation than a model and a number of draws: the best of these leads.

    Raises:
        RecordedError: what rules make of draws is not known to it.
    """
    allocations = Allocations(market)
    everyone = np.arange(market.split.size)
    leader = None
    for turn in range(max(arm.most for arm in market.arms)):
        arms = [a for a in rng.permutation(len(market.arms)) if market.arms[a].most > turn]
        for arm in arms:
            market.buy(int(arm), everyone)
            if turn == 0 or arm == arms[-1]:
                leader = allocations.best(leader, rng)
                market.lead(leader)


class Allocations:
    """Configurations all of whose stages have a perfect checker, and what they are worth by what was bought.

    Attributes:
        rows: their options.
    """

    def __init__(self, market: Market) -> None:
        task = market.task
        if not isinstance(task, Composed):
            raise RecordedError(
                f"OSCA needs stages that succeed by themselves, but {task.name!r} has none; leave it out."
            )
        for own in task.stages:
            if RULE not in [rule.name for rule in own.rules]:
                raise RecordedError(f"OSCA needs {RULE} at every stage, but {own.name!r} has it not; leave one out.")
        self._market, self._task = market, task
        checked = [[not o.n or own.rules[o.rule].name == RULE for o in own.options] for own in task.stages]
        rows = market.configurations
        self._every = np.flatnonzero(np.all([np.array(c)[rows[:, s]] for s, c in enumerate(checked)], axis=0))
        self.rows = rows[self._every]

    def best(self, leader: int | None, rng: np.random.Generator) -> int:
        """The configuration that the best of some climbs ends at, the first of which begins at the leader."""
        worth = self._worth()
        starts = rng.integers(len(self.rows), size=STARTS)
        if leader is not None:
            starts[0] = np.searchsorted(self._every, leader)
        ends = [self._climb(int(start), worth) for start in starts]
        return int(self._every[max(ends)[1]])

    def _climb(self, at: int, worth: list[Floats]) -> tuple[float, int]:
        """What the last of a climb is worth, and its row."""
        value = float(self._task.valued(worth, self.rows[[at]])[0])
        while True:
            near = np.flatnonzero((self.rows != self.rows[at]).sum(axis=1) <= MOVED)
            values = self._task.valued(worth, self.rows[near])
            if values.max() <= value:
                return value, at
            value, at = float(values.max()), int(near[values.argmax()])

    def _worth(self) -> list[Floats]:
        """What options are worth by the shares of draws that were right: options x examples, a table a stage."""
        rates = self._market.right / np.maximum(self._market.drawn, 1)
        return [
            np.array([1.0 - (1.0 - rates[self._market.arm(s, o)]) ** o.n for o in own.options])
            for s, own in enumerate(self._task.stages)
        ]
