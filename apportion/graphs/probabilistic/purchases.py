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
from apportion.graphs.probabilistic.choosing import Chooser, column, log, odds_of, pick, pick_if_any
from apportion.graphs.probabilistic.layout import Layout, slot_names
from apportion.graphs.slots import ABSENT, FINAL, SlotStage
from apportion.graphs.space import SearchSpace
from apportion.graphs.templates import TemplateStage

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
        slot_log_p: N x n.
        presence_log_p: N x n, the part of it that says whether the slot is there; None where it is not asked for.
        point_log_p: by stage name, n.
    """

    models: Tensor
    samples: Tensor
    slot_log_p: Tensor
    presence_log_p: Tensor | None = None
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
        self._price = _padded(costs, self._absent + 1)
        counts = [[float(n) for n in stage.count.values] for stage in self._slotted]
        self._count = _padded(counts, max(map(len, counts), default=1))
        models = [name for stage in self._slotted for name in slot_names(stage, "model")]
        self._model_at, self._model_bar = _places(models, len(self._price), layout)
        samples = [name for s in self._slotted for name in slot_names(s, "samples") or (None,) * s.slots]
        self._count_at, self._count_bar = _places(samples, len(self._count), layout)
        cheapest = [min(prices.get((s.name, m), 0.0) for m in s.models) * s.samples[0] for s in self._slotted]
        kept = [[price] + [0.0] * (stage.slots - 1) for stage, price in zip(self._slotted, cheapest, strict=True)]
        self._kept_for = torch.tensor([price for own in kept for price in own], dtype=torch.float64)  # by slot
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
        least = sum(cheapest) + sum(self._kept.values())
        least += sum(float(costs.min()) for costs in self._points.values())
        if budget is not None and not least <= budget * (1 + SLACK):
            raise GraphError(
                f"the budget must cover one graph, but it is {budget:g} and the cheapest one costs {least:g}; raise it."
            )
        self._free = float("inf") if budget is None else budget * (1 + SLACK) - least

    def buy(
        self, n: int, logits: Tensor, chooser: Chooser, order: Tensor | None, given: Bought | None, *, presence: bool
    ) -> tuple[Bought, Tensor]:
        """Buy for n graphs all but the final nodes of stages of slots.

        Args:
            order: N x n, the order of the slots; None for their own.
            presence: whether `presence_log_p` is asked for.

        Returns:
            What was bought; and what is free of the budget, beyond what is kept back for final nodes: n.
        """
        free = torch.full((n,), self._free, dtype=logits.dtype)  # beyond what is kept back
        model_odds = odds_of(logits[self._model_at] + self._model_bar)
        count_odds = odds_of(logits[self._count_at] + self._count_bar)
        models, samples, log_ps, presence_log_ps = [], [], [], []
        for t in range(len(self._stage)):
            slot = torch.tensor([t]) if order is None else order[t]
            kind = self._stage[slot] if len(self._slotted) > 1 else self._stage[:1]
            left = free + self._kept_for.gather(0, slot)
            price, count = column(self._price, kind), column(self._count, kind)
            covered = price * count[:1] <= left
            old_model, old_sample = (None, None) if given is None else self._given(given, slot.expand(1, n))
            model, log_p = pick(chooser, column(model_odds, slot), covered, old_model)
            unit = price.expand(-1, n).gather(0, model[None])
            enough = unit * count <= left  # of an absent slot any number, which does not count
            sample, sample_log_p = pick(chooser, column(count_odds, slot), enough, old_sample)
            free = left - unit[0] * count.expand(-1, n).gather(0, sample[None])[0]
            here = model != self._absent
            models.append(model.where(here, -1))
            samples.append(sample.where(here, 0))
            log_ps.append(log_p + sample_log_p.where(here, 0.0))
            if presence:
                presence_log_ps.append(self._presence(column(model_odds, slot) * covered, here))
        bought = Bought(_in_slots(models, order, n), _in_slots(samples, order, n), _in_slots(log_ps, order, n))
        if presence:
            bought.presence_log_p = _in_slots(presence_log_ps, order, n)
        for name, costs in self._points.items():
            left = free + costs.min()
            theirs = None if given is None else given.points[name]
            odds = odds_of(logits[self._point_at[name]].sum(1)[:, None])
            bought.points[name], bought.point_log_p[name] = pick(chooser, odds, costs[:, None] <= left, theirs)
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
        model, log_p = pick_if_any(chooser, odds_of(logits[self._final_where[stage]][:, None]), covered, given)
        return model.where(calls, 0), log_p, left - costs[model].where(calls, 0.0)

    @property
    def finals(self) -> Collection[str]:
        """Stages whose final node may call a model."""
        return self._finals.keys()

    def _given(self, given: Bought, at: Tensor) -> tuple[Tensor, Tensor]:
        """Rows of the models and samples that one slot a column has."""
        model, sample = (table.gather(0, at)[0] for table in (given.models, given.samples))
        return model.where(model >= 0, self._absent), sample

    def _presence(self, odds: Tensor, here: Tensor) -> Tensor:
        """n: log-probability of a slot's being there or not."""
        return log(torch.where(here, odds[: self._absent].sum(0), odds[self._absent]) / odds.sum(0))


def _in_slots(rows: Sequence[Tensor], order: Tensor | None, n: int) -> Tensor:
    """Rows in the order in which they were made, put where their slots are: N x n."""
    if not rows:
        return torch.zeros(0, n, dtype=torch.float64)
    made = torch.stack([*rows])
    return made if order is None else torch.empty_like(made).scatter(0, order, made)


def _padded(rows: Sequence[Sequence[float]], height: int) -> Tensor:
    """Lists of values as the columns of a table, zeros below."""
    table = torch.zeros(height, len(rows), dtype=torch.float64)
    for k, row in enumerate(rows):
        table[: len(row), k] = torch.tensor(row, dtype=torch.float64)
    return table


def _places(names: Sequence[str | None], rows: int, layout: Layout) -> tuple[Tensor, Tensor]:
    """Places of the logits of each slot's values, rows x slots, absence last; and minus infinity where it has no value.

    Args:
        names: of parameters; None for one that has a single value and no logits.
    """
    at = torch.zeros(rows, len(names), dtype=torch.long)
    bar = torch.full(at.shape, -torch.inf, dtype=torch.float64)
    for k, name in enumerate(names):
        start, values = (0, (None,)) if name is None else (layout.blocks[name].start, layout.blocks[name].values)
        for place, value in enumerate(values):
            row = rows - 1 if value == ABSENT else place
            at[row, k], bar[row, k] = start + place, 0.0
    return at, bar


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
