"""Measuring a graph over the examples of a split: run, evaluate, in fixed order.

It knows no trial and no objective. Every number it gives can be had again from the bank, for nothing.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Awaitable, Mapping, Sequence
from itertools import chain
from types import MappingProxyType
from typing import Any

from apportion.envs.environment import Environment
from apportion.envs.rollout import Rollout
from apportion.envs.stage import Example
from apportion.errors import ApportionError, EvaluatorError
from apportion.evaluators.answers import Checking, Evaluator
from apportion.evaluators.costs import Cost
from apportion.evaluators.forecast import Forecast
from apportion.graphs.graph import Graph
from apportion.store.trials import ScoreRow

WHOLE = slice(None)  # of a split


class Benchmark:
    """Examples by split, with the metrics that each rollout is given.

    Args:
        answers: evaluators by metric.
        forecast: learns from every rollout of the search split.
        window: examples that are under way at once; some more than there are slots keeps every server busy, while
            the first examples still end first and their prompts stay in the servers' prefix caches.
        of: by metric the stage whose answer it looks at, where that is not the last one.
    """

    def __init__(
        self,
        environment: Environment,
        splits: Mapping[str, Sequence[Example]],
        answers: Mapping[str, Evaluator],
        costs: Mapping[str, Cost],
        window: int,
        forecast: Forecast | None = None,
        of: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self.environment = environment
        self.splits = splits
        self.answers = answers
        self.costs = costs
        self.forecast = forecast
        self.of = of
        self._window = window

    async def check(self) -> None:
        """See that evaluators which can tell will judge the examples, before anything is bought.

        Raises:
            ApportionError: one will not.
        """
        for evaluator in self.answers.values():
            if isinstance(evaluator, Checking):
                await evaluator.check(chain.from_iterable(self.splits.values()))

    async def measure(self, graph: Graph, split: str, part: slice = WHOLE) -> AsyncIterator[ScoreRow]:
        """Run a graph on every example of a split, or on a part of it.

        Yields:
            Example id, status, answer and metrics, in the order of the split. A failed rollout has no answer metrics.

        Raises:
            LimitReached: a draw may not be bought.
            EvaluatorError: an evaluator raised, or a metric is not finite.
        """
        window = asyncio.Semaphore(self._window)

        async def one(example: Example) -> ScoreRow:
            async with window:
                rollout = await self.environment.run(graph, example)
                if self.forecast is not None and split == "search":
                    self.forecast.learn(rollout)
                return example.id, rollout.status, rollout.answer, await self.score(rollout, example)

        tasks = [asyncio.create_task(one(example)) for example in self.splits[split][part]]
        try:
            for task in tasks:
                yield await task
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def on_paper(self, graph: Graph) -> Mapping[str, float | None]:
        """What one answer of a graph is likely to cost; empty without a forecast."""
        return {} if self.forecast is None else self.forecast.costs(graph)

    def prices(self, metric: str, stages: Sequence[str]) -> Mapping[str, Mapping[str, float | None]]:
        """What one call of each model is likely to cost, by stage and model; empty without a forecast."""
        return {} if self.forecast is None else self.forecast.prices(metric, stages)

    def learnt(self) -> Mapping[str, Any]:
        """What the forecast rests on, as JSON values."""
        return {} if self.forecast is None else self.forecast.to_dict()

    def recall(self, learnt: Mapping[str, Any]) -> None:
        """Take over what an earlier session learnt."""
        if self.forecast is not None and learnt:
            self.forecast.recall(learnt)

    async def score(self, rollout: Rollout, example: Example) -> dict[str, float | None]:
        """Every metric of one rollout; answer metrics are None where it failed, `usd` where a price is unknown.

        Raises:
            EvaluatorError: an evaluator raised, or a metric is not finite.
            SandboxError: a program must be run, and this machine has no sandbox.
        """
        metrics: dict[str, float | None] = {}
        for name in self.answers:
            answer = rollout.answer if name not in self.of else rollout.answer_of(self.of[name])
            metrics[name] = None if rollout.status == "failed" else await self.judged(name, answer, example)
        for name, cost in self.costs.items():
            value = cost(rollout)
            metrics[name] = None if value is None else _finite(name, value, example)
        return metrics

    async def judged(self, metric: str, answer: str | None, example: Example) -> float:
        """What an answer metric says of one answer; 0 where there is none.

        Raises:
            EvaluatorError: the evaluator raised, or the metric is not finite.
            SandboxError: a program must be run, and this machine has no sandbox.
        """
        if answer is None:
            return 0.0
        try:
            told = self.answers[metric](answer, example)
            value = float(await told if isinstance(told, Awaitable) else told)
        except ApportionError:
            raise
        except Exception as error:
            raise EvaluatorError(
                f"evaluator {metric!r} must not raise, but on {example.id!r}: {error!r}; mend it."
            ) from error
        return _finite(metric, value, example)


def _finite(metric: str, value: float, example: Example) -> float:
    if not math.isfinite(value):
        raise EvaluatorError(f"a metric must be finite, but {metric!r} is {value} on {example.id!r}; mend it.")
    return value
