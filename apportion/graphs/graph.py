"""A collaboration graph: which model answers in which role, how often, and who reads whom.

Values only: frozen, checked when built, keyed by content. It does not know prompts, workers or trials.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from apportion.errors import GraphError
from apportion.graphs.roles import ROLES
from apportion.graphs.rules import check

if TYPE_CHECKING:
    import networkx as nx


VERSION, FORMAT = "apportion_graph", 1
"""Key and version of the JSON of a graph."""

FIELDS: Mapping[str, tuple[type, ...]] = {
    "id": (str,),
    "stage": (str,),
    "role": (str,),
    "model": (str, type(None)),
    "samples": (int,),
    "inputs": (list, tuple),
    "temperature": (float, int, type(None)),
    "keep": (int,),
}
"""What a record of a node may hold."""


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
        temperature: of its completions; None is the stage's own.
        keep: candidates that a choosing role passes on, at most.
    """

    id: str
    stage: str
    role: str
    model: str | None = None
    samples: int = 1
    inputs: tuple[str, ...] = ()
    temperature: float | None = None
    keep: int = 1

    def __str__(self) -> str:
        model = f" {self.model}" if self.model else ""
        times = f" x{self.samples}" if self.samples > 1 else ""
        warmth = f" T={self.temperature:g}" if self.temperature is not None else ""
        kept = f" keeps {self.keep}" if self.keep > 1 else ""
        return escaped(f"{self.role}{model}{times}{warmth}{kept}")


@dataclass(frozen=True)
class Graph:
    """A directed acyclic graph of nodes in topological order; the last node gives the answer.

    Raises:
        GraphError: when built, if a rule is broken.
    """

    nodes: tuple[Node, ...]

    def __post_init__(self) -> None:
        check(self)

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
    def readers(self) -> Mapping[str, tuple[Node, ...]]:
        """The nodes that read each node, by its id."""
        return {source.id: tuple(n for n in self.nodes if source.id in n.inputs) for source in self.nodes}

    @cached_property
    def widths(self) -> Mapping[str, int]:
        """Texts that each node gives for one example, at most."""
        widths: dict[str, int] = {}
        for node in self.nodes:
            given = sum(widths[source.id] for source in self.candidates(node))
            widths[node.id] = {"new": node.samples, "kept": min(node.keep, given), "all": given}[ROLES[node.role].gives]
        return widths

    @cached_property
    def calls(self) -> int:
        """Model calls for one example, at most: a scorer asks once for each *distinct* candidate."""
        return sum(calls_of(self, node) for node in self.nodes)

    @cached_property
    def draw_starts(self) -> Mapping[str, int]:
        """First sample index of each node.

        A node's indices start where earlier nodes of the same stage, role, model and temperature end, so that no two
        draws of a graph are the same draw, while equal prefixes of two graphs share theirs.
        """
        used: dict[tuple[str, str, str | None, float | None], int] = {}
        starts: dict[str, int] = {}
        for node in self.nodes:
            kind = (node.stage, node.role, node.model, node.temperature)
            starts[node.id] = used.get(kind, 0)
            used[kind] = starts[node.id] + calls_of(self, node)
        return starts

    @cached_property
    def key(self) -> str:
        """Content key: 16 hexadecimal digits, the same for graphs that differ in node ids only."""
        position = {node.id: i for i, node in enumerate(self.nodes)}
        content = [[n.stage, n.role, n.model, n.samples, [position[i] for i in n.inputs], *_set(n)] for n in self.nodes]
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]

    def to_dict(self) -> dict[str, Any]:
        """The graph as JSON values; `from_dict` is the inverse."""
        return {"nodes": [{**asdict(node), "inputs": list(node.inputs)} for node in self.nodes]}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Graph:
        """The graph that `to_dict` wrote, or that somebody else says is one.

        Raises:
            GraphError: it is no record of a graph, or of a later version, or a rule is broken.
        """
        if not isinstance(data, Mapping):
            raise GraphError(f"a graph must be an object with `nodes`, got {type(data).__name__}; write one.")
        for name in data:
            if name not in ("nodes", VERSION):
                raise GraphError(f"a graph has `nodes` and `{VERSION}`, got {str(name)[:60]!r}; leave it out.")
        if VERSION in data:
            _check_version(data[VERSION])
        return cls(tuple(_node(record) for record in _list(data.get("nodes"), "nodes")))

    def to_json(self) -> str:
        """The graph as a versioned JSON text; `from_json` is the inverse."""
        return json.dumps({VERSION: FORMAT, **self.to_dict()}, indent=2)

    @classmethod
    def from_json(cls, text: str) -> Graph:
        """The graph that `to_json` wrote.

        Raises:
            GraphError: it is no such text, or of a later version, or a rule is broken.
        """
        if not isinstance(text, str):
            raise GraphError(f"a graph must be JSON text, got {type(text).__name__}; write it with `to_json`.")
        try:
            data = json.loads(text, object_pairs_hook=whole)
        except GraphError:
            raise
        except (ValueError, RecursionError) as error:
            raise GraphError(f"a graph must be a JSON object, but {error}; write one with `to_json`.") from None
        _check_version(data.get(VERSION) if isinstance(data, dict) else None)
        return cls.from_dict(data)

    def to_networkx(self) -> nx.DiGraph[str]:
        """The graph as a `networkx.DiGraph` whose nodes have the attributes of ours, but for id and inputs."""
        import networkx as nx

        graph: nx.DiGraph[str] = nx.DiGraph()
        for node in self.nodes:
            graph.add_node(node.id, **{name: v for name, v in asdict(node).items() if name not in ("id", "inputs")})
            graph.add_edges_from((source, node.id) for source in node.inputs)
        return graph

    def __str__(self) -> str:
        from apportion.graphs.drawing.graphs import to_text

        return to_text(self)

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, str]:
        from apportion.graphs.drawing.graphs import of_graph

        picture = of_graph(self)
        return {"image/svg+xml": picture.svg(), "text/vnd.mermaid": picture.mermaid(), "text/plain": str(self)}


def calls_of(graph: Graph, node: Node) -> int:
    """Model calls that a node makes for one example, at most."""
    role = ROLES[node.role]
    if not role.calls_model:
        return 0
    return node.samples * (sum(graph.widths[n.id] for n in graph.candidates(node)) if role.each else 1)


def escaped(text: str) -> str:
    """A text that does nothing to a terminal: control and other invisible characters are written as escapes."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def whole(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object, of which no key may be lost."""
    record: dict[str, Any] = {}
    for name, value in pairs:
        if name in record:
            raise GraphError(f"a key must stand once in an object, but {name!r:.60} stands twice; leave one out.")
        record[name] = value
    return record


def _check_version(version: object) -> None:
    if type(version) is not int or version != FORMAT:
        raise GraphError(f"`{VERSION}` must be {FORMAT}, got {version!r:.60}; write it with this version.")


def _node(record: object) -> Node:
    """A node of which nothing is known to be right."""
    if not isinstance(record, Mapping):
        raise GraphError(f"a node must be an object, got {record!r:.60}; write {{id, stage, role, model, inputs}}.")
    for name, value in record.items():
        types = FIELDS.get(name)
        if types is None:
            raise GraphError(f"a node has {', '.join(FIELDS)}, got {str(name)[:60]!r}; leave it out.")
        if type(value) not in types:
            shown = " or ".join("null" if kind is type(None) else kind.__name__ for kind in types)
            raise GraphError(f"`{name}` of a node must be {shown}, got {value!r:.60}; mend it.")
    for name in ("id", "stage", "role"):
        if name not in record:
            raise GraphError(f"a node must have `{name}`, but {record!r:.60} has none; add it.")
    inputs = _list(record.get("inputs", []), "inputs")
    if not all(isinstance(source, str) for source in inputs):
        raise GraphError(f"`inputs` must be a list of node ids, got {inputs!r:.60}; mend it.")
    return Node(**{**record, "inputs": tuple(inputs)})


def _list(value: object, name: str) -> Sequence[Any]:
    if not isinstance(value, list | tuple):
        raise GraphError(f"`{name}` must be a list, got {value!r:.60}; mend it.")
    return value


def _set(node: Node) -> tuple[float | None, ...]:
    """What a node sets that most leave alone: left out of the key where it does not differ from its default."""
    warmth = None if node.temperature is None else 0.0 + node.temperature  # 0 and -0.0 too are written 0.0
    return () if (warmth, node.keep) == (None, 1) else (warmth, node.keep)
