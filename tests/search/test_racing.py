"""A study by the allocator: graphs are measured on few examples, those that may be best on more, the winner on all."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest

from apportion.errors import GraphError, LimitReached
from apportion.graphs.graph import Graph
from apportion.graphs.space import SearchSpace
from apportion.graphs.templates import TemplateStage
from apportion.search.field import ALLOCATOR, FIELD, candidates
from apportion.search.objectives import Constraint
from apportion.search.problem import ALL, Row
from apportion.search.study import Study
from tests.search.kit import (
    ACCURACY,
    SPACE,
    TINY,
    KilledError,
    MemoryLog,
    Troubled,
    best,
    finish,
    plan,
    searched,
    study,
)

WIDE = SearchSpace(
    tuple(
        TemplateStage(name, ("small", "medium", "large"), ("single", "vote", "best_of_n"), (1, 4), reads=reads)
        for name, reads in (("one", ()), ("two", ("one",)), ("three", ("two",)))
    )
)
BUDGET = (Constraint("flops", 2e10),)


class Counted(Troubled):
    """Remembers how many examples each graph was measured on."""

    def __init__(self) -> None:
        super().__init__(sizes={"search": 40, "validation": 40, "test": 10})
        self.asked: dict[str, list[int]] = {}

    async def measure(self, graph: Graph, split: str, part: slice = ALL) -> AsyncIterator[Row]:
        seen = self.asked.setdefault(graph.key, []) if split == "search" else []
        start = part.start or 0
        async for row in super().measure(graph, split, part):
            seen.append(start)
            start += 1
            yield row


def raced(problem: Counted, log: MemoryLog | None = None, **changes: Any) -> Study:
    usual: dict[str, Any] = {"sampler": ALLOCATOR, "trials": 12, "objectives": (ACCURACY,), "sizes": problem.sizes}
    return study(plan(SPACE, **{**usual, **changes}), problem, log)


@pytest.mark.parametrize("seed", range(4))
def test_the_best_graph_within_the_budget_wins_on_few_examples(seed: int) -> None:
    problem = Counted()
    made = raced(problem, constraints=BUDGET, seed=seed)
    outcome = finish(made)
    assert outcome.closing is not None
    assert problem.strength(outcome.closing.winner.graph) >= 0.97 * best(problem, SPACE, BUDGET)
    states = {trial.state for trial in made.trials if not trial.baseline}
    assert "pruned" in states, "some graphs are given up before they are measured on all examples"


def test_no_example_of_a_graph_is_measured_twice_and_no_more_than_planned() -> None:
    problem = Counted()
    made = raced(problem, trials=5)
    finish(made)
    baselines = {trial.key for trial in made.trials if trial.baseline}
    assert all(asked == list(range(len(asked))) for asked in problem.asked.values())
    assert 0 < sum(len(asked) for key, asked in problem.asked.items() if key not in baselines) <= 5 * 40


def test_what_is_complete_was_measured_on_all_examples_and_what_is_pruned_says_on_how_many() -> None:
    problem = Counted()
    made = raced(problem)
    outcome = finish(made)
    for trial in made.trials:
        asked = len(problem.asked.get(trial.key, []))
        assert (trial.state == "complete") == (asked == 40)
        if trial.state == "pruned":
            assert trial.reason == f"measured on {asked} of 40 examples." and 0 < asked < 40
    assert outcome.closing is not None and outcome.closing.winner.state == "complete"


@pytest.mark.parametrize("dies_at", [1, 7, 12, 20, 31])
def test_a_race_that_was_killed_goes_on_as_it_would_have(dies_at: int) -> None:
    whole = MemoryLog()
    expected = finish(raced(Counted(), whole))
    log = MemoryLog()
    log.dies_at = dies_at
    with pytest.raises(KilledError):
        finish(raced(Counted(), log))
    log.dies_at = None
    assert finish(raced(Counted(), log)) == expected
    assert {r["number"]: r["graph"] for r in log.all()} == {r["number"]: r["graph"] for r in whole.all()}


def test_a_race_stops_by_itself_where_all_that_matters_is_known() -> None:
    problem = Counted()
    made = study(plan(TINY, sampler=ALLOCATOR, trials=500, sizes=problem.sizes), problem)
    outcome = finish(made)
    assert outcome.reason == "what more examples would say is not expected to change the choice."
    assert sum(map(len, problem.asked.values())) < 40 * TINY.size or len(set(searched(problem))) == TINY.size


def test_failed_examples_are_measured_again() -> None:
    class Outage(Counted):
        down = True

        def __init__(self) -> None:
            super().__init__()
            self.trouble = lambda graph, split, i: "failed" if self.down and split == "search" else None

    problem, log = Outage(), MemoryLog()
    outcome = finish(raced(problem, log))
    assert outcome.state == "infeasible"
    problem.down = False
    outcome = finish(raced(problem, log))
    assert outcome.state == "done" and outcome.closing is not None


def test_the_field_of_a_small_space_is_all_of_it_and_of_a_large_one_a_part() -> None:
    assert len(candidates(plan(SPACE))) == SPACE.size
    assert WIDE.size > FIELD
    drawn = [graph.key for _, graph in candidates(plan(WIDE))]
    assert len(set(drawn)) == len(drawn) == FIELD
    assert drawn == [graph.key for _, graph in candidates(plan(WIDE))]
    assert drawn != [graph.key for _, graph in candidates(plan(WIDE, seed=8))]


def test_a_space_without_a_graph_ends_the_search_in_words() -> None:
    lone = SearchSpace(tuple(TemplateStage(name, ("small",), ("single",), (1, 1)) for name in ("one", "two")))
    with pytest.raises(GraphError):
        candidates(plan(lone))


@pytest.mark.parametrize("bad", [0, 1, 4, 12, 39])
def test_an_example_that_never_has_an_answer_holds_up_no_race_and_excludes_no_graph(bad: int) -> None:
    problem = Counted()
    problem.trouble = lambda graph, split, i: "failed" if split == "search" and i == bad else None
    made = raced(problem, trials=6)
    outcome = finish(made)
    assert outcome.state == "done"
    assert {trial.state for trial in made.trials} == {"complete", "pruned"}, "one of forty may fail"
    assert len(problem.measured) < 200


@pytest.mark.parametrize("dies_at", [None, 40])
@pytest.mark.parametrize(("after", "lasts"), [(0, 1), (0, 30), (50, 60), (330, 60), (345, 200)])
def test_what_an_outage_spoilt_keeps_its_number_and_baselines_stay_baselines(
    after: int, lasts: int, dies_at: int | None
) -> None:
    asked = 0

    def outage(graph: Graph, split: str, i: int) -> str | None:
        nonlocal asked
        asked += 1
        return "failed" if after < asked <= after + lasts else None

    problem, log = Counted(), MemoryLog()
    problem.trouble, log.dies_at = outage, dies_at
    with contextlib.suppress(KilledError):
        finish(raced(problem, log))
    before = {record["number"]: record for record in log.all()}
    log.dies_at = None
    made = raced(Counted(), log)
    assert finish(made).state == "done"
    records = log.all()
    assert [records[number]["graph"] for number in before] == [record["graph"] for record in before.values()]
    assert [record["number"] for record in records] == list(range(len(records)))
    assert len({str(record["graph"]) for record in records}) == len(records), "each graph has one trial"
    assert sum(trial.baseline and trial.state == "complete" for trial in made.trials) == 6


def test_servers_that_are_gone_end_a_race_though_graphs_had_answers_before() -> None:
    asked = 0

    def gone(graph: Graph, split: str, i: int) -> str | None:
        nonlocal asked
        asked += 1
        return "failed" if asked > 345 else None

    problem = Counted()
    problem.trouble = gone
    made = raced(problem)
    outcome = finish(made)
    assert outcome.state == "undone" and outcome.reason.startswith("10 trials failed in a row")
    assert sum(trial.state in ("failed", "infeasible") for trial in made.trials) <= 20


@pytest.mark.parametrize("dies_at", [9, 30, 56, 68, 80, 112])
def test_scores_that_are_written_before_a_kill_and_their_trial_is_not_change_nothing(dies_at: int) -> None:
    class Early(MemoryLog):
        async def put(self, number: int, record: Mapping[str, Any], **facts: Any) -> None:
            if self.writes + 1 == self.dies_at:
                raise KilledError
            await super().put(number, record, **facts)

    whole, log = MemoryLog(), Early()
    expected = finish(raced(Counted(), whole))
    log.dies_at = dies_at
    with pytest.raises(KilledError):
        finish(raced(Counted(), log))
    log.dies_at = None
    assert finish(raced(Counted(), log)) == expected
    assert log.all() == whole.all()


@pytest.mark.parametrize("dies_at", [252, 297, 369])
def test_graphs_refused_on_paper_stay_refused_where_a_race_goes_on(dies_at: int) -> None:
    constraints = (Constraint("flops", 8e9),)
    whole, log = MemoryLog(), MemoryLog()
    expected = finish(raced(Counted(), whole, constraints=constraints))
    assert any("paper" in record["violations"] for record in whole.all()), "or nothing is tested"
    log.dies_at = dies_at
    with pytest.raises(KilledError):
        finish(raced(Counted(), log, constraints=constraints))
    log.dies_at = None
    assert finish(raced(Counted(), log, constraints=constraints)) == expected
    assert log.all() == whole.all()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"constraints": (Constraint("flops", 1.0),)}, "none of 168 graphs may be chosen: each is over the budget"),
        ({"trials": 1}, "as many examples as those have are measured."),
        ({"trials": 3, "sizes": {"search": 3, "validation": 4, "test": 4}}, "too few are left for the next"),
    ],
)
def test_a_race_says_why_it_ended(changes: dict[str, Any], said: str) -> None:
    problem = Counted()
    problem.sizes = changes.get("sizes", problem.sizes)
    made = raced(problem, **changes)
    assert said in finish(made).reason
    assert made.progress.spent <= made.plan.trials, "trials shown of those planned"


def test_a_limit_that_leaves_baselines_alone_says_so() -> None:
    class Dear(Counted):
        left = 330

        async def measure(self, graph: Graph, split: str, part: slice = ALL) -> AsyncIterator[Row]:
            async for row in super().measure(graph, split, part):
                self.left -= split == "search"
                if self.left < 0 and split == "search":
                    raise LimitReached("calls", "`limits.calls` is 330.")
                yield row

    made = raced(Dear())
    outcome = finish(made)
    assert outcome.closing is not None and outcome.closing.winner.baseline
    pruned = sum(trial.state == "pruned" for trial in made.trials)
    assert outcome.reason.endswith(f"None of {pruned} graphs was measured on all examples, so that none may be chosen.")
