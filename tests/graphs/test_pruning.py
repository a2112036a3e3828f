"""Without a part a graph of a space is a smaller graph of it, and nothing else of it changes that need not."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from apportion.errors import GraphError
from apportion.graphs.graph import Graph, Node, calls_of
from apportion.graphs.pruning import Part, as_it_was, prunings
from apportion.graphs.slots import SlotStage
from apportion.graphs.space import SearchSpace
from apportion.graphs.templates import TemplateStage
from tests.strategies import mixed_spaces, renamed, running_params

SPACE = SearchSpace((SlotStage("s", ("a", "b"), 4, ("fuser", "refiner", "voter"), ("voter", "fuser")),))
GRAPH = Graph(
    (
        Node("x", "s", "generator", "a"),
        Node("y", "s", "generator", "b"),
        Node("f", "s", "fuser", "a", inputs=("x", "y")),
        Node("end", "s", "voter", inputs=("y", "f")),
    )
)


def shape(graph: Graph) -> dict[str, tuple[str, tuple[str, ...]]]:
    """Role and inputs by node, whatever their order."""
    return {node.id: (node.role, tuple(sorted(node.inputs))) for node in graph.nodes}


X, Y = ("generator", ()), ("generator", ())


def test_each_node_and_edge_is_left_out_once() -> None:
    found = {part: shape(left) for part, left in prunings(SPACE, GRAPH).items()}
    refined = {"x": X, "f": ("refiner", ("x",))}
    assert found == {
        "x": {"y": Y, "f": ("refiner", ("y",)), "end": ("voter", ("f", "y"))},
        "y": {**refined, "end": ("voter", ("f",))},
        "f": {"y": Y, "end": ("voter", ("y",))},  # x, which only the fuser read, goes as well
        ("x", "f"): {"y": Y, "f": ("refiner", ("y",)), "end": ("voter", ("f", "y"))},
        ("y", "f"): {**refined, "y": Y, "end": ("voter", ("f", "y"))},
        ("y", "end"): {"x": X, "y": Y, "f": ("fuser", ("x", "y")), "end": ("voter", ("f",))},
        ("f", "end"): {"y": Y, "end": ("voter", ("y",))},
    }


def test_a_stage_must_end_in_something() -> None:
    pair = Graph((Node("x", "s", "generator", "a"), Node("end", "s", "voter", inputs=("x",))))
    assert prunings(SPACE, pair) == {}


def test_code_that_reads_nothing_goes_and_may_take_the_end_with_it() -> None:
    through = Graph(
        (
            Node("x", "s", "generator", "a"),
            Node("v", "s", "voter", inputs=("x",)),
            Node("end", "s", "voter", inputs=("v",)),
        )
    )
    assert prunings(SPACE, through) == {}
    beside = Graph((*through.nodes[:2], Node("y", "s", "generator", "b"), replace(through.nodes[2], inputs=("v", "y"))))
    left = {"y": Y, "end": ("voter", ("y",))}
    found = {part: shape(graph) for part, graph in prunings(SPACE, beside).items()}
    kept = {"x": X, "v": ("voter", ("x",)), "end": ("voter", ("v",))}
    assert found == {"x": left, "v": left, "y": kept, ("x", "v"): left, ("v", "end"): left, ("y", "end"): kept}


def test_who_reads_nothing_any_more_answers_afresh_from_the_stage_before() -> None:
    space = SearchSpace((TemplateStage("t", ("a",), ("vote",), (2, 2)), replace_reads(SPACE)))
    graph = Graph(
        (
            Node("d", "t", "generator", "a", 2),
            Node("v", "t", "voter", inputs=("d",)),
            Node("x", "s", "generator", "a", inputs=("v",)),
            Node("r", "s", "refiner", "b", inputs=("x",)),
            Node("end", "s", "voter", inputs=("x", "r")),
        )
    )
    found = prunings(space, graph)
    assert set(found) == {"x", "r", ("x", "r"), ("x", "end"), ("r", "end")}, "a template stays as it is"
    assert shape(found["x"]) == {
        "d": X,
        "v": ("voter", ("d",)),
        "r": ("generator", ("v",)),
        "end": ("voter", ("r",)),
    }


def replace_reads(space: SearchSpace) -> SlotStage:
    (stage,) = space.stages
    assert isinstance(stage, SlotStage)
    return replace(stage, reads=("t",))


def test_a_graph_of_another_space_is_refused() -> None:
    with pytest.raises(GraphError, match=r"`s\.1\.model` must be one of a, b, got .c."):
        prunings(SPACE, Graph((Node("x", "s", "generator", "c"), Node("end", "s", "voter", inputs=("x",)))))


def test_who_is_left_keeps_its_draws() -> None:
    like = [Node(f"g{i}", "s", "generator", "a", 2) for i in range(3)]
    space = SearchSpace((replace_samples(SPACE),))
    graph = Graph((*like, Node("end", "s", "voter", inputs=("g0", "g1", "g2"))))
    left = prunings(space, graph)["g1"]
    assert left.draw_starts == {"g0": 0, "g2": 2, "end": 0}
    kept, starts = as_it_was(graph, left)
    assert starts == {"g0": 0, "g2": 4, "end": 0} and kept.by_id["end"].inputs == ("g0", "g2")


def replace_samples(space: SearchSpace) -> SlotStage:
    (stage,) = space.stages
    assert isinstance(stage, SlotStage)
    return replace(stage, samples=(1, 3))


def test_who_plays_another_role_draws_anew() -> None:
    """A refiner's first sample is not a generator's, of which the whole graph has drawn one already."""
    graph = Graph(
        (
            Node("x", "s", "generator", "a"),
            Node("y", "s", "generator", "b"),
            Node("r", "s", "refiner", "a", inputs=("y",)),
            Node("end", "s", "voter", inputs=("x", "r")),
        )
    )
    left = prunings(SPACE, graph)["y"]
    assert left.by_id["r"].role == "generator"
    assert as_it_was(graph, left)[1] == {"x": 0, "r": 1, "end": 0}


@settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow])
@given(st.data(), mixed_spaces(slots=4))
def test_without_any_part_it_is_a_smaller_graph_of_the_space(data: st.DataObject, space: SearchSpace) -> None:
    graph = renamed(space.build(data.draw(running_params(space))))
    slotted = {stage.name for stage in space.stages if isinstance(stage, SlotStage)}
    edges = {(s.id, n.id) for n in graph.nodes for s in graph.candidates(n)}
    found = prunings(space, graph)
    parts: list[Part] = [node.id for node in graph.nodes if node.stage in slotted]
    parts += [edge for edge in edges if graph.by_id[edge[0]].stage in slotted]
    assert set(found) <= set(parts)
    for part, left in found.items():
        assert space.build(space.params(left)).key == left.key != graph.key
        kept = {(s.id, n.id) for n in left.nodes for s in left.candidates(n)}
        assert kept < edges and (part not in left.by_id if isinstance(part, str) else part not in kept)
        assert left.by_id.keys() <= graph.by_id.keys() and left.stages == graph.stages
        assert all(left.stage_outputs[stage].id == end.id for stage, end in graph.stage_outputs.items())
        for node in left.nodes:
            was = graph.by_id[node.id]
            lacking = {s.id for s in graph.candidates(was)} - {s.id for s in left.candidates(node)}
            assert all(s not in left.by_id or (s, node.id) == part for s in lacking), "no other edge goes"
            assert (node.model, node.samples, node.temperature) == (was.model, was.samples, was.temperature) or (
                node.role != was.role
            )
        drawn_apart(*as_it_was(graph, left))
    for part in parts:
        ends = [end.id for end in graph.stage_outputs.values()]
        if part not in found and part not in ends:
            assert only_way(graph, part), "what may go, goes"


def drawn_apart(graph: Graph, starts: dict[str, int]) -> None:
    """No two draws of a graph are the same draw."""
    taken: set[tuple[object, ...]] = set()
    for node in graph.nodes:
        calls = calls_of(graph, node)
        own = {(node.stage, node.role, node.model, node.temperature, starts[node.id] + i) for i in range(calls)}
        assert not own & taken
        taken |= own


def only_way(graph: Graph, part: Part) -> bool:
    """Whether a stage would end in nothing: all that its last node reads rests on the part, through code alone."""
    dead = {part} if isinstance(part, str) else set()
    for node in graph.nodes:
        own = {source.id for source in graph.candidates(node)}
        if own and all(source in dead or (source, node.id) == part for source in own):
            if node is graph.stage_outputs[node.stage]:
                return True
            dead |= {node.id} if node.model is None else set()
    return False


def test_it_needs_no_torch() -> None:
    """It is asked for where no distribution is."""
    rooms = "apportion.graphs.pruning, apportion.graphs.digest, apportion.evaluators.credit"
    code = f"import sys, {rooms}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
