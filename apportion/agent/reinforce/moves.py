"""Graphs one step from another: a slot more or less, side by side or in a row, another model, role or edge.

It knows a space, not which step is a good one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Literal

from apportion.errors import GraphError
from apportion.graphs.graph import Graph, Node
from apportion.graphs.parameters import Value
from apportion.graphs.pruning import prunings
from apportion.graphs.roles import ROLES
from apportion.graphs.slots import SlotStage
from apportion.graphs.space import SearchSpace

Kind = Literal["wider", "thinner", "deeper", "shallower", "model", "role", "samples", "edge", "less edges"]
LEAVING: frozenset[Kind] = frozenset(("thinner", "shallower", "less edges"))
"""Steps that leave something out."""
NEW = "new"


@lru_cache(maxsize=4096)  # an agent looks at the steps from the best graphs again and again
def moves(
    space: SearchSpace, graph: Graph, kinds: frozenset[Kind] | None = None
) -> Mapping[str, tuple[Kind, Graph, Mapping[str, Value]]]:
    """Every graph of the space one step away: by its key, what the step is, the graph and its parameters.

    Args:
        kinds: of steps that are looked at; None for all.
    """
    found: dict[str, tuple[Kind, Graph, dict[str, Value]]] = {}
    for kind, nodes in _steps(space, graph, LEAVING if kinds is not None and kinds <= LEAVING else None):
        if kinds is not None and kind not in kinds:
            continue
        try:
            params = space.params(space.arranged(Graph(nodes)))
        except GraphError:
            continue
        built = space.build(params)
        if built.key != graph.key:
            found.setdefault(built.key, (kind, built, params))
    return found


def depth(graph: Graph) -> int:
    """Nodes on the longest path."""
    return _longest(graph.nodes)


def _longest(nodes: Iterable[Node]) -> int:
    level: dict[str, int] = {}
    for node in nodes:
        level[node.id] = 1 + max((level[source] for source in node.inputs), default=0)
    return max(level.values())


def _steps(space: SearchSpace, graph: Graph, only: frozenset[Kind] | None) -> Iterator[tuple[Kind, tuple[Node, ...]]]:
    for stage in space.stages if only is None else ():
        if isinstance(stage, SlotStage):
            nodes = [node for node in graph.nodes if node.stage == stage.name]
            yield from _in_stage(stage, graph, nodes)
    for part, smaller in prunings(space, graph).items():
        if isinstance(part, tuple):
            yield "less edges", smaller.nodes
        else:
            yield "shallower" if depth(smaller) < depth(graph) else "thinner", smaller.nodes


def _in_stage(stage: SlotStage, graph: Graph, nodes: list[Node]) -> Iterator[tuple[Kind, tuple[Node, ...]]]:
    *slots, last = nodes
    room = len(slots) < stage.slots
    for place, node in enumerate(slots):
        if room:
            yield "wider", _beside(graph, node)
            for role in stage.roles:
                reader = _cast(stage, replace(node, samples=stage.samples[0]), role)
                longer = _behind(graph, node, reader)
                yield "deeper" if _longest(longer) > depth(graph) else "wider", longer
        for model in stage.models if node.model is not None else ():
            if model != node.model:
                yield "model", _with(graph, replace(node, model=model))
        for samples in (node.samples - 1, node.samples + 1):
            if node.model is not None and stage.samples[0] <= samples <= stage.samples[1]:
                yield "samples", _with(graph, replace(node, samples=samples))
        if place and graph.candidates(node):
            for role in stage.roles:
                if role != node.role:
                    yield "role", _with(graph, _cast(stage, node, role))
        for reader in [*slots[place + 1 :], last]:
            if node.id not in reader.inputs:
                own = graph.candidates(reader)
                reads = tuple(source.id for source in own)
                role = reader.role if own else (stage.roles[0] if stage.roles else reader.role)
                joined = _cast(stage, reader, role, final=reader is last)
                yield "edge", _with(graph, replace(joined, inputs=(*reads, node.id)))
    for role in stage.final:
        if role != last.role:
            yield "role", _with(graph, _cast(stage, last, role, final=True))
    for model in stage.deciding_models if last.model is not None else ():
        if model != last.model:
            yield "model", _with(graph, replace(last, model=model))


def _cast(stage: SlotStage, node: Node, role: str, *, final: bool = False) -> Node:
    """The node in a role, with or without a model as it takes."""
    models = stage.deciding_models if final else stage.models
    model = (node.model or models[0]) if ROLES[role].calls_model else None
    keep = stage.keep if ROLES[role].gives == "kept" and not final else 1
    if final or model is None:
        return replace(node, role=role, model=model, samples=1, temperature=None, keep=keep)
    samples, warm = max(node.samples, stage.samples[0]), node.temperature
    if warm is None and stage.temperatures:
        warm = stage.temperatures[0]
    return replace(node, role=role, model=model, samples=samples, temperature=warm, keep=keep)


def _with(graph: Graph, node: Node) -> tuple[Node, ...]:
    return tuple(node if other.id == node.id else other for other in graph.nodes)


def _beside(graph: Graph, node: Node) -> tuple[Node, ...]:
    """With a copy of a slot that reads and is read alike."""
    copy = replace(node, id=f"{node.stage}.{NEW}")
    nodes: list[Node] = []
    for other in graph.nodes:
        reads = node.id in other.inputs
        nodes.append(replace(other, inputs=(*other.inputs, copy.id)) if reads else other)
        if other.id == node.id:
            nodes.append(copy)
    return tuple(nodes)


def _behind(graph: Graph, node: Node, reader: Node) -> tuple[Node, ...]:
    """With a slot like `reader` that reads a slot and is read in its place."""
    new = replace(reader, id=f"{node.stage}.{NEW}", inputs=(node.id,))
    nodes: list[Node] = []
    for other in graph.nodes:
        inputs = tuple(new.id if source == node.id else source for source in other.inputs)
        nodes.append(replace(other, inputs=inputs))
        if other.id == node.id:
            nodes.append(new)
    return tuple(nodes)
