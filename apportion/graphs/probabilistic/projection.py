"""A graph cut down to a budget: nodes of the smallest models go until it is met, with a report of what that changed.

After Agent-REINFORCE (arXiv 2511.00086), where any node of the smallest models goes; here it is the last one.
It knows no distribution: only a space, and a cost that somebody else computes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from apportion.errors import GraphError
from apportion.graphs.graph import Graph, Node
from apportion.graphs.pruning import Change, cast, changes, given_names, given_nodes, without
from apportion.graphs.slots import SlotStage
from apportion.graphs.space import SearchSpace

Cost = Callable[[Graph], float]


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
    what it needs plays another, as `pruning.cast` has it.

    Args:
        cost: of a graph of the space, and of one generator of any of its stages.

    Raises:
        GraphError: the graph is not of the space, or no graph on the way meets the budget.
    """
    listed = space.arranged(graph)
    params = space.params(listed)  # keeps the roles that were given: what they become follows from the edges
    now = space.build(params)
    names = given_names(space, listed, now)
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
        params = without(space, params, {node.id for node in gone})
        now = space.build(cast(space, params))
        spent = cost(now)
        cheapest = min(cheapest, spent)
    if not removed:
        return Trimmed(graph, (), ())
    left = given_nodes(now, names)
    return Trimmed(Graph(left), tuple(removed), changes(graph, left))


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
