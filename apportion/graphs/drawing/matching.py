"""Which node of one graph is which of another: ids alone do not tell, as free slots are renumbered."""

from __future__ import annotations

from apportion.graphs.graph import Graph, Node

Pair = tuple[Node | None, Node | None]
"""A node of the first and its like of the second graph; None where it has none."""


def matched(a: Graph, b: Graph) -> list[Pair]:
    """Every node of both graphs, each with its like if it has one, in an order near that of `b`.

    A node's like is of the same stage and has its role, its id, or its place at the end of the stage; of several, it is
    the one with the most in common. Equal graphs match node by node.
    """
    like: dict[str, Node] = {}
    taken: set[str] = set()
    for node in b.nodes:
        free = [n for n in a.nodes if n.stage == node.stage and n.id not in taken]
        scores = {n.id: _score(a, n, b, node, like) for n in free}
        best = max(free, key=lambda n: scores[n.id], default=None)
        if best is not None and scores[best.id] > 0:
            like[node.id] = best
            taken.add(best.id)
    place = {like[node.id].id: float(i) for i, node in enumerate(b.nodes) if node.id in like}
    after = float(len(b.nodes))
    for n in reversed(a.nodes):  # what is gone stands before what came after it
        after = place[n.id] if n.id in place else after - 1e-6
        place[n.id] = after
    pairs: list[tuple[float, Pair]] = [(float(i), (like.get(node.id), node)) for i, node in enumerate(b.nodes)]
    pairs += [(place[n.id], (n, None)) for n in a.nodes if n.id not in taken]
    return [pair for _, pair in sorted(pairs, key=lambda placed: placed[0])]


def _score(a: Graph, x: Node, b: Graph, y: Node, like: dict[str, Node]) -> float:
    """How much two nodes have in common; 0 is too little."""
    ends = a.stage_outputs[x.stage] is x, b.stage_outputs[y.stage] is y
    if not (x.role == y.role or x.id == y.id or all(ends)):
        return 0.0
    known = {like[source].id if source in like else f"new {source}" for source in y.inputs}
    read = set(x.inputs)
    common = len(known & read) / max(1, len(known | read)) if known | read else 1.0
    settings = (x.samples == y.samples) + (x.temperature == y.temperature) + (x.keep == y.keep)
    return (
        8 * (x.role == y.role)
        + 4 * (ends[0] == ends[1])
        + 3 * (x.model == y.model)
        + 3 * common
        + settings / 2
        + (x.id == y.id)
    )
