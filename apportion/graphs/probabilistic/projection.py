"""A graph cut down to a budget: nodes of the smallest models go until it is met, with a report of what that changed.

After Agent-REINFORCE (arXiv 2511.00086), where any node of the smallest models goes; here it is the last one.
It knows no distribution: only a space, and a cost that somebody else computes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from apportion.errors import GraphError
from apportion.graphs.graph import Graph, Node
from apportion.graphs.parameters import Value
from apportion.graphs.roles import ROLES
from apportion.graphs.slots import FINAL, NO, SlotStage
from apportion.graphs.space import SearchSpace

Cost = Callable[[Graph], float]


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


@dataclass(frozen=True, slots=True)
class Trimmed:
    """A graph within its budget.

    Attributes:
        graph: what is left; its nodes have the ids that they had.
        removed: ids of the nodes that went, in that order.
        changed: nodes that stayed in another role.
    """

    graph: Graph
    removed: tuple[str, ...]
    changed: tuple[Change, ...]


def trim(space: SearchSpace, graph: Graph, cost: Cost, budget: float) -> Trimmed:
    """Remove nodes of slots, one at a time, until the graph costs no more than the budget.

    Of the nodes that may go it is one of the model whose lone call costs least: the last such one, in the order in
    which the space lists them. A node may go if the final node reads something without it, and nothing else is left
    unread. A slot that reads nothing any more is a generator, or goes as well where it is code; one whose role lacks
    what it needs is a refiner if it can be, else the first role of its stage that it can play.

    Args:
        cost: of a graph of the space, and of one generator of any of its stages.

    Raises:
        GraphError: the graph is not of the space, or no graph on the way meets the budget.
    """
    listed = space.arranged(graph)
    params = space.params(listed)  # keeps the roles that were given: what they become follows from the edges
    now = space.build(params)
    names = _names(space, listed, now)
    removed: list[str] = []
    cheapest = spent = cost(now)
    while not spent <= budget:
        gone = next(filter(None, (_goes(now, node) for node in _smallest_first(space, now, cost))), None)
        if gone is None:
            raise GraphError(
                f"a graph must cost at most {budget:g}, but the cheapest that is left when nodes of the smallest "
                f"models go costs {cheapest:g}; raise the budget, or propose fewer or smaller models."
            )
        removed += [names[node.id] for node in gone]
        params = _without(space, params, {node.id for node in gone})
        now = space.build(_cast(space, params))
        spent = cost(now)
        cheapest = min(cheapest, spent)
    if not removed:
        return Trimmed(graph, (), ())
    left = [replace(n, id=names[n.id], inputs=tuple(names[source] for source in n.inputs)) for n in now.nodes]
    return Trimmed(Graph(tuple(left)), tuple(removed), _changes(graph, left))


def _names(space: SearchSpace, graph: Graph, built: Graph) -> dict[str, str]:
    """Ids in the built graph to those of the given one: slots are numbered in the order in which that lists them."""
    names: dict[str, str] = {}
    for stage in space.stages:
        own = [node.id for node in graph.nodes if node.stage == stage.name]
        slots = [f"{stage.name}.{place}" for place in (*range(1, len(own)), FINAL)]
        listed = [node.id for node in built.nodes if node.stage == stage.name]
        names |= zip(slots if isinstance(stage, SlotStage) else listed, own, strict=True)
    return names


def _smallest_first(space: SearchSpace, graph: Graph, cost: Cost) -> list[Node]:
    """Nodes of slots that call models: smallest models first, and of those last nodes first."""
    slotted = {stage.name for stage in space.stages if isinstance(stage, SlotStage)}
    ends = graph.stage_outputs.values()
    nodes = [node for node in graph.nodes if node.model and node.stage in slotted and node not in ends]
    lone = {(node.stage, node.model): Graph((Node("call", node.stage, "generator", node.model),)) for node in nodes}
    prices = {kind: cost(call) for kind, call in lone.items()}
    return sorted(reversed(nodes), key=lambda node: prices[node.stage, node.model])


def _goes(graph: Graph, node: Node) -> list[Node]:
    """The node, and code that reads nothing without it; nothing if it may not go."""
    stage = [other for other in graph.nodes if other.stage == node.stage]
    gone = [node]
    for other in stage:
        if other.model is None and not set(other.inputs) - {n.id for n in gone}:
            gone.append(other)
    left = [other for other in stage if other not in gone]
    read = {source for other in left for source in other.inputs}
    ends = bool(set(stage[-1].inputs) - {n.id for n in gone})
    return gone if ends and all(other.id in read for other in left[:-1]) else []


def _without(space: SearchSpace, params: dict[str, Value], gone: set[str]) -> dict[str, Value]:
    """The parameters without edges from or to some slots."""

    def touched(stage: str, edge: str) -> bool:
        return any(f"{stage}.{place}" in gone for place in edge.split(">"))

    edges = [name for name in space.parameters if ">" in name and touched(*name.split(".", 1))]
    return params | dict.fromkeys(edges, NO)


def _cast(space: SearchSpace, params: dict[str, Value]) -> dict[str, Value]:
    """The parameters with roles that the slots can play."""
    cast = dict(params)
    for stage in space.stages:
        if not isinstance(stage, SlotStage):
            continue
        for place in [node.id for node in stage.nodes(cast, ())]:
            roles = stage.final if place.endswith(FINAL) else stage.roles
            others = sorted(roles, key=lambda role: (role != "refiner", ROLES[role].gives == "all"))
            for role in (str(cast.get(f"{place}.role")), *others):
                if f"{place}.role" in cast:
                    cast[f"{place}.role"] = role
                nodes = stage.nodes(cast, ())
                if _misfit(nodes, next(node for node in nodes if node.id == place)) is None:
                    break
    return cast


def _changes(graph: Graph, left: Sequence[Node]) -> tuple[Change, ...]:
    """Which of the nodes that are left play other roles than they did."""
    changes = []
    for node in left:
        was = graph.by_id[node.id]
        if was.role != node.role:
            why = _misfit([n for n in left if n.stage == node.stage], replace(was, inputs=node.inputs))
            changes.append(Change(node.id, was.role, node.role, str(why)))
    return tuple(changes)


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
