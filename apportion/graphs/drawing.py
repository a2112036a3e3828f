"""Pictures of a graph: plain text, Mermaid, SVG, and PNG (through matplotlib). Nothing is sent anywhere to draw it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from apportion.graphs.graph import Graph, Node

WIDTH, HEIGHT, GAP_X, GAP_Y, MARGIN = 150, 46, 50, 18, 26  # pixels of one box and the space around it

# Okabe and Ito's colours, told apart by colour-blind readers: one a model, grey for code.
PALETTE = ("#56B4E9", "#E69F00", "#009E73", "#F0E442", "#CC79A7", "#D55E00", "#0072B2")
CODE = "#DDDDDD"


def to_text(graph: Graph) -> str:
    """One line a node: `stage: role model xN <- inputs`."""
    width = max(len(node.id) for node in graph.nodes)
    lines = []
    for node in graph.nodes:
        read = f"  <- {', '.join(node.inputs)}" if node.inputs else ""
        lines.append(f"{node.id:<{width}}  {node}{read}")
    return "\n".join(lines)


def to_mermaid(graph: Graph) -> str:
    """Mermaid flowchart source, stages as subgraphs."""
    number = {node.id: f"n{i}" for i, node in enumerate(graph.nodes)}
    lines = ["flowchart LR"]
    for i, stage in enumerate(graph.stages):
        lines.append(f'  subgraph s{i}["{_quoted(stage)}"]')
        lines += [f'    {number[n.id]}["{_quoted(str(n))}"]' for n in graph.nodes if n.stage == stage]
        lines.append("  end")
    lines += [f"  {number[source]} --> {number[node.id]}" for node in graph.nodes for source in node.inputs]
    return "\n".join(lines)


def to_svg(graph: Graph) -> str:
    """A self-contained SVG element."""
    at = layout(graph)
    width = max(x for x, _ in at.values()) + WIDTH + MARGIN
    height = max(y for _, y in at.values()) + HEIGHT + MARGIN
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" width="{width:g}"'
        f' height="{height:g}" font-family="sans-serif" font-size="12">',
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="8" markerHeight="8" orient="auto">'
        '<path d="M0 0 8 4 0 8z" fill="#555"/></marker></defs>',
        f'<rect width="{width:g}" height="{height:g}" fill="white"/>',
    ]
    for source, target in _edges(graph):
        (x1, y1), (x2, y2) = at[source], at[target]
        parts.append(
            f'<line x1="{x1 + WIDTH:g}" y1="{y1 + HEIGHT / 2:g}" x2="{x2:g}" y2="{y2 + HEIGHT / 2:g}"'
            ' stroke="#555" marker-end="url(#tip)"/>'
        )
    colours = _colours(graph)
    for node in graph.nodes:
        parts.append(_svg_box(node, *at[node.id], colours[node.model]))
    return "".join(parts) + "</svg>"


def to_png(graph: Graph, path: Path | str) -> Path:
    """Write a PNG of the graph; needs the extra `viz`.

    Raises:
        ModuleNotFoundError: matplotlib is not installed.
    """
    from matplotlib.figure import Figure
    from matplotlib.patches import FancyBboxPatch

    at, colours = layout(graph), _colours(graph)
    width = max(x for x, _ in at.values()) + WIDTH + MARGIN
    height = max(y for _, y in at.values()) + HEIGHT + MARGIN
    figure = Figure(figsize=(width / 80, height / 80), dpi=160)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, width), ylim=(height, 0))
    axes.axis("off")
    for source, target in _edges(graph):
        (x1, y1), (x2, y2) = at[source], at[target]
        arrow = {"arrowstyle": "-|>", "color": "#555555"}
        axes.annotate("", (x2, y2 + HEIGHT / 2), (x1 + WIDTH, y1 + HEIGHT / 2), arrowprops=arrow)
    for node in graph.nodes:
        x, y = at[node.id]
        axes.add_patch(FancyBboxPatch((x, y), WIDTH, HEIGHT, "round,pad=0,rounding_size=6", fc=colours[node.model]))
        axes.text(x + WIDTH / 2, y + HEIGHT / 2, "\n".join(_label(node)), ha="center", va="center", fontsize=7)
    path = Path(path)
    figure.savefig(path)
    return path


def layout(graph: Graph) -> Mapping[str, tuple[float, float]]:
    """Top left corner of each node in pixels: columns by the longest path to it, rows in node order."""
    column: dict[str, int] = {}
    rows: dict[int, int] = {}
    at: dict[str, tuple[float, float]] = {}
    for node in graph.nodes:
        column[node.id] = 1 + max((column[source] for source in node.inputs), default=-1)
        row = rows.get(column[node.id], 0)
        rows[column[node.id]] = row + 1
        at[node.id] = (MARGIN + column[node.id] * (WIDTH + GAP_X), MARGIN + row * (HEIGHT + GAP_Y))
    return at


def _edges(graph: Graph) -> Iterator[tuple[str, str]]:
    return ((source, node.id) for node in graph.nodes for source in node.inputs)


def _label(node: Node) -> tuple[str, str]:
    times = f" x{node.samples}" if node.samples > 1 else ""
    return f"{node.stage}: {node.role}{times}", node.model or "code"


def _colours(graph: Graph) -> Mapping[str | None, str]:
    models = sorted({node.model for node in graph.nodes if node.model is not None})
    return {None: CODE, **{model: PALETTE[i % len(PALETTE)] for i, model in enumerate(models)}}


def _svg_box(node: Node, x: float, y: float, colour: str) -> str:
    title, model = (escape(text) for text in _label(node))
    middle = x + WIDTH / 2
    return (
        f'<g><title>{escape(node.id)}</title><rect x="{x:g}" y="{y:g}" width="{WIDTH}" height="{HEIGHT}" rx="6"'
        f' fill="{colour}" stroke="#555"/><text x="{middle:g}" y="{y + 19:g}" text-anchor="middle">{title}</text>'
        f'<text x="{middle:g}" y="{y + 36:g}" text-anchor="middle" font-size="11">{model}</text></g>'
    )


def _quoted(text: str) -> str:
    return text.replace("&", "#amp;").replace('"', "#quot;").replace("<", "#lt;").replace(">", "#gt;")
