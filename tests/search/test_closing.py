"""The closing on constructed numbers: who wins, against whom, and what may be said of it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from apportion.errors import LimitReached
from apportion.graphs.graph import Graph
from apportion.search.closing import Closing, close, cost_metric
from apportion.search.objectives import Constraint, Objective
from apportion.search.problem import Measurement, Row
from apportion.search.trial import Trial
from apportion.statistics import Interval
from tests.search.kit import ACCURACY, FLOPS, GRAPHS, MemoryPurse, plan, trial

N = 40
Shares = dict[tuple[int, str], float]
"""Trial number and split to the share of right answers."""


def found(number: int, accuracy: float, flops: float, **changes: Any) -> Trial:
    return replace(trial(number, accuracy=accuracy, flops=flops, usd=flops / 1e3), **changes)


def baseline(number: int, accuracy: float, flops: float, **changes: Any) -> Trial:
    return found(number, accuracy, flops, baseline=True, label=f"baseline {number}", **changes)


def rows(share: float) -> list[Row]:
    """The first examples are the right ones, so that a better graph is better example by example."""
    return [(str(i), "ok", "x", {"accuracy": float(i < share * N), "flops": 1.0}) for i in range(N)]


class Measured:
    """Shares of right answers as the test says, else those of the search split; keeps what was measured."""

    def __init__(self, trials: Sequence[Trial], shares: Shares, ends: Callable[[int, str], bool]) -> None:
        self.asked: list[tuple[int, str, str]] = []
        self._trials = {t.key: t for t in trials}
        self._shares = shares
        self._ends = ends

    async def __call__(self, graph: Graph, split: str, label: str) -> Measurement:
        one = self._trials[graph.key]
        if self._ends(one.number, split):
            raise LimitReached("usd", f"spent at {split} of {one.number}")
        self.asked.append((one.number, split, label))
        return Measurement(rows(self._shares.get((one.number, split), one.mean("accuracy"))))


def closed(
    trials: Sequence[Trial],
    shares: Shares | None = None,
    ends: Callable[[int, str], bool] = lambda number, split: False,
    **changes: Any,
) -> tuple[Closing, Measured, MemoryPurse]:
    measured, purse = Measured(trials, shares or {}, ends), MemoryPurse()
    return asyncio.run(close(plan(**changes), trials, measured, purse)), measured, purse


CHEAP, DEAR = baseline(0, 0.5, 10.0), baseline(1, 0.6, 100.0)
WINNER = found(2, 0.9, 20.0)


def test_the_best_on_validation_wins_whatever_it_was_before() -> None:
    trials = [CHEAP, DEAR, WINNER, found(3, 0.85, 15.0)]
    closing, measured, _ = closed(trials, {(2, "validation"): 0.3, (3, "validation"): 0.8})
    assert closing.winner.number == 3 and set(closing.validation) == {0, 2, 3}
    assert closing.validation[2]["accuracy"].mean == pytest.approx(0.3)
    assert [(number, split) for number, split, _ in measured.asked] == [
        (2, "validation"),
        (3, "validation"),
        (0, "validation"),
        (3, "test"),
        (0, "test"),
    ]


def test_equal_on_validation_is_settled_by_the_second_objective() -> None:
    async def same(graph: Graph, split: str, label: str) -> Measurement:
        flops = 5.0 if graph.key == GRAPHS[3].key else 9.0
        return Measurement([("1", "ok", "x", {"accuracy": 1.0, "flops": flops})])

    trials = [CHEAP, WINNER, found(3, 0.8, 15.0)]
    assert asyncio.run(close(plan(), trials, same, MemoryPurse())).winner.number == 3


@pytest.mark.parametrize(
    ("winner", "rival", "verdict"),
    [
        (0.9, 0.5, "better"),
        (0.5, 0.9, "worse"),
        (0.5, 0.5, "not shown"),
        (0.525, 0.5, "not shown"),
    ],
)
def test_the_verdict_is_of_the_test_split(winner: float, rival: float, verdict: str) -> None:
    closing, _, _ = closed([CHEAP, DEAR, WINNER], {(2, "test"): winner, (0, "test"): rival})
    assert closing.verdict == verdict
    assert closing.difference is not None and closing.rival_test is not None
    assert closing.difference.mean == pytest.approx(winner - rival)
    assert closing.test["accuracy"].mean == pytest.approx(winner)
    assert closing.rival_test["accuracy"].mean == pytest.approx(rival)


@pytest.mark.parametrize(("winner", "rival", "verdict"), [(0.1, 0.5, "better"), (0.5, 0.1, "worse")])
def test_less_of_what_is_minimised_is_better(winner: float, rival: float, verdict: str) -> None:
    trials = [baseline(0, 0.5, 10.0), found(2, 0.1, 20.0)]
    objective = Objective("accuracy", maximize=False)
    closing, _, _ = closed(trials, {(2, "test"): winner, (0, "test"): rival}, objectives=(objective,))
    assert (closing.winner.number, closing.verdict) == (2, verdict)


def test_the_rival_is_the_best_baseline_that_costs_no_more() -> None:
    trials = [CHEAP, baseline(1, 0.55, 20.0), baseline(3, 0.7, 20.1), baseline(4, 0.4, 1.0), WINNER]
    closing, measured, _ = closed(trials)
    assert closing.rival is not None and closing.rival.number == 1 and closing.cost == "flops"
    assert measured.asked[-2:] == [(2, "test", "test: trial 2"), (1, "test", "test: baseline 1")]


def test_a_baseline_over_the_budget_may_be_the_rival() -> None:
    over = baseline(0, 0.5, 10.0, state="infeasible")
    assert closed([over, WINNER])[0].rival is over


@pytest.mark.parametrize("state", ["failed", "infeasible"])
def test_a_baseline_that_was_not_measured_is_no_rival(state: str) -> None:
    unmeasured = replace(CHEAP, state=state, metrics={})  # type: ignore[arg-type]
    closing, _, _ = closed([unmeasured, DEAR, WINNER])
    assert (closing.rival, closing.verdict) == (None, "no baseline is as cheap")


def test_a_winner_that_is_a_baseline_is_said_to_be_one() -> None:
    closing, measured, _ = closed([baseline(0, 0.95, 10.0), DEAR, WINNER])
    assert (closing.winner.number, closing.verdict) == (0, "the winner is a baseline")
    assert (closing.rival_test, closing.difference) == (None, None)
    assert [asked for asked in measured.asked if asked[1] == "test"] == [(0, "test", "test: trial 0")]


def test_nothing_as_cheap_is_a_verdict() -> None:
    closing, _, _ = closed([DEAR, WINNER])
    assert (closing.rival, closing.difference, closing.verdict) == (None, None, "no baseline is as cheap")


def test_only_complete_trials_are_finalists() -> None:
    trials = [CHEAP, WINNER, found(3, 1.0, 1.0, state="infeasible"), found(4, 0.9, 20.0, state="repeated")]
    assert set(closed(trials)[0].validation) == {0, 2}
    assert set(closed([*trials, DEAR], finalists=1)[0].validation) == {2}


def test_a_finalist_that_nobody_answers_cannot_win() -> None:
    trials = [CHEAP, WINNER, found(3, 0.8, 15.0)]

    async def lost(graph: Graph, split: str, label: str) -> Measurement:
        failed = graph.key == WINNER.key and split == "validation"
        return Measurement([("1", "failed", None, {"accuracy": None})] if failed else rows(0.5))

    for objective in (ACCURACY, Objective("accuracy", maximize=False)):
        closing = asyncio.run(close(plan(objectives=(objective, FLOPS)), trials, lost, MemoryPurse()))
        assert closing.winner.number != 2 and closing.validation[2] == {}


def test_what_either_failed_to_answer_is_not_compared() -> None:
    async def holes(graph: Graph, split: str, label: str) -> Measurement:
        """The winner is right and the rival wrong in what both answer; what one failed, the other has right."""
        mine = graph.key == WINNER.key
        lost = {0} if mine else {1}
        made: list[Row] = [
            (str(i), "failed", None, {"accuracy": None, "flops": 0.0})
            if i in lost
            else (str(i), "ok", "x", {"accuracy": float(mine or i < 2), "flops": 1.0})
            for i in range(22)
        ]
        return Measurement(made)

    closing = asyncio.run(close(plan(), [CHEAP, WINNER], holes, MemoryPurse()))
    assert closing.difference is not None and (closing.difference.n, closing.difference.mean) == (20, 1.0)


def test_where_nothing_can_be_compared_nothing_is_shown() -> None:
    async def lost(graph: Graph, split: str, label: str) -> Measurement:
        return Measurement([("1", "failed", None, {"accuracy": None})] if split == "test" else rows(0.5))

    closing = asyncio.run(close(plan(finalists=1), [CHEAP, WINNER], lost, MemoryPurse()))
    assert (closing.test, closing.difference, closing.verdict) == ({}, None, "not shown")


def test_a_limit_in_validation_leaves_out_the_rest_of_the_finalists() -> None:
    trials = [CHEAP, WINNER, found(3, 0.8, 15.0)]
    closing, _, purse = closed(trials, ends=lambda number, split: (number, split) == (3, "validation"))
    assert (closing.winner.number, set(closing.validation)) == (2, {2})
    assert purse.held[-1] == 0.0


@pytest.mark.parametrize("at", [(2, "validation"), (2, "test"), (0, "test")])
def test_a_limit_that_leaves_nothing_to_say_is_passed_on(at: tuple[int, str]) -> None:
    with pytest.raises(LimitReached, match=f"spent at {at[1]} of {at[0]}"):
        closed([CHEAP, WINNER], ends=lambda number, split: (number, split) == at)


def test_validation_leaves_money_for_the_test() -> None:
    _, _, purse = closed([CHEAP, WINNER], finalists=2)
    *shares, free = purse.held
    assert free == 0.0 and all(0.0 < share < plan(finalists=2).closing_share for share in shares) and shares


@pytest.mark.parametrize(
    ("changes", "metrics", "cost"),
    [
        ({"constraints": (Constraint("usd", 1.0),)}, ("flops", "usd"), "flops"),
        ({"objectives": (ACCURACY,), "constraints": (Constraint("calls", 9.0),)}, ("flops", "calls"), "calls"),
        ({"objectives": (ACCURACY,)}, ("flops", "usd", "calls"), "usd"),
        ({"objectives": (ACCURACY,)}, ("flops", "calls"), "flops"),
        ({"objectives": (ACCURACY,)}, ("calls",), "calls"),
        ({"objectives": (ACCURACY, Objective("error", maximize=False))}, ("error", "calls"), "calls"),
    ],
)
def test_the_cost_that_matters(changes: dict[str, Any], metrics: tuple[str, ...], cost: str) -> None:
    one = replace(trial(0), metrics=dict.fromkeys(metrics, Interval(1.0, 1.0, 1.0, 1)))
    assert cost_metric(plan(**changes), one) == cost


def test_a_closing_as_json() -> None:
    record = json.loads(json.dumps(closed([CHEAP, DEAR, WINNER])[0].to_dict(), allow_nan=False))
    assert (record["winner"], record["rival"], record["cost"], record["verdict"]) == (2, 0, "flops", "better")
    assert record["test"]["accuracy"]["n"] == N and set(record["validation"]) == {"0", "1", "2"}
    alone = closed([WINNER])[0].to_dict()
    assert (alone["rival"], alone["rival_test"], alone["difference"]) == (None, None, None)
