"""After how many answers a search has paid for itself, against the best of the single models."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from apportion.report.summary import Summary
    from apportion.search.trial import Trial

CURRENCIES = ("usd", "flops")


@dataclass(frozen=True)
class BreakEven:
    """A search beside what its winner saves.

    Attributes:
        currency: of all amounts; list prices of `models`, or FLOPs.
        spent: by the whole run, on graphs, the agent and judges; draws from the bank are free.
        winner, rival: mean of one answer on the search split, by the winner and by the best baseline.
        baseline: number of that trial: the highest first objective, of equals the cheapest, within the budget or not.
        answers: after which the winner has saved what was spent; None where its answers cost no less.
    """

    currency: str
    spent: float
    winner: float
    rival: float
    baseline: int
    answers: int | None


def break_even(summary: Summary) -> Iterator[BreakEven]:
    """One for each currency that is known; none before anything is found, or where the winner is a baseline."""
    winner, rival = summary.best, best_baseline(summary)
    if winner is None or rival is None or winner.baseline:
        return
    for currency in CURRENCIES:
        sums = [own[currency] for own in summary.ledger.values()]
        each = [trial.metrics.get(currency) for trial in (winner, rival)]
        if None in sums or each[0] is None or each[1] is None:
            continue
        spent, own, other = sum(float(amount or 0.0) for amount in sums), each[0].mean, each[1].mean
        answers = math.ceil(spent / (other - own)) if other > own else None
        yield BreakEven(currency, spent, own, other, rival.number, answers)


def best_baseline(summary: Summary) -> Trial | None:
    """The single model that is best in the first objective, by one call or by votes, whatever an answer costs."""
    first = summary.objectives[0]
    measured = [trial for trial in summary.baselines if {first.metric, "flops"} <= trial.metrics.keys()]
    sign = 1.0 if first.maximize else -1.0
    return max(measured, key=lambda trial: (sign * trial.mean(first.metric), -trial.mean("flops")), default=None)
