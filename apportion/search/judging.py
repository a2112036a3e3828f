"""Whether a graph keeps its bounds: on paper before it is run, and as measured. It measures nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Literal

from apportion.graphs.graph import Graph
from apportion.search.objectives import MOST_FAILURES, violations
from apportion.search.plan import Plan
from apportion.search.problem import Measurement
from apportion.search.trial import Trial

PAPER_MARGIN = 0.25  # of a bound: what is expected to cost more is not run; expectations are rougher than measurements


def over_on_paper(plan: Plan, graph: Graph, expected: Mapping[str, float | None]) -> tuple[float, str]:
    """How far a graph is over a bound before it is run, as a share of the bound, and how to say it; "" if it is not.

    Args:
        expected: what one answer is likely to cost, as far as it is known.
    """
    for constraint in plan.constraints:
        name, bound = constraint.metric, constraint.bound
        if name == "calls" and graph.calls > bound:
            return graph.calls / bound - 1.0, f"`budget.calls` is {bound:g}, and it may make {graph.calls} calls."
        cost = expected.get(name)
        if cost is not None and cost > bound * (1.0 + PAPER_MARGIN):
            return cost / bound - 1.0, f"`budget.{name}` is {bound:g}, and on paper it takes {cost:.3g}."
    return 0.0, ""


def judged(plan: Plan, trial: Trial, measurement: Measurement) -> Trial:
    """The trial with what was measured on the search split, or on its first examples, and the state that follows."""
    metrics, rate = measurement.metrics(), measurement.failure_rate
    missing = [o.metric for o in plan.objectives if o.metric not in metrics]
    if missing:
        reason = f"no example gave {missing[0]!r}: {rate:.0%} of the calls failed."
        return replace(trial, state="failed", reason=reason, failure_rate=rate)
    asked, size = len(measurement.rows), plan.sizes["search"]
    over = violations(plan.constraints, metrics, rate * asked / size)  # as if all the others were answered
    margin = 0.0 if asked == size else PAPER_MARGIN  # a few examples tell a cost roughly
    beyond = {name: share - (0.0 if name == "failures" else margin) for name, share in over.items()}
    worst = max(beyond, key=lambda name: beyond[name])
    state: Literal["complete", "infeasible", "pruned"] = "infeasible" if beyond[worst] > 0.0 else "complete"
    reason = "" if state == "complete" else _say_over(plan, worst, metrics[worst].mean if worst in metrics else rate)
    if state == "complete" and asked < size:
        state, reason = "pruned", f"measured on {asked} of {size} examples."
    return replace(trial, state=state, reason=reason, metrics=metrics, violations=over, failure_rate=rate)


def owed(trial: Trial) -> bool:
    """Whether a measurement is wanting; one with too many failures says more of the servers than of the graph."""
    over = trial.violations.get("failures", 0.0) > 0.0
    return trial.state in ("running", "failed") or (trial.state == "infeasible" and over)


def _say_over(plan: Plan, name: str, value: float) -> str:
    if name == "failures":
        return f"{value:.0%} of its answers failed, more than {MOST_FAILURES:.0%}."
    return f"`budget.{name}` is {plan.bounds[name]:g}, and it takes {value:g}."
