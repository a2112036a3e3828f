"""What the tests of the search share: a log and a purse in memory, a small space, a problem that can go wrong."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from typing import Any

from apportion.graphs.graph import Graph
from apportion.graphs.space import SearchSpace
from apportion.graphs.templates import TemplateStage
from apportion.search.objectives import Constraint, Objective
from apportion.search.plan import Plan
from apportion.search.problem import ALL, Row
from apportion.search.study import Outcome, Study
from apportion.search.trial import Trial
from apportion.statistics import Interval
from apportion.testing.synthetic import SyntheticModel, SyntheticProblem

MODELS = {
    "small": SyntheticModel(0.2, 1e9),
    "medium": SyntheticModel(0.4, 3e9),
    "large": SyntheticModel(0.6, 8e9),
}
SPACE = SearchSpace(
    (
        TemplateStage("find", ("small", "large"), ("single", "vote"), (1, 4)),
        TemplateStage("answer", ("small", "medium", "large"), ("single", "vote", "best_of_n"), (1, 4), reads=("find",)),
    )
)
TINY = SearchSpace((TemplateStage("answer", ("small", "large"), ("single", "vote"), (1, 3)),))
ACCURACY, FLOPS = Objective("accuracy", maximize=True), Objective("flops", maximize=False)
SIZES = {"search": 20, "validation": 10, "test": 30}
Trouble = Callable[[Graph, str, int], str | None]
"""Graph, split and example number to a status instead of `ok`; may raise."""


def plan(space: SearchSpace = SPACE, **changes: Any) -> Plan:
    """A plan of ten trials of the random sampler, unless told otherwise."""
    usual: dict[str, Any] = {
        "space": space,
        "sampler": "random",
        "objectives": (ACCURACY, FLOPS),
        "constraints": (),
        "trials": 10,
        "finalists": 3,
        "seed": 7,
        "sizes": SIZES,
    }
    return Plan(**{**usual, **changes})


class MemoryLog:
    """Keeps everything as JSON texts, as a store would.

    Attributes:
        dies_at: which write of a trial, from 1, is the last before the process ends.
    """

    def __init__(self) -> None:
        self.trials: dict[int, str] = {}
        self.facts: dict[str, str] = {}
        self.scored: dict[tuple[str, str], list[Row]] = {}
        self.events: list[tuple[str, dict[str, Any]]] = []
        self.writes = 0
        self.dies_at: int | None = None

    def fact(self, name: str) -> Any:
        return json.loads(self.facts[name]) if name in self.facts else None

    def set_fact(self, name: str, value: Any) -> None:
        self.facts[name] = json.dumps(value, allow_nan=False)

    def all(self) -> list[dict[str, Any]]:
        return [json.loads(self.trials[number]) for number in sorted(self.trials)]

    async def put(self, number: int, record: Mapping[str, Any], **facts: Any) -> None:
        self.trials[number] = json.dumps(record, allow_nan=False)
        for name, value in facts.items():
            self.facts[name] = json.dumps(value, allow_nan=False)
        self.writes += 1
        if self.writes == self.dies_at:
            raise KilledError

    def put_scores(self, graph: str, split: str, rows: Iterable[Row]) -> None:
        self.scored[graph, split] = list(rows)

    def scores(self, graph: str, split: str) -> list[Row]:
        return self.scored.get((graph, split), [])

    def log(self, kind: str, **detail: Any) -> None:
        self.events.append((kind, detail))

    @property
    def proposed(self) -> list[Any]:
        """Number and parameters of every trial."""
        return [(record["number"], record["params"]) for record in self.all()]


class KilledError(BaseException):
    """Stands for the end of the process."""


class MemoryPurse:
    """Has no limit and remembers what was held back."""

    def __init__(self) -> None:
        self.held: list[float] = []

    @property
    def elapsed_s(self) -> float:
        return 1.5

    @property
    def caps(self) -> Mapping[str, float]:
        return {}

    def hold(self, share: float) -> None:
        self.held.append(share)


class Troubled(SyntheticProblem):
    """A synthetic problem in which some examples end badly."""

    def __init__(self, trouble: Trouble = lambda graph, split, i: None, sizes: Mapping[str, int] = SIZES) -> None:
        super().__init__(MODELS, sizes)
        self.trouble = trouble

    async def measure(self, graph: Graph, split: str, part: slice = ALL) -> AsyncIterator[Row]:
        i = part.start or 0
        async for name, _, answer, metrics in super().measure(graph, split, part):
            status = self.trouble(graph, split, i) or "ok"
            yield name, status, answer, {**metrics, "accuracy": None} if status == "failed" else metrics
            i += 1


def trial(number: int, state: str = "complete", graph: Graph | None = None, **means: float) -> Trial:
    """A told trial with these means."""
    metrics = {name: Interval(mean, mean, mean, 1) for name, mean in means.items()}
    graph = graph or GRAPHS[number % len(GRAPHS)]
    return Trial(number, "test", False, graph, {}, state, "", metrics)  # type: ignore[arg-type]


def best(problem: SyntheticProblem, space: SearchSpace, constraints: Sequence[Constraint] = ()) -> float:
    """The greatest strength of any graph of the space that keeps the constraints."""
    graphs = [space.build(point) for point in space.grid()]
    kept = [g for g in graphs if all(problem.costs(g)[c.metric] <= c.bound for c in constraints)]
    return max(map(problem.strength, kept))


GRAPHS = [SPACE.build(point) for point in SPACE.grid()]


def study(made: Plan, problem: Troubled | None = None, log: MemoryLog | None = None) -> Study:
    """A study on a synthetic problem."""
    return Study(made, problem or Troubled(), log or MemoryLog(), MemoryPurse())


def finish(made: Study) -> Outcome:
    """Run it to its end."""
    return asyncio.run(made.run())


def searched(problem: Troubled) -> list[str]:
    """Keys measured on the search split, in order."""
    return [key for key, split in problem.measured if split == "search"]
