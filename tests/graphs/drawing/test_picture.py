"""Pictures: nothing overlaps, no arrow runs through a box, labels fit, and names cannot break out."""

from __future__ import annotations

import itertools
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apportion.graphs.drawing.layout import WIDTH, Layout
from apportion.graphs.drawing.lettering import fitted, text_width
from apportion.graphs.drawing.picture import Arrow, Box, Picture, mixed
from apportion.graphs.drawing.rendering import placed

SVG = "{http://www.w3.org/2000/svg}"
NASTY = "<b>\"Tom\" & 'Jerry'</b>`#\n\x00" + "W" * 60


@st.composite
def pictures(draw: st.DrawFn) -> Picture:
    """Boxes in groups, and any arrows between them."""
    count = draw(st.integers(1, 12))
    boxes = [
        Box(str(i), tuple(draw(st.lists(st.text(max_size=60), min_size=1, max_size=4))), draw(st.sampled_from("abc")))
        for i in range(count)
    ]
    pairs = [(a.id, b.id) for a in boxes for b in boxes if a is not b]
    ends = draw(st.lists(st.sampled_from(pairs), unique=True, max_size=40)) if pairs else []
    return Picture(tuple(boxes), tuple(Arrow(a, b, kind=draw(st.sampled_from(["", "x"]))) for a, b in ends))


FULL = Picture(
    tuple(Box(str(i), ("refiner", "model")) for i in range(13)),
    tuple(Arrow(str(a), str(b)) for a, b in itertools.combinations(range(13), 2)),
)


def check_clear(picture: Picture, at: Layout) -> None:
    """Boxes stand apart, in the picture; arrows join theirs, and cross no box on their way.

    Between two columns an arrow is a curve within the space between them; along a column it is level.
    """
    for a, b in itertools.combinations(at.boxes.values(), 2):
        assert abs(a.x - b.x) >= WIDTH or a.y + a.height <= b.y or b.y + b.height <= a.y
    for box in at.boxes.values():
        assert min(box.x, box.y) >= 0 and box.x + box.width <= at.width and box.y + box.height <= at.height
    for arrow, route in zip(picture.arrows, at.routes, strict=True):
        points = route if route[0][0] < route[-1][0] else route[::-1]
        for name, (x, y) in ((arrow.source, route[0]), (arrow.target, route[-1])):
            own = at.boxes[name]
            assert own.y < y < own.y + own.height and x in (own.x, own.x + WIDTH)
        for (x0, y0), (x1, y1) in itertools.pairwise(points):
            assert x0 < x1
            for box in at.boxes.values():
                if y0 == y1:
                    assert x1 <= box.x or box.x + WIDTH <= x0 or not box.y < y0 < box.y + box.height
                else:
                    assert x1 <= box.x or box.x + WIDTH <= x0


@given(pictures())
def test_nothing_is_in_the_way(picture: Picture) -> None:
    check_clear(picture, placed(picture))


def test_nothing_is_in_the_way_where_all_are_joined() -> None:
    at = placed(FULL)
    check_clear(FULL, at)
    assert at.height < 300, "arrows of one box share a lane"


@given(pictures())
def test_groups_stand_side_by_side(picture: Picture) -> None:
    at = placed(picture)
    bands = list(at.groups.values())
    assert all(a.x + a.width <= b.x for a, b in itertools.pairwise(bands))
    for box in picture.boxes:
        band, own = at.groups[box.group], at.boxes[box.id]
        assert band.x <= own.x and own.x + own.width <= band.x + band.width


def test_arrows_both_ways_are_apart() -> None:
    at = placed(Picture((Box("a", ("a",)), Box("b", ("b",))), (Arrow("a", "b"), Arrow("b", "a"))))
    there, back = at.routes
    assert there[0][0] == back[-1][0] and there[0][1] < back[-1][1]


@given(st.text(max_size=200), st.floats(20, 200))
def test_a_text_fits(text: str, width: float) -> None:
    short = fitted(text, width, 11)
    assert text_width(short, 11) <= width and short.isprintable()
    assert short == text or "…" in short or "\N{REPLACEMENT CHARACTER}" in short


def test_the_middle_is_left_out() -> None:
    assert fitted("qwen2.5-coder-1.5b-instruct", 120, 11) == "qwen2.5-c…instruct"


@given(pictures())
def test_svg_is_xml_with_every_box_and_arrow(picture: Picture) -> None:
    root = ElementTree.fromstring(picture.svg())
    assert [group.findtext(f"{SVG}title") for group in root.iter(f"{SVG}g")] == [box.id for box in picture.boxes]
    assert len(list(root.iter(f"{SVG}polygon"))) == len(list(root.iter(f"{SVG}path"))) == len(picture.arrows)


def test_names_cannot_break_out() -> None:
    picture = Picture((Box("n", (NASTY, NASTY), NASTY, title=NASTY),), (), NASTY, (Box("k", (NASTY,)),))
    mermaid = picture.mermaid()
    said = mermaid.replace("<br/>", "").replace("flowchart LR", "")
    assert not re.search("[<>&`\\x00]", said)
    assert all(line.count('"') in (0, 2) for line in mermaid.splitlines())
    root = ElementTree.fromstring(picture.svg())
    assert root.find(f".//{SVG}b") is None
    (title,) = [element.text for element in root.iter(f"{SVG}title")]
    assert title is not None and title.startswith("<b>\"Tom\" & 'Jerry'</b>") and title.endswith("W" * 60)


def test_mermaid_says_dashes_and_colours() -> None:
    boxes = (Box("a", ("a",)), Box("b", ("b",), dashed=True, stroke="#D55E00"))
    picture = Picture(boxes, (Arrow("a", "b"), Arrow("a", "b", 2.0, "#D55E00", dashed=True)))
    assert picture.mermaid().splitlines()[-4:] == [
        "  n0 --> n1",
        "  n0 -.-> n1",
        "  style n1 fill:#FFFFFF,stroke:#D55E00,color:#222222,stroke-dasharray:5 4",
        "  linkStyle 1 stroke:#D55E00,stroke-width:2px",
    ]


@pytest.mark.parametrize(("share", "colour"), [(0.0, "#FFFFFF"), (1.0, "#0072B2"), (0.5, "#80B8D8")])
def test_a_part_of_a_colour(share: float, colour: str) -> None:
    assert mixed("#0072B2", share) == colour


def test_png_of_all_that_there_is(tmp_path: Path) -> None:
    boxes = (Box("a", ("$x^2$", NASTY), "g", share=0.3), Box("b", ("b",), "h", dashed=True, share=1.5))
    picture = Picture(boxes, (Arrow("a", "b", 3.0, "#D55E00", dashed=True),), "below", (Box("k", ("kind",)),))
    assert picture.png(tmp_path / "p.png").stat().st_size > 2000
