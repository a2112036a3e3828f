"""What makes a graph one that can run: order, composition rules of the roles, and what stages may read of each other.

It knows the rules as data of `roles`, not what a role does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from apportion.errors import GraphError
from apportion.graphs.roles import ROLES

if TYPE_CHECKING:
    from apportion.graphs.graph import Graph, Node


def check(graph: Graph) -> None:
    """Refuse a graph that cannot run.

    Raises:
        GraphError: a rule is broken: which, by which node, and what mends it.
    """
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
    dead = [node.id for node in graph.nodes[:-1] if node.id not in read]
    if dead:
        raise GraphError(f"every node but the last must be read by another, but {dead[0]!r} is not; remove it.")
    _check_roles(graph)
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
    if node.temperature is not None and not (role.calls_model and 0.0 <= node.temperature <= 2.0):
        raise GraphError(
            f"`temperature` must be from 0 to 2 and belong to a model, got {node.temperature} in {node.id!r}; mend it."
        )
    if node.keep < 1 or (node.keep > 1 and role.gives != "kept"):
        raise GraphError(f"`keep` above 1 is for roles that choose, got {node.keep} in {node.id!r}; leave it out.")
    if len(set(node.inputs)) < len(node.inputs):
        twice = next(source for source in node.inputs if node.inputs.count(source) > 1)
        raise GraphError(f"`inputs` must not repeat themselves, but {node.id!r} reads {twice!r} twice; remove one.")


def _check_roles(graph: Graph) -> None:
    """Each role has the candidates, comments and scores that it needs, and its comments are read."""
    scored: dict[str, bool] = {}
    commented: set[str] = set()
    for node in graph.nodes:
        role, candidates = ROLES[node.role], graph.candidates(node)
        _check_candidates(graph, node)
        bare = [n.id for n in candidates if not scored[n.id]]
        if role.scores == "reads" and bare:
            raise GraphError(
                f"a {node.role} needs candidates with scores, but {bare[0]!r} gives {node.id!r} none; "
                "put a scorer, verifier or ranker between them."
            )
        scored[node.id] = role.scores == "writes" or (role.gives != "new" and not bare)
        for source in candidates:
            if ROLES[source.role].comments == "writes" and role.comments != "reads":
                raise GraphError(
                    f"a {source.role} must be read by roles that read comments, but {source.id!r} is read by "
                    f"{node.id!r}, a {node.role}; make it one of {', '.join(reading_comments())}."
                )
        commented.update(source.id for source in candidates)
    for node in graph.nodes:
        if ROLES[node.role].comments == "writes" and node.id not in commented:
            raise GraphError(
                f"a {node.role} must be read by roles that read comments, but {node.id!r} ends its stage; "
                f"add one of {', '.join(reading_comments())}."
            )


def reading_comments() -> list[str]:
    """Roles that read what a critic writes."""
    return [name for name, role in ROLES.items() if role.comments == "reads"]


def _check_candidates(graph: Graph, node: Node) -> None:
    candidates = graph.candidates(node)
    least, given = ROLES[node.role].least, sum(graph.widths[n.id] for n in candidates)
    if given < least:
        raise GraphError(f"a {node.role} needs {least} or more candidates, but {node.id!r} reads {given}; add drafts.")
    if least == 0 and candidates:
        raise GraphError(
            f"a {node.role} answers afresh, but {node.id!r} reads {candidates[0].id!r} of its own stage; "
            "make it a refiner or a fuser."
        )


def _check_stages(graph: Graph) -> None:
    for stage, node in graph.stage_outputs.items():
        if graph.widths[node.id] != 1:
            raise GraphError(
                f"a stage must end in one text, but {node.id!r} ends {stage!r} with {graph.widths[node.id]}; "
                "add a voter."
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
