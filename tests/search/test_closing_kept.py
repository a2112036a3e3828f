"""What a search keeps for its closing: as planned, or as measured where that is more. Every draw is bought."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apportion.envs.limits import NOTHING, Allowance, Limits, Spend
from apportion.errors import LimitReached
from apportion.graphs.graph import Graph, calls_of
from apportion.search.closing import NEED_MARGIN, close, kept
from apportion.search.plan import Plan
from apportion.search.problem import ALL, Measurement, Purse, Row
from apportion.search.study import Outcome, Study
from apportion.search.trial import Trial
from apportion.statistics import Interval
from tests.search.kit import GRAPHS, KilledError, MemoryLog, MemoryPurse, Troubled, plan

SIZES = {"search": 6, "validation": 10, "test": 20}
BASELINES = 6  # of `SPACE`: three models, one call and a vote of each
Bank = set[tuple[str, int, str, int]]


class Teller(Allowance):
    """An allowance that remembers the share that is held."""

    share = 0.0

    def hold(self, share: float) -> None:
        self.share = share
        super().hold(share)


class Blind:
    """A purse that does not tell its limits, so that only what is planned can be held."""

    def __init__(self, purse: Purse) -> None:
        self._purse = purse

    @property
    def elapsed_s(self) -> float:
        return self._purse.elapsed_s

    @property
    def caps(self) -> Mapping[str, float]:
        return {}

    def hold(self, share: float) -> None:
        self._purse.hold(share)


class Paid(Troubled):
    """Buys every draw that the bank lacks. Graphs share those of nodes without inputs.

    Attributes:
        held: share that was held when a graph was measured on the search split, by its key.
    """

    def __init__(self, purse: Teller, bank: Bank) -> None:
        super().__init__(sizes=SIZES)
        self.held: dict[str, float] = {}
        self._purse = purse
        self._bank = bank

    async def measure(self, graph: Graph, split: str, part: slice = ALL) -> AsyncIterator[Row]:
        if split == "search":
            self.held[graph.key] = self._purse.share
        i = part.start or 0
        async for row in super().measure(graph, split, part):
            for node in graph.nodes:
                owner = graph.key + node.id if node.inputs else f"{node.stage} {node.model}"
                for k in range(calls_of(graph, node)):
                    await self._buy((split, i, owner, k), self.models[str(node.model)].flops / 1e15)
            yield row
            i += 1

    async def _buy(self, draw: tuple[str, int, str, int], usd: float) -> None:
        if draw not in self._bank:
            cost = Spend(1, 100, usd)
            self._purse.settle(await self._purse.reserve(cost), cost)
            self._bank.add(draw)


@dataclass
class Run:
    """A run over its sessions: what a run folder keeps."""

    plan: Plan
    limits: Limits
    log: MemoryLog = field(default_factory=MemoryLog)
    bank: Bank = field(default_factory=set)
    spent: Spend = NOTHING
    held: dict[str, float] = field(default_factory=dict)
    trials: list[Trial] = field(default_factory=list)

    def go_on(self, *, blind: bool = False) -> Outcome:
        purse = Teller(self.limits, self.spent)
        problem = Paid(purse, self.bank)
        made = Study(self.plan, problem, self.log, Blind(purse) if blind else purse)
        try:
            return asyncio.run(made.run())
        finally:
            self.spent, self.trials = purse.spent, made.trials
            for key, share in problem.held.items():
                self.held.setdefault(key, share)

    @property
    def counted(self) -> int:
        return sum(trial.counted for trial in self.trials)


def wanted(**changes: Any) -> Plan:
    """Many trials are promised, so that little is planned to be kept."""
    return plan(**{"sizes": SIZES, "trials": 100, "finalists": 2, **changes})


LIMITS = [Limits(calls=1100), Limits(tokens=110_000), Limits(usd=0.006)]


@pytest.mark.parametrize("limits", LIMITS, ids=["calls", "tokens", "usd"])
@pytest.mark.parametrize("seed", range(3))
def test_dear_finalists_are_validated_and_tested_where_the_plan_keeps_too_little(limits: Limits, seed: int) -> None:
    before, now = Run(wanted(seed=seed), limits), Run(wanted(seed=seed), limits)
    undone = before.go_on(blind=True)
    assert undone.state == "undone" and "Validation or test was left undone" in undone.reason
    outcome = now.go_on()
    assert outcome.state == "done" and outcome.closing is not None and len(outcome.closing.validation) == 2
    assert 0 < now.counted < before.counted


def test_why_the_search_stopped_is_said() -> None:
    run = Run(wanted(), Limits(calls=1100))
    reason = run.go_on().reason
    share = max(run.held.values())
    assert share > run.plan.closing_share + 0.1
    assert f"`limits.calls` is 1100 with {share:.0%} kept for validation and test: " in reason


@settings(deadline=None, max_examples=40)
@given(
    st.integers(1, 3000),
    st.sampled_from(["calls", "tokens", "usd"]),
    st.integers(1, 4),
    st.sampled_from([1, 10, 100]),
    st.integers(0, 99),
)
def test_no_limit_is_passed_and_never_less_is_held_than_planned(
    calls: int, currency: str, finalists: int, trials: int, seed: int
) -> None:
    limits = {"calls": Limits(calls=calls), "tokens": Limits(tokens=100 * calls), "usd": Limits(usd=4e-6 * calls)}
    run = Run(wanted(finalists=finalists, trials=trials, seed=seed), limits[currency])
    blind = Run(run.plan, run.limits)
    run.go_on()
    blind.go_on(blind=True)
    assert getattr(run.spent, currency) <= getattr(run.limits, currency) + 1e-9
    assert all(share >= run.plan.closing_share for share in run.held.values())
    assert set(blind.held.values()) <= {run.plan.closing_share}
    told = [[trial for trial in each.trials if trial.baseline] for each in (run, blind)]
    assert told[0] == told[1], "baselines are measured as far as the plan lets them"


def test_baselines_are_measured_though_nothing_is_left_for_the_search() -> None:
    run = Run(wanted(), Limits(calls=330))
    assert run.go_on().state == "undone"
    assert (sum(trial.baseline for trial in run.trials), run.counted) == (BASELINES, 0)
    run.limits = Limits(calls=2500)
    assert run.go_on().state == "done" and run.counted > 0, "and it goes on where the limit is raised"


def test_a_killed_search_goes_on_holding_the_same() -> None:
    whole = Run(wanted(), Limits(calls=1000))
    whole.go_on()
    assert len(set(whole.held.values())) > 2
    for at in range(1, whole.log.writes + 1, 4):
        run = Run(whole.plan, whole.limits)
        run.log.dies_at = at
        with pytest.raises(KilledError):
            run.go_on()
        run.log.dies_at = None
        run.go_on()
        assert (run.held, run.spent) == (whole.held, whole.spent)
        assert (run.log.trials, run.log.fact("outcome")) == (whole.log.trials, whole.log.fact("outcome"))


def told(number: int, accuracy: float, flops: float, calls: float, **changes: Any) -> Trial:
    means = {"accuracy": accuracy, "flops": flops, "calls": calls, "tokens": 100.0 * calls}
    metrics = {name: Interval(mean, mean, mean, 6) for name, mean in means.items()}
    return replace(Trial(number, "test", False, GRAPHS[number], {}, "complete", "", metrics), **changes)


ONE, VOTE = told(0, 0.4, 1.0, 2.0, baseline=True), told(1, 0.7, 8.0, 12.0, baseline=True)
TRIALS = [ONE, VOTE, told(2, 0.9, 9.0, 5.0), told(3, 0.8, 3.0, 4.0), told(4, 1.0, 99.0, 99.0, state="infeasible")]


@pytest.mark.parametrize(
    ("trials", "finalists", "calls"),
    [
        (TRIALS, 1, 10 * 5 + 20 * (5 + 12)),  # its rival, of fewer FLOPs, makes more calls
        (TRIALS, 2, 10 * (5 + 4) + 20 * (5 + 12)),
        (TRIALS, 9, 10 * (5 + 4 + 12 + 2) + 20 * (5 + 12)),
        ([ONE, TRIALS[3]], 2, 10 * (4 + 2) + 20 * (4 + 2)),
        ([VOTE, TRIALS[3]], 2, 10 * (4 + 12) + 20 * 12),  # trial 3 has no rival, and the vote is its own
        ([ONE], 3, 10 * 2 + 20 * 2),
        ([], 3, 0),
    ],
)
def test_what_is_needed_is_what_the_closing_would_buy(trials: list[Trial], finalists: int, calls: float) -> None:
    wide = wanted(finalists=finalists, trials=10**6)
    share = kept(wide, trials, Allowance(Limits(calls=10_000)))
    assert share == pytest.approx(max(wide.closing_share, NEED_MARGIN * calls / 10_000))
    tight = Allowance(Limits(calls=10_000, tokens=5e5))
    assert kept(wide, trials, tight) == pytest.approx(max(wide.closing_share, NEED_MARGIN * calls / 5_000))
    assert kept(wide, trials, Allowance(Limits(calls=1))) == (1.0 if calls else wide.closing_share)


@pytest.mark.parametrize("purse", [Allowance(Limits(wall_s=1.0)), Allowance(Limits(usd=1e-9)), MemoryPurse()])
def test_what_is_not_known_is_held_as_planned(purse: Purse) -> None:
    assert "usd" not in VOTE.metrics
    assert kept(wanted(), TRIALS, purse) == wanted().closing_share


@pytest.mark.parametrize("blind", [True, False])
def test_a_finalist_is_left_out_rather_than_the_test(*, blind: bool) -> None:
    made, purse = wanted(finalists=4), Allowance(Limits(calls=490))
    trials = {trial.key: trial for trial in TRIALS}

    async def measure(graph: Graph, split: str, label: str) -> Measurement:
        cost = Spend(round(trials[graph.key].mean("calls")))
        for _ in range(SIZES[split]):
            purse.settle(await purse.reserve(cost), cost)
        return Measurement([("1", "ok", "x", {"accuracy": 1.0, "flops": 1.0})])

    closing = close(made, TRIALS, measure, Blind(purse) if blind else purse)
    if blind:
        with pytest.raises(LimitReached, match=r"`limits\.calls` is 490: "):
            asyncio.run(closing)
    else:
        assert set(asyncio.run(closing).validation) == {2}
