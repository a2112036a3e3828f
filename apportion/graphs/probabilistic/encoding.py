"""Realised graphs as tensors of choices, and as parameters of their space; it knows no probabilities."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from apportion.graphs.parameters import Params, Value
from apportion.graphs.probabilistic.batch import Batch, StageBatch
from apportion.graphs.probabilistic.layout import Layout, edge_names, last_names, slot_names
from apportion.graphs.probabilistic.purchases import Bought
from apportion.graphs.slots import FINAL, SlotStage
from apportion.graphs.space import SearchSpace
from apportion.graphs.templates import TemplateStage


def decoded(layout: Layout, batch: Batch) -> list[dict[str, Value]]:
    """Parameters of realised graphs."""
    slotted, templates = _kinds(layout.space)
    columns: dict[str, list[Value]] = {}

    def enter(names: Sequence[str], table: Tensor) -> None:
        for name, row in zip(names, table.tolist(), strict=True):
            values = layout.blocks[name].values
            columns[name] = [values[int(place)] for place in row]  # of models the last, at -1, is absence

    start = 0
    for stage in slotted:
        made, own = batch.slots[stage.name], slice(start, start + stage.slots)
        start = own.stop
        tables = {
            "model": batch.bought.models[own],
            "samples": batch.bought.samples[own],
        }  # -1 is the last value, absence
        for key, table in {**tables, "temperature": made.temperatures, "role": made.roles.clamp(min=0)}.items():
            if names := slot_names(stage, key):
                enter(names, table)
        if stage.pairs:
            pairs = torch.tensor(stage.pairs) - 1
            enter(edge_names(stage), made.edges[pairs[:, 0], pairs[:, 1]])
        enter(last_names(stage), made.last)
        enter([f"{stage.name}.{FINAL}.role"], made.final_role[None])
        if stage.deciding_models:
            enter([f"{stage.name}.{FINAL}.model"], batch.bought.finals[stage.name][None])
    found = [{name: column[i] for name, column in columns.items()} for i in range(len(batch))]
    for other in templates:
        points = list(other.points())
        for params, point in zip(found, batch.bought.points[other.name].tolist(), strict=True):
            params |= points[point]
    return [{name: params[name] for name in layout.space.parameters} for params in found]


def encoded(layout: Layout, params: Sequence[Params], order: Sequence[Sequence[int]] | None) -> Batch:
    """Realised graphs from their parameters; the inverse of `decoded`.

    Args:
        order: of each graph, as `Batch.order` has it.
    """
    slotted, templates = _kinds(layout.space)

    def places(names: Sequence[str]) -> Tensor:
        values = [layout.blocks[name].values for name in names]
        return torch.tensor([[own.index(row[name]) for row in params] for name, own in zip(names, values, strict=True)])

    n = len(params)
    nothing = torch.zeros(n, dtype=torch.float64)
    columns: dict[str, list[Tensor]] = {"model": [], "samples": []}
    slots: dict[str, StageBatch] = {}
    bought = Bought(nothing, nothing, nothing)
    for stage in slotted:
        tables = {
            key: places(names) if (names := slot_names(stage, key)) else torch.zeros(stage.slots, n, dtype=torch.long)
            for key in ("model", "samples", "temperature", "role")
        }
        absent = torch.tensor([-1, *(len(stage.models) for _ in range(1, stage.slots))])[:, None]
        columns["model"].append(tables["model"].where(tables["model"] != absent, -1))
        columns["samples"].append(tables["samples"])
        edges = torch.zeros(stage.slots, stage.slots, n, dtype=torch.bool)
        if stage.pairs:
            pairs = torch.tensor(stage.pairs) - 1
            edges[pairs[:, 0], pairs[:, 1]] = places(edge_names(stage)).bool()
        final_role = places([f"{stage.name}.{FINAL}.role"])[0]
        last = places(last_names(stage)).bool()
        slots[stage.name] = StageBatch(tables["temperature"], edges, last, tables["role"], final_role)
        if stage.deciding_models:
            bought.finals[stage.name] = places([f"{stage.name}.{FINAL}.model"])[0]
    if slotted:
        bought.models, bought.samples = (torch.cat(tensors) for tensors in columns.values())
    for other in templates:
        points = list(other.points())
        bought.points[other.name] = torch.tensor([points.index(_as_listed(other, row)) for row in params])
    walked = None if order is None else torch.tensor([list(row) for row in order])
    return Batch(nothing, walked, bought, slots)


def _kinds(space: SearchSpace) -> tuple[list[SlotStage], list[TemplateStage]]:
    slotted = [stage for stage in space.stages if isinstance(stage, SlotStage)]
    return slotted, [stage for stage in space.stages if isinstance(stage, TemplateStage)]


def _as_listed(stage: TemplateStage, row: Params) -> dict[str, Value]:
    """The distinct choice that the parameters stand for: unused ones have their first value there."""
    used = stage.used(row)
    return {name: row[name] if name in used else own.values[0] for name, own in stage.parameters.items()}
