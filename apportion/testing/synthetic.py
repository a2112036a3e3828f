"""A problem whose every metric is a closed formula of the graph: synthetic numbers, no model is asked.

For tests of searches, where the best graph must be known beforehand. It knows graphs, not studies.
"""

from __future__ import annotations

import math
import random
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from apportion.graphs.graph import Graph, Node, calls_of
from apportion.search.problem import ALL, Row

TOKENS_PER_CALL = 100.0


@dataclass(frozen=True, slots=True)
class SyntheticModel:
    """A made-up model.

    Attributes:
        skill: chance that one call of it answers a stage, 0 to 1.
        flops: FLOPs of one call.
        seconds: of one call.
    """

    skill: float
    flops: float
    seconds: float = 1.0


class SyntheticProblem:
    """A stage is answered unless all its calls miss; an example is right where the graph is stronger than it is hard.

    The i-th easiest of n examples is right if (i + 1/2) / n is below the graph's strength, so that the mean accuracy of
    a split is the strength, rounded to a multiple of 1/n. Easy and hard ones stand in random order.

    Attributes:
        sizes: number of examples of each split.
        measured: (graph key, split) of every measurement that was begun, in order.
    """

    def __init__(self, models: Mapping[str, SyntheticModel], sizes: Mapping[str, int]) -> None:
        self.sizes = sizes
        self.measured: list[tuple[str, str]] = []
        self.models = models

    def strength(self, graph: Graph) -> float:
        """Product over stages of 1 - (product over calls of 1 - skill)."""
        misses = dict.fromkeys(graph.stages, 1.0)
        for node in graph.nodes:
            if node.model is not None:
                misses[node.stage] *= (1.0 - self.models[node.model].skill) ** calls_of(graph, node)
        return math.prod(1.0 - miss for miss in misses.values())

    def costs(self, graph: Graph) -> dict[str, float]:
        """Costs of one answer; a call is 100 tokens, 10^15 FLOPs are one USD, and calls of a node run side by side."""
        called = [(self.models[node.model], calls_of(graph, node)) for node in graph.nodes if node.model is not None]
        flops = sum(model.flops * calls for model, calls in called)
        return {
            "calls": float(graph.calls),
            "tokens": TOKENS_PER_CALL * graph.calls,
            "flops": flops,
            "usd": flops / 1e15,
            "latency_s": self._latency_s(graph),
        }

    def on_paper(self, graph: Graph) -> Mapping[str, float | None]:
        """The costs, which are exact."""
        return self.costs(graph)

    def prices(self, metric: str, stages: Sequence[str]) -> Mapping[str, Mapping[str, float | None]]:
        """What one call costs; the same in every stage."""
        lone = {name: Graph((Node("one", "any", "generator", name),)) for name in self.models}
        return {stage: {name: self.on_paper(graph).get(metric) for name, graph in lone.items()} for stage in stages}

    def learnt(self) -> Mapping[str, Any]:
        """Nothing: everything is known."""
        return {}

    def recall(self, learnt: Mapping[str, Any]) -> None:
        """Nothing to take over."""

    async def measure(self, graph: Graph, split: str, part: slice = ALL) -> AsyncIterator[Row]:
        """One row an example, with `accuracy` and the costs."""
        self.measured.append((graph.key, split))
        strength, costs, n = self.strength(graph), self.costs(graph), self.sizes[split]
        ranks = random.Random(split).sample(range(n), n)
        for i in range(n)[part]:
            right = (ranks[i] + 0.5) / n < strength
            yield f"{split}{i}", "ok", "right" if right else "wrong", {"accuracy": float(right), **costs}

    def _latency_s(self, graph: Graph) -> float:
        """Seconds on the critical path: nodes wait for their inputs; code takes no time."""
        done: dict[str, float] = {}
        for node in graph.nodes:
            own = 0.0 if node.model is None else self.models[node.model].seconds
            done[node.id] = own + max((done[source] for source in node.inputs), default=0.0)
        return done[graph.output.id]
