"""The field of a race over graphs: which graphs may be asked for, what they cost, and who is measured next.

It knows the plan and what was told of each graph; how the race is run is the allocator's, and measuring the study's.
"""

from __future__ import annotations

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
    refused: GraphError | None = None
    for params in _points(plan.space, plan.seed):
        try:
            graph = plan.space.build(params)
        except GraphError as error:
            refused = error
        else:
            found.setdefault(graph.key, (params, graph))
    if refused is not None and not found:
        raise refused
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
        self._short = False
        by_cost = any(not o.maximize for o in plan.objectives)
        self._race = GraphRace([graph for _, graph in candidates], costs, plan.sizes["search"], by_cost=by_cost)
        self._paid: dict[str, int] = {}

    @property
    def spent(self) -> float:
        """Examples on which graphs were measured, baselines not counted, in splits."""
        return sum(self._paid.values()) / self._plan.sizes["search"]

    def tell(self, trial: Trial, rows: Sequence[Row]) -> None:
        """What a trial scored on the first examples; more than it was told of may be known of its graph."""
        rows = rows[: _asked(trial)]
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

    @property
    def ended(self) -> str:
        """Why no measurement is wanted any more."""
        trials = f"`limits.trials` is {self._plan.trials}"
        if not self._race.open:
            return f"none of {len(self._candidates)} graphs may be chosen: each is over the budget or failed."
        if self._left < 1:
            return f"{trials}, and as many examples as those have are measured."
        if self._short:
            return f"{trials}, and of as many examples as those have too few are left for the next measurement."
        return "what more examples would say is not expected to change the choice."

    def next(self) -> Step | None:
        """The next measurement; None where none is wanted, or no more may be spent."""
        if self._left < 1:
            return None
        step = self._step(self._left)
        self._short = step is None and self._step(self._plan.sizes["search"] * len(self._candidates)) is not None
        return None if step is None else Step(*self._candidates[step[0]], step[1])

    @property
    def _left(self) -> int:
        """Examples that may still be measured."""
        return self._plan.trials * self._plan.sizes["search"] - sum(self._paid.values())

    def _step(self, left: int) -> tuple[int, int] | None:
        return self._race.next(np.random.default_rng([self._plan.seed, sum(self._paid.values())]), left)


def _asked(trial: Trial) -> int:
    """Examples that a trial was told of, those that failed too; 0 where no answer was had."""
    answered = max((interval.n for interval in trial.metrics.values()), default=0)
    return round(answered / (1.0 - trial.failure_rate)) if answered else 0


def _points(space: SearchSpace, seed: int) -> Iterator[Params]:
    """Parameters of all graphs of a space or, where they are many, of some at random."""
    if space.listable:
        yield from map(space.point, places(space.size, FIELD, seed))
        return
    engine = Engine(space, "random", (), seed, FIELD)
    for number in range(FIELD):
        yield engine.ask(number)[0]
