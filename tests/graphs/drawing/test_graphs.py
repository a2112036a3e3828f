"""What is drawn of a graph: every node and edge, coloured by model, with shares of the cost where they are known."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given

from apportion.graphs.drawing.graphs import fills, of_graph, to_mermaid, to_png, to_svg, to_text
from apportion.graphs.graph import Graph, Node
from tests.strategies import graphs

GRAPH = Graph(
    (
        Node("d", "s", "generator", "big", 3, temperature=0.5),
        Node("e", "s", "generator", "small"),
        Node("v", "s", "voter", inputs=("d", "e")),
        Node("a", "t", "generator", "big", inputs=("v",)),
    )
)


def test_text() -> None:
    assert to_text(GRAPH).splitlines() == [
        "d  generator big x3 T=0.5",
        "e  generator small",
        "v  voter  <- d, e",
        "a  generator big  <- v",
    ]


def test_mermaid() -> None:
    assert to_mermaid(GRAPH).splitlines() == [
        "flowchart LR",
        '  subgraph s0["s"]',
        '    n0["generator x3 T=0.5<br/>big"]',
        '    n1["generator<br/>small"]',
        '    n2["voter"]',
        "  end",
        '  subgraph s1["t"]',
        '    n3["generator<br/>big"]',
        "  end",
        "  n0 --> n2",
        "  n1 --> n2",
        "  n2 --> n3",
    ]


@given(graphs())
def test_every_node_and_edge_is_drawn(graph: Graph) -> None:
    picture = of_graph(graph)
    assert [(box.id, box.group) for box in picture.boxes] == [(node.id, node.stage) for node in graph.nodes]
    drawn = {(arrow.source, arrow.target) for arrow in picture.arrows}
    assert drawn == {(source, node.id) for node in graph.nodes for source in node.inputs}


def test_a_colour_stands_for_a_model() -> None:
    colours = [box.fill for box in of_graph(GRAPH).boxes]
    known = fills(["small", "big", None])
    assert colours == [known["big"], known["small"], known[None], known["big"]] and len(set(colours)) == 3
    assert len(set(fills([f"m{i}" for i in range(7)]).values())) == 8


def test_shares_of_the_cost() -> None:
    first, second, third, _ = of_graph(GRAPH, {"d": 0.25, "e": 0.0}).boxes
    assert (first.share, first.lines) == (0.25, ("generator x3 T=0.5", "big", "25% of the cost"))
    assert (second.share, second.lines[-1]) == (0.0, "0% of the cost")
    assert (third.share, third.lines) == (None, ("voter",))
    assert "25% of the cost" in to_svg(GRAPH, {"d": 0.25}) and "of the cost" not in to_svg(GRAPH)


def test_a_notebook_may_choose() -> None:
    bundle = GRAPH._repr_mimebundle_()
    assert bundle == {"image/svg+xml": to_svg(GRAPH), "text/vnd.mermaid": to_mermaid(GRAPH), "text/plain": str(GRAPH)}


def test_png(tmp_path: Path) -> None:
    path = to_png(GRAPH, tmp_path / "graph.png", {"d": 0.25})
    assert path.read_bytes().startswith(b"\x89PNG\r\n\x1a\n") and path.stat().st_size > 2000
