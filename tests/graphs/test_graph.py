"""A graph is checked when it is built, keyed by content, and never draws the same draw twice."""

from __future__ import annotations

import json
import time
from dataclasses import replace

import networkx as nx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from apportion.errors import ApportionError, GraphError
from apportion.graphs.drawing.difference import difference_text
from apportion.graphs.graph import Graph, Node, calls_of
from apportion.graphs.roles import ROLES
from apportion.graphs.templates import TemplateStage
from apportion.search.trial import Trial, describe
from tests.strategies import graphs, renamed

DRAFT = Node("d", "s", "generator", "m")
DRAFTS = Node("d", "s", "generator", "m", 3)
VOTE = Node("v", "s", "voter", inputs=("d",))


@given(graphs())
def test_a_record_holds_everything(graph: Graph) -> None:
    again = Graph.from_dict(json.loads(json.dumps(graph.to_dict())))
    assert again == graph and again.key == graph.key and hash(again) == hash(graph)


@given(graphs())
def test_the_key_is_of_the_content_not_of_the_names(graph: Graph) -> None:
    other = renamed(graph)
    assert other != graph and other.key == graph.key
    assert len(graph.key) == 16 and int(graph.key, 16) >= 0


@given(graphs())
def test_the_key_tells_models_apart(graph: Graph) -> None:
    first, *rest = graph.nodes
    assert Graph((replace(first, model="another"), *rest)).key != graph.key


def test_the_key_tells_the_order_of_candidates_apart() -> None:
    drafts = (DRAFT, Node("e", "s", "generator", "n"))
    keys = {Graph((*drafts, Node("f", "s", "fuser", "m", inputs=order))).key for order in (("d", "e"), ("e", "d"))}
    assert len(keys) == 2


def test_the_key_does_not_change_between_versions() -> None:
    assert Graph((DRAFTS, VOTE)).key == "472bc017b5e79f54"


@given(graphs())
def test_no_two_draws_of_a_graph_are_the_same(graph: Graph) -> None:
    ranges: dict[tuple[str, str, str | None], list[int]] = {}
    for node in graph.nodes:
        start = graph.draw_starts[node.id]
        ranges.setdefault((node.stage, node.role, node.model), []).extend(range(start, start + calls_of(graph, node)))
    for indices in ranges.values():
        assert indices == list(range(len(indices)))
    assert graph.calls == sum(len(indices) for indices in ranges.values())


def test_three_generators_of_one_model_give_three_draws() -> None:
    drafts = tuple(Node(f"d{i}", "s", "generator", "m") for i in range(3))
    graph = Graph((*drafts, Node("v", "s", "voter", inputs=("d0", "d1", "d2"))))
    assert [graph.draw_starts[node.id] for node in drafts] == [0, 1, 2]


def test_equal_prefixes_share_their_draws() -> None:
    one, two = Node("d", "s", "generator", "m"), Node("e", "s", "generator", "m", 2)
    short = Graph((one, Node("r", "s", "refiner", "m", inputs=("d",))))
    long = Graph((one, two, Node("v", "s", "voter", inputs=("d", "e"))))
    assert short.draw_starts["d"] == long.draw_starts["d"] == 0
    assert Graph((DRAFTS, VOTE)).draw_starts["d"] == long.draw_starts["d"]


def test_stages_models_and_roles_count_for_themselves() -> None:
    graph = Graph(
        (
            DRAFTS,
            Node("e", "s", "generator", "n", 2),
            Node("f", "s", "fuser", "m", inputs=("d", "e")),
            Node("g", "t", "generator", "m", inputs=("f",)),
        )
    )
    assert set(graph.draw_starts.values()) == {0}
    assert graph.calls == 7


def test_a_scorer_may_ask_for_every_candidate() -> None:
    graph = Graph((DRAFTS, Node("x", "s", "scorer", "big", 2, ("d",))))
    assert calls_of(graph, graph.output) == 6 and graph.calls == 9
    assert graph.widths == {"d": 3, "x": 1}


@given(graphs())
def test_what_a_graph_says_of_itself(graph: Graph) -> None:
    assert graph.output is graph.nodes[-1] and graph.by_id[graph.output.id] is graph.output
    assert graph.stages == tuple(dict.fromkeys(node.stage for node in graph.nodes))
    assert [graph.stage_outputs[stage].id for stage in graph.stages][-1] == graph.output.id
    drawn = graph.to_networkx()
    assert nx.is_directed_acyclic_graph(drawn)
    assert set(drawn.edges) == {(source, node.id) for node in graph.nodes for source in node.inputs}
    assert all(nx.has_path(drawn, node.id, graph.output.id) for node in graph.nodes)
    assert drawn.nodes[graph.output.id]["role"] == graph.output.role
    assert str(graph).count("\n") == len(graph.nodes) - 1 and "<svg" in graph._repr_mimebundle_()["image/svg+xml"]


def test_a_graph_is_a_value() -> None:
    graph = Graph((DRAFTS, VOTE))
    assert {graph: 1}[Graph((DRAFTS, VOTE))] == 1
    assert str(DRAFTS) == "generator m x3" and str(VOTE) == "voter"
    with pytest.raises(AttributeError):
        graph.nodes = ()  # type: ignore[misc]


ONE = Graph((DRAFT,))
NO_RECORD: dict[str, tuple[object, str]] = {
    "a key twice": (
        ONE.to_json().replace('"nodes"', '"nodes": [], "nodes"'),
        "a key must stand once in an object, but 'nodes' stands twice; leave one out.",
    ),
    "a key of a node twice": (
        ONE.to_json().replace('"id"', '"id": "e", "id"'),
        "a key must stand once in an object, but 'id' stands twice; leave one out.",
    ),
    "true for a version": (
        ONE.to_json().replace("1", "true", 1),
        "`apportion_graph` must be 1, got True; write it with this version.",
    ),
    "no version": (
        json.dumps(ONE.to_dict()),
        "`apportion_graph` must be 1, got None; write it with this version.",
    ),
    "a key too many": (
        json.dumps({"apportion_graph": 1, **ONE.to_dict(), "edges": []}),
        "a graph has `nodes` and `apportion_graph`, got 'edges'; leave it out.",
    ),
    "no object": ("[]", "`apportion_graph` must be 1, got None; write it with this version."),
    "None": (None, "a graph must be JSON text, got NoneType; write it with `to_json`."),
    "a number": (1, "a graph must be JSON text, got int; write it with `to_json`."),
    "bytes": (ONE.to_json().encode(), "a graph must be JSON text, got bytes; write it with `to_json`."),
}


@pytest.mark.parametrize("name", NO_RECORD)
def test_what_is_no_record_of_a_graph_is_refused(name: str) -> None:
    text, said = NO_RECORD[name]
    with pytest.raises(GraphError) as error:
        Graph.from_json(text)  # type: ignore[arg-type]
    assert str(error.value) == said


@pytest.mark.parametrize("value", [None, 1, b"{}", "{}", []])
def test_a_record_is_an_object(value: object) -> None:
    with pytest.raises(GraphError, match=r"^a graph must be an object with `nodes`, got \w+; write one\.$"):
        Graph.from_dict(value)  # type: ignore[arg-type]


def test_a_record_may_say_its_version_if_it_is_ours() -> None:
    assert Graph.from_dict({"apportion_graph": 1, **ONE.to_dict()}) == ONE
    with pytest.raises(GraphError, match=r"^`apportion_graph` must be 1, got 2; "):
        Graph.from_dict({"apportion_graph": 2, **ONE.to_dict()})


@given(st.text(st.characters(categories=["Cc", "Cf", "Cs", "Zl", "L"]), min_size=1))
def test_no_name_does_anything_to_a_terminal(name: str) -> None:
    name = f"\x1b{name}"
    graph = Graph((Node(name, name, "generator", name, 3), Node("v", name, "voter", inputs=(name,))))
    other = Graph((Node("d", name, "generator", "m"),))
    shown = [str(graph), str(graph.nodes[0]), difference_text(graph, other), describe(Trial(0, "", False, graph))]
    assert all(line.isprintable() for text in shown for line in text.split("\n"))
    with pytest.raises(GraphError) as error:
        TemplateStage("s", ("m",), ("single",), (1, 1)).choices(graph.nodes)
    assert str(error.value).isprintable()


BROKEN: dict[str, tuple[tuple[Node, ...], str]] = {
    "no nodes": ((), "`nodes` must name at least one node, got none; add a generator."),
    "a self loop": (
        (Node("d", "s", "generator", "m", inputs=("d",)),),
        "a node must not read itself, but 'd' does; remove that input.",
    ),
    "a cycle": (
        (Node("d", "s", "refiner", "m", inputs=("e",)), Node("e", "s", "refiner", "m", inputs=("d",))),
        "`inputs` must follow the node order, but 'e' -> 'd' runs against it; list it first.",
    ),
    "a dangling input": (
        (DRAFTS, Node("v", "s", "voter", inputs=("d", "x"))),
        "`inputs` must name nodes of the graph, but 'v' reads 'x'; add it or correct the name.",
    ),
    "an input twice": (
        (DRAFTS, Node("v", "s", "voter", inputs=("d", "d"))),
        "`inputs` must not repeat themselves, but 'v' reads 'd' twice; remove one.",
    ),
    "a dead node": (
        (DRAFTS, Node("e", "s", "generator", "m"), VOTE),
        "every node but the last must be read by another, but 'e' is not; remove it.",
    ),
    "one id twice": ((DRAFT, DRAFT), "node ids must be unique, but 'd' stands twice; rename one."),
    "no such role": (
        (Node("d", "s", "oracle", "m"),),
        f"`role` must be one of {', '.join(ROLES)}, got 'oracle' in 'd'; choose one.",
    ),
    "no model": ((Node("d", "s", "generator"),), "a generator calls a model, but 'd' names none; give it one."),
    "a model too many": (
        (DRAFTS, Node("v", "s", "voter", "m", inputs=("d",))),
        "a voter is code, but 'v' names model 'm'; leave it out.",
    ),
    "no samples": (
        (Node("d", "s", "generator", "m", 0),),
        "`samples` must be at least 1, got 0 in 'd'; raise it.",
    ),
    "too few candidates": (
        (DRAFT, Node("f", "s", "fuser", "m", inputs=("d",))),
        "a fuser needs 2 or more candidates, but 'f' reads 1; add drafts.",
    ),
    "a reader that answers afresh": (
        (DRAFT, Node("e", "s", "generator", "m", inputs=("d",))),
        "a generator answers afresh, but 'e' reads 'd' of its own stage; make it a refiner or a fuser.",
    ),
    "an end in several texts": (
        (DRAFTS,),
        "a stage must end in one text, but 'd' ends 's' with 3; add a voter.",
    ),
    "a look inside another stage": (
        (DRAFTS, VOTE, Node("e", "t", "generator", "m", inputs=("d", "v"))),
        "a stage reads another through its last node, but 'e' reads 'd'; read 'v'.",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_graph_is_refused(name: str) -> None:
    nodes, said = BROKEN[name]
    with pytest.raises(GraphError) as error:
        Graph(nodes)
    assert str(error.value) == said
    assert isinstance(error.value, ValueError) and isinstance(error.value, ApportionError)
    assert "\n" not in said and said.endswith(".") and ";" in said  # law, value; remedy


def test_ten_thousand_nodes_are_checked_at_once() -> None:
    n = 10_000
    wide = [Node(f"n{i}", "s", "generator", "m") for i in range(n)]
    deep = [DRAFT, *(Node(f"n{i}", "s", "refiner", "m", inputs=(f"n{i - 1}" if i else "d",)) for i in range(n))]
    ids = [f"n{i}" for i in range(n)]
    started = time.perf_counter()
    for nodes in ((*wide, Node("v", "s", "voter", inputs=tuple(ids))), tuple(deep)):
        graph = Graph(nodes)
        assert graph.calls >= n and len(graph.draw_starts) == n + 1 and graph.key
    assert time.perf_counter() - started < 1.0  # 0.1 s on a slow machine; minutes if a check were quadratic


def test_a_dense_graph_reads_all_that_came_before() -> None:
    ids = [f"n{i}" for i in range(100)]
    rest = (Node(name, "s", "refiner", "m", inputs=tuple(ids[:i])) for i, name in enumerate(ids) if i)
    graph = Graph((Node("n0", "s", "generator", "m"), *rest))
    assert graph.to_networkx().number_of_edges() == 4950
    assert graph.draw_starts["n99"] == 98
