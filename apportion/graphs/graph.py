"""A collaboration graph: which model answers in which role, how often, and who reads whom.

Values only: frozen, checked when built, keyed by content. It does not know prompts, workers or trials.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from apportion.errors import GraphError
from apportion.graphs.roles import ROLES

if TYPE_CHECKING:
    import networkx as nx


@dataclass(frozen=True, slots=True)
class Node:
    """One place in a graph.

    Attributes:
        id: name, unique in the graph.
        stage: the stage whose prompt and parser it works with.
        role: a name in `ROLES`.
        model: name of a model; None for roles that are code.
        samples: completions drawn for each call of the role.
        inputs: ids of the nodes it reads, all earlier in the graph.
    """

    id: str
    stage: str
    role: str
    model: str | None = None
    samples: int = 1
    inputs: tuple[str, ...] = ()

    def __str__(self) -> str:
        times = f" x{self.samples}" if self.samples > 1 else ""
        return f"{self.role}{f' {self.model}' if self.model else ''}{times}"


@dataclass(frozen=True)
class Graph:
    """A directed acyclic graph of nodes in topological order; the last node gives the answer.

    Raises:
        GraphError: when built, if a rule is broken.
    """

    nodes: tuple[Node, ...]

    def __post_init__(self) -> None:
        _check(self)

    @cached_property
    def by_id(self) -> Mapping[str, Node]:
        """Nodes by their id."""
        return {node.id: node for node in self.nodes}

    @property
    def output(self) -> Node:
        """The node whose text is the answer."""
        return self.nodes[-1]

    @cached_property
    def stages(self) -> tuple[str, ...]:
        """Stage names in the order in which they are answered."""
        return tuple(dict.fromkeys(node.stage for node in self.nodes))

    @cached_property
    def stage_outputs(self) -> Mapping[str, Node]:
        """The last node of each stage: its text is what later stages read."""
        return {node.stage: node for node in self.nodes}

    def candidates(self, node: Node) -> tuple[Node, ...]:
        """The inputs of `node` that belong to its own stage."""
        return tuple(n for n in (self.by_id[i] for i in node.inputs) if n.stage == node.stage)

    @cached_property
    def calls(self) -> int:
        """Model calls for one example, at most: a scorer asks once for each *distinct* candidate."""
        return sum(calls_of(self, node) for node in self.nodes)

    @cached_property
    def draw_starts(self) -> Mapping[str, int]:
        """First sample index of each node.

        A node's indices start where earlier nodes of the same stage, role and model end, so that no two draws of a
        graph are the same draw, while equal prefixes of two graphs share theirs.
        """
        used: dict[tuple[str, str, str | None], int] = {}
        starts: dict[str, int] = {}
        for node in self.nodes:
            kind = (node.stage, node.role, node.model)
            starts[node.id] = used.get(kind, 0)
            used[kind] = starts[node.id] + calls_of(self, node)
        return starts

    @cached_property
    def key(self) -> str:
        """Content key: 16 hexadecimal digits, the same for graphs that differ in node ids only."""
        position = {node.id: i for i, node in enumerate(self.nodes)}
        content = [[n.stage, n.role, n.model, n.samples, [position[i] for i in n.inputs]] for n in self.nodes]
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]

    def to_dict(self) -> dict[str, Any]:
        """The graph as JSON values; `from_dict` is the inverse."""
        fields = ("id", "stage", "role", "model", "samples")
        return {"nodes": [{**{f: getattr(n, f) for f in fields}, "inputs": list(n.inputs)} for n in self.nodes]}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Graph:
        """The graph that `to_dict` wrote.

        Raises:
            GraphError: a rule is broken.
        """
        return cls(tuple(Node(**{**n, "inputs": tuple(n["inputs"])}) for n in data["nodes"]))

    def to_networkx(self) -> nx.DiGraph[str]:
        """The graph as a `networkx.DiGraph` with stage, role, model and samples as node attributes."""
        import networkx as nx

        graph: nx.DiGraph[str] = nx.DiGraph()
        for node in self.nodes:
            graph.add_node(node.id, stage=node.stage, role=node.role, model=node.model, samples=node.samples)
            graph.add_edges_from((source, node.id) for source in node.inputs)
        return graph

    def __str__(self) -> str:
        from apportion.graphs.drawing import to_text

        return to_text(self)

    def _repr_html_(self) -> str:
        from apportion.graphs.drawing import to_svg

        return to_svg(self)


def yields(node: Node) -> int:
    """Texts that a node gives for one example."""
    return 1 if ROLES[node.role].selects else node.samples


def calls_of(graph: Graph, node: Node) -> int:
    """Model calls that a node makes for one example, at most."""
    role = ROLES[node.role]
    if not role.calls_model:
        return 0
    return node.samples * (sum(yields(n) for n in graph.candidates(node)) if role.selects else 1)


def _check(graph: Graph) -> None:
    if not graph.nodes:
        raise GraphError("`nodes` must name at least one node, got none; add a generator.")
    seen: dict[str, Node] = {}
    read: set[str] = set()
    for node in graph.nodes:
        _check_node(node)
        if node.id in seen:
            raise GraphError(f"node ids must be unique, but {node.id!r} stands twice; rename one.")
        for source in node.inputs:
            if source not in seen:
                raise GraphError(_bad_edge(graph, source, node))
        seen[node.id] = node
        read.update(node.inputs)
        _check_candidates(node, [seen[i] for i in node.inputs if seen[i].stage == node.stage])
    dead = [node.id for node in graph.nodes[:-1] if node.id not in read]
    if dead:
        raise GraphError(f"every node but the last must be read by another, but {dead[0]!r} is not; remove it.")
    _check_stages(graph)


def _check_node(node: Node) -> None:
    role = ROLES.get(node.role)
    if role is None:
        raise GraphError(f"`role` must be one of {', '.join(ROLES)}, got {node.role!r} in {node.id!r}; choose one.")
    if role.calls_model and not node.model:
        raise GraphError(f"a {node.role} calls a model, but {node.id!r} names none; give it one.")
    if not role.calls_model and node.model is not None:
        raise GraphError(f"a {node.role} is code, but {node.id!r} names model {node.model!r}; leave it out.")
    if node.samples < 1:
        raise GraphError(f"`samples` must be at least 1, got {node.samples} in {node.id!r}; raise it.")
    if len(set(node.inputs)) < len(node.inputs):
        twice = next(source for source in node.inputs if node.inputs.count(source) > 1)
        raise GraphError(f"`inputs` must not repeat themselves, but {node.id!r} reads {twice!r} twice; remove one.")


def _check_candidates(node: Node, candidates: list[Node]) -> None:
    least, given = ROLES[node.role].least_candidates, sum(yields(n) for n in candidates)
    if given < least:
        raise GraphError(f"a {node.role} needs {least} or more candidates, but {node.id!r} reads {given}; add drafts.")
    if least == 0 and candidates:
        raise GraphError(
            f"a {node.role} answers afresh, but {node.id!r} reads {candidates[0].id!r} of its own stage; "
            "make it a refiner or a fuser."
        )


def _check_stages(graph: Graph) -> None:
    for stage, node in graph.stage_outputs.items():
        if yields(node) != 1:
            raise GraphError(
                f"a stage must end in one text, but {node.id!r} ends {stage!r} with {node.samples}; add a voter."
            )
    for node in graph.nodes:
        for source in (graph.by_id[i] for i in node.inputs):
            if source.stage != node.stage and graph.stage_outputs[source.stage] is not source:
                raise GraphError(
                    f"a stage reads another through its last node, but {node.id!r} reads {source.id!r}; "
                    f"read {graph.stage_outputs[source.stage].id!r}."
                )


def _bad_edge(graph: Graph, source: str, node: Node) -> str:
    if source == node.id:
        return f"a node must not read itself, but {node.id!r} does; remove that input."
    if source in {n.id for n in graph.nodes}:
        return f"`inputs` must follow the node order, but {source!r} -> {node.id!r} runs against it; list it first."
    return f"`inputs` must name nodes of the graph, but {node.id!r} reads {source!r}; add it or correct the name."
