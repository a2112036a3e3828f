"""The parts of a spec that are right by themselves, so that rules over several parts can be checked all at once.

A draft may lack what the schema refused; it does not say what was wrong with it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from typing import TypeVar

from pydantic import ValidationError

from apportion.spec.schema import DataSpec, EvaluatorSpec, ModelSpec, Objective, StageSpec
from apportion.spec.searching import Budget, Limits, SearchSpec
from apportion.spec.types import MAX_ITEMS, Model
from apportion.spec.yaml import Node

M = TypeVar("M", bound=Model)


@dataclass(frozen=True)
class Draft:
    """Every part of a spec, None where it is absent or wrong.

    Attributes:
        stage_names: also of stages that are wrong elsewhere.
    """

    models: Mapping[str, ModelSpec | None]
    data: DataSpec | None
    stages: tuple[StageSpec | None, ...]
    stage_names: tuple[str | None, ...]
    evaluators: Mapping[str, EvaluatorSpec | None]
    objectives: tuple[Objective | None, ...]
    budget: Budget | None
    limits: Limits | None
    search: SearchSpec | None
    plugins: tuple[str | None, ...]


def draft(root: Node) -> Draft:
    """Take what is right from a spec as read."""
    return Draft(
        models={name: _part(ModelSpec, node) for name, node in _entries(root, "models").items()},
        data=_part(DataSpec, root.get("data")),
        stages=tuple(_part(StageSpec, node) for node in _items(root, "stages")),
        stage_names=tuple(_name(node) for node in _items(root, "stages")),
        evaluators={name: _part(EvaluatorSpec, node) for name, node in _entries(root, "evaluators").items()},
        objectives=tuple(_part(Objective, node) for node in _items(root, "objectives")),
        budget=_part(Budget, root.get("budget")),
        limits=_part(Limits, root.get("limits")),
        search=_part(SearchSpec, root.get("search")),
        plugins=tuple(node.value if isinstance(node.value, str) else None for node in _items(root, "plugins")),
    )


def _part(model: type[M], node: Node | None) -> M | None:
    if node is None:
        return None
    try:
        return model.model_validate(node.plain())
    except ValidationError:
        return None


def _entries(root: Node, key: str) -> Mapping[str, Node]:
    node = root.get(key)
    return dict(islice(node.value.items(), MAX_ITEMS)) if node is not None and isinstance(node.value, dict) else {}


def _items(root: Node, key: str) -> tuple[Node, ...]:
    node = root.get(key)
    return node.value[:MAX_ITEMS] if node is not None and isinstance(node.value, tuple) else ()


def _name(node: Node) -> str | None:
    name = node.get("name")
    return name.value if name is not None and isinstance(name.value, str) else None
