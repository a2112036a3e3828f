"""The synthetic graph problems: each stated best graph is the best there is, and within the budget."""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import Iterator

import pytest
import torch

from apportion.errors import GraphError
from apportion.graphs.graph import Graph, Node
from apportion.graphs.probabilistic import ProbabilisticGraph
from apportion.search.problem import Measurement, Problem
from apportion.search.reinforce.policy import one_thread
from apportion.testing.landscape import MODELS, SIZES, Case, Landscape, LandscapeProblem, Peak, cases

CASES = cases()
DRAWN = 4000  # of each of the six problems
PEAK = Landscape(2, 4.0, {"small": 0.75, "large": 0.25}, 0.5)
ONLY = Landscape(1, 1.0, {"small": 1.0})


def within(case: Case, graph: Graph) -> bool:
    return case.budget is None or case.problem.costs(graph)["flops"] <= case.budget


def neighbours(case: Case) -> Iterator[Graph]:
    """Graphs that differ from the best in one parameter."""
    best = case.space.params(case.best)
    for name, parameter in case.space.parameters.items():
        for value in parameter.values:
            with contextlib.suppress(GraphError):
                yield case.space.build({**best, name: value})


def drawn(case: Case) -> Iterator[Graph]:
    """Graphs of all shapes: from a flat distribution, from one with more edges, and within the budget."""
    prices = {(stage.name, name): model.flops for stage in case.space.stages for name, model in MODELS.items()}
    generator = torch.Generator().manual_seed(7)
    for shift, budget in ((-2.0, case.budget), (0.0, None)):
        distribution = ProbabilisticGraph(case.space, prices, budget, shift)
        with torch.no_grad(), one_thread():
            yield from distribution.graphs(distribution.sample(DRAWN // 2, generator))


def test_there_are_six_and_two_break_the_insights() -> None:
    assert [(case.name, case.keeps) for case in CASES] == [
        ("wide", True),
        ("deep", True),
        ("fused", True),
        ("chain", True),
        ("corner", False),
        ("hidden", False),
    ]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_best_graph_is_the_best_there_is(case: Case) -> None:
    """Its value is the greatest that the formula can have, and nothing near or far has it for another reason."""
    best = case.problem.strength(case.best)
    assert best == pytest.approx(case.problem.best) == 1.0
    assert within(case, case.best)
    assert case.space.build(case.space.params(case.best)).key == case.best.key
    seen: dict[str, float] = {}
    for graph in (*neighbours(case), *drawn(case)):
        if graph.key not in seen:
            seen[graph.key] = case.problem.strength(graph)
            assert 0.0 < seen[graph.key] <= best + 1e-12, str(graph)
    assert len(seen) > DRAWN / 8
    others = [value for key, value in seen.items() if key != case.best.key]
    assert sum(value < best - 1e-9 for value in others) > 0.99 * len(others), "it is not the rule to be best"


@pytest.mark.parametrize("case", [case for case in CASES if case.budget is not None], ids=lambda case: case.name)
def test_budgets_bind(case: Case) -> None:
    widest, _ = case.space.uniform("large", "vote")
    assert not within(case, widest)
    assert sum(within(case, graph) for graph in neighbours(case)) > 5


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_case_is_a_problem_that_a_study_can_measure(case: Case) -> None:
    problem: Problem = case.problem

    async def rows() -> Measurement:
        return Measurement([row async for row in problem.measure(case.best, "search")])

    metrics = asyncio.run(rows()).metrics()
    assert metrics["accuracy"].mean == 1.0 and metrics["accuracy"].n == SIZES["search"]
    assert problem.on_paper(case.best)["flops"] == metrics["flops"].mean
    assert problem.prices("flops", ["answer"]) == {"answer": {"small": 1.0, "medium": 3.0, "large": 9.0}}


# The formula


def graph(*drafts: tuple[str, int], readers: tuple[tuple[str, str], ...] = ()) -> Graph:
    """Drafts by model, then a chain of readers by role and model, the first of which reads them all, then a vote."""
    nodes = [Node(f"d{i}", "s", "generator", model, n) for i, (model, n) in enumerate(drafts)]
    read = tuple(node.id for node in nodes)
    for i, (role, model) in enumerate(readers):
        nodes.append(Node(f"r{i}", "s", role, model, 1, read))
        read = (f"r{i}",)
    return Graph((*nodes, Node("v", "s", "voter", inputs=read)))


@pytest.mark.parametrize(
    ("shape", "distances"),
    [
        (graph(("small", 3), ("large", 1), readers=(("refiner", "small"),)), (0, 0, 0.05, 0.5)),
        (graph(("small", 3), ("large", 1), readers=(("fuser", "small"),)), (0, 0, 0.05, 0.5)),
        (graph(("small", 3), ("large", 1)), (1, abs(math.log(4 / (4 * math.exp(0.4)))), 0, 0)),
        (graph(("small", 4), readers=(("fuser", "small"),)), (0, 0, 0.25, 0.5)),
        (graph(("medium", 4), readers=(("fuser", "medium"),)), (0, 0, 1.0, 0.5)),
        (
            graph(("small", 2), readers=(("fuser", "small"), ("refiner", "large"))),
            (1, abs(math.log(2 / (4 * math.exp(-0.4)))), 0, 0),
        ),
    ],
)
def test_quality_by_hand(shape: Graph, distances: tuple[float, ...]) -> None:
    """Depth, log of the width, share of wrong models, share of fusers: each with its own steepness."""
    loss = sum(a * d for a, d in zip((0.25, 0.4, 0.6, 0.3), distances, strict=True))
    assert PEAK.value(shape, "s") == pytest.approx(math.exp(-loss))


def test_a_trap_is_what_a_graph_is_worth_where_it_is_higher() -> None:
    near, far = graph(("small", 1)), graph(("large", 3), readers=(("refiner", "large"),) * 3)
    trap = Peak(Landscape(4, 3.0, {"large": 1.0}), 0.8)
    plain = LandscapeProblem(MODELS, SIZES, {"s": ONLY}, best=0.9)
    trapped = LandscapeProblem(MODELS, SIZES, {"s": ONLY}, {"s": trap}, best=0.9)
    assert plain.strength(near) == trapped.strength(near) == 0.9
    assert plain.strength(far) < trapped.strength(far) == pytest.approx(0.9 * 0.8)


def test_stages_multiply() -> None:
    first, second = graph(("small", 1)), graph(("medium", 2))
    nodes = [Node(n.id + "2", "t", n.role, n.model, n.samples, tuple(i + "2" for i in n.inputs)) for n in second.nodes]
    nodes[0] = Node("d02", "t", "generator", "medium", 2, ("v",))
    both = Graph((*first.nodes, *nodes))
    problem = LandscapeProblem(MODELS, SIZES, {"s": PEAK, "t": PEAK})
    assert problem.strength(both) == pytest.approx(PEAK.value(first, "s") * PEAK.value(second, "s"))
