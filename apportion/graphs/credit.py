"""What each part of a measured graph contributed, as values: counts over examples, and what it would be without a part.

They do not know how an answer was judged, nor where the numbers come from.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from apportion.graphs.graph import Graph
from apportion.graphs.pruning import Part


@dataclass(frozen=True, slots=True)
class NodeCredit:
    """What a node did over the examples at which it ran. It has an example right if one of its texts is right.

    Attributes:
        node: its id.
        answered: examples at which it ran; without what it reads a node does not.
        none: of them, those at which no text of its had a value.
        right: of them, those that it had right; None where nothing judges its stage.
        mean: mean value of its texts, from 0 to 1, each example weighing the same: of a metric of right and wrong the
            share of them that is right. None where nothing judges its stage, or it never ran.
        lost: examples that it had wrong and something that it read of its own stage had right; None where it reads
            nothing of it, or nothing judges it.
        mended: examples that it had right and nothing that it read of its own stage; None as `lost`.
    """

    node: str
    answered: int
    none: int
    right: int | None
    mean: float | None
    lost: int | None
    mended: int | None


@dataclass(frozen=True, slots=True)
class EdgeCredit:
    """How the target of an edge did, by how its source did, over the examples at which both ran.

    Attributes:
        source: id of the node that is read.
        target: id of the node that reads it.
        kept: source right, target right.
        lost: source right, target wrong: a right answer that was thrown away.
        mended: source wrong, target right.
        missed: both wrong.
    """

    source: str
    target: str
    kept: int
    lost: int
    mended: int
    missed: int


@dataclass(frozen=True, slots=True)
class Effect:
    """What leaving a part out would have changed, over the examples for which that can be told.

    Attributes:
        parts: nodes and edges of which each, left out alone, leaves the same smaller graph.
        graph: that smaller graph, under the ids of the whole one, as the first of the parts leaves it.
        difference: mean metric of the smaller graph minus that of the whole one, paired by example.
        low, high: its 95 % interval.
        examples: that it is the mean of.
    """

    parts: tuple[Part, ...]
    graph: Graph
    difference: float
    low: float
    high: float
    examples: int


class Said(NamedTuple):
    """What a node answered on an example.

    Attributes:
        text: of what it had right if it had anything right, else of its first text: the value, or the text itself where
            that has none; shortened. As a model wrote it, so nothing of it is to be trusted.
        right: None where nothing judges it.
    """

    node: str
    text: str
    right: bool | None


@dataclass(frozen=True, slots=True)
class Sample:
    """An example that the graph had wrong.

    Attributes:
        example: its id.
        said: by the nodes that gave a text, in the order of the graph.
    """

    example: str
    said: tuple[Said, ...]


@dataclass(frozen=True, slots=True)
class Credit:
    """What is known of the parts of a graph.

    Attributes:
        metric: by which answers are judged.
        examples: over which that is known.
        right: of them, those that the graph had right.
        nodes: in the order of the graph.
        edges: within stages that are judged, in the order of the graph.
        effects: of what may be left out, in the order of the graph, nodes first.
        sample: None where the graph had nothing wrong.
    """

    graph: Graph
    metric: str
    examples: int
    right: int
    nodes: tuple[NodeCredit, ...]
    edges: tuple[EdgeCredit, ...]
    effects: tuple[Effect, ...]
    sample: Sample | None
