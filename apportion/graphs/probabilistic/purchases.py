"""Buying models within a nominal budget: which model and how many samples each slot gets, and who goes without.

As in Agent-REINFORCE (arXiv 2511.00086): slots are walked in order, each draws among the models that the rest of the
budget covers, and from where none is covered on, slots are absent. What the first slot and the final node of every
stage cost at least is kept back, so that each stage can answer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from apportion.errors import GraphError
from apportion.graphs.graph import Graph, Node, calls_of
from apportion.graphs.parameters import Value
from apportion.graphs.probabilistic.choosing import Chooser, has_any, pick
from apportion.graphs.probabilistic.layout import Layout, slot_names
from apportion.graphs.slots import FINAL, SlotStage
from apportion.graphs.space import SearchSpace
from apportion.graphs.templates import TemplateStage

SLACK = 1e-9  # of the budget: sums of floats must not refuse what is covered exactly

Prices = Mapping[tuple[str, str], float]
"""Stage and model to the nominal cost of one call."""


@dataclass
class Bought:
    """What was bought. n graphs, N slots over all stages.

    Attributes:
        models, samples: N x n; models is -1 for slots that went without.
        finals, points: by stage name, n.
        slot_log_p: N x n.
        final_log_p, point_log_p: by stage name, n.
    """

    models: Tensor
    samples: Tensor
    slot_log_p: Tensor
    finals: dict[str, Tensor] = field(default_factory=dict)
    points: dict[str, Tensor] = field(default_factory=dict)
    final_log_p: dict[str, Tensor] = field(default_factory=dict)
    point_log_p: dict[str, Tensor] = field(default_factory=dict)


class Market:
    """Everything of a space that can be bought, with its price and the places of its logits.

    Args:
        prices: needed with a budget.
        budget: bound on the sum of prices; None for none.

    Raises:
        GraphError: a price is missing, negative or not finite, or the budget covers no graph.
    """

    def __init__(self, space: SearchSpace, layout: Layout, prices: Prices, budget: float | None) -> None:
        if budget is not None:
            _check_prices(space, prices)
        self._slotted = [stage for stage in space.stages if isinstance(stage, SlotStage)]
        self._stage = torch.tensor([i for i, stage in enumerate(self._slotted) for _ in range(stage.slots)])
        costs = [[prices.get((stage.name, model), 0.0) for model in stage.models] for stage in self._slotted]
        self._price, self._is_model = _padded(costs)
        self._count, self._is_count = _padded([[float(n) for n in stage.count.values] for stage in self._slotted])
        models = [name for stage in self._slotted for name in slot_names(stage, "model")]
        self._model_at = _places(models, len(self._price), layout)
        counts = [slot_names(stage, "samples") or (None,) * stage.slots for stage in self._slotted]
        self._count_at = _places([name for names in counts for name in names], len(self._count), layout)
        self._cheapest = torch.tensor(
            [min(prices.get((s.name, m), 0.0) for m in s.models) * s.samples[0] for s in self._slotted],
            dtype=torch.float64,
        )
        self._finals = {s.name: _costs(s, s.deciding_models, prices) for s in self._slotted if s.deciding_models}
        self._final_where = {name: layout.blocks[f"{name}.{FINAL}.model"].where for name in self._finals}
        templates = [stage for stage in space.stages if isinstance(stage, TemplateStage)]
        self._points = {stage.name: _point_costs(stage, prices) for stage in templates}
        self._point_at = {stage.name: _point_places(stage, layout) for stage in templates}
        least = float(self._cheapest.sum()) + sum(
            float(t.min()) for t in (*self._finals.values(), *self._points.values())
        )
        if budget is not None and not least <= budget * (1 + SLACK):
            raise GraphError(
                f"the budget must cover one graph, but it is {budget:g} and the cheapest one costs {least:g}; raise it."
            )
        self._free = float("inf") if budget is None else budget * (1 + SLACK) - least

    def buy(self, n: int, logits: Tensor, chooser: Chooser, order: Tensor | None, given: Bought | None) -> Bought:
        """Buy for n graphs.

        Args:
            order: N x n, the order of the slots; None for their own.
        """
        free = torch.full((n,), self._free, dtype=logits.dtype)  # beyond what is kept back
        begun = torch.zeros(len(self._slotted), n, dtype=torch.bool)
        model_logits, count_logits = logits[self._model_at], logits[self._count_at]
        models, samples, log_ps = [], [], []
        for t in range(len(self._stage)):
            slot = torch.tensor([t]) if order is None else order[t]
            at = slot.expand(1, n)
            kind = self._stage[slot] if len(self._slotted) > 1 else self._stage[:1]
            stage = kind.expand(1, n)
            first = ~begun.gather(0, stage)[0]
            left = free + self._cheapest[kind] * first
            price, count = self._price[:, kind], self._count[:, kind]
            covered = (price * count[:1] <= left) & self._is_model[:, kind]
            old_model, old_sample = (
                (None, None) if given is None else (x.gather(0, at)[0] for x in (given.models, given.samples))
            )
            model, log_p = pick(chooser, model_logits[:, slot], covered, old_model)
            here = has_any(covered)
            unit = price.expand(-1, n).gather(0, model[None])
            enough = (unit * count <= left) & self._is_count[:, kind] & here
            sample, sample_log_p = pick(chooser, count_logits[:, slot], enough, old_sample)
            spent = unit[0] * count.expand(-1, n).gather(0, sample[None])[0]
            free = torch.where(here, left - spent, free)
            begun.scatter_(0, stage, (~first | here)[None])
            models.append(torch.where(here, model, -1))
            samples.append(torch.where(here, sample, 0))
            log_ps.append(log_p + sample_log_p)
        bought = Bought(_in_slots(models, order, n), _in_slots(samples, order, n), _in_slots(log_ps, order, n))
        for name, costs in self._finals.items():
            theirs = None if given is None else given.finals[name]
            bought.finals[name], bought.final_log_p[name], free = _one(
                costs, logits[self._final_where[name]], free, chooser, theirs
            )
        for name, costs in self._points.items():
            theirs = None if given is None else given.points[name]
            bought.points[name], bought.point_log_p[name], free = _one(
                costs, logits[self._point_at[name]].sum(1), free, chooser, theirs
            )
        return bought


def _one(
    costs: Tensor, logits: Tensor, free: Tensor, chooser: Chooser, given: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    """Buy one of several things, the cheapest of which is kept back: which, its log-probability, and what is free."""
    left = free + costs.min()
    chosen, log_p = pick(chooser, logits[:, None], costs[:, None] <= left, given)
    return chosen, log_p, left - costs[chosen]


def _in_slots(rows: Sequence[Tensor], order: Tensor | None, n: int) -> Tensor:
    """Rows in the order in which they were made, put where their slots are: N x n."""
    if not rows:
        return torch.zeros(0, n, dtype=torch.float64)
    made = torch.stack([*rows])
    return made if order is None else torch.empty_like(made).scatter(0, order, made)


def _padded(rows: Sequence[Sequence[float]]) -> tuple[Tensor, Tensor]:
    """Lists of values as the columns of a table, and where it has one."""
    shape = (max(map(len, rows), default=1), len(rows))
    value, there = torch.zeros(shape, dtype=torch.float64), torch.zeros(shape, dtype=torch.bool)
    for k, row in enumerate(rows):
        value[: len(row), k] = torch.tensor(row, dtype=torch.float64)
        there[: len(row), k] = True
    return value, there


def _places(names: Sequence[str | None], values: int, layout: Layout) -> Tensor:
    """Places of the logits of each slot, values x slots; a parameter of one value has none."""
    at = torch.zeros(values, len(names), dtype=torch.long)
    for k, name in enumerate(names):
        if name is not None:
            block = layout.blocks[name]
            at[: block.size, k] = block.start + torch.arange(block.size)
    return at


def _costs(stage: SlotStage, models: Sequence[str], prices: Prices) -> Tensor:
    return torch.tensor([prices.get((stage.name, model), 0.0) for model in models], dtype=torch.float64)


def _point_costs(stage: TemplateStage, prices: Prices) -> Tensor:
    """What each distinct choice of a stage of templates costs."""
    costs = []
    for point in stage.points():
        above = [Node(name, name, "generator", "m") for name in stage.reads]
        graph = Graph((*above, *stage.nodes(point, stage.reads)))
        own = (node for node in graph.nodes if node.stage == stage.name and node.model is not None)
        costs.append(sum(calls_of(graph, node) * prices.get((stage.name, str(node.model)), 0.0) for node in own))
    return torch.tensor(costs, dtype=torch.float64)


def _point_places(stage: TemplateStage, layout: Layout) -> Tensor:
    """Places of the logits of each distinct choice: choices x parameters."""

    def place(name: str, value: Value) -> int:
        return layout.blocks[name].start + layout.blocks[name].values.index(value)

    return torch.tensor([[place(name, value) for name, value in point.items()] for point in stage.points()])


def _check_prices(space: SearchSpace, prices: Prices) -> None:
    for stage in space.stages:
        scorer = (stage.scorer,) if isinstance(stage, TemplateStage) and stage.scorer else ()
        deciding = stage.deciding_models if isinstance(stage, SlotStage) else ()
        for model in (*stage.models, *scorer, *deciding):
            price = prices.get((stage.name, model))
            if price is None or not 0.0 <= price < float("inf"):
                raise GraphError(
                    f"a budget needs every model's price, but that of {model!r} in {stage.name!r} is {price}; give it."
                )
