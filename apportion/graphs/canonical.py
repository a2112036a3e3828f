"""One order for nodes that may be listed in many: equal subgraphs come out equal, whatever their nodes are called.

Nodes are told apart by colour refinement (Weisfeiler and Leman); of those that it leaves alike, one is set apart and
the rest refined again. Nodes that stay alike are almost always interchangeable; where they are not, two equal graphs
may keep two keys, which costs a measurement and no more.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

from apportion.graphs.graph import Node

Colours = dict[str, int]


def arranged(nodes: Sequence[Node]) -> tuple[Node, ...]:
    """The nodes of one stage in topological order, shallow ones first, and each node's inputs in that order.

    Args:
        nodes: of one stage, in any order; inputs that are not among them stay last, as they are.
    """
    by_id = {node.id: node for node in nodes}
    reads = {node.id: [source for source in node.inputs if source in by_id] for node in nodes}
    level = _levels(reads)
    colours = _ranks({name: (level[name], *_kind(node)) for name, node in by_id.items()})
    place = _told_apart(colours, reads)
    return tuple(
        replace(
            by_id[name],
            inputs=(
                *sorted(reads[name], key=place.__getitem__),
                *(source for source in by_id[name].inputs if source not in by_id),
            ),
        )
        for name in sorted(by_id, key=place.__getitem__)  # colours begin with levels, so that order is topological
    )


def _told_apart(colours: Colours, reads: Mapping[str, Sequence[str]]) -> Colours:
    """A colour for each node of its own: equal for nodes that take each other's place in equal subgraphs."""
    read_by: dict[str, list[str]] = {name: [] for name in reads}
    for name, sources in reads.items():
        for source in sources:
            read_by[source].append(name)
    while True:
        colours = _refined(colours, reads, read_by)
        sizes = Counter(colours.values())
        alike = [colour for colour, size in sizes.items() if size > 1]
        if not alike:
            return colours
        first = next(name for name, colour in colours.items() if colour == min(alike))
        colours = _ranks({name: (colour, name != first) for name, colour in colours.items()})


def _refined(colours: Colours, reads: Mapping[str, Sequence[str]], read_by: Mapping[str, Sequence[str]]) -> Colours:
    """Nodes of a colour told apart by the colours beside them, until that tells no more; colours keep their order."""
    while True:
        beside = {
            name: tuple(tuple(sorted(colours[i] for i in near[name])) for near in (reads, read_by)) for name in colours
        }
        finer = _ranks({name: (colour, *beside[name]) for name, colour in colours.items()})
        if finer == colours:
            return colours
        colours = finer


def _levels(reads: dict[str, list[str]]) -> dict[str, int]:
    """Length of the longest path to each node."""
    level: dict[str, int] = {}

    def of(name: str) -> int:
        if name not in level:
            level[name] = 1 + max((of(source) for source in reads[name]), default=-1)
        return level[name]

    for name in reads:
        of(name)
    return level


def _kind(node: Node) -> tuple[object, ...]:
    warmth = -1.0 if node.temperature is None else node.temperature
    return node.role, node.model or "", node.samples, warmth, node.keep


def _ranks(signatures: Mapping[str, tuple[object, ...]]) -> Colours:
    """Each signature by its place among the distinct ones: small, and the same in every process."""
    rank = {signature: i for i, signature in enumerate(sorted(set(signatures.values())))}
    return {name: rank[signature] for name, signature in signatures.items()}
