"""Steps from a graph: each is a graph of the space, one step away, and what it says it is."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from apportion.agent.reinforce.moves import Kind, depth, moves
from apportion.graphs.graph import Graph, Node
from apportion.graphs.notation import from_lines
from apportion.graphs.slots import SlotStage
from apportion.graphs.space import SearchSpace
from apportion.graphs.templates import TemplateStage
from tests.agent.reinforce.kit import DECIDED, one, wide
from tests.strategies import mixed_spaces, running_params

OPPOSITE: dict[Kind, set[Kind]] = {"wider": {"thinner"}, "deeper": {"shallower"}}


def slots_of(space: SearchSpace, graph: Graph) -> list[Node]:
    """Nodes of stages of slots, final ones left out."""
    names = {stage.name for stage in space.stages if isinstance(stage, SlotStage)}
    ends = graph.stage_outputs.values()
    return [node for node in graph.nodes if node.stage in names and node not in ends]


def edges(space: SearchSpace, graph: Graph) -> int:
    names = {stage.name for stage in space.stages if isinstance(stage, SlotStage)}
    return sum(len(graph.candidates(node)) for node in graph.nodes if node.stage in names)


def models(graph: Graph) -> Counter[str | None]:
    return Counter(node.model for node in graph.nodes)


def bare(graph: Graph, **changes: object) -> str:
    """The key of a graph of which some attributes are all alike."""
    return Graph(tuple(replace(node, **changes) for node in graph.nodes)).key  # type: ignore[arg-type]


def at(graph: Graph, attribute: str) -> list[object]:
    return [getattr(node, attribute) for node in graph.nodes]


def check(space: SearchSpace, was: Graph, kind: Kind, now: Graph) -> None:
    """Whether a step is of its kind."""
    more = len(slots_of(space, now)) - len(slots_of(space, was))
    deeper = depth(now) - depth(was)
    if kind == "wider":
        assert (more, deeper) == (1, 0)
    elif kind == "deeper":
        assert (more, deeper) == (1, 1)
    elif kind == "thinner":
        assert more < 0 and deeper == 0
    elif kind == "shallower":
        assert more < 0 and deeper < 0
    elif kind == "samples":
        assert (more, deeper) == (0, 0) and abs(
            sum(n.samples for n in now.nodes) - sum(n.samples for n in was.nodes)
        ) == 1
        assert models(now) == models(was)
    elif kind == "model":
        assert (more, deeper) == (0, 0) and (models(now) - models(was)).total() == 1
        assert Counter(at(now, "role")) == Counter(at(was, "role")) and edges(space, now) == edges(space, was)
    elif kind == "role":
        assert (more, deeper) == (0, 0) and edges(space, now) == edges(space, was)
        assert (Counter(at(now, "role")) - Counter(at(was, "role"))).total() == 1
    elif kind == "edge":
        assert more == 0 and edges(space, now) == edges(space, was) + 1
        assert (Counter(at(now, "role")) - Counter(at(was, "role"))).total() <= 1
    else:
        assert kind == "less edges"
        assert more == 0 and edges(space, now) == edges(space, was) - 1


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(st.data(), mixed_spaces(slots=4))
def test_every_step_is_a_graph_of_the_space_and_what_it_says_it_is(data: st.DataObject, space: SearchSpace) -> None:
    graph = space.build(data.draw(running_params(space)))
    found = moves(space, graph)
    assert graph.key not in found
    for key, (kind, built, params) in found.items():
        assert built.key == key == space.build(params).key
        check(space, graph, kind, built)
    for kinds in (frozenset[Kind]({"thinner", "shallower"}), frozenset[Kind]({"wider", "less edges"})):
        some = moves(space, graph, kinds)
        assert {kind for kind, _, _ in some.values()} <= kinds
        assert {key for key, (kind, _, _) in found.items() if kind in kinds} <= some.keys() <= found.keys()


@settings(max_examples=25, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(st.data(), mixed_spaces(slots=3))
def test_what_was_added_can_be_taken_away(data: st.DataObject, space: SearchSpace) -> None:
    """A slot that was added may go again, and it is the opposite step."""
    graph = space.build(data.draw(running_params(space)))
    for kind, built, _ in moves(space, graph).values():
        if kind in OPPOSITE:
            back = moves(space, built).get(graph.key)
            assert back is None or back[0] in OPPOSITE[kind]


@pytest.mark.parametrize("n", [1, 2, 3])
def test_from_drafts_side_by_side_there_is_a_way_back_from_every_slot_more(n: int) -> None:
    space = one(5)
    graph = space.build(from_lines(space, wide(space, n)))
    more = [(kind, built) for kind, built, _ in moves(space, graph).values() if len(built.nodes) > len(graph.nodes)]
    assert {kind for kind, _ in more} == {"wider", "deeper"}
    assert all(moves(space, built)[graph.key][0] in OPPOSITE[kind] for kind, built in more)


def told(space: SearchSpace, lines: list[str]) -> Counter[Kind]:
    return Counter(kind for kind, _, _ in moves(space, space.build(from_lines(space, lines))).values())


def test_all_steps_from_two_drafts_side_by_side() -> None:
    """Counted by hand: equal slots are one, so what is done to either is one step."""
    space = one(4)
    assert told(space, wide(space, 2)) == {
        "wider": 1,  # a third draft
        "deeper": 1,  # a refiner behind one of them
        "thinner": 1,
        "model": 2,  # of a slot, or of the final node
        "edge": 1,  # one reads the other
    }


def test_a_slot_in_a_row_is_deeper_only_where_a_longest_path_grows() -> None:
    space = one(5)
    lines = ["solve.1: model small; to final", "solve.2: model large; to 3", "solve.3: model small; to final", DECIDED]
    graph = space.build(from_lines(space, lines))
    for kind, built, _ in moves(space, graph).values():
        if len(built.nodes) > len(graph.nodes):
            assert (kind == "deeper") == (depth(built) == depth(graph) + 1)
    kinds = Counter(k for k, built, _ in moves(space, graph).values() if len(built.nodes) > len(graph.nodes))
    assert kinds == {
        "wider": 4,
        "deeper": 2,
    }  # beside each of three, behind the lone draft; behind either of the others


def test_a_full_stage_grows_no_more_and_a_lone_slot_stays() -> None:
    space = one(2)
    assert not {"wider", "deeper"} & told(space, wide(space, 2)).keys()
    assert not {"thinner", "shallower", "less edges"} & told(space, wide(space, 1)).keys()


def test_samples_stay_within_their_range() -> None:
    space = SearchSpace((SlotStage("s", ("a",), 1, (), ("voter",), (2, 4)),))
    for samples, kinds in ((2, 1), (3, 2), (4, 1)):
        lines = [f"s.1: model a; samples {samples}; to final", "s.final: role voter"]
        assert told(space, lines) == {"samples": kinds}


WAYS: dict[str, tuple[SlotStage, list[str], Kind, Node]] = {
    "fewest samples of a new slot": (
        SlotStage("s", ("a",), 2, ("refiner",), ("voter",), (2, 3)),
        ["s.1: model a; samples 3; to final", "s.final: role voter"],
        "deeper",
        Node("s.2", "s", "refiner", "a", 2, ("s.1",)),
    ),
    "the temperature of the slot before it": (
        SlotStage("s", ("a",), 2, ("refiner",), ("voter",), temperatures=(0.0, 1.0)),
        ["s.1: model a; temperature 1.0; to final", "s.final: role voter"],
        "deeper",
        Node("s.2", "s", "refiner", "a", 1, ("s.1",), 1.0),
    ),
    "code behind a model": (
        SlotStage("s", ("a",), 2, ("voter", "refiner"), ("voter",), (2, 2), (0.5,)),
        ["s.1: model a; to final", "s.final: role voter"],
        "deeper",
        Node("s.2", "s", "voter", None, 1, ("s.1",)),
    ),
    "a role that keeps some": (
        SlotStage("s", ("a",), 2, ("verifier", "refiner"), ("voter",), (3, 3), keep=2),
        ["s.1: model a; to final", "s.final: role voter"],
        "deeper",
        Node("s.2", "s", "verifier", "a", 3, ("s.1",), keep=2),
    ),
    "a fuser of several samples": (
        SlotStage("s", ("a",), 2, ("fuser", "refiner"), ("voter",), (2, 3)),
        ["s.1: model a; samples 2; to final", "s.final: role voter"],
        "deeper",
        Node("s.2", "s", "fuser", "a", 2, ("s.1",)),
    ),
    "a model for what was code": (
        SlotStage("s", ("a", "b"), 2, ("voter", "refiner"), ("voter",), (2, 3), (0.5, 1.0)),
        ["s.1: model a; samples 2; temperature 1.0; to 2", "s.2: role voter; to final", "s.final: role voter"],
        "role",
        Node("s.2", "s", "refiner", "a", 2, ("s.1",), 0.5),
    ),
    "no temperature for what becomes code": (
        SlotStage("s", ("a",), 2, ("refiner", "voter"), ("voter",), (1, 3), (0.5, 1.0)),
        ["s.1: model a; to 2", "s.2: model a; samples 3; to final", "s.final: role voter"],
        "role",
        Node("s.2", "s", "voter", None, 1, ("s.1",)),
    ),
}


@pytest.mark.parametrize(("stage", "lines", "kind", "slot"), WAYS.values(), ids=WAYS)
def test_a_slot_in_another_role_has_what_that_role_needs(
    stage: SlotStage, lines: list[str], kind: Kind, slot: Node
) -> None:
    space = SearchSpace((stage,))
    graph = space.build(from_lines(space, lines))
    found = [built for own, built, _ in moves(space, graph).values() if own == kind]
    assert any(slot in built.nodes for built in found), [str(built) for built in found]


def test_an_edge_to_a_final_node_that_chooses_is_found_where_slots_keep_several() -> None:
    space = SearchSpace((SlotStage("s", ("a",), 2, ("refiner",), ("voter",), keep=2),))
    lines = ["s.1: model a; to 2", "s.2: model a; to final", "s.final: role voter"]
    graph = space.build(from_lines(space, lines))
    joined = [built for kind, built, _ in moves(space, graph).values() if kind == "edge"]
    assert [built.output.inputs for built in joined] == [("s.1", "s.2")]


def test_the_final_node_changes_its_role_and_gets_one_of_its_own_models() -> None:
    space = SearchSpace((SlotStage("s", ("a",), 1, (), ("voter", "decider"), final_models=("c", "b")),))
    found = moves(space, space.build(from_lines(space, ["s.1: model a; to final", "s.final: role voter"])))
    assert [(kind, str(built.output)) for kind, built, _ in found.values()] == [("role", "decider c")]
    decided = next(built for _, built, _ in found.values())
    assert sorted((kind, str(built.output)) for kind, built, _ in moves(space, decided).values()) == [
        ("model", "decider b"), ("role", "voter")
    ]  # fmt: skip


def test_stages_of_templates_stay_as_they_are() -> None:
    stage = SlotStage("s", ("a", "b"), 2, ("refiner",), ("voter",))
    space = SearchSpace((TemplateStage("t", ("a", "b"), ("single", "vote"), (2, 3)), replace(stage, reads=("t",))))
    graph = space.build({name: own.values[0] for name, own in space.parameters.items()} | {"s.1>final": "yes"})
    found = moves(space, graph)
    assert found and all(
        [n for n in built.nodes if n.stage == "t"] == [*graph.nodes[:1]] for _, built, _ in found.values()
    )
