"""Classics are what their labels say and as large as the budget allows; the budgets are golden."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apportion.errors import GraphError
from apportion.graphs.classics import classics, complete, dag_flops
from apportion.graphs.cost import ModelCard
from apportion.graphs.graph import Graph, Node, calls_of
from apportion.graphs.paper import Length, Lengths, on_paper
from apportion.graphs.slots import SlotStage
from apportion.graphs.space import SearchSpace
from apportion.graphs.templates import TemplateStage

CARDS = {
    "1b": ModelCard("1b", 1e9, 16, 2048),
    "3b": ModelCard("3b", 3e9, 28, 3072),
    "8b": ModelCard("8b", 8e9, 32, 4096),
    "70b": ModelCard("70b", 7e10, 80, 8192),
}
TASKS = {  # mean tokens of a question and of an answer, FLOPs of the task's unit
    "MATH": (202, 275, 9.71e11),
    "MMLU": (213, 215, 8.68e11),
    "HumanEval": (180, 115, 5.957e11),
}
PRICES = {"1b": 1.0, "3b": 3.0, "8b": 8.0, "70b": 70.0}
VOTING = SlotStage("s", ("8b", "1b", "3b"), 4, ("refiner", "fuser"), ("voter",), (1, 3))
DECIDING = SlotStage("s", ("8b", "1b", "3b"), 6, ("refiner", "fuser"), ("decider",), final_models=("3b",))


def nominal(graph: Graph) -> float:
    return sum(PRICES[node.model] * calls_of(graph, node) for node in graph.nodes if node.model)


def flops(task: str) -> Callable[[Graph], float]:
    question, answer, _ = TASKS[task]

    def cost(graph: Graph) -> float:
        found = on_paper(graph, CARDS, Lengths({("s",): Length(question, answer)}), {})["flops"]
        assert found is not None
        return found

    return cost


def found(stage: SlotStage, budget: float) -> dict[str, Graph]:
    return classics(SearchSpace((stage,)), "s", nominal, budget)


def shown(graph: Graph) -> list[tuple[str, int]]:
    """Each node and how many nodes it reads."""
    return [(str(node), len(node.inputs)) for node in graph.nodes]


# Budgets


@pytest.mark.parametrize(
    ("task", "b", "units"),
    [
        ("MATH", 4, 17.8),
        ("MATH", 8, 42.9),
        ("MATH", 12, 79.0),
        ("MMLU", 4, 16.3),
        ("MMLU", 8, 38.5),
        ("MMLU", 12, 70.0),
        ("HumanEval", 4, 14.2),
        ("HumanEval", 8, 31.9),
        ("HumanEval", 12, 56.4),
    ],
)
def test_budgets_of_agent_reinforce(task: str, b: int, units: float) -> None:
    question, answer, unit = TASKS[task]
    budget = dag_flops(b, question, answer, CARDS["1b"], CARDS["3b"])
    assert budget / unit == pytest.approx(units, abs=0.051)
    assert flops(task)(complete(["1b"] * b, "3b", "s")) == pytest.approx(budget)


def test_a_complete_graph_by_hand() -> None:
    assert complete(["1b", "8b", "1b"], "3b", "s").nodes == (
        Node("s.1", "s", "generator", "1b"),
        Node("s.2", "s", "refiner", "8b", inputs=("s.1",)),
        Node("s.3", "s", "refiner", "1b", inputs=("s.1", "s.2")),
        Node("s.final", "s", "decider", "3b", inputs=("s.1", "s.2", "s.3")),
    )
    space = SearchSpace((DECIDING,))
    six = complete(["1b"] * 6, "3b", "s")
    assert space.build(space.params(six)).key == six.key, "the graph that sets a budget is one of the space"
    with pytest.raises(GraphError, match="a decider needs 1 or more candidates"):
        complete([], "3b", "s")


# The families


def test_classics_of_a_space_that_votes() -> None:
    graphs = found(VOTING, 21.0)
    assert {label: shown(graph) for label, graph in graphs.items()} == {
        "single call of 1b": [("generator 1b", 0)],
        "single call of 3b": [("generator 3b", 0)],
        "single large model 8b": [("generator 8b", 0)],
        "self-consistency of 1b x 21": [("generator 1b x21", 0), ("voter", 1)],
        "self-refine of 1b x 21": [("generator 1b", 0), *[("refiner 1b", 1)] * 20],
        "self-consistency of 3b x 7": [("generator 3b x7", 0), ("voter", 1)],
        "self-refine of 3b x 7": [("generator 3b", 0), *[("refiner 3b", 1)] * 6],
        "self-consistency of 8b x 2": [("generator 8b x2", 0), ("voter", 1)],
        "self-refine of 8b x 2": [("generator 8b", 0), ("refiner 8b", 1)],
        "mixture of agents of 1b, 3b, 8b in 2 layers x 1": [
            ("generator 1b", 0),
            ("generator 3b", 0),
            ("generator 8b", 0),
            ("fuser 8b", 3),
        ],
        "mixture of agents of 1b, 3b in 3 layers x 2": [
            ("generator 1b x2", 0),
            ("generator 3b x2", 0),
            ("fuser 1b x2", 2),
            ("fuser 3b x2", 2),
            ("fuser 3b", 2),
        ],
    }


def test_a_space_without_a_voter_gets_its_own_final_node_too() -> None:
    graphs = found(DECIDING, 12.0)
    decided = {label: shown(graph) for label, graph in graphs.items() if "over" in label}
    assert decided == {
        "decider 3b over 1b x 9": [*[("generator 1b", 0)] * 9, ("decider 3b", 9)],
        "decider 3b over 3b x 3": [*[("generator 3b", 0)] * 3, ("decider 3b", 3)],
    }
    assert "self-consistency of 1b x 12" in graphs
    mixture = found(DECIDING, 15.0)["mixture of agents of 1b, 3b, 8b in 2 layers x 1"]
    assert shown(mixture)[-1] == ("fuser 3b", 3), "the space's final model"
    space = SearchSpace((DECIDING,))
    assert space.build(space.params(graphs["decider 3b over 3b x 3"])).nodes[-1].model == "3b"


@pytest.mark.parametrize(
    ("finals", "labels"),
    [
        ((), ["decider 1b over 1b x 11", "decider 3b over 3b x 3"]),
        (("8b", "3b"), ["decider 8b over 1b x 4", "decider 3b over 3b x 3"]),
    ],
)
def test_drafts_are_decided_by_their_own_model_if_it_may(finals: tuple[str, ...], labels: list[str]) -> None:
    graphs = found(replace(DECIDING, final=("decider", "fuser"), final_models=finals), 12.0)
    assert [label for label in graphs if "over" in label] == labels


@pytest.mark.parametrize(("budget", "labels"), [(0.9, []), (1.0, ["single large model 1b"]), (float("nan"), [])])
def test_families_out_of_reach_are_left_out(budget: float, labels: list[str]) -> None:
    assert list(found(VOTING, budget)) == labels


def test_one_model_alone_is_no_mixture() -> None:
    assert not [label for label in found(replace(VOTING, models=("3b",)), 100.0) if "mixture" in label]


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("b", [4, 8, 12])
def test_at_agent_reinforces_budgets_most_is_spent(task: str, b: int) -> None:
    question, answer, _ = TASKS[task]
    budget, cost = dag_flops(b, question, answer, CARDS["1b"], CARDS["3b"]), flops(task)
    stage = replace(DECIDING, models=tuple(CARDS))
    spent = {label: cost(graph) / budget for label, graph in classics(SearchSpace((stage,)), "s", cost, budget).items()}
    assert all(share <= 1.0 for share in spent.values())
    small = [share for label, share in spent.items() if "of 1b x" in label or "over 1b x" in label]
    assert len(small) == 3 and min(small) > 0.8
    assert any("mixture" in label for label in spent)


@given(
    st.sampled_from([VOTING, DECIDING]),
    st.integers(0, 100),
    st.fixed_dictionaries({model: st.integers(1, 20) for model in VOTING.models}),
)
def test_one_more_of_any_family_is_over_the_budget(stage: SlotStage, budget: int, prices: Mapping[str, int]) -> None:
    def cost(graph: Graph) -> int:
        return sum(prices[node.model] * calls_of(graph, node) for node in graph.nodes if node.model)

    graphs = classics(SearchSpace((stage,)), "s", cost, budget)
    assert all(cost(graph) <= budget for graph in graphs.values())
    for label, graph in graphs.items():
        if not label.startswith("single"):
            repeated = {n.id: n for n in graph.nodes[:-1]} if "mixture" in label else {"": graph.nodes[0]}
            one_more = sum(prices[node.model] for node in repeated.values() if node.model)
            assert cost(graph) + one_more > budget, label
    covered = {model for model, price in prices.items() if price <= budget}
    assert sum(label.startswith("single") for label in graphs) == len(covered)
    twice = {model for model, price in prices.items() if 2 * price <= budget}
    assert sum(label.startswith("self-refine") for label in graphs) == len(twice)


@pytest.mark.parametrize(
    "stages",
    [
        (VOTING, replace(VOTING, name="t", reads=("s",))),
        (replace(VOTING, name="t"),),
        (TemplateStage("s", ("1b",), ("vote",), (1, 3)),),
    ],
)
def test_other_spaces_are_refused(stages: tuple[SlotStage | TemplateStage, ...]) -> None:
    with pytest.raises(GraphError, match=r"a space of one SlotStage only, got .* and the name 's'; give a space of"):
        classics(SearchSpace(stages), "s", nominal, 10.0)


def test_a_budget_that_bounds_nothing_is_refused() -> None:
    """Samples are drawn side by side: a bound on seconds lets there be any number of them."""
    with pytest.raises(GraphError, match="`budget` must bound the size of a graph, but 9 covers self-consistency of "):
        classics(SearchSpace((VOTING,)), "s", lambda graph: 1.0, 9.0)
