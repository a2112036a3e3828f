"""The search space: what may be chosen for each stage, and how a choice becomes a graph and back.

One flat set of named parameters serves Optuna, REINFORCE and agents. Parameters that a choice leaves unused are
ignored, so that several parameter sets may build one graph; compare graphs by their key.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from apportion.errors import GraphError
from apportion.graphs.canonical import arranged
from apportion.graphs.graph import Graph, Node, whole
from apportion.graphs.parameters import Parameter, Params, Value
from apportion.graphs.slots import SlotStage
from apportion.graphs.templates import TEMPLATES, StageChoice, TemplateStage

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

Stage = TemplateStage | SlotStage
MOST_LISTED = 20_000  # settings of a stage that are gone through to list its graphs
MOST_TEXT = 100_000  # characters of a proposal


@dataclass(frozen=True)
class SearchSpace:
    """All graphs that a study may propose: a chain of stages, each with its own choice."""

    stages: tuple[Stage, ...]

    @cached_property
    def parameters(self) -> Mapping[str, Parameter]:
        """Every parameter by name."""
        return {name: parameter for stage in self.stages for name, parameter in stage.parameters.items()}

    def distributions(self) -> dict[str, BaseDistribution]:
        """The parameters in Optuna's terms."""
        return {name: parameter.distribution() for name, parameter in self.parameters.items()}

    def build(self, params: Params) -> Graph:
        """The graph that a complete set of parameters stands for.

        Raises:
            GraphError: a parameter is missing or out of the space, or the graph cannot run.
        """
        self.check(params)
        nodes: list[Node] = []
        outputs: dict[str, str] = {}
        for stage in self.stages:
            nodes.extend(stage.nodes(_of(stage, params), tuple(outputs[name] for name in stage.reads)))
            outputs[stage.name] = nodes[-1].id
        return Graph(tuple(nodes))

    def params(self, graph: Graph) -> dict[str, Value]:
        """Parameters that build a graph of the same key; `build` is the inverse.

        Raises:
            GraphError: the graph is not of the space.
        """
        found: dict[str, Value] = {}
        for stage in self.stages:
            found |= stage.choices([node for node in graph.nodes if node.stage == stage.name] or [graph.output])
        if self.build(found).key != graph.key:
            shown = "; ".join(f"{node.id!r} {str(node)!r:.60} reads {list(node.inputs)}" for node in graph.nodes)
            raise GraphError(
                f"a graph must be one that the space can build, but this differs: {shown:.600}; change it."
            )
        return found

    def arranged(self, graph: Graph) -> Graph:
        """The graph as `build` lists it: the nodes of a stage of slots may have been written in any order."""
        nodes: list[Node] = []
        for stage in self.stages:
            own = [node for node in graph.nodes if node.stage == stage.name]
            fits = isinstance(stage, SlotStage) and len(own) <= stage.slots + 1
            nodes += arranged(own) if fits else own
        known = {stage.name for stage in self.stages}
        return Graph((*nodes, *(node for node in graph.nodes if node.stage not in known)))

    def parse(self, proposal: str | Mapping[str, object]) -> dict[str, Value]:
        """Parameters from what a model or a user wrote: a JSON object of parameters, or a graph with `nodes`.

        Parameters of slots that the proposal does not use may be left out.

        Raises:
            GraphError: it is no JSON object, or not of the space.
        """
        given = _object(proposal) if isinstance(proposal, str) else proposal
        if not isinstance(given, Mapping):
            raise GraphError(f"a proposal must be an object or its JSON text, got {type(given).__name__}; write one.")
        if "nodes" in given:
            return self.params(self.arranged(Graph.from_dict(given)))
        self._check_names(given)
        for name, value in given.items():
            self.parameters[name].check(name, value)
        first = {name: parameter.values[0] for name, parameter in self.parameters.items()}
        params: dict[str, Value] = {**first, **given}  # type: ignore[dict-item]  # checked above
        absent = [name for stage in self.stages for name in stage.used(params) if name not in given]
        if absent:
            raise GraphError(f"what a proposal uses must be chosen in full, but `{absent[0]}` is absent; add it.")
        self.build(params)
        return params

    def check(self, params: Params) -> None:
        """Refuse parameters that are not of the space.

        Raises:
            GraphError: a name or a value is not of the space; types count (`True` is not 1).
        """
        self._check_names(params)
        for name, parameter in self.parameters.items():
            parameter.check(name, params.get(name))

    def _check_names(self, names: Iterable[object]) -> None:
        for name in names:
            if name not in self.parameters:
                raise GraphError(f"parameters must be {few(self.parameters)}, got {str(name)[:60]!r}; leave it out.")

    @cached_property
    def settings(self) -> int:
        """Number of parameter sets: an upper bound of the number of graphs, cheap for any space."""
        return math.prod(len(parameter.values) for parameter in self.parameters.values())

    @cached_property
    def listable(self) -> bool:
        """Whether the graphs are few enough to be listed."""
        return all(_settings(stage) <= MOST_LISTED for stage in self.stages)

    @cached_property
    def _stage_points(self) -> tuple[tuple[dict[str, Value], ...], ...]:
        return tuple(tuple(_distinct(stage)) for stage in self.stages)

    @cached_property
    def size(self) -> int:
        """Number of distinct graphs; where they cannot be listed, the number of parameter sets."""
        return math.prod(len(points) for points in self._stage_points) if self.listable else self.settings

    def point(self, index: int) -> dict[str, Value]:
        """Parameters of one distinct graph, by its place (0 to `size` - 1) in a fixed order.

        Raises:
            GraphError: the space is too large to be listed.
        """
        if not self.listable:
            raise GraphError(
                f"a stage's graphs are listed up to {MOST_LISTED} settings, and this space has some "
                f"10^{math.log10(self.settings):.0f} in all; use fewer slots, or a sampler other than grid."
            )
        params: dict[str, Value] = {}
        for points in reversed(self._stage_points):
            index, place = divmod(index, len(points))
            params = {**points[place], **params}
        return params

    def grid(self) -> Iterator[dict[str, Value]]:
        """Parameters of every distinct graph, once each, in that order."""
        return map(self.point, range(self.size))

    def uniform(self, model: str, template: str) -> tuple[Graph, dict[str, Value] | None]:
        """The graph that answers every stage by one template and, where it is a candidate, one model.

        Stages in which `model` is no candidate take their first one. Samples are the most that each stage allows.

        Returns:
            The graph, and its parameters if the space has it, else None.
        """
        nodes: list[Node] = []
        outputs: dict[str, str] = {}
        for stage in self.stages:
            own = model if model in stage.models else stage.models[0]
            upstream = tuple(outputs[name] for name in stage.reads)
            nodes += TEMPLATES[template](StageChoice(stage.name, own, stage.widest, own, upstream))
            outputs[stage.name] = nodes[-1].id
        graph = Graph(tuple(nodes))
        try:
            return graph, self.params(graph)
        except GraphError:
            return graph, None


def _of(stage: Stage, params: Params) -> dict[str, Value]:
    return {name: params[name] for name in stage.parameters}


def _settings(stage: Stage) -> int:
    return math.prod(len(parameter.values) for parameter in stage.parameters.values())


def _distinct(stage: Stage) -> Iterator[dict[str, Value]]:
    """Settings of a stage, one for each graph that can run."""
    alone = SearchSpace((stage,))
    seen: set[str] = set()
    upstream = tuple(stage.reads)
    for point in stage.points():
        try:
            nodes = stage.nodes(point, upstream)
            key = Graph((*(Node(name, name, "generator", "m") for name in upstream), *nodes)).key
        except GraphError:
            continue
        if key not in seen:
            seen.add(key)
            yield {name: point[name] for name in alone.parameters if name in point}


def _object(text: str) -> Mapping[str, object]:
    """The JSON object that a text is."""
    if len(text) > MOST_TEXT:
        raise GraphError(f"a proposal must have at most {MOST_TEXT} characters, got {len(text)}; shorten it.")
    try:
        value = json.loads(text, object_pairs_hook=whole)
    except GraphError:
        raise
    except (ValueError, RecursionError) as error:
        raise GraphError(f"a proposal must be a JSON object, but {error}; write one.") from None
    if not isinstance(value, dict):
        raise GraphError(f"a proposal must be a JSON object, got {type(value).__name__}; write one.")
    return value


def few(names: Mapping[str, object]) -> str:
    """Names for an error: all of a small space, some of a large one."""
    listed = list(names)
    return ", ".join(listed) if len(listed) <= 12 else f"{', '.join(listed[:12])} … ({len(listed)} in all)"
