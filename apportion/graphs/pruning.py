"""What is left of a graph without one of its slots or edges: a smaller graph of its space, in roles that can be played.

It knows a space and its parameters; it does not know why something goes, nor what that costs or saves.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from apportion.errors import GraphError
from apportion.graphs.graph import Graph, Node, calls_of
from apportion.graphs.parameters import Params, Value
from apportion.graphs.roles import ROLES
from apportion.graphs.slots import FINAL, NO, SlotStage
from apportion.graphs.space import SearchSpace

Part = str | tuple[str, str]
"""A node by its id, or an edge by the ids of its source and its target."""


@dataclass(frozen=True, slots=True)
class Change:
    """A node that could not go on in its role.

    Attributes:
        why: the rule that it would break there.
    """

    node: str
    was: str
    now: str
    why: str


def prunings(space: SearchSpace, graph: Graph) -> dict[Part, Graph]:
    """The graph without each slot that may go, and without each edge between slots that may.

    What only served the part goes as well: slots that nobody reads any more, and code that reads nothing. A slot that
    reads nothing any more is a generator, and one whose role lacks what it needs plays another, as `cast` has it.
    Nothing else changes: nodes keep their ids. The last node of a stage stays, with something to read; the nodes of a
    template stay all.

    Returns:
        By what is left out: nodes in the order of the graph, then edges; what may not go is not in it.

    Raises:
        GraphError: the graph is not of the space.
    """
    listed = space.arranged(graph)
    params = space.params(listed)
    now = space.build(params)
    names = given_names(space, listed, now)
    slotted = {stage.name for stage in space.stages if isinstance(stage, SlotStage)}
    nodes = [node for node in now.nodes if node.stage in slotted]
    ends = [node.id for node in now.stage_outputs.values()]
    parts: list[Part] = [node.id for node in nodes if node.id not in ends]
    parts += [(source.id, node.id) for node in nodes for source in now.candidates(node)]
    found: dict[Part, Graph] = {}
    for out in parts:
        left = _pruned(space, params, now, out)
        if left is not None:
            part = names[out] if isinstance(out, str) else (names[out[0]], names[out[1]])
            found[part] = Graph(given_nodes(left, names))
    return found


def _pruned(space: SearchSpace, params: Params, now: Graph, out: Part) -> Graph | None:
    """What is built without a part; None where a stage would end in nothing."""
    gone = {out} if isinstance(out, str) else set()
    for node in now.nodes:  # in topological order, so that who reads what goes comes after it
        own = {source.id for source in now.candidates(node)}
        if own and all(source in gone or (source, node.id) == out for source in own):
            if node is now.stage_outputs[node.stage]:
                return None
            if node.model is None:
                gone.add(node.id)
    left = without(space, params, gone)
    if not isinstance(out, str):
        source, target = out
        left[f"{source}>{target.removeprefix(now.by_id[target].stage)[1:]}"] = NO
    return space.build(cast(space, left))


def as_it_was(whole: Graph, left: Graph) -> tuple[Graph, dict[str, int]]:
    """What is left of a graph, such that each node reads as it did and keeps the draws that it had.

    As a space builds it, nodes may stand in another order, and `Graph.draw_starts` closes the gaps that others leave.
    A node that plays another role, or may ask more often than it did, starts where the whole graph ends.

    Returns:
        The graph in the order of the whole one, and the first sample index of each node.
    """
    used: Counter[tuple[object, ...]] = Counter()
    for node in whole.nodes:
        used[_kind(node)] += calls_of(whole, node)
    nodes, starts = [], {}
    for was in whole.nodes:
        if was.id not in left.by_id:
            continue
        node, calls = left.by_id[was.id], calls_of(left, left.by_id[was.id])
        if was.role == node.role and calls <= calls_of(whole, was):
            starts[node.id] = whole.draw_starts[node.id]
        else:
            starts[node.id] = used[_kind(node)]
            used[_kind(node)] += calls
        nodes.append(replace(node, inputs=tuple(sorted(node.inputs, key=[*was.inputs, *node.inputs].index))))
    return Graph(tuple(nodes)), starts


def _kind(node: Node) -> tuple[object, ...]:
    """Of what nodes share their draws."""
    return node.stage, node.role, node.model, node.temperature


def given_names(space: SearchSpace, graph: Graph, built: Graph) -> dict[str, str]:
    """Ids in the built graph to those of the given one: slots are numbered in the order in which that lists them."""
    names: dict[str, str] = {}
    for stage in space.stages:
        own = [node.id for node in graph.nodes if node.stage == stage.name]
        slots = [f"{stage.name}.{place}" for place in (*range(1, len(own)), FINAL)]
        listed = [node.id for node in built.nodes if node.stage == stage.name]
        names |= zip(slots if isinstance(stage, SlotStage) else listed, own, strict=True)
    return names


def given_nodes(built: Graph, names: Mapping[str, str]) -> tuple[Node, ...]:
    """The nodes of a built graph under the ids that `given_names` tells."""
    return tuple(replace(n, id=names[n.id], inputs=tuple(names[source] for source in n.inputs)) for n in built.nodes)


def without(space: SearchSpace, params: Params, gone: Collection[str]) -> dict[str, Value]:
    """The parameters without edges from or to some slots."""

    def touched(stage: str, edge: str) -> bool:
        return any(f"{stage}.{place}" in gone for place in edge.split(">"))

    edges = [name for name in space.parameters if ">" in name and touched(*name.split(".", 1))]
    return {**params, **dict.fromkeys(edges, NO)}


def cast(space: SearchSpace, params: Params) -> dict[str, Value]:
    """The parameters with roles that the slots can play.

    A slot whose role lacks what it needs is a refiner if it can be, else the first role of its stage that it can play.
    """
    found = dict(params)
    for stage in space.stages:
        if not isinstance(stage, SlotStage):
            continue
        for place in [node.id for node in stage.nodes(found, ())]:
            roles = stage.final if place.endswith(FINAL) else stage.roles
            others = sorted(roles, key=lambda role: (role != "refiner", ROLES[role].gives == "all"))
            for role in (str(found.get(f"{place}.role")), *others):
                if f"{place}.role" in found:
                    found[f"{place}.role"] = role
                nodes = stage.nodes(found, ())
                if _misfit(nodes, next(node for node in nodes if node.id == place)) is None:
                    break
    return found


def changes(graph: Graph, left: Sequence[Node]) -> tuple[Change, ...]:
    """Which of the nodes that are left of a graph play other roles than they did."""
    found = []
    for node in left:
        was = graph.by_id[node.id]
        if was.role != node.role:
            why = _misfit([n for n in left if n.stage == node.stage], replace(was, inputs=node.inputs))
            found.append(Change(node.id, was.role, node.role, str(why)))
    return tuple(found)


def _misfit(stage: Sequence[Node], node: Node) -> str | None:
    """Why a node cannot play its role on what it reads of a stage; None if it can."""
    known = {other.id: other for other in stage}
    needed = set(node.inputs)
    for other in reversed(stage):
        if other.id in needed:
            needed.update(other.inputs)
    above = [
        replace(other, inputs=tuple(source for source in other.inputs if source in known))
        for other in stage
        if other.id in needed
    ]
    own = replace(node, inputs=tuple(source for source in node.inputs if source in known))
    listener = Node(f"what reads {node.id}", node.stage, "decider", "any", inputs=(node.id,))
    try:
        Graph((*above, own, listener))
    except GraphError as error:
        return str(error)
    return None
