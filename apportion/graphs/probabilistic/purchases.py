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
from apportion.graphs.probabilistic.choosing import Chooser, pick
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
        models, samples: n x N; models is -1 for slots that went without.
        finals, points: by stage name, n.
        slot_log_p: n x N.
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
        self._slots = [(i, k) for i, stage in enumerate(self._slotted) for k in range(stage.slots)]
        self._stage = torch.tensor([i for i, _ in self._slots], dtype=torch.long)
        most_models = max((len(stage.models) for stage in self._slotted), default=1)
        most_counts = max((len(stage.count.values) for stage in self._slotted), default=1)
        shape = len(self._slots)
        self._model_at, self._is_model, self._price = _tables(shape, most_models)
        self._count_at, self._is_count, self._count = _tables(shape, most_counts)
        for k, (i, slot) in enumerate(self._slots):
            stage = self._slotted[i]
            costs = [prices.get((stage.name, model), 0.0) for model in stage.models]
            _fill(k, slot_names(stage, "model")[slot], layout, costs, self._model_at, self._is_model, self._price)
            names, counts = (
                slot_names(stage, "samples"),
                [float(n) for n in range(stage.samples[0], stage.samples[1] + 1)],
            )
            _fill(k, names[slot] if names else None, layout, counts, self._count_at, self._is_count, self._count)
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
            order: n x N, the order of the slots; None for their own.
        """
        free = torch.full((n,), self._free, dtype=logits.dtype)  # beyond what is kept back
        begun = torch.zeros(n, len(self._slotted), dtype=torch.bool)
        models, samples, log_ps = [], [], []
        for t in range(len(self._slots)):
            slot = torch.tensor([t]) if order is None else order[:, t]
            stage = self._stage[slot].expand(n)
            first = ~begun.gather(1, stage[:, None])[:, 0]
            left = free + torch.where(first, self._cheapest[stage], 0.0)
            price, count, is_count = self._price[slot], self._count[slot], self._is_count[slot]
            covered = (price * count[:, :1] <= left[:, None]) & self._is_model[slot]
            at = slot.expand(n)[:, None]
            old_model, old_sample = (
                (None, None) if given is None else (x.gather(1, at)[:, 0] for x in (given.models, given.samples))
            )
            model, log_p = pick(chooser, logits[self._model_at[slot]].expand(n, -1), covered, old_model)
            here = covered.any(1)
            unit = price.expand(n, -1).gather(1, model[:, None])
            enough = (unit * count <= left[:, None]) & is_count & here[:, None]
            sample, sample_log_p = pick(chooser, logits[self._count_at[slot]].expand(n, -1), enough, old_sample)
            spent = unit[:, 0] * count.expand(n, -1).gather(1, sample[:, None])[:, 0]
            free = torch.where(here, left - spent, free)
            begun = begun.scatter(1, stage[:, None], (~first | here)[:, None])
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
    chosen, log_p = pick(chooser, logits.expand(len(free), -1), costs <= left[:, None], given)
    return chosen, log_p, left - costs[chosen]


def _in_slots(columns: Sequence[Tensor], order: Tensor | None, n: int) -> Tensor:
    """Columns in the order in which they were made, put where their slots are: n x N."""
    if not columns:
        return torch.zeros(n, 0, dtype=torch.float64)
    made = torch.stack([*columns], dim=1)
    return made if order is None else made.gather(1, order.argsort(1))


def _tables(slots: int, width: int) -> tuple[Tensor, Tensor, Tensor]:
    """Place of the logit, whether there is such a value, and the value; padded."""
    shape = (slots, width)
    return (
        torch.zeros(shape, dtype=torch.long),
        torch.zeros(shape, dtype=torch.bool),
        torch.zeros(shape, dtype=torch.float64),
    )


def _fill(
    k: int, name: str | None, layout: Layout, values: Sequence[float], at: Tensor, there: Tensor, value: Tensor
) -> None:
    """Enter the values of one slot; a parameter of one value has no logits."""
    n = len(values)
    if name is not None:
        at[k, :n] = layout.blocks[name].start + torch.arange(n)
    there[k, :n] = True
    value[k, :n] = torch.tensor(values, dtype=torch.float64)


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
