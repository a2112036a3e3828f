"""What the tests of distributions share: small spaces, everything that can be drawn, chi-square."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import TypeVar

import torch

from apportion.bench.networkx_sampling import NetworkxSampler
from apportion.graphs.graph import Graph
from apportion.graphs.parameters import Value
from apportion.graphs.probabilistic import ProbabilisticGraph
from apportion.graphs.probabilistic.batch import Batch
from apportion.graphs.roles import ROLES
from apportion.graphs.slots import SlotStage
from apportion.graphs.space import SearchSpace
from apportion.graphs.templates import TemplateStage

LEVEL = 1e-4  # of a test that a right sampler fails: seeds are fixed, so it passes or not for good
Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True)
class Case:
    """A space small enough for all that can be drawn of it to be listed."""

    stages: tuple[SlotStage | TemplateStage, ...]
    prices: Mapping[tuple[str, str], float] = field(default_factory=dict)
    budget: float | None = None
    fuser_rule: bool = False

    def distribution(self, spread: float = 1.5) -> ProbabilisticGraph:
        """A distribution with uneven logits."""
        made = ProbabilisticGraph(SearchSpace(self.stages), self.prices, self.budget, fuser_rule=self.fuser_rule)
        noise = torch.randn(made.logits.shape, generator=torch.Generator().manual_seed(7), dtype=torch.float64)
        edges = torch.zeros(made.layout.size, dtype=torch.float64)
        for block in made.layout.blocks.values():
            edges[block.where] = 1.5 if block.edge else 0.0  # so that edges are common
        made.set_logits(spread * noise + edges)
        return made


TWO = {("s", "a"): 1.0, ("s", "b"): 3.0}
DECIDERS = ("decider",)
CASES: dict[str, Case] = {
    "plain": Case((SlotStage("s", ("a", "b"), 2, ("refiner", "fuser"), ("decider", "voter")),)),
    "three slots": Case((SlotStage("s", ("a",), 3, ("refiner", "fuser"), DECIDERS),)),
    "no roles": Case((SlotStage("s", ("a", "b"), 3, (), ("voter", "fuser", "refiner")),)),
    "samples and temperatures": Case(
        (SlotStage("s", ("a",), 2, ("refiner", "ranker"), ("voter", "ranker"), (1, 3), (0.0, 1.0), keep=2),)
    ),
    "a budget": Case((SlotStage("s", ("a", "b"), 3, ("refiner",), ("voter",)),), TWO, 5.0),
    "a budget of samples": Case(
        (SlotStage("s", ("a", "b"), 2, ("refiner",), DECIDERS, (1, 3), final_models=("a", "b")),), TWO, 7.0
    ),
    "a final node that need not be paid": Case(
        (SlotStage("s", ("a", "b"), 2, ("refiner", "critic"), ("voter", "decider"), final_models=("b", "a")),), TWO, 4.0
    ),
    "critics": Case((SlotStage("s", ("a",), 3, ("refiner", "critic"), ("voter", "decider")),)),
    "deaf ends": Case((SlotStage("s", ("a",), 3, ("critic", "refiner", "ranker"), ("voter",)),)),
    "scores": Case(
        (SlotStage("s", ("a",), 3, ("verifier", "weighted_voter", "ranker", "refiner"), ("weighted_voter", "voter")),)
    ),
    "choosing code": Case((SlotStage("s", ("a",), 3, ("voter", "tester"), ("voter", "fuser"), (2, 2)),)),
    "fuser rule": Case((SlotStage("s", ("a",), 4, ("refiner", "fuser"), DECIDERS),), fuser_rule=True),
    "fuser rule, three roles": Case(
        (SlotStage("s", ("a",), 3, ("fuser", "refiner", "critic"), DECIDERS, (1, 2)),), fuser_rule=True
    ),
    "templates beside": Case(
        (
            TemplateStage("t", ("a", "b"), ("single", "vote", "best_of_n"), (2, 3)),
            SlotStage("s", ("a", "b"), 2, ("refiner",), DECIDERS, reads=("t",)),
        )
    ),
    "templates beside, in a budget": Case(
        (
            SlotStage("s", ("a", "b"), 2, ("refiner",), DECIDERS, final_models=("b", "a")),
            TemplateStage("t", ("a", "b"), ("single", "vote", "best_of_n"), (2, 3), scorer="c", reads=("s",)),
        ),
        {**TWO, ("t", "a"): 1.0, ("t", "b"): 2.0, ("t", "c"): 0.5},
        9.0,
    ),
    "two stages of slots": Case(
        (
            SlotStage("s", ("a", "b"), 2, (), ("voter",)),
            SlotStage("t", ("b", "a"), 2, ("refiner",), ("voter", "refiner"), reads=("s",), final_models=("a",)),
        ),
        {**TWO, ("t", "a"): 2.0, ("t", "b"): 1.0},
        9.0,
    ),
    "free order": Case((SlotStage("s", ("a",), 3, ("refiner", "fuser"), DECIDERS, free_order=True),)),
    "free order, in a budget": Case(
        (SlotStage("s", ("a", "b"), 3, ("refiner",), ("voter",), free_order=True),), TWO, 5.0
    ),
    "free order beside fixed": Case(
        (
            SlotStage("s", ("a",), 2, ("refiner", "critic"), DECIDERS, free_order=True),
            SlotStage("t", ("a", "b"), 1, ("refiner",), ("voter",), reads=("s",)),
        ),
        {("s", "a"): 1.0, ("t", "a"): 2.0, ("t", "b"): 1.0},
        4.0,
    ),
}


def reference(distribution: ProbabilisticGraph, case: Case) -> NetworkxSampler:
    """The slow sampler of the same distribution."""
    return NetworkxSampler(distribution.space, distribution.probabilities(), case.prices, case.budget, case.fuser_rule)


Order = tuple[int, ...] | None
Drawn = tuple[tuple[dict[str, Value], ...], torch.Tensor]
"""Parameters and their probabilities."""


def orders(name: str) -> list[Order]:
    """Every order in which slots may be walked."""
    slotted = [stage for stage in CASES[name].stages if isinstance(stage, SlotStage)]
    if not any(stage.free_order for stage in slotted):
        return [None]
    return list(itertools.permutations(range(sum(stage.slots for stage in slotted))))


@cache
def everything(name: str, order: Order) -> Drawn:
    """All that can be drawn of a case: every way through the choices of the slow sampler."""
    sampler = reference(CASES[name].distribution(), CASES[name])
    found: list[tuple[dict[str, Value], float]] = []
    ahead: list[list[int]] = [[]]
    while ahead:
        walk = _Walk(ahead.pop(), ahead)
        params = sampler.draw(walk.choose, order)
        found.append((params, walk.p))
    assert len({plain(params) for params, _ in found}) == len(found)
    return tuple(params for params, _ in found), torch.tensor([p for _, p in found], dtype=torch.float64)


class _Walk:
    """Takes choices that are laid down, then the first of each; the others of those are left for later."""

    def __init__(self, path: list[int], ahead: list[list[int]]) -> None:
        self._path, self._ahead, self._taken = path, ahead, list[int]()
        self.p = 1.0

    def choose(self, weights: Sequence[float]) -> int:
        ways = [i for i, weight in enumerate(weights) if weight > 0.0]
        if len(self._taken) < len(self._path):
            way = self._path[len(self._taken)]
        else:
            way = ways[0]
            self._ahead.extend([*self._taken, other] for other in ways[1:])
        self._taken.append(way)
        self.p *= weights[way] / sum(weights)
        return way


def realised(distribution: ProbabilisticGraph, drawn: Sequence[dict[str, Value]], order: Order) -> Batch:
    """All of that as a batch."""
    return distribution.batch(drawn, None if order is None else [order] * len(drawn))


def plain(params: Mapping[str, Value]) -> tuple[tuple[str, Value], ...]:
    """Parameters as a key."""
    return tuple(sorted(params.items()))


def p_value(statistic: float, degrees: int) -> float:
    """Probability of a chi-square at least so large; 1 where there is nothing to compare."""
    if degrees == 0:
        return 1.0
    return float(torch.special.gammaincc(torch.tensor(degrees / 2).double(), torch.tensor(statistic / 2).double()))


def fit(counts: Mapping[Key, int], expected: Mapping[Key, float]) -> float:
    """P-value of counts under probabilities; rare keys are taken together."""
    total = sum(counts.values())
    assert not counts.keys() - expected.keys()
    common = {key: p for key, p in expected.items() if p * total >= 5.0}
    rare = sum(count for key, count in counts.items() if key not in common)
    cells = [(counts.get(key, 0), p * total) for key, p in common.items()]
    rest = total - sum(mean for _, mean in cells)
    if rest >= 5.0:
        cells.append((rare, rest))
    return p_value(sum((count - mean) ** 2 / mean for count, mean in cells), len(cells) - 1)


def agree(one: Counter[Key], other: Counter[Key]) -> float:
    """P-value of two samples' being of one distribution; rare keys are taken together."""
    n, m = one.total(), other.total()
    cells: list[tuple[int, int]] = [(one[key], other[key]) for key in one | other]
    rare = [cell for cell in cells if min(n, m) * sum(cell) / (n + m) < 5.0]
    cells = [cell for cell in cells if min(n, m) * sum(cell) / (n + m) >= 5.0]
    if rare:
        cells.append((sum(a for a, _ in rare), sum(b for _, b in rare)))
    statistic = sum((a * math.sqrt(m / n) - b * math.sqrt(n / m)) ** 2 / (a + b) for a, b in cells)
    return p_value(statistic, len(cells) - 1)


def nominal(graph: Graph, prices: Mapping[tuple[str, str], float], space: SearchSpace) -> float:
    """What the models of a graph cost at their prices: slots once a sample, templates once a call."""
    slotted = {stage.name for stage in space.stages if isinstance(stage, SlotStage)}
    total = 0.0
    for node in graph.nodes:
        if node.model is not None:
            read = sum(graph.widths[source.id] for source in graph.candidates(node))
            calls = read if ROLES[node.role].each and node.stage not in slotted else 1
            total += prices[node.stage, node.model] * node.samples * calls
    return total
