"""The field of a race over graphs: which graphs may be asked for, what they cost, and who is measured next.

It knows the plan and what was told of each graph; how the race is run is the allocator's, and measuring the study's.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from apportion.errors import GraphError
from apportion.graphs.graph import Graph
from apportion.graphs.parameters import Params
from apportion.graphs.space import SearchSpace
from apportion.search.allocator.by_graph import GraphRace
from apportion.search.engine import Engine
from apportion.search.plan import Plan
from apportion.search.problem import Measurement, Row
from apportion.search.samplers import places
from apportion.search.trial import Trial

ALLOCATOR = "allocator"
"""The sampler of a study that races graphs over examples, instead of asking for one whole trial after the other."""

FIELD = 256  # graphs at most: all of a space that has no more, else so many at random


class Step(NamedTuple):
    """The next measurement: a graph, on the first so many examples of the search split."""

    params: Params
    graph: Graph
    examples: int


def candidates(plan: Plan) -> list[tuple[Params, Graph]]:
    """Graphs of the space, each once, with their parameters.

    Raises:
        GraphError: the space has none.
    """
    found: dict[str, tuple[Params, Graph]] = {}
    for params, graph in _drawn(plan.space, plan.seed):
        found.setdefault(graph.key, (params, graph))
    return list(found.values())


class Field:
    """Candidates, and the race between them.

    Args:
        candidates: graphs with their parameters.
        costs: what one answer of each is expected to cost, above 0.
    """

    def __init__(self, plan: Plan, candidates: Sequence[tuple[Params, Graph]], costs: Sequence[float]) -> None:
        self._plan = plan
        self._candidates = candidates
        self._places = {graph.key: place for place, (_, graph) in enumerate(candidates)}
        by_cost = any(not o.maximize for o in plan.objectives)
        self._race = GraphRace([graph for _, graph in candidates], costs, plan.sizes["search"], by_cost=by_cost)
        self._paid: dict[str, int] = {}

    @property
    def spent(self) -> float:
        """Examples on which graphs were measured, baselines not counted, in splits."""
        return sum(self._paid.values()) / self._plan.sizes["search"]

    def tell(self, trial: Trial, rows: Sequence[Row]) -> None:
        """What a trial scored on the first examples."""
        if not trial.baseline:
            self._paid[trial.key] = len(rows)
        place = self._places.get(trial.key)
        if place is None:
            return
        objective = self._plan.objectives[0]
        values = Measurement(rows).values(objective.metric)
        sign = 1.0 if objective.maximize else -1.0
        self._race.tell(place, [None if value is None else sign * value for value in values])
        if trial.state not in ("complete", "pruned"):
            self._race.exclude(place)

    def exclude(self, graph: Graph) -> None:
        """A graph that cannot be chosen."""
        self._race.exclude(self._places[graph.key])

    def next(self) -> Step | None:
        """The next measurement; None where none is wanted, or no more may be spent."""
        size = self._plan.sizes["search"]
        left = math.floor((self._plan.trials - self.spent) * size + 1e-9)
        if left < 1:
            return None
        rng = np.random.default_rng([self._plan.seed, sum(self._paid.values())])
        step = self._race.next(rng, left)
        return None if step is None else Step(*self._candidates[step[0]], step[1])


def _drawn(space: SearchSpace, seed: int) -> Iterator[tuple[Params, Graph]]:
    if not space.listable:
        engine = Engine(space, "random", (), seed, FIELD)
        for number in range(FIELD):
            params, graph, _ = engine.ask(number)
            yield params, graph
        return
    refused: GraphError | None = None
    none = True
    for place in places(space.size, FIELD, seed):
        params = space.point(place)
        try:
            graph = space.build(params)
        except GraphError as error:
            refused = error
            continue
        none = False
        yield params, graph
    if none and refused is not None:
        raise refused
