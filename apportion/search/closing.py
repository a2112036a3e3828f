"""The closing of a study: finalists on the validation split, then the winner and its rival once on the test split.

The rival is the best baseline that costs no more than the winner. "Nothing beats the baseline" is a legal verdict.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from apportion.errors import ApportionError, LimitReached
from apportion.graphs.cost import COSTS
from apportion.graphs.graph import Graph
from apportion.search.objectives import Objective, ranked
from apportion.search.plan import Plan
from apportion.search.problem import Measurement, Purse
from apportion.search.trial import Trial
from apportion.statistics import Interval

Verdict = Literal["better", "not shown", "worse", "the winner is a baseline", "no baseline is as cheap"]
Metrics = Mapping[str, Interval]
Measure = Callable[[Graph, str, str], Awaitable[Measurement]]
"""Graph, split and label to a measurement."""

PREFERRED = ("usd", "flops", "latency_s", "tokens", "calls")
"""By what "costs no more" is judged where neither budget nor objectives name a cost: the first that is known."""

NEED_MARGIN = 1.2  # means over a dozen other examples differ by about a tenth, and failed requests are made again


class Unmeasured(ApportionError):
    """Too many answers of a graph failed for its numbers to close a study with."""


@dataclass(frozen=True)
class Closing:
    """What the closing found.

    Attributes:
        validation: metrics of each finalist by trial number.
        winner: the finalist that is best on the validation split.
        test: the winner's metrics on the test split.
        rival: the best baseline that costs no more, by its scores on the search split; None if there is none.
        rival_test: the rival's metrics on the test split.
        cost: the metric by which "no more" is judged.
        difference: winner minus rival in the first objective on the test split, paired by example.
    """

    validation: Mapping[int, Metrics]
    winner: Trial
    test: Metrics
    rival: Trial | None
    rival_test: Metrics | None
    cost: str
    difference: Interval | None
    verdict: Verdict

    def to_dict(self) -> dict[str, Any]:
        """JSON values."""
        return {
            "validation": {str(number): _plain(metrics) for number, metrics in self.validation.items()},
            "winner": self.winner.number,
            "test": _plain(self.test),
            "rival": self.rival.number if self.rival else None,
            "rival_test": _plain(self.rival_test) if self.rival_test else None,
            "cost": self.cost,
            "difference": self.difference.to_dict() if self.difference else None,
            "verdict": self.verdict,
        }


async def close(plan: Plan, trials: Sequence[Trial], measure: Measure, purse: Purse) -> Closing:
    """Validate the finalists and test the winner.

    Raises:
        LimitReached: not even one finalist could be validated, or the test could not be ended.
        Unmeasured: the servers failed a graph; when they are back, the closing can be done.
    """
    finalists = _finalists(plan, trials)
    validation = await _validate(plan, trials, finalists, measure, purse)
    winner = _best([t for t in finalists if t.number in validation], validation, plan.objectives)
    cost = cost_metric(plan, winner)
    rival = _rival(plan, trials, winner)
    tested = await measure(winner.graph, "test", f"test: trial {winner.number}")
    against = await measure(rival.graph, "test", f"test: {rival.label}") if rival and rival is not winner else None
    difference = _difference(plan.objectives[0], tested, against) if against else None
    return Closing(
        validation,
        winner,
        tested.metrics(),
        rival,
        against.metrics() if against else None,
        cost,
        difference,
        _verdict(winner, rival, difference),
    )


def cost_metric(plan: Plan, trial: Trial) -> str:
    """The cost that matters: a minimised objective, else the budget's, else the first known of `PREFERRED`."""
    named = [o.metric for o in plan.objectives if not o.maximize] + [c.metric for c in plan.constraints]
    return next(metric for metric in (*named, *PREFERRED) if metric in COSTS and metric in trial.metrics)


def kept(plan: Plan, trials: Sequence[Trial], purse: Purse) -> float:
    """Share of every limit to keep for the closing of these trials: the planned one or, if that is more, the measured.

    The measured one is what `close` buys if the dearest finalist wins, by costs on the search split. Draws that the
    graphs share, or that the bank has, are counted as bought: it is rather too much than too little.
    """
    finalists = _finalists(plan, trials)
    return max(
        plan.closing_share,
        _share(purse, lambda metric: _to_validate(plan, finalists, metric) + _to_test(plan, trials, finalists, metric)),
    )


def _share(purse: Purse, need: Callable[[str], float]) -> float:
    """The greatest share of a limit that a need takes, with a margin; at most 1, and 0 where there is no limit.

    A purse keeps one share of all its limits, so the clock follows the others, and is never kept less than planned. A
    measured need of seconds there is not: how long an answer takes with nothing from the bank is not recorded.
    """
    return min(1.0, max((NEED_MARGIN * need(metric) / cap for metric, cap in purse.caps.items() if cap), default=0.0))


def _to_validate(plan: Plan, finalists: Sequence[Trial], metric: str) -> float:
    return plan.sizes["validation"] * _cost(finalists, metric)


def _to_test(plan: Plan, trials: Sequence[Trial], finalists: Sequence[Trial], metric: str) -> float:
    """Cost of the winner and its rival on the test split, whichever finalist makes that dearest."""
    return plan.sizes["test"] * max((_cost(_tested(plan, trials, t), metric) for t in finalists), default=0.0)


def _tested(plan: Plan, trials: Sequence[Trial], winner: Trial) -> list[Trial]:
    """The winner and, unless it is one itself, the baseline it is held against."""
    rival = _rival(plan, trials, winner)
    return [winner, rival] if rival and rival is not winner else [winner]


def _cost(trials: Sequence[Trial], metric: str) -> float:
    """Of an answer of each of the trials, as far as it is known."""
    return sum(trial.mean(metric) for trial in trials if metric in trial.metrics)


def _finalists(plan: Plan, trials: Sequence[Trial]) -> list[Trial]:
    return ranked(trials, plan.objectives)[: plan.finalists]


async def _validate(
    plan: Plan, trials: Sequence[Trial], finalists: Sequence[Trial], measure: Measure, purse: Purse
) -> dict[int, Metrics]:
    """Metrics of the finalists on the validation split; those that a limit leaves out are left out here."""
    test = 2 * plan.sizes["test"]
    planned = plan.closing_share * test / (test + plan.finalists * plan.sizes["validation"])
    measured = _share(purse, lambda metric: _to_test(plan, trials, finalists, metric))
    validation: dict[int, Metrics] = {}
    purse.hold(planned)
    try:
        for trial in finalists:
            rows = await measure(trial.graph, "validation", f"validation: trial {trial.number}")
            validation[trial.number] = rows.metrics()
            purse.hold(max(planned, measured))  # not before the first: without it there is nothing to test
    except LimitReached:
        if not validation:
            raise
    finally:
        purse.hold(0.0)
    return validation


def _best(finalists: Sequence[Trial], validation: Mapping[int, Metrics], objectives: Sequence[Objective]) -> Trial:
    def gains(trial: Trial) -> tuple[float, ...]:
        validated = replace(trial, metrics=validation[trial.number])
        return tuple(o.gain(validated) if o.metric in validated.metrics else float("-inf") for o in objectives)

    return max(finalists, key=gains)


def _rival(plan: Plan, trials: Sequence[Trial], winner: Trial) -> Trial | None:
    """The best measured baseline that costs no more than the winner, within the budget or not."""
    if winner.baseline:
        return winner
    objective, cost = plan.objectives[0], cost_metric(plan, winner)
    baselines = [t for t in trials if t.baseline and objective.metric in t.metrics and cost in t.metrics]
    cheap = [t for t in baselines if t.mean(cost) <= winner.mean(cost)]
    return max(cheap, key=objective.gain, default=None)


def _difference(objective: Objective, winner: Measurement, rival: Measurement) -> Interval | None:
    """How much better the winner is, in the direction of the objective."""
    better, worse = (winner, rival) if objective.maximize else (rival, winner)
    return better.difference(worse, objective.metric)


def _verdict(winner: Trial, rival: Trial | None, difference: Interval | None) -> Verdict:
    if winner.baseline:
        return "the winner is a baseline"
    if rival is None:
        return "no baseline is as cheap"
    if difference is not None and difference.low > 0:
        return "better"
    return "worse" if difference is not None and difference.high < 0 else "not shown"


def _plain(metrics: Metrics) -> dict[str, Any]:
    return {name: interval.to_dict() for name, interval in metrics.items()}
