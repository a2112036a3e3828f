"""Graphs that differ only in which slots their nodes stand in have one key, and others have not."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import replace

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from apportion.graphs.canonical import arranged
from apportion.graphs.graph import Graph, Node
from apportion.graphs.parameters import Value
from apportion.graphs.slots import ABSENT, YES, SlotStage
from apportion.graphs.space import SearchSpace
from tests.strategies import running_params, slot_stages

slow = settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow])


def smallest(graph: Graph) -> tuple[object, ...]:
    """The least of all listings of a graph of one stage: equal for equal graphs, by brute force."""
    *drafts, last = graph.nodes
    forms = []
    for order in itertools.permutations(drafts):
        place = {node.id: i for i, node in enumerate((*order, last))}
        forms.append(
            tuple((n.role, n.model or "", n.samples, tuple(sorted(place[i] for i in n.inputs))) for n in (*order, last))
        )
    return min(forms)


def test_keys_are_one_to_one_with_graphs() -> None:
    """All graphs of four like slots, and all of three that may differ."""
    like = SlotStage("s", ("m",), 4, ("refiner",), ("decider",))
    unlike = SlotStage("s", ("m", "n"), 3, ("refiner",), ("voter",))
    for stage, size in ((like, 184), (unlike, None)):
        space = SearchSpace((stage,))
        forms: dict[tuple[object, ...], str] = {}
        for params in stage.points():
            there = [slot for slot in range(1, stage.slots + 1) if params[f"s.{slot}.model"] != ABSENT]
            if any(params[f"s.{slot}>final"] == YES for slot in there):
                graph = space.build(params)
                assert forms.setdefault(smallest(graph), graph.key) == graph.key
        assert len(set(forms.values())) == len(forms) == space.size
        assert size in (None, space.size)


@st.composite
def moved_slots(draw: st.DrawFn) -> tuple[SearchSpace, dict[str, Value], dict[str, Value]]:
    """A space, parameters, and the same with the slots in other places."""
    stage = replace(draw(slot_stages("s", slots=5)), free_order=True)
    space = SearchSpace((stage,))
    params = draw(running_params(space))
    places = [str(slot) for slot in range(1, stage.slots + 1)]
    there = [place for place in places if params[f"s.{place}.model"] != ABSENT]
    first = draw(st.sampled_from(there))  # the first slot is there in any case
    others = draw(st.permutations([place for place in places if place != first]))
    moves = dict(zip((first, *others), places, strict=True)) | {"final": "final"}
    return space, params, {_moved(name, moves): value for name, value in params.items()}


def _moved(name: str, moves: Mapping[str, str]) -> str:
    stage, place, *key = name.split(".")
    return ".".join([stage, ">".join(moves[end] for end in place.split(">")), *key])


@slow
@given(moved_slots())
def test_slots_may_be_in_any_place(drawn: tuple[SearchSpace, dict[str, Value], dict[str, Value]]) -> None:
    space, params, moved = drawn
    assert space.build(moved).key == space.build(params).key


@slow
@given(moved_slots())
def test_what_is_arranged_stays_so(drawn: tuple[SearchSpace, dict[str, Value], dict[str, Value]]) -> None:
    space, params, _ = drawn
    nodes = space.build(params).nodes
    assert arranged(nodes) == nodes
    assert Graph(arranged(nodes[::-1])).key == Graph(nodes).key


def test_chains_side_by_side_do_not_change_partners() -> None:
    """Both refiners look alike, and so do both drafts; but who refines which is one thing in all listings."""
    drafts = [Node(f"d{i}", "s", "generator", "m") for i in (0, 1)]
    last = Node("v", "s", "voter", inputs=("r0", "r1"))
    keys = {
        Graph(
            arranged((*drafts, *(Node(f"r{i}", "s", "refiner", "m", 1, (f"d{turn ^ i}",)) for i in (0, 1)), last))
        ).key
        for turn in (0, 1)
    }
    assert len(keys) == 1


def test_what_other_stages_give_stays_last() -> None:
    node = Node("b", "s", "refiner", "m", 1, ("before", "a", "earlier"))
    assert arranged((node, Node("a", "s", "generator", "m")))[1].inputs == ("a", "before", "earlier")


def test_the_order_does_not_change_between_versions() -> None:
    nodes = (
        Node("v", "s", "voter", inputs=("r", "b", "a")),
        Node("r", "s", "refiner", "n", 1, ("b",)),
        Node("b", "s", "generator", "m", 2),
        Node("a", "s", "generator", "m", 2, temperature=0.5),
    )
    assert [(node.id, node.inputs) for node in arranged(nodes)] == [
        ("b", ()),
        ("a", ()),
        ("r", ("b",)),
        ("v", ("b", "a", "r")),
    ]


def test_equal_temperatures_are_one_key() -> None:
    def key(temperature: float | None) -> str:
        return Graph((Node("a", "s", "generator", "m", temperature=temperature),)).key

    assert key(0) == key(-0.0) == key(0.0) != key(None)
    assert key(1) == key(1.0) == "ab4e9f6919217e37"  # which banks and runs hold
