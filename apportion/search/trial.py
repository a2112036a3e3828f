"""The record of one trial: what was asked, what was built, what was measured."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

from apportion.graphs.graph import Graph, escaped
from apportion.graphs.parameters import Value
from apportion.statistics import Interval

PAPER = "paper"
"""The violation of a graph that is over a bound before it is run."""

TrialState = Literal["running", "complete", "infeasible", "failed", "pruned", "repeated"]


@dataclass(frozen=True)
class Trial:
    """One graph that a study considered.

    Attributes:
        number: place in the order of asking, from 0.
        label: for a baseline what it is, else the sampler's name.
        params: what the sampler chose; None for a baseline outside the search space.
        state: `complete` measured and within the budget; `infeasible` over the budget, on paper or as measured;
            `failed` no usable measurement; `repeated` builds a graph that an earlier trial has measured.
        reason: why it is infeasible, failed or repeated.
        metrics: mean and interval of each metric on the search split.
        violations: by constraint, how far over the bound, as a share of the bound; zero or less is within.
        memory: what the sampler noted on the trial for itself.
    """

    number: int
    label: str
    baseline: bool
    graph: Graph
    params: Mapping[str, Value] | None = None
    state: TrialState = "running"
    reason: str = ""
    metrics: Mapping[str, Interval] = field(default_factory=dict)
    violations: Mapping[str, float] = field(default_factory=dict)
    failure_rate: float = 0.0
    memory: Mapping[str, Any] = field(default_factory=dict)

    def __repr__(self) -> str:
        means = "".join(f", {name} {interval.mean:.3g}" for name, interval in self.metrics.items())
        return f"<Trial {self.number} {self.state}, {escaped(self.label)}{means}; {describe(self)}>"

    @cached_property
    def key(self) -> str:
        """Content key of the graph."""
        return self.graph.key

    @property
    def counted(self) -> bool:
        """Whether it is one of the trials that a study may take: asked for, and run."""
        return not self.baseline and self.state != "repeated" and PAPER not in self.violations

    def mean(self, metric: str) -> float:
        """Mean of a metric on the search split.

        Raises:
            KeyError: it was not measured.
        """
        return self.metrics[metric].mean

    def to_dict(self) -> dict[str, Any]:
        """The record as JSON values; `from_dict` is the inverse."""
        plain = ("number", "label", "baseline", "state", "reason", "failure_rate")
        return {
            **{name: getattr(self, name) for name in plain},
            "graph": self.graph.to_dict(),
            "params": dict(self.params) if self.params is not None else None,
            "metrics": {name: interval.to_dict() for name, interval in self.metrics.items()},
            "violations": dict(self.violations),
            "memory": dict(self.memory),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Trial:
        """The record that `to_dict` wrote."""
        metrics = {name: Interval(**interval) for name, interval in data["metrics"].items()}
        return cls(**{**data, "graph": Graph.from_dict(data["graph"]), "metrics": metrics})


def describe(trial: Trial) -> str:
    """A graph in one line, stage by stage: `pick: vote small x5 > answer: single large`."""
    parts = []
    for stage in trial.graph.stages:
        nodes = [n for n in trial.graph.nodes if n.stage == stage]
        parts.append(f"{escaped(stage)}: " + " + ".join(str(n) for n in nodes))
    return " > ".join(parts)
