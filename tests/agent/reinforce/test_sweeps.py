"""The insights tried on the task: what is measured, how often, and what is said of it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apportion.agent.finding import Finding
from apportion.agent.reinforce.brief import Terms
from apportion.agent.reinforce.moves import depth
from apportion.agent.reinforce.sweeps import EXAMPLES, clear, shape, sweep
from apportion.graphs.graph import Graph
from apportion.graphs.slots import SlotStage
from apportion.graphs.space import SearchSpace
from apportion.graphs.templates import TemplateStage
from tests.agent.reinforce.kit import Measures, cost, one, terms, two

SPACE = one(6)
Value = Callable[[Graph], float]


def slots(graph: Graph, stage: str = "solve") -> list[str | None]:
    return [node.model for node in graph.nodes if node.stage == stage][:-1]


def swept(value: Value, space: SearchSpace = SPACE, own: Terms | None = None) -> tuple[list[Finding], Measures]:
    probe = Measures(lambda graph, example: value(graph))
    found = sweep(space, probe, (own or terms(space, 20.0)).covers)
    return found, probe


def test_each_model_alone_then_width_and_depth_and_both_of_the_best() -> None:
    graphs: dict[str, Graph] = {}

    def value(graph: Graph) -> float:
        graphs.setdefault(graph.key, graph)
        return 0.9 if "large" in slots(graph) else 0.2

    swept(value)  # of 20 units one goes to the final node, a large slot is 4
    seen = [(slots(graph), depth(graph) - 1) for graph in graphs.values()]
    assert seen == [
        (["small"] * 6, 1),
        (["large"] * 4, 1),
        (["large"], 1),
        (["large"] * 2, 1),
        (["large"] * 2, 2),
        (["large"] * 3, 3),
        (["large"] * 3, 1),
        (["large"] * 4, 2),
    ]
    fused = list(graphs.values())[-1]
    assert [node.role for node in fused.nodes] == ["generator"] * 3 + ["fuser", "decider"]


def test_a_shape_whose_counterpart_cannot_be_paid_is_not_measured() -> None:
    """Three side by side can be, and not one more behind them: so two are compared."""
    graphs: dict[str, Graph] = {}
    findings, _ = swept(lambda graph: float(graphs.setdefault(graph.key, graph) is graph), own=terms(SPACE, 4.0))
    assert [len(slots(graph)) for graph in graphs.values()] == [3, 1, 2, 2, 3, 3]
    assert findings[-1].text == "solve: 2 small in place of 1 gain +0.00, and +0.00 where one more call reads them."


@settings(max_examples=20)
@given(st.sampled_from([one(5), two()]), st.floats(2.0, 40.0), st.integers(1, 40))
def test_every_graph_is_asked_once_on_the_same_few_examples_and_can_be_paid(
    space: SearchSpace, budget: float, examples: int
) -> None:
    own = terms(space, budget)
    paid: list[float] = []

    def score(graph: Graph, example: int) -> float:
        paid.append(cost(graph))
        return 0.5

    probe = Measures(score, examples)
    found = sweep(space, probe, own.covers)
    keys = [key for key, _ in probe.seen]
    assert max(map(keys.count, keys), default=0) <= len(space.stages), "each stage tries the smallest graph of all"
    assert all(part == slice(0, min(examples, EXAMPLES)) for _, part in probe.seen)
    assert all(price <= budget * (1 + 1e-6) for price in paid)
    assert all(finding.held is None for finding in found), "nothing differs"


def by_mix(graph: Graph) -> float:
    return {"small": 0.2, "large": 0.9}[str(slots(graph)[0])]


def test_insight_1_says_how_each_model_did_at_the_same_cost() -> None:
    findings, _ = swept(by_mix)
    assert findings[0].insight == 1 and findings[0].held is True
    assert findings[0].means == pytest.approx({"small": 0.2, "large": 0.9})
    assert findings[0].text.endswith("as can be paid, 12 examples each: 6 small 0.20, 4 large 0.90.")
    even, _ = swept(lambda graph: 0.5)
    assert even[0].held is None


def side_by_side(graph: Graph, least: int = 1) -> bool:
    """Whether all slots are drafts, and so many at least."""
    return depth(graph) == 2 and len(slots(graph)) >= least


def only_small(value: Value) -> Value:
    """Whatever has a large model is bad."""
    return lambda graph: -1.0 if "large" in slots(graph) else value(graph)


CURVES: dict[str, tuple[Callable[[int], float], bool | None]] = {
    "it falls again": (lambda n: 1.0 if n == 2 else 0.0, True),
    "it falls from the first": (lambda n: 1.0 if n == 1 else 0.0, True),
    "it still rises": (lambda n: n / 6, False),
    "it stays": (lambda n: 0.5, None),
    "it falls and rises again": (lambda n: float(n in (1, 6)), None),
    "it rises and stays": (lambda n: min(n, 4) / 4, None),
    "too little to tell": (lambda n: 0.5 + 0.01 * (n == 2), None),
}


@pytest.mark.parametrize(("curve", "held"), CURVES.values(), ids=CURVES)
def test_insight_2_says_whether_there_is_a_best_width_and_a_best_depth(
    curve: Callable[[int], float],
    held: bool | None,  # noqa: FBT001
) -> None:
    width, _ = swept(only_small(lambda graph: curve(len(slots(graph)))), own=terms(SPACE, 7.0))
    assert (width[1].insight, width[1].held) == (2, held)
    assert width[1].text.startswith("solve, small side by side: 1 ") and ", 6 " in width[1].text
    row, _ = swept(only_small(lambda graph: 0.5 if side_by_side(graph, 2) else curve((1, 2, 6)[depth(graph) - 2])))
    expected = {"it rises and stays": False, "it still rises": False}  # up to three in a row
    name = next(name for name, own in CURVES.items() if own[0] is curve)
    assert row[2].insight == 2 and row[2].held == expected.get(name, held)
    assert row[2].text.startswith("solve, ") and " in a row: 1 " in row[2].text


def gains(alone: float, behind: float) -> Value:
    """Four side by side gain so much alone, and so much before one more."""

    def value(graph: Graph) -> float:
        wide = sum(node.role == "generator" for node in graph.nodes) > 1
        return 0.4 + wide * (alone if side_by_side(graph) else behind)

    return value


@pytest.mark.parametrize(("alone", "behind", "held"), [(0.5, -0.4, True), (-0.4, 0.5, False), (0.1, 0.1, None)])
def test_insight_3_says_whether_width_gains_less_where_it_is_deeper(
    alone: float,
    behind: float,
    held: bool | None,  # noqa: FBT001
) -> None:
    findings, _ = swept(only_small(gains(alone, behind)), own=terms(SPACE, 7.0))
    assert (findings[3].insight, findings[3].held) == (3, held)
    assert findings[3].text == (
        f"solve: 4 small in place of 1 gain {alone:+.2f}, and {behind:+.2f} where one more call reads them."
    )


def test_where_nothing_can_be_paid_nothing_is_found() -> None:
    findings, probe = swept(lambda graph: 0.5, own=terms(SPACE, 1.5))
    assert findings == [] and probe.seen == []


def test_a_lone_slot_has_nothing_to_be_compared_with() -> None:
    findings, probe = swept(lambda graph: 0.5, one(1))
    assert [finding.held for finding in findings] == [None] * 4 and len(probe.seen) == 2
    assert findings[3].text == "solve: no graph is both wide and deep within its slots and the budget."


@pytest.mark.parametrize("broken", ["all", "small"])
def test_graphs_that_give_no_answer_are_left_out(broken: str) -> None:
    probe = Measures(lambda graph, example: None if broken == "all" or "small" in slots(graph) else 0.5)
    found = sweep(SPACE, probe, terms(SPACE, 20.0).covers)
    if broken == "all":
        assert found == []
    else:
        assert found[0].means == {"large": 0.5} and not any("small" in finding.text for finding in found)


def test_one_answer_that_failed_leaves_a_graph_out_of_what_is_compared() -> None:
    probe = Measures(lambda graph, example: None if "small" in slots(graph) and example == 3 else 0.5)
    assert sweep(SPACE, probe, terms(SPACE, 20.0).covers)[0].means == {"large": 0.5}


def test_roles_that_need_more_than_there_is_give_way() -> None:
    """A fuser named first cannot play on one draft, nor a weighted voter without grades."""
    first = SPACE.stages[0]
    assert isinstance(first, SlotStage)
    stage = replace(first, roles=("fuser", "refiner"), final=("weighted_voter", "voter"))
    space = SearchSpace((stage,))
    findings, _ = swept(lambda graph: 0.5, space)
    assert ", 2 0.50, 3 0.50." in findings[2].text and "cannot be paid" not in findings[3].text


def test_each_stage_of_slots_is_tried_while_the_others_stay_small() -> None:
    space = SearchSpace((*two().stages, TemplateStage("check", ("small",), ("single",), (1, 1), reads=("solve",))))
    graphs: dict[str, Graph] = {}
    findings, _ = swept(lambda graph: float(graphs.setdefault(graph.key, graph) is graph), space, terms(space, 20.0))
    assert [finding.insight for finding in findings] == [1, 2, 2, 3] * 2
    assert [finding.text.split(",")[0].split(":")[0] for finding in findings] == ["find"] * 4 + ["solve"] * 4
    assert all(slots(graph, "find") == ["small"] or slots(graph) == ["small"] for graph in graphs.values())


def test_shapes_in_words() -> None:
    assert shape([["a", "b", "a"]]) == "2 a and 1 b"
    assert shape([["a", "a"], ["b"]]) == "2 a, then 1 b"


def test_what_is_clear_is_paired_and_cautious() -> None:
    assert clear([1.0] * 12, [0.0] * 12) and not clear([0.0] * 12, [1.0] * 12)
    assert not clear([1.0], [0.0]) and not clear([], []), "of one example nothing is clear"
    assert not clear([1.0, 1.0, 1.0], [0.0] * 3), "nor of three: one more might lose as much"
    noise = [math.sin(n) for n in range(12)]
    assert clear([a + 0.9 for a in noise], noise) and not clear([0.1, *[0.0] * 11], [0.0] * 12)
