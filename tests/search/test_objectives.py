"""The front, the order of finalists and the measure of being over the budget."""

from __future__ import annotations

import itertools
import math
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apportion.search.objectives import Constraint, Objective, front, ranked, violations
from apportion.search.trial import Trial, TrialState
from apportion.statistics import Interval
from tests.search.kit import ACCURACY, FLOPS, trial

BOTH = (ACCURACY, FLOPS)
STATES: tuple[TrialState, ...] = ("running", "complete", "infeasible", "failed", "pruned", "repeated")
points = st.tuples(st.integers(0, 4), st.integers(0, 4))


@st.composite
def told(draw: st.DrawFn) -> list[Trial]:
    """Trials with many ties, some of them not complete."""
    states = st.sampled_from(("complete", "complete", *STATES))
    drawn = draw(st.lists(st.tuples(points, states), max_size=12))
    return [trial(n, state, accuracy=a / 4, flops=b) for n, ((a, b), state) in enumerate(drawn)]


def betters(a: Trial, b: Trial) -> bool:
    """Written out anew, so that the product is not held against itself."""
    (x1, y1), (x2, y2) = ((t.mean("accuracy"), t.mean("flops")) for t in (a, b))
    return x1 >= x2 and y1 <= y2 and (x1 > x2 or y1 < y2)


@given(told())
def test_the_front_is_what_nothing_betters(trials: list[Trial]) -> None:
    kept = front(trials, BOTH)
    complete = [t for t in trials if t.state == "complete"]
    assert {t.number for t in kept} == {t.number for t in complete if not any(betters(other, t) for other in complete)}
    assert all(t.state == "complete" for t in kept)
    assert bool(kept) == bool(complete)


@given(told(), st.randoms(use_true_random=False))
def test_the_front_does_not_depend_on_the_order(trials: list[Trial], random: Random) -> None:
    kept = front(trials, BOTH)
    shuffled = random.sample(trials, len(trials))
    assert front(shuffled, BOTH) == kept
    assert front(kept, BOTH) == kept


@given(told())
def test_the_front_begins_with_the_best_in_the_first_objective(trials: list[Trial]) -> None:
    kept = front(trials, BOTH)
    for a, b in itertools.pairwise(kept):
        assert (a.mean("accuracy"), -a.mean("flops"), -a.number) > (b.mean("accuracy"), -b.mean("flops"), -b.number)


@given(told(), st.sampled_from([(ACCURACY,), BOTH]))
def test_ranked_holds_every_complete_trial_once_the_front_first(
    trials: list[Trial], objectives: tuple[Objective, ...]
) -> None:
    order = ranked(trials, objectives)
    best = front(trials, objectives)
    assert order[: len(best)] == best
    assert sorted(t.number for t in order) == [t.number for t in trials if t.state == "complete"]
    rest = [tuple(o.gain(t) for o in objectives) for t in order[len(best) :]]
    assert rest == sorted(rest, reverse=True)


def test_equal_trials_stand_together_on_the_front() -> None:
    trials = [trial(n, accuracy=0.5, flops=1.0) for n in range(3)]
    assert front(trials, BOTH) == trials


def test_a_trial_without_an_objective_is_not_on_the_front() -> None:
    assert front([trial(0, accuracy=0.5), trial(1, accuracy=0.4, flops=1.0)], BOTH) == [
        trial(1, accuracy=0.4, flops=1.0)
    ]


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_what_is_no_number_cannot_become_a_metric(value: float) -> None:
    with pytest.raises(ValueError, match="an interval must be finite"):
        trial(0, accuracy=value, flops=1.0)


def test_gain() -> None:
    one = trial(0, accuracy=0.5, flops=3.0)
    assert (ACCURACY.gain(one), FLOPS.gain(one)) == (0.5, -3.0)
    with pytest.raises(KeyError, match="usd"):
        Objective("usd", maximize=False).gain(one)


def test_violations_are_shares_of_the_bound() -> None:
    metrics = {"usd": Interval(3.0, 3.0, 3.0, 1), "calls": Interval(2.0, 2.0, 2.0, 1)}
    over = violations((Constraint("usd", 2.0), Constraint("calls", 4.0), Constraint("latency_s", 1.0)), metrics, 0.15)
    assert over == {"usd": 0.5, "calls": -0.5, "failures": pytest.approx(0.1)}
