"""The configurations of a market as an agent sees them: allocations of models, samples and rules to stages.

It knows what an answer costs, not what it is worth.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from apportion.agent.tts.allocation import ROUNDING, Allocation, Choice, StageChoices
from apportion.bench.searchers.by_trial import Space
from apportion.envs.replay.market import Market
from apportion.errors import GraphError, RecordedError
from apportion.graphs.parameters import Value

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


class MarketAllocations:
    """Configurations of a market as allocations; their parameters are those of `Space`.

    Raises:
        RecordedError: when made, if a stage may draw nothing, or two of its rules have one name.
    """

    unit = "units of price"

    def __init__(self, market: Market) -> None:
        self._task, self._market, self._space = market.task, market, Space(market)
        for own in self._task.stages:
            names = [rule.name for rule in own.rules]
            if not all(option.n for option in own.options) or len(set(names)) < len(names):
                raise RecordedError(
                    f"an agent must draw at every stage, by rules of different names, but {own.name!r} does not; take "
                    "another sampler."
                )

    @property
    def budget(self) -> float:
        """Bound on the price of one answer."""
        return self._task.budget

    @cached_property
    def stages(self) -> tuple[StageChoices, ...]:
        """Models from the cheapest to the dearest, rules in the order of the task file."""
        found = []
        for own in self._task.stages:
            models = tuple(own.models[m] for m in np.argsort(own.prices, kind="stable"))
            hows = tuple(rule.name for rule in own.rules) if len(own.rules) > 1 else ()
            numbers = [option.n for option in own.options]
            found.append(StageChoices(own.name, models, hows, min(numbers), max(numbers)))
        return tuple(found)

    def cost(self, allocation: Allocation) -> float:
        """Price of one answer."""
        return sum(
            float(own.prices[model] * allocation[own.name].samples + own.once[model])
            for own, (model, _) in zip(self._task.stages, self._kinds(allocation), strict=True)
        )

    def fit(self, allocation: Allocation) -> Allocation:
        """The nearest one of the same models and rules that the task has; within the budget if the given one is.

        Numbers of samples are as far apart as what lies between them costs, in the price of the stage's dearest model,
        much as in the public code of AgentTTS.

        Raises:
            GraphError: the task has none of these models and rules.
        """
        kinds = self._kinds(allocation)
        wanted = np.array([allocation[own.name].samples for own in self._task.stages])
        numbers = [self._numbers[s, kind] for s, kind in enumerate(kinds)]
        if self.cost(allocation) > self.budget * (1 + ROUNDING):
            nearest = np.array([own[np.abs(own - n).argmin()] for own, n in zip(numbers, wanted, strict=True)])
        else:
            rows = self._rows.get(kinds)
            if rows is None:
                raise GraphError("no configuration of these models is within the budget; take smaller ones.")
            scale = [own.prices[kind[0]] / own.prices.max() for own, kind in zip(self._task.stages, kinds, strict=True)]
            nearest = rows[(np.abs(rows - wanted) @ np.array(scale)).argmin()]
        return {
            name: Choice(choice.model, int(n), choice.how)
            for (name, choice), n in zip(self._ordered(allocation), nearest, strict=True)
        }

    def distributions(self) -> dict[str, BaseDistribution]:
        """The parameters in Optuna's terms."""
        return self._space.distributions

    def params(self, allocation: Allocation) -> dict[str, Value]:
        """The parameters that stand for a fitted allocation."""
        found: dict[str, Value] = {}
        for own, (model, rule) in zip(self._task.stages, self._kinds(allocation), strict=True):
            n = allocation[own.name].samples
            option = next(o for o in own.options if (o.arm, o.rule, o.n) == (model, rule, n))
            found |= {f"{own.name}.model": model, f"{own.name}.share": option.share}
            if len(own.rules) > 1:
                found[f"{own.name}.rule"] = rule
        return found

    def allocation(self, params: Mapping[str, Value]) -> Allocation:
        """The allocation that parameters stand for.

        Raises:
            GraphError: they stand for none within the budget.
        """
        found = {}
        for own, number in zip(self._task.stages, self._market.configurations[self.configuration(params)], strict=True):
            option = own.options[number]
            how = own.rules[option.rule].name if len(own.rules) > 1 else ""
            found[own.name] = Choice(own.models[option.arm], option.n, how)
        return found

    def configuration(self, params: Mapping[str, Value]) -> int:
        """The number of the configuration that parameters stand for.

        Raises:
            GraphError: they stand for none within the budget.
        """
        found = self._space.find({name: int(value) for name, value in params.items()})
        if found is None:
            raise GraphError(f"an answer must cost at most {self.budget:g}, but {dict(params)} costs more; take less.")
        return found

    @cached_property
    def _numbers(self) -> dict[tuple[int, tuple[int, int]], Ints]:
        """Numbers of draws of each stage, model and rule."""
        found: dict[tuple[int, tuple[int, int]], list[int]] = {}
        for s, own in enumerate(self._task.stages):
            for option in own.options:
                found.setdefault((s, (option.arm, option.rule)), []).append(option.n)
        return {key: np.array(sorted(numbers)) for key, numbers in found.items()}

    @cached_property
    def _rows(self) -> dict[tuple[tuple[int, int], ...], Ints]:
        """Draws of the configurations of each choice of models and rules: configurations x stages."""
        tables = [np.array([(o.arm, o.rule, o.n) for o in own.options]) for own in self._task.stages]
        chosen = np.stack(
            [table[own] for table, own in zip(tables, self._market.configurations.T, strict=True)], axis=1
        )
        kinds, place = np.unique(chosen[:, :, :2].reshape(len(chosen), -1), axis=0, return_inverse=True)
        order = np.argsort(place.ravel(), kind="stable")
        parts = np.split(chosen[order, :, 2], np.cumsum(np.bincount(place.ravel()))[:-1])
        pairs = [tuple((int(row[i]), int(row[i + 1])) for i in range(0, len(row), 2)) for row in kinds]
        return dict(zip(pairs, parts, strict=True))

    def _ordered(self, allocation: Allocation) -> list[tuple[str, Choice]]:
        return [(own.name, allocation[own.name]) for own in self._task.stages]

    def _kinds(self, allocation: Allocation) -> tuple[tuple[int, int], ...]:
        """Numbers of the model and the rule of each stage.

        Raises:
            GraphError: there are none of these names.
        """
        found = []
        for own in self._task.stages:
            try:
                choice = allocation[own.name]
                rule = [r.name for r in own.rules].index(choice.how) if len(own.rules) > 1 else 0
                found.append((own.models.index(choice.model), rule))
            except (KeyError, ValueError):
                raise GraphError(f"stage {own.name!r} must have a model and a rule of the task; choose them.") from None
        return tuple(found)
