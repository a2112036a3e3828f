"""The synthetic problem keeps its formula."""

from __future__ import annotations

import asyncio

import pytest

from apportion.graphs.graph import Graph, Node
from apportion.graphs.space import SearchSpace
from apportion.graphs.templates import TemplateStage
from apportion.search.problem import Measurement, Problem
from apportion.testing.synthetic import SyntheticModel, SyntheticProblem

MODELS = {"small": SyntheticModel(0.2, 1e9), "large": SyntheticModel(0.6, 8e9, 2.5)}
FIRST = TemplateStage("first", ("small", "large"), ("single", "vote", "best_of_n"), (1, 3), scorer="small")
SPACE = SearchSpace((FIRST, TemplateStage("second", ("large",), ("single",), (1, 1), reads=("first",))))


def measured(problem: Problem, graph: Graph) -> Measurement:
    async def rows() -> Measurement:
        return Measurement([row async for row in problem.measure(graph, "search")])

    return asyncio.run(rows())


def test_the_mean_of_a_split_is_the_strength() -> None:
    problem = SyntheticProblem(MODELS, {"search": 200})
    for point in SPACE.grid():
        graph = SPACE.build(point)
        metrics = measured(problem, graph).metrics()
        assert metrics["accuracy"].mean == pytest.approx(problem.strength(graph), abs=0.5 / 200)
        assert {name: metrics[name].mean for name in problem.costs(graph)} == pytest.approx(problem.costs(graph))
    assert problem.measured[0] == (SPACE.build(next(SPACE.grid())).key, "search")
    assert len(problem.measured) == SPACE.size


def test_strength_and_costs_by_hand() -> None:
    problem = SyntheticProblem(MODELS, {})
    graph = SPACE.build(
        {
            "first.template": "best_of_n",
            "first.model": "large",
            "first.samples": 2,
            "second.template": "single",
            "second.model": "large",
        }
    )
    assert problem.strength(graph) == pytest.approx((1 - 0.4**2 * 0.8**2) * 0.6)
    expected = {"calls": 5.0, "tokens": 500.0, "flops": 26e9, "usd": 26e-6, "latency_s": 2.5 + 1.0 + 2.5}
    assert problem.costs(graph) == pytest.approx(expected)


def test_seconds_are_those_of_the_critical_path() -> None:
    """Drafts side by side, the slower of which holds up who reads it; a vote takes no time."""
    nodes = (
        Node("a", "s", "generator", "small", 3),
        Node("b", "s", "generator", "large"),
        Node("c", "s", "refiner", "small", inputs=("a",)),
        Node("d", "s", "refiner", "small", inputs=("c",)),
        Node("v", "s", "voter", inputs=("b", "d")),
    )
    problem = SyntheticProblem(MODELS, {})
    assert problem.costs(Graph(nodes))["latency_s"] == 3.0
    slower = SyntheticProblem({**MODELS, "large": SyntheticModel(0.6, 8e9, 3.5)}, {})
    assert slower.costs(Graph(nodes))["latency_s"] == 3.5


def test_what_is_expected_on_paper_is_what_it_costs() -> None:
    problem: Problem = SyntheticProblem(MODELS, {"search": 20})
    for point in SPACE.grid():
        graph = SPACE.build(point)
        metrics = measured(problem, graph).metrics()
        expected = problem.on_paper(graph)
        assert expected == pytest.approx({name: metrics[name].mean for name in expected})
    assert problem.learnt() == {}
    problem.recall({"sums": []})


@pytest.mark.parametrize(
    ("metric", "small", "large"),
    [
        ("calls", 1.0, 1.0),
        ("tokens", 100.0, 100.0),
        ("flops", 1e9, 8e9),
        ("usd", 1e-6, 8e-6),
        ("latency_s", 1.0, 2.5),
    ],
)
def test_prices_are_those_of_one_call(metric: str, small: float | None, large: float | None) -> None:
    prices = SyntheticProblem(MODELS, {}).prices(metric, ["first", "second"])
    assert prices == {stage: {"small": small, "large": large} for stage in ("first", "second")}
