"""One order for nodes that may be listed in many: equal subgraphs come out equal, whatever their nodes are called.

Nodes are told apart by colour refinement (Weisfeiler and Leman). Two nodes that it cannot tell apart are almost always
interchangeable; where they are not, two equal graphs may keep two keys, which costs a measurement and no more.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from apportion.graphs.graph import Node


def arranged(nodes: Sequence[Node]) -> tuple[Node, ...]:
    """The nodes of one stage in topological order, shallow ones first, and each node's inputs in that order.

    Args:
        nodes: of one stage, in any order; inputs that are not among them stay last, as they are.
    """
    by_id = {node.id: node for node in nodes}
    reads = {node.id: [source for source in node.inputs if source in by_id] for node in nodes}
    read_by: dict[str, list[str]] = {name: [] for name in by_id}
    for name, sources in reads.items():
        for source in sources:
            read_by[source].append(name)
    level = _levels(reads)
    colours = _ranks({name: (level[name], *_kind(node)) for name, node in by_id.items()})
    for _ in nodes:
        beside = {name: [sorted(colours[i] for i in near[name]) for near in (reads, read_by)] for name in by_id}
        colours = _ranks({name: (colours[name], *beside[name]) for name in by_id})
    order = sorted(by_id, key=lambda name: (level[name], colours[name]))  # stable: ties stay as listed
    place = {name: i for i, name in enumerate(order)}
    return tuple(
        replace(
            by_id[name],
            inputs=(
                *sorted(reads[name], key=place.__getitem__),
                *(source for source in by_id[name].inputs if source not in by_id),
            ),
        )
        for name in order
    )


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


def _ranks(signatures: dict[str, tuple[object, ...]]) -> dict[str, int]:
    """Each signature by its place among the distinct ones: small, and the same in every process."""
    distinct = sorted({repr(signature) for signature in signatures.values()})
    rank = {signature: i for i, signature in enumerate(distinct)}
    return {name: rank[repr(signature)] for name, signature in signatures.items()}
