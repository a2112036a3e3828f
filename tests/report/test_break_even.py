"""Break-even: what a search has spent over what each answer of its winner saves, by hand."""

from __future__ import annotations

import pytest

from apportion.graphs.graph import Graph, Node
from apportion.graphs.paper import Lengths
from apportion.report.break_even import BreakEven, break_even
from apportion.report.summary import Summary
from apportion.search.objectives import Objective
from apportion.search.trial import Trial
from apportion.statistics import Interval
from apportion.store.calls import Sums

GRAPH = Graph((Node("answer.1", "answer", "generator", "small"),))


def trial(number: int, accuracy: float, flops: float, usd: float | None, *, baseline: bool = True) -> Trial:
    known = {"accuracy": accuracy, "flops": flops, **({} if usd is None else {"usd": usd})}
    metrics = {name: Interval(value, value, value, 20) for name, value in known.items()}
    return Trial(number, "one call", baseline, GRAPH, state="complete", metrics=metrics)


def summary(*trials: Trial, winner: int, usd: float | None = 0.5) -> Summary:
    ledger: dict[str, Sums] = {"candidate": {"flops": 600.0, "usd": usd}, "searcher": {"flops": 401.0, "usd": 0.5}}
    return Summary(
        "study", "run", "done", "", trials, [Objective("accuracy", True)], {}, {"winner": winner}, ledger, (), 0.0, {},
        {}, Lengths({}), {},
    )  # fmt: skip


def test_what_was_spent_over_what_an_answer_saves() -> None:
    trials = [trial(0, 0.5, 30.0, 0.03), trial(1, 0.6, 40.0, 0.04), trial(2, 0.55, 20.0, 0.05, baseline=False)]
    usd, flops = break_even(summary(*trials, winner=2))
    assert flops == BreakEven("flops", 1001.0, 20.0, 40.0, 1, 51)
    assert (usd.spent, usd.answers) == (1.0, None), "an answer of the winner costs more"


def test_of_baselines_that_are_as_good_the_cheapest_counts() -> None:
    trials = [trial(0, 0.6, 50.0, None), trial(1, 0.6, 40.0, None), trial(2, 0.7, 39.0, None, baseline=False)]
    [flops] = break_even(summary(*trials, winner=2, usd=None))
    assert (flops.baseline, flops.answers) == (1, 1001)


@pytest.mark.parametrize("winner", [0, 1])
def test_a_winner_that_is_a_baseline_has_nothing_to_repay(winner: int) -> None:
    assert not list(break_even(summary(trial(0, 0.5, 30.0, None), trial(1, 0.6, 40.0, None), winner=winner)))


def test_prices_that_are_not_known_are_left_out() -> None:
    trials = [trial(0, 0.6, 40.0, 0.1), trial(1, 0.7, 20.0, 0.05, baseline=False)]
    assert [own.currency for own in break_even(summary(*trials, winner=1, usd=None))] == ["flops"]
