"""The search space: what may be chosen for each stage, and how a choice becomes a graph.

One flat set of named parameters serves every sampler. Parameters that a template does not use are ignored, so that
several parameter sets may build one graph; compare graphs by their key.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

from apportion.errors import GraphError
from apportion.graphs.graph import Graph, Node
from apportion.graphs.templates import TEMPLATES, StageChoice

Value = str | int
Params = Mapping[str, Value]


@dataclass(frozen=True, slots=True)
class Choice:
    """A parameter that takes one of several words."""

    values: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Count:
    """A parameter that takes a whole number from `least` to `most`."""

    least: int
    most: int


@dataclass(frozen=True, slots=True)
class TemplateStage:
    """What may be chosen for one stage.

    Attributes:
        samples: least and most samples of the templates that draw several.
        scorer: the model that grades in `best_of_n`; None is the stage's own model.
        reads: earlier stages that the prompt reads.
    """

    name: str
    models: tuple[str, ...]
    templates: tuple[str, ...]
    samples: tuple[int, int]
    scorer: str | None = None
    reads: tuple[str, ...] = ()

    @property
    def count(self) -> Count:
        """The range of samples where a template draws several: never below 2."""
        return Count(max(2, self.samples[0]), max(2, self.samples[1]))


@dataclass(frozen=True)
class SearchSpace:
    """All graphs that a study may propose: a chain of stages, each with its own choice."""

    stages: tuple[TemplateStage, ...]

    @cached_property
    def parameters(self) -> Mapping[str, Choice | Count]:
        """Every parameter by name: `<stage>.template`, `<stage>.model`, `<stage>.samples`."""
        parameters: dict[str, Choice | Count] = {}
        for stage in self.stages:
            parameters[f"{stage.name}.template"] = Choice(stage.templates)
            parameters[f"{stage.name}.model"] = Choice(stage.models)
            if set(stage.templates) != {"single"}:
                parameters[f"{stage.name}.samples"] = stage.count
        return parameters

    def build(self, params: Params) -> Graph:
        """The graph that a complete set of parameters stands for.

        Raises:
            GraphError: a parameter is missing or out of the space.
        """
        self.check(params)
        nodes: list[Node] = []
        outputs: dict[str, str] = {}
        for stage in self.stages:
            model = str(params[f"{stage.name}.model"])
            samples = int(params.get(f"{stage.name}.samples", 1))
            upstream = tuple(outputs[name] for name in stage.reads)
            choice = StageChoice(stage.name, model, samples, stage.scorer or model, upstream)
            nodes.extend(TEMPLATES[str(params[f"{stage.name}.template"])](choice))
            outputs[stage.name] = nodes[-1].id
        return Graph(tuple(nodes))

    def check(self, params: Params) -> None:
        """Refuse parameters that are not of the space.

        Raises:
            GraphError: a name or a value is not of the space; types count (`True` is not 1).
        """
        for name in params.keys() - self.parameters.keys():
            raise GraphError(f"parameters must be {', '.join(self.parameters)}, got {name!r}; leave it out.")
        for name, parameter in self.parameters.items():
            value = params.get(name)
            if isinstance(parameter, Choice) and not (isinstance(value, str) and value in parameter.values):
                raise GraphError(f"`{name}` must be one of {', '.join(parameter.values)}, got {value!r}; choose one.")
            if isinstance(parameter, Count) and not (type(value) is int and parameter.least <= value <= parameter.most):
                raise GraphError(
                    f"`{name}` must be a whole number from {parameter.least} to {parameter.most}, "
                    f"got {value!r}; choose one."
                )

    @cached_property
    def _stage_points(self) -> tuple[tuple[dict[str, Value], ...], ...]:
        return tuple(tuple(_stage_grid(stage)) for stage in self.stages)

    @cached_property
    def size(self) -> int:
        """Number of distinct graphs."""
        return math.prod(len(points) for points in self._stage_points)

    def point(self, index: int) -> dict[str, Value]:
        """Parameters of one distinct graph, by its place (0 to `size` - 1) in a fixed order."""
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
        params: dict[str, Value] = {}
        for stage in self.stages:
            params[f"{stage.name}.template"] = template
            params[f"{stage.name}.model"] = model if model in stage.models else stage.models[0]
            params[f"{stage.name}.samples"] = stage.count.most
        everywhere = SearchSpace(tuple(replace(stage, templates=("single", "vote")) for stage in self.stages))
        graph = everywhere.build(params)
        if any(template not in stage.templates for stage in self.stages):
            return graph, None
        return graph, {name: params[name] for name in self.parameters}


def _stage_grid(stage: TemplateStage) -> Iterator[dict[str, Value]]:
    count = stage.count
    for template, model in itertools.product(stage.templates, stage.models):
        params: dict[str, Value] = {f"{stage.name}.template": template, f"{stage.name}.model": model}
        if set(stage.templates) == {"single"}:
            yield params
        else:
            most = count.least if template == "single" else count.most
            for samples in range(count.least, most + 1):
                yield {**params, f"{stage.name}.samples": samples}
