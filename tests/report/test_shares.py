"""Where an answer's FLOPs go: every node has its share, code has none, and a prompt is encoded once."""

from __future__ import annotations

import pytest
from hypothesis import given

from apportion.graphs.cost import ModelCard, decode_flops, prefill_flops
from apportion.graphs.graph import Graph, Node
from apportion.graphs.paper import Length, Lengths, shares
from tests.strategies import MODELS, STAGES, graphs

CARDS = {name: ModelCard(name, i * 1e9, 16, 2048) for i, name in enumerate(MODELS, 1)}
LENGTHS = Lengths({(stage,): Length(100, 20) for stage in STAGES})
ONE_CARD = CARDS[MODELS[0]]
DRAFTS = Node("a", STAGES[0], "generator", MODELS[0], 3)


@given(graphs())
def test_shares_are_of_the_whole(graph: Graph) -> None:
    found = shares(graph, CARDS, LENGTHS)
    assert list(found) == [node.id for node in graph.nodes]
    assert sum(found.values()) == pytest.approx(1.0)
    assert all((share == 0.0) == (graph.by_id[name].model is None) for name, share in found.items())


def test_of_nodes_with_one_prompt_the_first_encodes_it() -> None:
    again = Node("b", DRAFTS.stage, "generator", DRAFTS.model)
    graph = Graph((DRAFTS, again, Node("v", DRAFTS.stage, "voter", inputs=("a", "b"))))
    prefill, decode = prefill_flops(ONE_CARD, 100), decode_flops(ONE_CARD, 100, 20)
    whole = prefill + 4 * decode
    expected = {"a": (prefill + 3 * decode) / whole, "b": decode / whole, "v": 0.0}
    assert shares(graph, CARDS, LENGTHS) == pytest.approx(expected)


def test_what_is_not_known_has_no_shares() -> None:
    graph = Graph((DRAFTS, Node("v", DRAFTS.stage, "voter", inputs=("a",))))
    assert shares(graph, CARDS, Lengths({})) == {}
