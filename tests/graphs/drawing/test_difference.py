"""The difference of two graphs: what is gone, what is new, what changed; nothing where they are equal."""

from __future__ import annotations

from hypothesis import given

from apportion.graphs.drawing.difference import (
    CHANGED_BOX,
    GONE,
    GONE_BOX,
    NEW,
    NEW_BOX,
    SAME_BOX,
    difference,
    difference_text,
)
from apportion.graphs.drawing.matching import matched
from apportion.graphs.drawing.picture import INK
from apportion.graphs.graph import Graph, Node
from tests.strategies import graphs, renamed

DRAFT = Node("s.draft", "s", "generator", "small", 5)
VOTE = Node("s.vote", "s", "voter", inputs=("s.draft",))
FUSE = Node("s.fuse", "s", "fuser", "large", inputs=("s.draft", "s.other"))
OTHER = Node("s.other", "s", "generator", "large", temperature=0.2)
A = Graph((DRAFT, VOTE))
B = Graph((Node("s.draft", "s", "generator", "small", 3), OTHER, FUSE))
STROKES = {"same": SAME_BOX.stroke, "changed": CHANGED_BOX.stroke, "gone": GONE_BOX.stroke, "new": NEW_BOX.stroke}


def test_text() -> None:
    assert difference_text(A, B).splitlines() == [
        "~ s.draft  generator small x5 -> generator small x3",
        "+ s.other  generator large T=0.2",
        "~ s.fuse (was s.vote)  voter -> fuser large  <- +s.other",
    ]
    assert difference_text(B, A).splitlines() == [
        "~ s.draft  generator small x3 -> generator small x5",
        "- s.other  generator large T=0.2",
        "~ s.vote (was s.fuse)  fuser large -> voter  <- -s.other",
    ]


def test_picture() -> None:
    picture = difference(A, B)
    draft, other, end = picture.boxes
    assert [box.stroke for box in (draft, other, end)] == [STROKES["changed"], STROKES["new"], STROKES["changed"]]
    assert draft.lines == ("generator", "x5 -> x3", "small")
    assert other.lines == ("+ generator T=0.2", "large")
    assert end.lines == ("voter -> fuser", "code -> large")
    assert [(arrow.colour, arrow.dashed) for arrow in picture.arrows] == [(INK, False), (NEW, False)]
    assert [(arrow.colour, arrow.dashed) for arrow in difference(B, A).arrows] == [(INK, False), (GONE, True)]
    assert [box.dashed for box in difference(B, A).boxes] == [False, True, False]


@given(graphs())
def test_equal_graphs_do_not_differ(graph: Graph) -> None:
    other = renamed(graph)
    assert [(a.id, b.id) for a, b in matched(graph, other) if a and b] == [(n.id, f"x-{n.id}") for n in graph.nodes]
    picture = difference(graph, other)
    assert {box.stroke for box in picture.boxes} == {SAME_BOX.stroke}
    assert all(arrow.plain for arrow in picture.arrows)
    assert all(line.startswith("  ") for line in difference_text(graph, other).splitlines())


@given(graphs(), graphs())
def test_every_node_and_edge_of_both_is_there_once(a: Graph, b: Graph) -> None:
    pairs = matched(a, b)
    assert sorted(old.id for old, _ in pairs if old) == sorted(node.id for node in a.nodes)
    assert [new.id for _, new in pairs if new] == [node.id for node in b.nodes]
    assert all(old.stage == new.stage for old, new in pairs if old and new)
    arrows = difference(a, b).arrows
    edges = [sum(len(node.inputs) for node in graph.nodes) for graph in (a, b)]
    assert sum(arrow.colour != NEW for arrow in arrows) == edges[0]
    assert sum(arrow.colour != GONE for arrow in arrows) == edges[1]
    assert len(difference(a, b).boxes) == len(pairs) and difference(a, b).svg().startswith("<svg")
