"""A picture as SVG, as Mermaid source, or as PNG through matplotlib. Nothing is sent anywhere to draw it.

SVG and PNG are drawn from the same layout, arrows' heads as triangles: ids, as markers need, would be shared by all
pictures of a page.
"""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from apportion.extras import needed
from apportion.graphs.drawing.layout import MARGIN, WIDTH, Layout, Link, Place, Point, Rectangle, layout
from apportion.graphs.drawing.lettering import fitted, shown, text_width
from apportion.graphs.drawing.picture import INK, Arrow, Box, Picture

if TYPE_CHECKING:
    from matplotlib.axes import Axes

TEXT, BAND, GROUP = "#222222", "#F3F3F3", "#666666"
BOLD, PLAIN = 12.0, 11.0  # pixels of the first and of the other lines
LINE, PAD, BAR = 15.0, 8.0, 5.0  # pixels of a line, of the air around a label, of the bar below it
TIP = 8.0  # pixels of an arrow's head
KEY = 22.0  # pixels of a line below the boxes
DASHES = (5.0, 4.0)
PIXELS_PER_INCH = 100.0
ROOM = WIDTH - 12
"""Pixels for a line of a label."""
THICK = 1.15  # times as wide is a text in bold


def placed(picture: Picture) -> Layout:
    """Where the boxes stand and the arrows run."""
    places = [Place(box.id, box.group, _height(box)) for box in picture.boxes]
    return layout(places, [Link(arrow.source, arrow.target, arrow.kind) for arrow in picture.arrows])


def svg(picture: Picture) -> str:
    """A self-contained SVG element."""
    at = placed(picture)
    width, height = _size(picture, at)
    arrows = zip(picture.arrows, at.routes, strict=True)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" width="{width:g}"'
        f' height="{height:g}" font-family="sans-serif">',
        f'<rect width="{width:g}" height="{height:g}" fill="#FFFFFF"/>',
        *(_svg_rectangle(band, 8, f'fill="{BAND}"') for band in at.groups.values()),
        *(_svg_text(x, y, text, BOLD, GROUP) for x, y, text in _headings(at)),
        *(_svg_arrow(arrow, route) for arrow, route in arrows),
        *(_svg_box(box, at.boxes[box.id]) for box in picture.boxes),
    ]
    for sample, x, y, text in _keys(picture, at):
        if sample is not None:
            parts.append(_svg_rectangle(Rectangle(x, y - 11, 22, 14), 3, _svg_frame(sample)))
        parts.append(_svg_text(x + (28 if sample else 0), y, text, PLAIN))
    return "".join([*parts, "</svg>"])


def mermaid(picture: Picture) -> str:
    """Mermaid flowchart source."""
    number = {box.id: f"n{i}" for i, box in enumerate(picture.boxes)}
    lines = ["flowchart LR"]
    for i, group in enumerate(dict.fromkeys(box.group for box in picture.boxes)):
        lines.append(f'  subgraph s{i}["{_quoted(group)}"]')
        own = [box for box in picture.boxes if box.group == group]
        lines += [f'    {number[box.id]}["{"<br/>".join(map(_quoted, box.lines))}"]' for box in own]
        lines.append("  end")
    for arrow in picture.arrows:
        lines.append(f"  {number[arrow.source]} {'-.->' if arrow.dashed else '-->'} {number[arrow.target]}")
    for box in picture.boxes:
        if box.dashed or box.stroke != INK:
            dashes = ",stroke-dasharray:5 4" if box.dashed else ""
            lines.append(f"  style {number[box.id]} fill:{box.fill},stroke:{box.stroke},color:{TEXT}{dashes}")
    for i, arrow in enumerate(picture.arrows):
        if not arrow.plain:
            lines.append(f"  linkStyle {i} stroke:{arrow.colour},stroke-width:{arrow.width:.2g}px")
    return "\n".join(lines)


def png(picture: Picture, path: Path) -> Path:
    """Write a PNG."""
    with needed():
        from matplotlib.figure import Figure

    at = placed(picture)
    width, height = _size(picture, at)
    figure = Figure(figsize=(width / PIXELS_PER_INCH, height / PIXELS_PER_INCH), dpi=2 * PIXELS_PER_INCH)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, width), ylim=(height, 0))
    axes.axis("off")
    for band in at.groups.values():
        _png_rectangle(axes, band, 8, fill=BAND, stroke="none")
    for x, y, text in _headings(at):
        _png_text(axes, x, y, text, BOLD, GROUP)
    for arrow, route in zip(picture.arrows, at.routes, strict=True):
        _png_arrow(axes, arrow, route)
    for box in picture.boxes:
        _png_box(axes, box, at.boxes[box.id])
    for sample, x, y, text in _keys(picture, at):
        if sample is not None:
            _png_rectangle(axes, Rectangle(x, y - 11, 22, 14), 3, sample.fill, sample.stroke, dashed=sample.dashed)
        _png_text(axes, x + (28 if sample else 0), y, text, PLAIN)
    figure.savefig(path)
    return path


# --- what both draw ---------------------------------------------------------------------------------------------------


def _height(box: Box) -> float:
    return 2 * PAD + LINE * len(box.lines) + (0.0 if box.share is None else BAR + 2)


def _headings(at: Layout) -> Iterator[tuple[float, float, str]]:
    """Names of the groups and where they begin."""
    for group, band in at.groups.items():
        yield band.x + 10, band.y + 17, fitted(group, (band.width - 20) / THICK, BOLD)


def _label(box: Box, at: Rectangle) -> Iterator[tuple[float, float, str, float]]:
    """The lines of a box: the middle, the baseline, the text, its size."""
    for i, line in enumerate(box.lines):
        size, room = (BOLD, ROOM / THICK) if i == 0 else (PLAIN, ROOM)
        yield at.x + WIDTH / 2, at.y + PAD + LINE * i + 12, fitted(line, room, size), size


def _bars(box: Box, at: Rectangle) -> Iterator[tuple[Rectangle, str]]:
    """The bar of a box: its groove, and how far it is filled."""
    if box.share is not None:
        x, y, room = at.x + 10, at.y + at.height - PAD - 2, WIDTH - 20
        yield Rectangle(x, y, room, BAR), "#FFFFFF"
        yield Rectangle(x, y, room * min(1.0, max(0.0, box.share)), BAR), TEXT


def _head(arrow: Arrow, route: tuple[Point, ...]) -> tuple[tuple[Point, ...], tuple[Point, Point, Point]]:
    """The route up to the head, and the head's corners."""
    (x0, _), (x, y) = route[-2:]
    back, half = (-TIP if x > x0 else TIP), 2.5 + arrow.width
    return (*route[:-1], (x + back, y)), ((x, y), (x + back, y - half), (x + back, y + half))


def _keys(picture: Picture, at: Layout) -> Iterator[tuple[Box | None, float, float, str]]:
    """Legend and subtitle: the box whose frame is shown, the beginning, the baseline, the text."""
    x, y = MARGIN, at.height + 8
    for box in picture.legend:
        yield box, x, y, shown(box.lines[0])
        x += 28 + text_width(box.lines[0], PLAIN) + 16
    if picture.subtitle:
        yield None, MARGIN, y + (KEY if picture.legend else 0), shown(picture.subtitle)


def _size(picture: Picture, at: Layout) -> Point:
    keys = list(_keys(picture, at))
    widths = [x + 28 + text_width(text, PLAIN) + MARGIN for _, x, _, text in keys]
    return max([at.width, *widths]), max([at.height, *(y + MARGIN for _, _, y, _ in keys)])


# --- SVG --------------------------------------------------------------------------------------------------------------


def _svg_rectangle(at: Rectangle, radius: float, style: str) -> str:
    return f'<rect x="{at.x:g}" y="{at.y:g}" width="{at.width:g}" height="{at.height:g}" rx="{radius:g}" {style}/>'


def _svg_frame(box: Box) -> str:
    dashes = f' stroke-dasharray="{DASHES[0]:g} {DASHES[1]:g}" stroke-width="1.6"' if box.dashed else ""
    return f'fill="{box.fill}" stroke="{box.stroke}"{dashes}'


def _svg_text(x: float, y: float, text: str, size: float, colour: str = TEXT, anchor: str = "start") -> str:
    bold = ' font-weight="bold"' if size == BOLD else ""
    middle = ' text-anchor="middle"' if anchor == "middle" else ""
    return f'<text x="{x:g}" y="{y:g}" font-size="{size:g}" fill="{colour}"{bold}{middle}>{escape(text)}</text>'


def _svg_box(box: Box, at: Rectangle) -> str:
    parts = [f"<g><title>{escape(shown(box.title or box.id))}</title>", _svg_rectangle(at, 6, _svg_frame(box))]
    parts += [_svg_text(x, y, text, size, anchor="middle") for x, y, text, size in _label(box, at)]
    parts += [_svg_rectangle(bar, 2, f'fill="{colour}"') for bar, colour in _bars(box, at)]
    return "".join([*parts, "</g>"])


def _svg_arrow(arrow: Arrow, route: tuple[Point, ...]) -> str:
    line, head = _head(arrow, route)
    path = f"M{line[0][0]:g} {line[0][1]:g}"
    for i, ((x0, y0), (x, y)) in enumerate(pairwise(line)):
        middle = (x0 + x) / 2
        path += f"L{x:g} {y:g}" if i % 2 else f"C{middle:g} {y0:g} {middle:g} {y:g} {x:g} {y:g}"
    dashes = f' stroke-dasharray="{DASHES[0]:g} {DASHES[1]:g}"' if arrow.dashed else ""
    title = f"<title>{escape(shown(arrow.title))}</title>" if arrow.title else ""
    corners = " ".join(f"{x:g},{y:g}" for x, y in head)
    return (
        f'<path d="{path}" fill="none" stroke="{arrow.colour}" stroke-width="{arrow.width:.3g}"{dashes}>{title}</path>'
        f'<polygon points="{corners}" fill="{arrow.colour}"/>'
    )


# --- Mermaid ----------------------------------------------------------------------------------------------------------

ENTITIES = {"&": "#amp;", '"': "#quot;", "<": "#lt;", ">": "#gt;", "#": "#35;", "`": "#96;"}


def _quoted(text: str) -> str:
    return "".join(ENTITIES.get(character, character) for character in shown(text))


# --- PNG --------------------------------------------------------------------------------------------------------------


def _png_rectangle(axes: Axes, at: Rectangle, radius: float, fill: str, stroke: str, *, dashed: bool = False) -> None:
    from matplotlib.patches import FancyBboxPatch

    style = f"round,pad=0,rounding_size={min(radius, at.width / 2, at.height / 2):g}"
    lines = (0, DASHES) if dashed else "solid"
    axes.add_patch(FancyBboxPatch((at.x, at.y), at.width, at.height, style, fc=fill, ec=stroke, lw=0.8, ls=lines))


def _png_text(axes: Axes, x: float, y: float, text: str, size: float, colour: str = TEXT, anchor: str = "left") -> None:
    points = size * 72 / PIXELS_PER_INCH
    weight = "bold" if size == BOLD else "normal"
    axes.text(x, y, text, ha=anchor, va="baseline", fontsize=points, color=colour, weight=weight, parse_math=False)


def _png_box(axes: Axes, box: Box, at: Rectangle) -> None:
    _png_rectangle(axes, at, 6, box.fill, box.stroke, dashed=box.dashed)
    for x, y, text, size in _label(box, at):
        _png_text(axes, x, y, text, size, anchor="center")
    for bar, colour in _bars(box, at):
        _png_rectangle(axes, bar, 2, colour, "none")


def _png_arrow(axes: Axes, arrow: Arrow, route: tuple[Point, ...]) -> None:
    from matplotlib.patches import PathPatch, Polygon
    from matplotlib.path import Path as Line

    line, head = _head(arrow, route)
    points, codes = [line[0]], [Line.MOVETO]
    for i, ((x0, y0), (x, y)) in enumerate(pairwise(line)):
        middle = (x0 + x) / 2
        points += [(x, y)] if i % 2 else [(middle, y0), (middle, y), (x, y)]
        codes += [Line.LINETO] if i % 2 else [Line.CURVE4] * 3
    width = arrow.width * 72 / PIXELS_PER_INCH
    lines = (0, DASHES) if arrow.dashed else "solid"
    axes.add_patch(PathPatch(Line(points, codes), fill=False, ec=arrow.colour, lw=width, ls=lines))
    axes.add_patch(Polygon(head, fc=arrow.colour, ec="none"))
