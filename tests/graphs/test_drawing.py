"""Pictures: every node and edge is there, names are escaped, nothing overlaps."""

from __future__ import annotations

import itertools
from pathlib import Path
from xml.etree import ElementTree

from hypothesis import given

from apportion.graphs.drawing import CODE, HEIGHT, PALETTE, WIDTH, layout, to_mermaid, to_png, to_svg, to_text
from apportion.graphs.graph import Graph, Node
from tests.strategies import graphs

GRAPH = Graph(
    (
        Node("d", "s", "generator", "big", 3),
        Node("e", "s", "generator", "small"),
        Node("v", "s", "voter", inputs=("d", "e")),
        Node("a", "t", "generator", "big", inputs=("v",)),
    )
)
NASTY = Graph((Node("<n>", 's"&<script>', "generator", 'm"&</text>'),))
SVG = "{http://www.w3.org/2000/svg}"


def test_text() -> None:
    assert to_text(GRAPH).splitlines() == [
        "d  generator big x3",
        "e  generator small",
        "v  voter  <- d, e",
        "a  generator big  <- v",
    ]


def test_mermaid() -> None:
    assert to_mermaid(GRAPH).splitlines() == [
        "flowchart LR",
        '  subgraph s0["s"]',
        '    n0["generator big x3"]',
        '    n1["generator small"]',
        '    n2["voter"]',
        "  end",
        '  subgraph s1["t"]',
        '    n3["generator big"]',
        "  end",
        "  n0 --> n2",
        "  n1 --> n2",
        "  n2 --> n3",
    ]


def test_names_cannot_break_out() -> None:
    mermaid = to_mermaid(NASTY)
    assert "<" not in mermaid and all(line.count('"') in (0, 2) for line in mermaid.splitlines())
    texts = [element.text for element in ElementTree.fromstring(to_svg(NASTY)).iter(f"{SVG}text")]
    assert texts == ['s"&<script>: generator', 'm"&</text>']


@given(graphs())
def test_svg_shows_every_node_and_edge(graph: Graph) -> None:
    root = ElementTree.fromstring(to_svg(graph))
    assert [title.text for title in root.iter(f"{SVG}title")] == [node.id for node in graph.nodes]
    assert len(list(root.iter(f"{SVG}line"))) == sum(len(node.inputs) for node in graph.nodes)
    _, _, width, height = map(float, root.attrib["viewBox"].split())
    assert all(x + WIDTH <= width and y + HEIGHT <= height for x, y in layout(graph).values())


@given(graphs())
def test_boxes_do_not_overlap_and_edges_run_to_the_right(graph: Graph) -> None:
    at = layout(graph)
    for (x1, y1), (x2, y2) in itertools.combinations(at.values(), 2):
        assert abs(x1 - x2) >= WIDTH or abs(y1 - y2) >= HEIGHT
    assert all(at[source][0] + WIDTH < at[node.id][0] for node in graph.nodes for source in node.inputs)


def test_a_colour_stands_for_a_model() -> None:
    boxes = [group.find(f"{SVG}rect") for group in ElementTree.fromstring(to_svg(GRAPH)).iter(f"{SVG}g")]
    colours = [box.attrib["fill"] for box in boxes if box is not None]
    assert colours == [PALETTE[0], PALETTE[1], CODE, PALETTE[0]]


def test_png(tmp_path: Path) -> None:
    path = to_png(GRAPH, tmp_path / "graph.png")
    assert path.read_bytes().startswith(b"\x89PNG\r\n\x1a\n") and path.stat().st_size > 2000
