"""Drawing graphs from a distribution that were not measured yet, and of many the most promising one.

It knows graphs and how good the measured ones were, not how the distribution came to be.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import torch

from apportion.graphs.graph import Graph
from apportion.graphs.parameters import Params, Value
from apportion.graphs.probabilistic import ProbabilisticGraph
from apportion.graphs.probabilistic.table import Probabilities
from apportion.search.screening import promise

DRAWS, FLATTEN, MOST_FLATTENED = 16, 0.8, 20  # drawn at once in looking for a new graph; then logits shrink, and again
NEAR = 0.2  # probability that a graph drawn near another takes a value that is drawn evenly
FEWEST_TOLD = 8  # graphs measured before others are screened by them


@dataclass(frozen=True, slots=True)
class Drawn:
    """A graph that was drawn.

    Attributes:
        order: of its slots, empty for the slots' own.
    """

    params: dict[str, Value]
    order: list[int]


@dataclass(frozen=True)
class Measured:
    """A graph that was measured, and how good it was."""

    graph: Graph
    params: Params
    utility: float


def draw(distribution: ProbabilisticGraph, n: int, generator: torch.Generator) -> list[Drawn]:
    """So many graphs, new or not."""
    batch = distribution.sample(n, generator)
    orders = [[]] * n if batch.order is None else batch.order.tolist()
    return [Drawn(*own) for own in zip(distribution.params(batch), orders, strict=True)]


def fresh(
    distribution: ProbabilisticGraph,
    known: Collection[str],
    measured: Sequence[Measured],
    generator: torch.Generator,
    screened: int = 1,
    start: Probabilities | None = None,
) -> Drawn:
    """The most promising of many graphs whose keys are not known; a known one if there is no other to be found.

    The distribution is as it was afterwards.

    Args:
        screened: graphs that are drawn: a third from the distribution, a third as at the start, a third near the best
            measured one; 1 takes the first new one of the distribution.
        start: probabilities that are not even at the start.
    """
    settled = distribution.logits.detach().clone()
    drawn = candidates(distribution, measured, generator, screened, start or {})
    try:
        for flatter in range(MOST_FLATTENED):
            found: dict[str, tuple[Graph, Drawn]] = {}
            for own in drawn:
                graph = distribution.space.build(own.params)
                if graph.key not in known:
                    found.setdefault(graph.key, (graph, own))
            if found:
                return _most_promising(list(found.values()), measured if screened > 1 else ())
            distribution.set_logits(settled * FLATTEN ** (flatter + 1))
            drawn = draw(distribution, DRAWS, generator)
    finally:
        distribution.set_logits(settled)
    return drawn[0]


def candidates(
    distribution: ProbabilisticGraph,
    measured: Sequence[Measured],
    generator: torch.Generator,
    screened: int,
    start: Probabilities,
) -> list[Drawn]:
    """Draws from the distribution; if they are screened, as many from the one at the start and near the best."""
    drawn = draw(distribution, DRAWS if screened == 1 else max(1, screened // 3), generator)
    if screened == 1 or not measured:
        return drawn
    best = max(measured, key=lambda own: own.utility).params
    settled = distribution.logits.detach().clone()
    for probabilities in (start, near(distribution, best)):
        distribution.set_logits(torch.zeros_like(settled))
        distribution.set_probabilities(probabilities)
        drawn += draw(distribution, max(1, screened // 3), generator)
    distribution.set_logits(settled)
    return drawn


def near(distribution: ProbabilisticGraph, params: Mapping[str, Value]) -> dict[str, dict[Value, float]]:
    """Probabilities of one graph's values, a little left for the others."""
    return {
        name: {v: NEAR / len(p.values) + (1.0 - NEAR) * (v == params.get(name)) for v in p.values}
        for name, p in distribution.space.parameters.items()
    }


def _most_promising(found: Sequence[tuple[Graph, Drawn]], measured: Sequence[Measured]) -> Drawn:
    if len(measured) < FEWEST_TOLD:
        return found[0][1]
    bounds = promise([graph for graph, _ in found], [m.graph for m in measured], [m.utility for m in measured])
    return found[int(bounds.argmax())][1]
