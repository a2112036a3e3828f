"""What is believed of options and configurations, given all draws: samples of a posterior, on examples seen and unseen.

It knows a market and models of success, not which draw to buy.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from apportion.search.allocator.success import SuccessModel
from apportion.search.market import Floats, Ints, Market

SAMPLES, FEW = 64, 32  # of the posterior; and where many configurations are combined example by example
UNSEEN, UNSEEN_WEIGHT = 16, 4.0  # examples of which nothing is known, and the examples that they count as together
OFF = 0.03  # deviation, at even odds, of what an arm and rule are truly worth from what the model makes of draws
OFF_MORE = 0.004  # that of what each doubling of the draws adds
PART, MANY = 1024, 4096  # configurations at once, for the memory; and those that are many


@dataclass(frozen=True, eq=False)
class Belief:
    """Samples of what options are worth; 0 for options that were not asked about.

    Attributes:
        p: success probabilities: samples x arms x examples.
        worth: by stage, samples x options x examples. Examples that nobody was asked about come last.
        examples: number of those of the search split.
    """

    market: Market
    p: Floats
    worth: list[Floats]
    examples: int

    def values(self, configurations: Ints) -> Floats:
        """Values of configurations over the search split: samples x configurations."""
        even = np.full((len(self.p), self.examples), 1.0 / self.examples, dtype=np.float32)
        return self._weighed(configurations, [even] * len(self.worth))

    def values_over_all(self, configurations: Ints, rng: np.random.Generator) -> Floats:
        """Values over all examples there may be, of which the split is a sample: samples x configurations.

        A Dirichlet process whose base is the model of success, so that what the split does not show still counts
        (Ferguson 1973; without unseen examples the Bayesian bootstrap of Rubin 1981). What the model itself gets wrong
        is a deviation by arm and rule (Kennedy and O'Hagan 2001), smaller where worth is near 0 or 1.
        """
        unseen = self.worth[0].shape[2] - self.examples
        counts = np.concatenate([np.ones(self.examples), np.full(unseen, UNSEEN_WEIGHT / max(1, unseen))])
        stages = len(self.worth)
        draws = [
            rng.dirichlet(counts, len(self.p)).astype(np.float32) for _ in range(1 if self.market.shared else stages)
        ]
        return self._weighed(configurations, draws * stages if self.market.shared else draws, rng)

    def _weighed(
        self, configurations: Ints, weights: Sequence[Floats], rng: np.random.Generator | None = None
    ) -> Floats:
        if self.market.shared:
            values = self._shared(configurations, weights[0])
            if rng is None:
                return values
            off = sum(self._off(s, rng)[:, configurations[:, s]] for s in range(len(self.worth)))
            return np.asarray(values + off * _spread(values))
        means = []
        for s, (worth, own) in enumerate(zip(self.worth, weights, strict=True)):
            mean = np.matmul(worth[:, :, : own.shape[1]], own[:, :, None])[..., 0]
            if rng is not None:
                mean = mean + self._off(s, rng) * _spread(mean)
            means.append(mean[:, configurations[:, s]])
        return self.market.combined(means)

    def _off(self, stage: int, rng: np.random.Generator) -> Floats:
        """By how much the model is off for each option, alike for all of an arm and rule: samples x options."""
        options = self.market.options(stage)
        _, at = np.unique([(option.arm, option.rule) for option in options], axis=0, return_inverse=True)
        n = np.array([option.n for option in options])
        level, more = rng.normal(0.0, (OFF, OFF_MORE), (len(self.p), at.max() + 1, 2))[:, at].transpose(2, 0, 1)
        return np.where(n > 0, level + more * np.log2(np.maximum(n, 1)), 0.0)

    def _shared(self, configurations: Ints, weights: Floats) -> Floats:
        """Where all stages are asked the same, they are combined example by example."""
        n = weights.shape[1]
        values = np.empty((len(weights), len(configurations)), dtype=np.float32)
        for k, own in enumerate(weights):
            for start in range(0, len(configurations), PART):
                rows = configurations[start : start + PART]
                parts = [worth[k, rows[:, s], :n] for s, worth in enumerate(self.worth)]
                values[k, start : start + PART] = self.market.combined(parts) @ own
        return values

    def slope(self, row: Ints, stage: int) -> Floats:
        """By how much a configuration's value on an example changes with the worth of a stage: of each, or of all."""
        n = self.examples
        means = [worth[:, option, :n].mean(axis=0) for worth, option in zip(self.worth, row, strict=True)]
        others = means if self.market.shared else [np.full(1, mean.mean()) for mean in means]
        sides = [[np.full_like(m, side) if s == stage else m for s, m in enumerate(others)] for side in (0.0, 1.0)]
        return np.asarray(self.market.combined(sides[1]) - self.market.combined(sides[0]))


def _spread(worth: Floats) -> Floats:
    """1 at even odds, and less where worth is near 0 or 1."""
    return np.asarray(2.0 * np.sqrt(np.clip(worth * (1.0 - worth), 0.0, None)))


class Believer:
    """Learns from all draws of a market.

    Where stages are asked the same questions their models are learnt together: what is hard for one is so for others.
    """

    def __init__(self, market: Market) -> None:
        self._market = market
        self._examples = market.drawn.shape[1]
        stages = market.configurations.shape[1]
        self._arms = [np.array([a for a, arm in enumerate(market.arms) if arm.stage == s]) for s in range(stages)]
        groups = [np.concatenate(self._arms)] if market.shared else self._arms
        sizes = [np.array([market.arms[a].size for a in group]) for group in groups]
        self._models = [(group, SuccessModel(own, self._examples)) for group, own in zip(groups, sizes, strict=True)]

    def arm(self, stage: int, number: int) -> int:
        """An option's arm among those of all stages."""
        return int(self._arms[stage][self._market.options(stage)[number].arm])

    def look(self, rows: Ints, rng: np.random.Generator, *, unseen: bool) -> Belief:
        """Learn, and look at the options of some configurations.

        Args:
            unseen: whether to look at examples that nobody was asked about too.
        """
        market, new = self._market, UNSEEN if unseen else 0
        asked = [np.unique(rows[:, s]) for s in range(rows.shape[1])]
        used = np.unique([self.arm(s, o) for s, own in enumerate(asked) for o in own])
        k = FEW if market.shared and len(rows) > MANY else SAMPLES
        p = np.zeros((k, len(market.arms), self._examples + new), dtype=np.float32)
        for group, model in self._models:
            model.fit(market.right[group], market.drawn[group])
            own = np.flatnonzero(np.isin(group, used))
            p[:, group[own]] = model.sample(k, rng, own, new)
        like = np.append(np.arange(self._examples), rng.integers(self._examples, size=new))  # whose habits they have
        return Belief(market, p, [self._worth(s, own, p, like, rng) for s, own in enumerate(asked)], self._examples)

    def _worth(self, stage: int, asked: Ints, p: Floats, like: Ints, rng: np.random.Generator) -> Floats:
        options = self._market.options(stage)
        worth = np.zeros((len(p), len(options), p.shape[2]), dtype=np.float32)
        kinds: dict[tuple[int, int], list[int]] = {}
        for number in asked.tolist():
            kinds.setdefault((options[number].arm, options[number].rule), []).append(number)
        for numbers in kinds.values():
            habits = tuple(own[:, like] for own in self._market.habits(stage, numbers[0], len(p), rng))
            of_kind = self._market.worth(stage, np.array(numbers), p[:, self.arm(stage, numbers[0])], habits)
            worth[:, numbers] = np.moveaxis(of_kind, -1, 1)
        return worth
