"""The digest says the most telling first, in few short lines, and nothing that a model wrote can leave its line."""

from __future__ import annotations

import json
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from apportion.graphs.credit import Credit, EdgeCredit, Effect, NodeCredit, Said, Sample
from apportion.graphs.digest import MOST_TEXT, quoted, shortened, told
from apportion.graphs.graph import Graph, Node
from tests.strategies import anything, graphs

GRAPH = Graph(
    (
        Node("hint.draft", "hint", "generator", "1b"),
        Node("answer.1", "answer", "generator", "1b", 3, ("hint.draft",)),
        Node("answer.2", "answer", "refiner", "3b", 1, ("answer.1",)),
        Node("answer.3", "answer", "fuser", "3b", 1, ("answer.1", "answer.2")),
        Node("answer.final", "answer", "voter", None, 1, ("answer.2", "answer.3")),
    )
)
LESS = Graph((*GRAPH.nodes[:3], replace(GRAPH.nodes[4], inputs=("answer.2",))))
RECAST = Graph(
    (
        GRAPH.nodes[0],
        replace(GRAPH.nodes[2], role="generator", inputs=("hint.draft",)),
        replace(GRAPH.nodes[3], role="refiner", inputs=("answer.2",)),
        GRAPH.nodes[4],
    )
)
CREDIT = Credit(
    GRAPH,
    "accuracy",
    40,
    16,
    (
        NodeCredit("hint.draft", 40, 2, None, None, None, None),
        NodeCredit("answer.1", 40, 0, 21, 0.3, None, None),
        NodeCredit("answer.2", 40, 1, 15, 0.375, 8, 2),
        NodeCredit("answer.3", 38, 0, 14, 14 / 38, 9, 2),
        NodeCredit("answer.final", 40, 0, 16, 0.4, 3, 0),
    ),
    (
        EdgeCredit("answer.1", "answer.2", 13, 8, 2, 17),
        EdgeCredit("answer.1", "answer.3", 12, 9, 2, 15),
        EdgeCredit("answer.2", "answer.final", 15, 0, 0, 25),
    ),
    (
        Effect(("answer.1",), RECAST, 0.2, -0.1, 0.4, 9),
        Effect(("answer.3", ("answer.3", "answer.final")), LESS, -0.05, -0.12, -0.01, 40),
    ),
    Sample(
        "q7", (Said("hint.draft", "in France", None), Said("answer.1", "Paris", True), Said("answer.final", "", False))
    ),
)


def test_the_words() -> None:
    assert told(CREDIT).splitlines() == [
        '"accuracy" by node: 40 examples, the answer right in 16.',
        "answer.3 (fuser 3b): right in 14 of 38; lost 9 that it had read; mended 2; ran on 38 of 40",
        "answer.2 (refiner 3b): right in 15 of 40; lost 8 that it had read; mended 2; no value in 1 of 40",
        "answer.final (voter): right in 16 of 40; lost 3 that it had read",
        "hint.draft (generator 1b): no value in 2 of 40",
        "answer.1 (generator 1b x3): one of its texts right in 21 of 40 (mean of its texts 0.30)",
        "edge answer.1>answer.3: of 21 right ones 9 thrown away, of 17 wrong ones 2 mended",
        "edge answer.1>answer.2: of 21 right ones 8 thrown away, of 19 wrong ones 2 mended",
        "without answer.3 or answer.3>answer.final: -0.05 [-0.12, -0.01] over 40 of 40",
        "without answer.1: +0.20 [-0.10, +0.40] over 9 of 40 "
        "(answer.2 is then a generator, answer.3 is then a refiner)",
        'One that it had wrong, "q7":',
        'hint.draft said: "in France"',
        'answer.1 right: "Paris"',
        'answer.final wrong: ""',
    ]


def test_what_goes_too_is_said() -> None:
    effect = Effect((("answer.3", "answer.final"),), LESS, 0.0, 0.0, 0.0, 2)
    lines = told(replace(CREDIT, effects=(effect,))).splitlines()
    assert "without answer.3>answer.final: +0.00 [+0.00, +0.00] over 2 of 40 (answer.3 goes too)" in lines


def test_of_no_example_nothing_is_said() -> None:
    assert told(replace(CREDIT, examples=0)) == (
        'Of "accuracy" nothing is known by node: no example has all its completions in the bank.'
    )


@given(anything | st.text(alphabet='"\\\n\u202e\u2028\x1b\x7fé字a', max_size=400), st.integers(10, 130))
def test_a_quoted_text_is_one_printable_json_string(text: str, most: int) -> None:
    said = quoted(text, most)
    assert len(said) <= most and said.isprintable() and said.encode()
    kept = json.loads(said)
    plain = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    head, _, tail = kept.partition(" … ")
    assert kept == plain or (plain.startswith(head) and plain.endswith(tail))


@given(st.text(), st.integers(10, 130))
def test_a_short_text_stays_as_it_is(text: str, most: int) -> None:
    assert shortened(text, most) == text if len(text) <= most else len(shortened(text, most)) == most


@given(st.data(), graphs())
def test_a_digest_is_short_and_its_lines_are_ours(data: st.DataObject, graph: Graph) -> None:
    """Whatever the models said and however large the graph is."""
    ids = [node.id for node in graph.nodes]
    edges = [(source.id, node.id) for node in graph.nodes for source in graph.candidates(node)]
    counts = st.integers(0, 40)
    nodes = [NodeCredit(node, 40, data.draw(counts), data.draw(counts), 0.5, data.draw(counts), 0) for node in ids]
    parts: list[str | tuple[str, str]] = [*ids, *edges]
    credit = Credit(
        graph,
        "accuracy",
        40,
        7,
        tuple(nodes),
        tuple(EdgeCredit(*edge, 1, data.draw(counts), 3, 4) for edge in edges),
        tuple(Effect((part,), graph, data.draw(st.floats(-1, 1)), -1.0, 1.0, 40) for part in parts),
        Sample(data.draw(anything), tuple(Said(node, data.draw(anything), data.draw(st.booleans())) for node in ids)),
    )
    lines = told(credit).split("\n")
    assert lines == told(credit).splitlines() and len(lines) <= 25 and all(len(line) < 300 for line in lines)
    assert all(line.isprintable() for line in lines)
    shown = [line for line in lines if " right: " in line or " wrong: " in line]
    assert any(line.startswith(f"{ids[-1]} ") for line in shown), "the last node is shown"
    for line in shown:
        assert len(line.partition(": ")[2]) <= MOST_TEXT and isinstance(json.loads(line.partition(": ")[2]), str)
