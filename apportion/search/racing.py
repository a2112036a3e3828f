"""A study that races graphs: those that may be the best are measured on more examples. The field says who is next."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

from apportion.search.field import Field, candidates
from apportion.search.measuring import Measurer
from apportion.search.plan import Plan
from apportion.search.problem import Log, Problem
from apportion.search.trial import Trial


def drawn_field(plan: Plan, problem: Problem, log: Log) -> Field:
    """Candidates, with what an answer of each was expected to cost when the race began.

    Raises:
        GraphError: the space has none.
    """
    drawn = candidates(plan)
    costs = log.fact("race")
    if costs is None:
        costs = [problem.on_paper(graph).get(plan.cost) or float(graph.calls) for _, graph in drawn]
        log.set_fact("race", costs)
    return Field(plan, drawn, costs)


async def race(plan: Plan, field: Field, measurer: Measurer, failing: Callable[[], str | None]) -> str:
    """Measure graphs on more and more examples, those that may be the best further than the others.

    Args:
        failing: why measurements say nothing any more; None while they do.

    Returns:
        Why it ended.

    Raises:
        LimitReached: a needed draw may not be bought.
    """
    for trial in measurer.trials:
        field.tell(trial, measurer.scores(trial.key))
    measurer.progress.spent = field.spent
    while (step := field.next()) is not None:
        params, graph, examples = step
        trial = Trial(measurer.number(graph), plan.sampler, baseline=False, graph=graph, params=params)
        await measurer.measure(trial, examples)
        field.tell(measurer.measured[graph.key], measurer.scores(graph.key))
        measurer.progress.spent = field.spent
        if reason := failing():
            return reason
    return field.ended


def cut_short(trials: Sequence[Trial]) -> str:
    """What a limit kept from being chosen: a verdict on baselines alone says nothing of graphs."""
    own = Counter(trial.state for trial in trials if not trial.baseline)
    if own["complete"] or not own["pruned"]:
        return ""
    return f" None of {own['pruned']} graphs was measured on all examples, so that none may be chosen."
