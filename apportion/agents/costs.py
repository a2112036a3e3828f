"""What an agent counts costs in: what the budget bounds, without one the cost objective, else calls."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from apportion.graphs.cost import COSTS, Rates, flops_units
from apportion.graphs.graph import Graph
from apportion.graphs.paper import Measured, on_paper, refined
from apportion.run import RunFolder
from apportion.search.plan import bounded
from apportion.spec import TaskSpec
from apportion.spec.paper import guessed_lengths

WORDS = {"flops": "FLOPs", "eflops": "FLOPs, KV traffic included", "usd": "USD", "latency_s": "seconds"}

Costs = Callable[[Graph], Mapping[str, float | None]]
"""Costs of one answer of a graph on paper."""


@dataclass(frozen=True)
class Priced:
    """A cost of one answer.

    Attributes:
        price: of a graph; None where it is not known.
        unit: what it counts in, in words.
        budget: the most that one answer may cost; None without a bound.
        others: bounds on other costs, by metric.
        within: whether an answer of a graph keeps to these, as far as its costs are known.
    """

    price: Callable[[Graph], float | None]
    unit: str
    budget: float | None
    others: Mapping[str, float]
    within: Callable[[Graph], bool]

    @property
    def also(self) -> str:
        """The other bounds in words: `at most 4e-05 USD and at most 2 seconds`; empty for none."""
        return " and ".join(f"at most {bound:.4g} {WORDS.get(metric, metric)}" for metric, bound in self.others.items())


def priced(spec: TaskSpec, costs: Costs) -> Priced:
    """The cost by which the agent of a task goes."""
    stages = len(spec.stages)
    bounds, units = spec.budget.bounds(stages), spec.budget.units
    objective = next((o.metric for o in spec.objectives if o.metric in COSTS), "calls")
    metric = bounded(bounds) or next(iter(bounds), objective)
    in_units = units is not None and metric == "flops"

    def price(graph: Graph) -> float | None:
        cost = costs(graph).get(metric)
        return cost if cost is None or not in_units else flops_units(cost, stages)

    others = {name: bound for name, bound in bounds.items() if name != metric}

    def within(graph: Graph) -> bool:
        known = costs(graph) if others else {}
        return all(own is None or own <= bound for name, bound in others.items() for own in (known.get(name),))

    unit = "units of AgentTTS" if in_units else WORDS.get(metric, metric)
    return Priced(price, unit, units if in_units else bounds.get(metric), others, within)


def costs_of(folder: RunFolder) -> Costs:
    """Costs on paper with what a run has learnt of lengths and speeds."""
    spec, facts = folder.spec, folder.trials
    cards = {name: model.card(name) for name, model in spec.models.items()}
    learnt = facts.fact("learnt")
    lengths = refined(guessed_lengths(spec, ()), Measured.from_dict(learnt) if learnt else Measured())
    known = facts.fact("rates") or {}
    rates = {name: Rates(prefill, decode, spec.models[name].concurrency) for name, (prefill, decode) in known.items()}
    return lambda graph: on_paper(graph, cards, lengths, rates)
