"""Buying models within a nominal budget: which model and how many samples each slot gets, and who goes without.

As in Agent-REINFORCE (arXiv 2511.00086): slots are walked in order, and each draws among the models that the rest of
the budget covers. Other than there, a slot may be absent by choice, so that slots which nothing reads need not use up
the budget; and a final node is paid for when its role is known, if it calls a model. What slot 1 of every stage costs
at least, and a final node that cannot do without a model, is kept back, so that each stage can answer.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from apportion.errors import GraphError
from apportion.graphs.graph import Graph, Node, calls_of
from apportion.graphs.parameters import Value
from apportion.graphs.probabilistic.choosing import Chooser, only, pick
from apportion.graphs.probabilistic.layout import Layout, slot_names
from apportion.graphs.slots import ABSENT, FINAL, SlotStage
from apportion.graphs.space import SearchSpace
from apportion.graphs.templates import TemplateStage

LEAST = 1e-15  # probability of being there that is told from none
SLACK = 1e-9  # of the budget: sums of floats must not refuse what is covered exactly

Prices = Mapping[tuple[str, str], float]
"""Stage and model to the nominal cost of one call."""


@dataclass
class Bought:
    """What was bought. n graphs, N slots over all stages.

    Attributes:
        models, samples: N x n; models is -1 for slots that are absent.
        finals: by stage name, n; 0 where the final node calls no model.
        points: by stage name, n.
        slot_log_p: N x n; `presence_log_p` is the part of it that says whether the slot is there.
        point_log_p: by stage name, n.
    """

    models: Tensor
    samples: Tensor
    slot_log_p: Tensor
    presence_log_p: Tensor
    finals: dict[str, Tensor] = field(default_factory=dict)
    points: dict[str, Tensor] = field(default_factory=dict)
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
        self._absent = max(map(len, costs), default=0)  # the row behind those of the models, which costs nothing
        self._price = torch.zeros(self._absent + 1, len(costs), dtype=torch.float64)
        for k, row in enumerate(costs):
            self._price[: len(row), k] = torch.tensor(row, dtype=torch.float64)
        self._count, self._is_count = _padded([[float(n) for n in stage.count.values] for stage in self._slotted])
        models = [name for stage in self._slotted for name in slot_names(stage, "model")]
        self._model_at, self._may_be = self._model_places(models, layout)
        self._is_first = torch.tensor([slot == 1 for stage in self._slotted for slot in range(1, stage.slots + 1)])
        counts = [slot_names(stage, "samples") or (None,) * stage.slots for stage in self._slotted]
        self._count_at = _places([name for names in counts for name in names], len(self._count), layout)
        self._cheapest = torch.tensor(
            [min(prices.get((s.name, m), 0.0) for m in s.models) * s.samples[0] for s in self._slotted],
            dtype=torch.float64,
        )
        self._finals = {s.name: _costs(s, s.deciding_models, prices) for s in self._slotted if s.deciding_models}
        self._final_where = {name: layout.blocks[f"{name}.{FINAL}.model"].where for name in self._finals}
        self._kept = {
            s.name: 0.0 if s.decides_by_code else float(self._finals[s.name].min())
            for s in self._slotted
            if s.deciding_models
        }
        templates = [stage for stage in space.stages if isinstance(stage, TemplateStage)]
        self._points = {stage.name: _point_costs(stage, prices) for stage in templates}
        self._point_at = {stage.name: _point_places(stage, layout) for stage in templates}
        least = float(self._cheapest.sum()) + sum(self._kept.values())
        least += sum(float(costs.min()) for costs in self._points.values())
        if budget is not None and not least <= budget * (1 + SLACK):
            raise GraphError(
                f"the budget must cover one graph, but it is {budget:g} and the cheapest one costs {least:g}; raise it."
            )
        self._free = float("inf") if budget is None else budget * (1 + SLACK) - least

    def buy(
        self, n: int, logits: Tensor, chooser: Chooser, order: Tensor | None, given: Bought | None
    ) -> tuple[Bought, Tensor]:
        """Buy for n graphs all but the final nodes of stages of slots.

        Args:
            order: N x n, the order of the slots; None for their own.

        Returns:
            What was bought; and what is free of the budget, beyond what is kept back for final nodes: n.
        """
        free = torch.full((n,), self._free, dtype=logits.dtype)  # beyond what is kept back
        model_logits, count_logits = logits[self._model_at], logits[self._count_at]
        models, samples, log_ps, presence_log_ps = [], [], [], []
        for t in range(len(self._stage)):
            slot = torch.tensor([t]) if order is None else order[t]
            kind = self._stage[slot] if len(self._slotted) > 1 else self._stage[:1]
            left = free + self._cheapest[kind] * self._is_first[slot]
            price, count = self._price[:, kind], self._count[:, kind]
            covered = (price * count[:1] <= left) & self._may_be[:, slot]
            old_model, old_sample = (None, None) if given is None else self._given(given, slot.expand(1, n))
            model, log_p = pick(chooser, model_logits[:, slot], covered, old_model)
            here = model != self._absent
            unit = price.expand(-1, n).gather(0, model[None])
            enough = (unit * count <= left) & self._is_count[:, kind] & here
            sample, sample_log_p = pick(chooser, count_logits[:, slot], enough, old_sample)
            free = left - unit[0] * count.expand(-1, n).gather(0, sample[None])[0]
            models.append(model.where(here, -1))
            samples.append(sample.where(here, 0))
            log_ps.append(log_p + sample_log_p)
            presence_log_ps.append(self._presence(model_logits[:, slot], covered, here))
        own = [_in_slots(rows, order, n) for rows in (models, samples, log_ps, presence_log_ps)]
        bought = Bought(own[0], own[1], own[2], own[3])
        for name, costs in self._points.items():
            left = free + costs.min()
            theirs = None if given is None else given.points[name]
            point_logits = logits[self._point_at[name]].sum(1)
            bought.points[name], bought.point_log_p[name] = pick(
                chooser, point_logits[:, None], costs[:, None] <= left, theirs
            )
            free = left - costs[bought.points[name]]
        return bought, free

    def covers_final(self, stage: str, free: Tensor) -> Tensor:
        """n: whether a model of a stage's final node is covered; true where it has none.

        Args:
            free: n, of the budget, beyond what is kept back.
        """
        if stage not in self._finals:
            return torch.ones_like(free, dtype=torch.bool)
        return self._finals[stage].min() <= free + self._kept[stage]

    def buy_final(
        self, stage: str, free: Tensor, calls: Tensor, logits: Tensor, chooser: Chooser, given: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Buy the model of a stage's final node.

        Args:
            free: n, of the budget, beyond what is kept back.
            calls: n, whether the final node calls a model.

        Returns:
            Places of the models, their log-probabilities, and what is free now: n each.
        """
        costs, left = self._finals[stage], free + self._kept[stage]
        covered = (costs[:, None] <= left) & calls
        model, log_p = pick(chooser, logits[self._final_where[stage]][:, None], covered, given)
        return model.where(calls, 0), log_p, left - costs[model].where(calls, 0.0)

    @property
    def finals(self) -> Collection[str]:
        """Stages whose final node may call a model."""
        return self._finals.keys()

    def _model_places(self, names: Sequence[str], layout: Layout) -> tuple[Tensor, Tensor]:
        """Places of the logits of each slot's models and of its absence, rows x slots; and which rows it has."""
        at = torch.zeros(self._absent + 1, len(names), dtype=torch.long)
        may_be = torch.zeros_like(at, dtype=torch.bool)
        for k, name in enumerate(names):
            block = layout.blocks[name]
            for place, value in enumerate(block.values):
                row = self._absent if value == ABSENT else place
                at[row, k], may_be[row, k] = block.start + place, True
        return at, may_be

    def _given(self, given: Bought, at: Tensor) -> tuple[Tensor, Tensor]:
        """Rows of the models and samples that one slot a column has."""
        model, sample = (table.gather(0, at)[0] for table in (given.models, given.samples))
        return model.where(model >= 0, self._absent), sample

    def _presence(self, logits: Tensor, covered: Tensor, here: Tensor) -> Tensor:
        """n: log-probability of a slot's being there or not."""
        absent_log_p = only(logits, covered).log_softmax(0)[self._absent]
        here_log_p = torch.log(-torch.expm1(absent_log_p.clamp(max=-LEAST)))
        return torch.where(here, here_log_p, absent_log_p)


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
