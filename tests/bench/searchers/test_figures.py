"""Figures of runs that were made by hand, each held against its definition or a brute force."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from apportion.bench.searchers.figures import (
    AT,
    Entry,
    Field,
    course,
    entries,
    report,
    spend_to_tpe,
    weightings,
)
from apportion.bench.searchers.race import Job, Led, Run
from apportion.envs.replay.market import Currency

S, OPTIMUM, MEDIAN, TOLERANCE = 1000.0, 0.8, 0.4, 0.01
Lead = tuple[float, float] | tuple[float, float, float | None]
Courses = list[tuple[list[Lead], list[Lead]]]


def a_run(
    *leads: Lead,
    task: str = "one",
    sampler: str = "tpe",
    seed: int = 0,
    stages: int = 1,
    bank: bool = False,
    currency: Currency = "draws",
    itself: bool = False,
    oracle: float = OPTIMUM,
    cap: float = S,
) -> Run:
    """A run with leads of spend, value and maybe a stated probability."""
    filled = [Led(lead[0], lead[1], lead[2] if len(lead) == 3 else None, 7) for lead in leads]
    return Run(
        Job(f"{task}.yaml", sampler, seed, currency, bank), task, stages, cap, cap / 2, 7, itself, filled, OPTIMUM,
        TOLERANCE, oracle, MEDIAN, 0.5,
    )  # fmt: skip


def figures_of(*runs: Run, searcher: str = "tpe") -> dict[str, Any]:
    """What `report` says of a searcher on the only task of the runs."""
    (task,) = report(entries(runs))["tasks"]
    found: dict[str, Any] = task["samplers"][searcher]
    return found


# --- the course of a run ---------------------------------------------------------------------------------------------


def test_before_the_first_lead_the_median_stands_and_after_the_end_the_last() -> None:
    regrets = course(a_run((100, 0.6), (400, 0.75))).at(np.array([0.0, 0.0999, 0.1, 0.3999, 0.4, 0.5, 1.0]))
    assert regrets == pytest.approx([0.4, 0.4, 0.2, 0.2, 0.05, 0.05, 0.05])


def test_of_leads_at_one_spend_the_last_counts() -> None:
    own = course(a_run((100, 0.6), (100, 0.7), (300, 0.5), (300, 0.7)))
    assert (own.spends.tolist(), own.regrets.tolist()) == ([0.0, 0.1], pytest.approx([0.4, 0.1]))


def test_a_run_without_a_lead_is_the_median_throughout() -> None:
    own = figures_of(a_run())
    assert own["regret_at"] == {str(at): pytest.approx(0.4) for at in AT}
    assert (own["hit_95"], own["draws_to_95"], own["final_value_ratio"]) == (0.0, pytest.approx(S), pytest.approx(0.5))
    assert (own["led"], figures_of(a_run(), a_run((1, 0.4), seed=1))["led"]) == (0.0, 0.5)


# --- hits and spends -------------------------------------------------------------------------------------------------


def test_hits_count_the_last_lead_only() -> None:
    runs = [
        a_run((100, 0.80), (500, 0.75), seed=0),  # was right, and is wrong at its end
        a_run((100, 0.79), seed=1),  # exactly one tolerance below
        a_run((100, 0.76), seed=2),  # exactly 5 % of the optimum below
        a_run((100, 0.7899), seed=3),  # just out of the tolerance
    ]
    own = figures_of(*runs)
    assert (own["hit_99"], own["hit_95"]) == (0.25, 0.75)


def test_the_tolerance_of_five_percent_is_never_below_that_of_one() -> None:
    coarse = a_run((100, 0.72))
    coarse = Run(**{**coarse.__dict__, "tolerance": 0.1})  # a recording of ten questions
    own = figures_of(coarse)
    assert (own["hit_95"], own["hit_99"]) == (1.0, 1.0)


@pytest.mark.parametrize(
    ("leads", "to_99", "to_95"),
    [
        ([(200, 0.8)], 200, 200),
        ([(200, 0.8), (300, 0.5), (700, 0.795)], 700, 700),  # left the best, and came back
        ([(200, 0.77), (600, 0.8)], 600, 200),
        ([(200, 0.8), (900, 0.77)], S, 200),  # wrong at its end: S, though it was right for long
        ([(200, 0.5)], S, S),
        ([(0, 0.8)], 1, 1),  # a spend counts as at least one draw
        ([(200, 0.8, 0.5), (300, 0.8, 0.99)], 200, 200),  # only its probability changed
    ],
)
def test_the_spend_is_that_after_which_the_lead_stays_right(leads: list[Lead], to_99: float, to_95: float) -> None:
    own = figures_of(a_run(*leads, itself=True))
    assert (own["draws_to_99"], own["draws_to_95"]) == (pytest.approx(to_99), pytest.approx(to_95))


def test_spends_of_seeds_are_averaged_geometrically() -> None:
    own = figures_of(*(a_run((spend, 0.8), seed=seed) for seed, spend in enumerate((10, 1000, 100))))
    assert own["draws_to_99"] == pytest.approx(100)
    low, high = own["to_99_interval"]
    assert 10 <= low < 100 < high <= 1000


def test_a_currency_has_its_own_names() -> None:
    draws, cost = figures_of(a_run((200, 0.8))), figures_of(a_run((200, 0.8), currency="cost"))
    assert (draws["draws_to_99"], draws["cost_to_99"], draws["cost_to_95"]) == (pytest.approx(200), None, None)
    assert (cost["cost_to_99"], cost["draws_to_99"], cost["draws_to_95"]) == (pytest.approx(200), None, None)


def test_spends_in_dollars_are_not_raised_to_one() -> None:
    assert figures_of(a_run((0.02, 0.8), currency="cost", cap=0.1))["cost_to_99"] == pytest.approx(0.02)


def test_values_and_regrets_are_means_over_seeds() -> None:
    own = figures_of(a_run((15, 0.6), seed=0), a_run((60, 0.8), (600, 0.7), seed=1))
    assert own["final_value_ratio"] == pytest.approx((0.6 / 0.8 + 0.7 / 0.8) / 2)
    expected = {"0.01": 0.4, "0.02": 0.3, "0.05": 0.3, "0.1": 0.1, "0.2": 0.1, "0.5": 0.1, "1.0": 0.15}
    assert own["regret_at"] == {at: pytest.approx(regret) for at, regret in expected.items()}


def test_the_hypervolume_is_a_mean_and_unknown_if_one_is() -> None:
    runs = [replace(a_run(seed=seed), hypervolume=share) for seed, share in enumerate((0.5, 0.75))]
    assert figures_of(*runs)["hypervolume"] == 0.625
    assert figures_of(*runs, a_run(seed=2))["hypervolume"] is None


def test_the_oracle_is_what_the_split_allows() -> None:
    own = figures_of(a_run((5, 0.8), oracle=0.79), a_run((5, 0.8), seed=1, oracle=0.6))
    assert (own["oracle_hit_99"], own["oracle_regret"]) == (0.5, pytest.approx(0.105))


# --- against TPE -----------------------------------------------------------------------------------------------------


def test_the_spend_to_tpe_is_where_the_mean_regret_falls_to_its_end_for_good() -> None:
    tpe = [a_run((900, 0.7), seed=seed) for seed in range(2)]  # ends with 0.1
    other = [
        a_run((100, 0.8), (200, 0.4), (300, 0.8), sampler="other", seed=0),
        a_run((100, 0.6), sampler="other", seed=1),  # the mean is 0.1 from 100 on, but for 200 to 300
    ]
    own = figures_of(*tpe, *other, searcher="other")
    assert (own["spend_to_tpe"], own["reached"]) == (pytest.approx(0.3), True)
    own = figures_of(*tpe, *other)
    assert (own["spend_to_tpe"], own["reached"]) == (pytest.approx(0.9), True)


def test_who_never_gets_to_tpe_has_no_spend_to_it() -> None:
    own = figures_of(a_run((900, 0.8)), a_run((100, 0.8), (999, 0.79), sampler="other"), searcher="other")
    assert (own["spend_to_tpe"], own["reached"]) == (None, False)


def test_searchers_with_the_bank_are_compared_with_tpe_that_has_it() -> None:
    runs = [
        a_run((500, 0.6)),
        a_run((300, 0.8), bank=True),
        a_run((50, 0.6), (700, 0.8), sampler="x"),
        a_run((50, 0.6), (700, 0.8), sampler="x", bank=True),
    ]
    assert figures_of(*runs, searcher="x")["spend_to_tpe"] == pytest.approx(0.05)
    assert figures_of(*runs, searcher="x+bank")["spend_to_tpe"] == pytest.approx(0.7)


def test_without_tpe_nothing_is_compared() -> None:
    found = report(entries([a_run((50, 0.6), sampler="x"), a_run((50, 0.6), sampler="tpe", bank=True)]))
    own, banked = found["tasks"][0]["samplers"]["x"], found["tasks"][0]["samplers"]["tpe+bank"]
    assert (own["spend_to_tpe"], own["reached"], banked["reached"]) == (None, None, True)
    assert found["summary"]["single"]["x"]["spend_to_tpe_geomean"] is None


VALUES = st.sampled_from([0.2, 0.4, 0.5, 0.7, 0.76, 0.79, 0.795, 0.8])
LEADS = st.lists(st.tuples(st.integers(0, 1000), VALUES), max_size=6).map(sorted)
COURSES = st.lists(st.tuples(LEADS, LEADS), min_size=1, max_size=5)


def raced(courses: Courses) -> Field:
    """TPE and another, a pair of courses a seed."""
    return entries(
        a_run(*leads, sampler=sampler, seed=seed)
        for seed, pair in enumerate(courses)
        for sampler, leads in zip(("tpe", "other"), pair, strict=True)
    )


def by_hand(entry: Entry, weights: list[float], target: float) -> float:
    """The spend from which on the weighted mean stays at or below a target, by trying all changes of any lead."""
    changes = sorted({0.0, *(at / S for run in entry.runs for at, *_ in run.leads)})
    reached = float("nan")
    for share in reversed(changes):
        values = []
        for run in entry.runs:
            before = [value for at, value, *_ in run.leads if at / S <= share]
            values.append(before[-1] if before else run.median)
        if sum(w * (OPTIMUM - v) for w, v in zip(weights, values, strict=True)) > target + 1e-7:
            return reached
        reached = share
    return reached


@given(COURSES)
def test_the_spend_to_tpe_is_that_of_a_brute_force(courses: Courses) -> None:
    (by,) = raced(courses).values()
    weights = weightings(len(courses), resamples=3)
    for searcher in by:
        shares = spend_to_tpe(by, searcher, weights)
        assert shares is not None
        targets = weights @ by["tpe"].final
        hand = [by_hand(by[searcher], row, t) for row, t in zip(weights.tolist(), targets, strict=True)]
        # a change of a lead need not change the mean: both are the first spend of one and the same step
        means = [by[searcher].regret([share], weights)[i, 0] for i, share in enumerate(shares) if share == share]
        assert np.isnan(shares).tolist() == np.isnan(hand).tolist()
        assert shares[~np.isnan(shares)] == pytest.approx([share for share in hand if share == share])
        assert all(mean <= t + 1e-7 for mean, t in zip(means, targets[~np.isnan(shares)], strict=True))


@given(COURSES)
def test_what_holds_of_all_runs(courses: Courses) -> None:
    field = raced(courses)
    (task,) = report(field)["tasks"]
    assert task["samplers"]["tpe"]["reached"] and 0 <= task["samplers"]["tpe"]["spend_to_tpe"] <= 1
    for own in task["samplers"].values():
        assert 1 <= own["draws_to_95"] <= own["draws_to_99"] * (1 + 1e-9) <= S * (1 + 2e-9)
        assert own["to_99_interval"][0] <= own["draws_to_99"] <= own["to_99_interval"][1]
        assert own["hit_99"] <= own["hit_95"]
        assert own["final_value_ratio"] == pytest.approx(1 - own["regret_at"]["1.0"] / OPTIMUM)
    for entry in field["one"].values():
        for run, own in zip(entry.runs, entry.courses, strict=True):
            bounds = [own.settled(bound) for bound in (0.0, 0.01, 0.04, 0.1, 0.4, 0.6)]
            assert all(loose <= strict for strict, loose in pairwise(bounds)), run


# --- calibration, summary, shape -------------------------------------------------------------------------------------


def test_only_sure_runs_that_stopped_by_themselves_are_held_to_their_word() -> None:
    runs = [
        a_run((10, 0.8, 0.95), itself=True, seed=0),
        a_run((10, 0.5, 0.2), (20, 0.6, 0.9), itself=True, seed=1),  # sure and wrong
        a_run((10, 0.8, 0.95), (20, 0.8, 0.89), itself=True, seed=2),  # was sure once
        a_run((10, 0.8, 0.99), itself=False, seed=3),  # the cap stopped it
        a_run((10, 0.8), itself=True, seed=4),  # says nothing
        a_run((10, 0.795, 1.0), itself=True, seed=5),
    ]
    found = figures_of(*runs)["calibration"]
    assert found == {
        "right": 2, "n": 3, "share": pytest.approx(2 / 3), "low": pytest.approx(0.2077, abs=1e-4),
        "high": pytest.approx(0.9385, abs=1e-4),
    }  # fmt: skip
    other = [a_run((10, 0.8, 0.95), itself=True, seed=seed, task="two") for seed in range(6)]
    overall = report(entries([*runs, *other]))["calibration"]["tpe"]
    assert (overall["right"], overall["n"]) == (8, 9)
    assert figures_of(runs[4])["calibration"] is None


def test_the_summary_is_a_geometric_mean_over_the_tasks_of_a_group() -> None:
    runs = []
    for seed in range(3):
        for task, stages, to_best in (("a", 1, 10), ("b", 1, 1000), ("c", 2, 400)):
            runs.append(a_run((500, 0.7), task=task, stages=stages, seed=seed))
            runs.append(a_run((to_best, 0.8), task=task, stages=stages, seed=seed, sampler="x", oracle=0.7))
    found = report(entries(runs))["summary"]
    assert found["single"]["x"]["tasks"] == 2
    assert found["single"]["x"]["spend_to_tpe_geomean"] == pytest.approx((0.01 * 1.0) ** 0.5)
    assert found["single"]["x"]["draws_to_99_geomean"] == pytest.approx(100)
    assert found["single"]["x"]["spend_to_tpe_interval"] == pytest.approx([0.1, 0.1])  # all seeds are alike
    assert (found["single"]["x"]["hit_99"], found["single"]["x"]["oracle_hit_99"]) == (1.0, 0.0)
    assert (found["multi"]["x"]["tasks"], found["multi"]["x"]["spend_to_tpe_geomean"]) == (1, pytest.approx(0.4))
    assert (found["multi"]["tpe"]["spend_to_tpe_geomean"], found["multi"]["tpe"]["hit_99"]) == (pytest.approx(0.5), 0)


def test_in_the_summary_too_who_never_gets_to_tpe_counts_as_one() -> None:
    never = [a_run((900, 0.8), task="a"), a_run((100, 0.7), task="a", sampler="x")]
    half = [a_run((900, 0.7), task="b"), a_run((250, 0.8), task="b", sampler="x")]
    own = report(entries([*never, *half]))["summary"]["single"]["x"]
    assert (own["spend_to_tpe_geomean"], own["tasks_reached"]) == (pytest.approx(0.5), 1)


def test_the_interval_pairs_the_seeds_of_all_searchers() -> None:
    """A searcher that is TPE at a tenth of the spend is so by any choice of seeds, if they are the same for both."""
    ends = [0.4, 0.5, 0.7, 0.8]
    tpe = [a_run((900, end), seed=seed) for seed, end in enumerate(ends)]
    fast = [a_run((90, end), seed=seed, sampler="fast") for seed, end in enumerate(ends)]
    own = report(entries([*tpe, *fast]))["summary"]["single"]["fast"]
    assert [own["spend_to_tpe_geomean"], *own["spend_to_tpe_interval"]] == pytest.approx([0.09] * 3)


def test_the_report_is_json_whatever_ends_first() -> None:
    runs = [a_run((9, 0.8), seed=1), a_run((9, 0.8), sampler="x", seed=0), a_run(seed=0), a_run(sampler="x", seed=1)]
    found = report(entries(runs))
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert found == report(entries([runs[0], runs[3], runs[2], runs[1]]))
    assert found["summary"]["multi"] == {}
    assert found["ranks"]["mean_rank"] == {"tpe": 1.5, "x": 1.5}


@pytest.mark.parametrize(
    "lacking", [[a_run(seed=0), a_run(seed=1), a_run(sampler="x")], [a_run(), a_run(task="two", sampler="x")]]
)
def test_runs_that_cannot_be_paired_are_refused(lacking: list[Run]) -> None:
    with pytest.raises(ValueError, match="every searcher must have run on every task"):
        entries(lacking)
