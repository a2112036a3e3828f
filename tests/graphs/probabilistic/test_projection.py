"""What is cut to a budget is a graph of the space within it, and the report says all that changed."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from apportion.errors import GraphError
from apportion.graphs.cost import ModelCard, node_flops
from apportion.graphs.graph import Graph, Node
from apportion.graphs.paper import Length, Lengths, on_paper
from apportion.graphs.probabilistic import Change, Trimmed, trim
from apportion.graphs.slots import SlotStage
from apportion.graphs.space import SearchSpace
from apportion.graphs.templates import TemplateStage
from tests.strategies import MODELS, mixed_spaces, renamed, running_params

CARDS = {
    "1B": ModelCard("1B", 1e9, 16, 2048),
    "3B": ModelCard("3B", 3e9, 28, 3072),
    "8B": ModelCard("8B", 8e9, 32, 4096),
    "70B": ModelCard("70B", 7e10, 80, 8192),
}
MATH = Lengths({("s",): Length(202, 275)})
UNIT = 9.71e11  # FLOPs of one 1B call on MATH
SPACE = SearchSpace(
    (SlotStage("s", ("8B", "70B", "3B", "1B"), 6, ("fuser", "refiner"), ("decider",), final_models=("3B",)),)
)
BUDGET = sum(node_flops(CARDS[model], 202, 275, d) for d, model in enumerate(["1B"] * 4 + ["3B"]))


def flops(graph: Graph) -> float:
    found = on_paper(graph, CARDS, MATH, {})["flops"]
    assert found is not None
    return found


def complete(*models: str) -> Graph:
    """Each node reads all before it, and so does a decider of 3B."""
    ids = [f"n{i}" for i in range(len(models))]
    rest = (Node(ids[i], "s", "refiner", model, inputs=tuple(ids[:i])) for i, model in enumerate(models) if i)
    return Graph((Node("n0", "s", "generator", models[0]), *rest, Node("end", "s", "decider", "3B", inputs=tuple(ids))))


def test_the_budget_of_four_on_math() -> None:
    """The complete graph of four 1B nodes and a 3B end, as Agent-REINFORCE (arXiv 2511.00086) has it."""
    assert flops(complete(*["1B"] * 4)) == pytest.approx(BUDGET) == pytest.approx(17.8 * UNIT, rel=3e-3)
    within = complete(*["1B"] * 4)
    assert trim(SPACE, within, flops, flops(within)) == Trimmed(within, (), ())
    for more in (5, 6):
        trimmed = trim(SPACE, complete(*["1B"] * more), flops, flops(within))
        assert trimmed.graph.key == within.key
        assert trimmed.removed == ("n5", "n4")[6 - more :] and trimmed.changed == ()


def test_the_smallest_model_goes_first_and_of_it_the_last_node() -> None:
    trimmed = trim(SPACE, complete("8B", "1B", "3B", "1B", "3B"), flops, BUDGET * 1.2)
    assert trimmed.removed == ("n3", "n1", "n4")
    assert [str(node) for node in trimmed.graph.nodes] == ["generator 8B", "refiner 3B", "decider 3B"]
    assert flops(trimmed.graph) <= BUDGET * 1.2


def test_who_reads_nothing_any_more_answers_afresh() -> None:
    trimmed = trim(SPACE, complete("1B", "8B"), flops, 12.7 * UNIT)
    assert trimmed.removed == ("n0",)
    why = "a refiner needs 1 or more candidates, but 'n1' reads 0; add drafts."
    assert trimmed.changed == (Change("n1", "refiner", "generator", why),)
    assert trimmed.graph.nodes == (
        Node("n1", "s", "generator", "8B"),
        Node("end", "s", "decider", "3B", inputs=("n1",)),
    )


def test_a_fuser_of_one_refines_it() -> None:
    graph = Graph(
        (
            Node("a", "s", "generator", "1B"),
            Node("b", "s", "generator", "1B"),
            Node("f", "s", "fuser", "3B", inputs=("a", "b")),
            Node("end", "s", "decider", "3B", inputs=("f",)),
        )
    )
    trimmed = trim(SPACE, graph, flops, flops(graph) * 0.99)
    why = "a fuser needs 2 or more candidates, but 'f' reads 1; add drafts."
    assert trimmed.removed == ("b",) and trimmed.changed == (Change("f", "fuser", "refiner", why),)


def test_a_node_on_which_another_depends_does_not_go() -> None:
    """The 1B node is the only reader of the 8B node: without it that would be bought for nothing."""
    graph = Graph(
        (
            Node("a", "s", "generator", "8B"),
            Node("b", "s", "refiner", "1B", inputs=("a",)),
            Node("c", "s", "refiner", "3B", inputs=("b",)),
            Node("end", "s", "decider", "3B", inputs=("c",)),
        )
    )
    assert trim(SPACE, graph, flops, flops(graph) * 0.99).removed == ("a",)


def calls(graph: Graph) -> float:
    return float(graph.calls)


ROLES = ("ranker", "refiner", "verifier", "voter", "weighted_voter")


def test_code_that_reads_nothing_goes_as_well() -> None:
    space = SearchSpace((SlotStage("s", ("a", "b"), 4, ROLES, ("voter",)),))
    graph = Graph(
        (
            Node("x", "s", "generator", "b"),
            Node("y", "s", "generator", "a"),
            Node("v", "s", "voter", inputs=("y",)),
            Node("end", "s", "voter", inputs=("x", "v")),
        )
    )
    trimmed = trim(space, graph, lambda g: sum({"a": 1.0, "b": 2.0}[n.model] for n in g.nodes if n.model), 2.0)
    assert trimmed.removed == ("y", "v")
    assert trimmed.graph.nodes == (Node("x", "s", "generator", "b"), Node("end", "s", "voter", inputs=("x",)))


def test_a_role_that_loses_its_scores_changes_too() -> None:
    space = SearchSpace((SlotStage("s", ("m",), 4, ROLES, ("weighted_voter", "voter")),))
    graph = Graph(
        (
            Node("x", "s", "generator", "m"),
            Node("y", "s", "generator", "m"),
            Node("k", "s", "ranker", "m", inputs=("x", "y")),
            Node("end", "s", "weighted_voter", inputs=("k",)),
        )
    )
    trimmed = trim(space, graph, calls, 2.0)
    assert trimmed.removed == ("y",)
    assert trimmed.changed == (
        Change("k", "ranker", "refiner", "a ranker needs 2 or more candidates, but 'k' reads 1; add drafts."),
        Change(
            "end",
            "weighted_voter",
            "voter",
            "a weighted_voter needs candidates with scores, but 'k' gives 'end' none; "
            "put a scorer, verifier or ranker between them.",
        ),
    )


@pytest.mark.parametrize(("budget", "cheapest"), [(9.0, "70.1"), (float("nan"), "70.1")])
def test_a_budget_out_of_reach_is_refused(budget: float, cheapest: str) -> None:
    """What is left last is the largest model."""
    space = SearchSpace((SlotStage("s", ("1B", "70B"), 3, ("refiner",), ("decider",), final_models=("1B",)),))
    graph = Graph(
        (
            Node("a", "s", "generator", "70B"),
            Node("b", "s", "generator", "1B"),
            Node("end", "s", "decider", "1B", inputs=("a", "b")),
        )
    )
    prices = {"1B": 0.05, "70B": 70.05}
    with pytest.raises(GraphError) as error:
        trim(space, graph, lambda g: sum(prices[node.model] for node in g.nodes if node.model), budget)
    assert str(error.value) == (
        f"a graph must cost at most {budget:g}, but the cheapest that is left when nodes of the smallest models go "
        f"costs {cheapest}; raise the budget, or propose fewer or smaller models."
    )


def test_a_graph_of_another_space_is_refused() -> None:
    with pytest.raises(GraphError, match=r"`s\.final\.role` must be one of decider, got 'generator'; choose one"):
        trim(SPACE, Graph((Node("a", "s", "generator", "1B"),)), flops, 1.0)


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(st.data(), mixed_spaces(slots=4), st.floats(0.0, 1.0))
def test_any_graph_is_cut_or_refused(data: st.DataObject, space: SearchSpace, share: float) -> None:
    graph = renamed(space.build(data.draw(running_params(space))))
    prices = dict(zip(MODELS, data.draw(st.permutations([1.0, 2.0, 4.0])), strict=True))

    def cost(g: Graph) -> float:
        return sum(prices[node.model] * node.samples * (1 + len(node.inputs)) for node in g.nodes if node.model)

    budget = share * cost(graph)
    try:
        trimmed = trim(space, graph, cost, budget)
    except GraphError as error:
        assert str(error).startswith("a graph must cost at most ") and cost(graph) > budget
        return
    left = trimmed.graph
    assert cost(left) <= budget and space.build(space.params(left)).key == left.key
    assert sorted([*trimmed.removed, *left.by_id]) == sorted(graph.by_id)
    assert left.stage_outputs.keys() == graph.stage_outputs.keys()
    for stage in space.stages:
        assert left.stage_outputs[stage.name].id == graph.stage_outputs[stage.name].id
    for node in left.nodes:
        was = graph.by_id[node.id]
        assert set(graph.candidates(was)) >= {graph.by_id[source.id] for source in left.candidates(node)}
    changed = {change.node: (change.was, change.now) for change in trimmed.changed}
    assert changed == {n.id: (graph.by_id[n.id].role, n.role) for n in left.nodes if n.role != graph.by_id[n.id].role}
    assert all("\n" not in change.why and change.was in change.why for change in trimmed.changed)
    fixed = {stage.name for stage in space.stages if isinstance(stage, TemplateStage)}
    assert [n for n in left.nodes if n.stage in fixed] == [n for n in graph.nodes if n.stage in fixed]
