"""What a graph looks like, as text and as a picture. How a picture is drawn is the affair of `picture`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from apportion.graphs.drawing.picture import Arrow, Box, Picture, mixed
from apportion.graphs.graph import Graph, Node, escaped

# Okabe and Ito's colours, told apart by colour-blind readers: one a model, grey for code.
PALETTE = ("#56B4E9", "#E69F00", "#009E73", "#F0E442", "#CC79A7", "#D55E00", "#0072B2")
CODE = "#999999"
TINT = 0.55  # of the colour in what fills a box, so that its label can be read


def to_text(graph: Graph) -> str:
    """One line a node: `id  role model xN  <- inputs`."""
    width = max(len(node.id) for node in graph.nodes)
    return "\n".join(escaped(f"{node.id:<{width}}  {node}{reads(node.inputs)}") for node in graph.nodes)


def to_mermaid(graph: Graph) -> str:
    """Mermaid flowchart source, stages as subgraphs."""
    return of_graph(graph).mermaid()


def to_svg(graph: Graph, shares: Mapping[str, float] | None = None) -> str:
    """A self-contained SVG element; `shares` as for `of_graph`."""
    return of_graph(graph, shares).svg()


def to_png(graph: Graph, path: Path | str, shares: Mapping[str, float] | None = None) -> Path:
    """Write a PNG of the graph; needs the extra `viz`.

    Raises:
        ModuleNotFoundError: matplotlib is not installed.
    """
    return of_graph(graph, shares).png(path)


def of_graph(graph: Graph, shares: Mapping[str, float] | None = None) -> Picture:
    """A box a node, coloured by its model, stages as groups.

    Args:
        shares: of an answer's cost that each node has, from 0 to 1, by id.
    """
    colours = fills(node.model for node in graph.nodes)
    boxes = []
    for node in graph.nodes:
        share = None if shares is None else shares.get(node.id)
        cost = "" if share is None else f"{share:.0%} of the cost"
        lines = (role_line(node), node.model or "", cost)
        boxes.append(
            Box(
                node.id,
                tuple(line for line in lines if line),
                node.stage,
                colours[node.model],
                title=f"{node.id}: {node}",
                share=share,
            )
        )
    return Picture(tuple(boxes), tuple(Arrow(source, n.id) for n in graph.nodes for source in n.inputs))


def role_line(node: Node) -> str:
    """What a node is and how often, its model left out."""
    return str(replace(node, model=None))


def fills(models: Iterable[str | None]) -> Mapping[str | None, str]:
    """The colour of each model's boxes; None is code."""
    named = sorted({model for model in models if model is not None})
    plain: dict[str | None, str] = {model: PALETTE[i % len(PALETTE)] for i, model in enumerate(named)}
    return {model: mixed(colour, TINT) for model, colour in {None: CODE, **plain}.items()}


def reads(inputs: Sequence[str]) -> str:
    """What a node reads, as it stands behind the node in a text."""
    return f"  <- {', '.join(inputs)}" if inputs else ""
