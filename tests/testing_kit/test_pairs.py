"""The paired problems: every graph of their space is gone through, so that the best is known to be the best."""

from __future__ import annotations

import contextlib
import itertools
import math
import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache

import pytest

from apportion.errors import GraphError
from apportion.graphs.graph import Graph, Node
from apportion.testing.landscape import Case, Landscape
from apportion.testing.pairs import ACCURACY, MODELS, SPACE, pairs

PAIRS = pairs()
BY_NAME = {case.name: case for case in PAIRS}
BASES = ("wide", "deep", "mixed")
SLOTS = 6
Shape = tuple[int, int, int]
"""Depth, drafts, fusers."""
Kind = tuple[Shape, tuple[str, ...]]
"""Shape and the sorted models of all slots: what a landscape and a nominal budget can see of a graph."""


@dataclass(frozen=True)
class Every:
    """All graphs of a kind: one of them, and in how many ways slots, roles, models and edges may be set to have one."""

    graph: Graph
    ways: int


def edges(slots: int) -> Iterator[list[list[int]]]:
    """What each of so many slots reads, in every way there is."""
    joined = [(a, b) for b in range(slots) for a in range(b)]
    for chosen in itertools.product((False, True), repeat=len(joined)):
        reads: list[list[int]] = [[] for _ in range(slots)]
        for (a, b), there in zip(joined, chosen, strict=True):
            if there:
                reads[b].append(a)
        yield reads


@cache
def every() -> dict[Kind, Every]:
    """The whole space. A slot that nobody reads is read by the final node, which may read the others too."""
    ways: Counter[tuple[int, Shape]] = Counter()
    one: dict[tuple[int, Shape], list[list[int]]] = {}
    for slots in range(1, SLOTS + 1):
        for reads in edges(slots):
            depth = [1] * slots
            for slot, sources in enumerate(reads):
                depth[slot] += max((depth[source] for source in sources), default=0)
            drafts, joins = (sum(map(f, reads)) for f in (lambda r: not r, lambda r: len(r) > 1))
            read = len({source for sources in reads for source in sources})
            for fusers in range(joins + 1):
                sized = slots, (max(depth), drafts, fusers)
                ways[sized] += math.comb(joins, fusers) * 2**read
                one.setdefault(sized, reads)
    found = {}
    for (slots, shape), reads in one.items():
        for models in itertools.combinations_with_replacement(MODELS, slots):
            orders = math.factorial(slots) // math.prod(map(math.factorial, Counter(models).values()))
            found[shape, models] = Every(graph(reads, shape[2], models), ways[slots, shape] * orders)
    return found


def graph(reads: list[list[int]], fusers: int, models: tuple[str, ...]) -> Graph:
    joins = [slot for slot, sources in enumerate(reads) if len(sources) > 1][:fusers]
    ids = [f"answer.{slot}" for slot in range(1, len(reads) + 1)]
    nodes = []
    for slot, (sources, model) in enumerate(zip(reads, models, strict=True)):
        role = "fuser" if slot in joins else "refiner" if sources else "generator"
        nodes.append(Node(ids[slot], "answer", role, model, inputs=tuple(ids[source] for source in sources)))
    ends = set(range(len(reads))) - {source for sources in reads for source in sources}
    return Graph((*nodes, Node("answer.final", "answer", "decider", "3b", inputs=tuple(ids[i] for i in sorted(ends)))))


def kind(of: Graph) -> Kind:
    slots = of.nodes[:-1]
    depth: dict[str, int] = {}
    for node in slots:
        depth[node.id] = 1 + max((depth[source] for source in node.inputs), default=0)
    roles = Counter(node.role for node in slots)
    return (max(depth.values()), roles["generator"], roles["fuser"]), tuple(sorted(str(n.model) for n in slots))


def within(case: Case) -> list[Every]:
    assert case.budget is not None
    return [kind for kind in every().values() if case.problem.costs(kind.graph)["flops"] <= case.budget]


def widths(case: Case) -> dict[int, dict[int, float]]:
    """Quality by depth and drafts alone."""
    depth, width, _, _ = landscape(case).steepness
    shape = replace(landscape(case), steepness=(depth, width, 0.0, 0.0))
    found: dict[int, dict[int, float]] = {}
    for (levels, drafts, _), _ in every():
        found.setdefault(levels, {})[drafts] = 0.0
    for ((levels, drafts, _), _), alike in every().items():
        found[levels][drafts] = shape.value(alike.graph, "answer")
    return found


def landscape(case: Case) -> Landscape:
    return case.problem._stages["answer"]


def best_widths(case: Case) -> list[int]:
    """Best number of drafts at each depth."""
    return [max(values, key=values.__getitem__) for _, values in sorted(widths(case).items())]


def rising(values: list[float]) -> bool:
    return all(a < b for a, b in itertools.pairwise(values))


# The best graph


def test_three_bases_obey_and_each_insight_is_broken_once() -> None:
    assert [(case.name, case.base, case.breaks, case.keeps) for case in PAIRS] == [
        (f"{base}-breaks-{broken}" if broken else base, base, broken, broken is None)
        for base in BASES
        for broken in (None, 1, 2, 3)
    ]


@pytest.mark.parametrize("seed", range(3))
def test_any_graph_is_worth_what_another_of_its_kind_is(seed: int) -> None:
    """So that to go through the kinds is to go through the space."""
    rng, seen = random.Random(seed), 0
    for _ in range(3000):
        params = {name: rng.choice(list(parameter.values)) for name, parameter in SPACE.parameters.items()}
        with contextlib.suppress(GraphError):
            drawn = SPACE.build(params)
            alike = every()[kind(drawn)].graph
            case = PAIRS[seen % len(PAIRS)]
            assert case.problem.strength(drawn) == pytest.approx(case.problem.strength(alike), rel=1e-12)
            assert case.problem.costs(drawn)["flops"] == case.problem.costs(alike)["flops"]
            seen += 1
    assert seen > 500


def test_each_kind_is_of_the_space() -> None:
    for (shape, models), alike in every().items():
        if models in (("1b",) * len(models), ("1b", "3b", "8b")):
            arranged = SPACE.arranged(alike.graph)
            assert SPACE.build(SPACE.params(arranged)).key == arranged.key
            assert kind(alike.graph) == (shape, models)


@pytest.mark.parametrize("case", PAIRS, ids=lambda case: case.name)
def test_no_graph_within_the_budget_beats_the_best(case: Case) -> None:
    assert case.problem.strength(case.best) == pytest.approx(case.problem.best) == ACCURACY
    assert case.space.build(case.space.params(case.best)).key == case.best.key
    values = [(case.problem.strength(alike.graph), alike.ways) for alike in within(case)]
    assert max(value for value, _ in values) == pytest.approx(ACCURACY)
    total = sum(ways for _, ways in values)
    worse = sum(ways for value, ways in values if value < 0.99 * ACCURACY)
    assert worse > (0.95 if case.breaks == 1 else 0.999) * total


@pytest.mark.parametrize("case", PAIRS, ids=lambda case: case.name)
def test_the_budget_covers_the_best_but_not_the_most_of_everything(case: Case) -> None:
    assert case.budget is not None
    most, _ = case.space.uniform("8b", "refine")
    assert case.problem.costs(case.best)["flops"] <= case.budget < case.problem.costs(most)["flops"]
    assert len(within(case)) > 300
    used = {model for alike in within(case) for model in kind(alike.graph)[1]}
    assert used == set(MODELS)


# The insights


@pytest.mark.parametrize("case", PAIRS, ids=lambda case: case.name)
def test_only_what_breaks_the_first_does_not_care_for_the_mix(case: Case) -> None:
    ties = [alike for alike in within(case) if case.problem.strength(alike.graph) > ACCURACY - 1e-9]
    mixes = {models for _, models in map(kind, (alike.graph for alike in ties))}
    shares = {tuple(models.count(m) / len(models) for m in MODELS) for models in mixes}
    assert (len(shares) > 1) == (case.breaks == 1)
    if case.breaks == 1:
        by_shape: dict[tuple[Shape, int], set[float]] = {}
        for (shape, models), alike in every().items():
            by_shape.setdefault((shape, len(models)), set()).add(round(case.problem.strength(alike.graph), 12))
        assert all(len(values) == 1 for values in by_shape.values())


@pytest.mark.parametrize("case", PAIRS, ids=lambda case: case.name)
def test_only_what_breaks_the_second_has_no_inner_optimum(case: Case) -> None:
    of, (depth, drafts, _) = widths(case), kind(case.best)[0]
    side = [of[depth][n] for n in sorted(of[depth])]
    down = [of[n][drafts] for n in sorted(of) if drafts in of[n]]
    inner = [0 < values.index(max(values)) < len(values) - 1 for values in (side, down)]
    if case.breaks != 2:
        assert inner == [True, True]
    elif case.base == "deep":
        every_width = {n for values in of.values() for n in values}
        chains = [[of[d][n] for d in sorted(of) if n in of[d]] for n in every_width]
        assert all(map(rising, chains)) and max(map(len, chains)) == SLOTS
    else:
        assert all(rising([values[n] for n in sorted(values)]) for values in of.values())
        assert drafts == max(of[depth])


@pytest.mark.parametrize("case", PAIRS, ids=lambda case: case.name)
def test_only_what_breaks_the_third_widens_as_it_deepens(case: Case) -> None:
    """As far as the slots let it: they leave fewer drafts to a deeper graph whatever it wants."""
    best, most = best_widths(case), [max(values) for _, values in sorted(widths(case).items())]
    free = [n for n, bound in zip(best, most, strict=True) if n < bound]
    if case.breaks == 3:
        assert free == sorted(free) and len(set(free)) > 1
        assert best[len(free) :] == most[len(free) :]
    else:
        assert best == sorted(best, reverse=True) and len(set(best)) > 2
    assert (landscape(case).interaction < 0) == (case.breaks == 3)


@pytest.mark.parametrize("base", BASES)
def test_pairs_share_all_but_what_is_broken(base: str) -> None:
    kept, *broken = [case for case in PAIRS if case.base == base]
    assert all((case.space, case.budget) == (kept.space, kept.budget) for case in broken)
    assert [case.best == kept.best for case in broken] == [True, False, True]
    whole = landscape(kept)
    assert replace(landscape(broken[0]), steepness=whole.steepness) == whole
    assert replace(landscape(broken[1]), depth=whole.depth, width=whole.width, mix=whole.mix) == whole
    assert replace(landscape(broken[2]), interaction=whole.interaction) == whole


# Costs


@pytest.mark.parametrize(
    ("name", "flops", "seconds"),
    [
        ("wide", 8.0, 0.5 + 0.5 + 1.0),
        ("deep", 18.0, 5.0),
        ("mixed", 15.0, 0.5 + 0.5 + 2.0 + 1.0),
        ("wide-breaks-2", 9.0, 2.0),
        ("deep-breaks-2", 21.0, 7.0),
        ("mixed-breaks-2", 16.0, 4.0),
    ],
)
def test_costs_of_the_best_by_hand(name: str, flops: float, seconds: float) -> None:
    costs = BY_NAME[name].problem.costs(BY_NAME[name].best)
    assert (costs["flops"], costs["latency_s"]) == (flops, seconds)
    assert costs["usd"] == pytest.approx(flops / 1e15)


@pytest.mark.parametrize("case", PAIRS, ids=lambda case: case.name)
@pytest.mark.parametrize("metric", ["flops", "usd", "latency_s"])
def test_accuracy_pulls_against_costs(case: Case, metric: str) -> None:
    """So that there is a front to find: what costs least is not the best."""
    graphs = [alike.graph for alike in every().values()]
    costs = [case.problem.costs(graph)[metric] for graph in graphs]
    cheapest = graphs[costs.index(min(costs))]
    assert min(costs) < case.problem.costs(case.best)[metric]
    assert case.problem.strength(cheapest) < ACCURACY - 0.1
