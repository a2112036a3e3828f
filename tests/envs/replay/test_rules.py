"""What rules are worth is what all subsets, all orders and all independent draws say."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Sequence
from statistics import mean

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apportion.envs.replay.recorded import Recorded
from apportion.envs.replay.rule import Drawn, Rule
from apportion.envs.replay.rules import RULES, Verified
from apportion.errors import RecordedError
from tests.envs.replay.tables import Cell, Draw, recorded

QUARTERS = st.integers(0, 4).map(lambda k: k / 4)
DRAW = st.tuples(st.integers(-1, 2), st.booleans())
SPOKEN = [(0, True)] * 3  # a table without any answer is refused
RULE = st.one_of(st.sampled_from([RULES["any_correct"], RULES["majority"]]), st.builds(Verified, QUARTERS, QUARTERS))


def once(rule: Rule, draws: Sequence[Draw]) -> float:
    """Probability that the choice among some draws is right, said in another way than the package says it."""
    if rule.name == "any_correct":
        return float(any(right for _, right in draws))
    if isinstance(rule, Verified):
        value = 0.0
        for accepted in itertools.product((True, False), repeat=len(draws)):
            p = 1.0
            for (_, right), says in zip(draws, accepted, strict=True):
                yes = rule.completeness if right else 1.0 - rule.soundness
                p *= yes if says else 1.0 - yes
            among = [right for (_, right), says in zip(draws, accepted, strict=True) if says]
            value += p * mean(among or [right for _, right in draws])
        return value
    votes = Counter(answer for answer, _ in draws if answer >= 0)
    best = [answer for answer, count in votes.items() if count == max(votes.values())]
    return mean(mean(right for a, right in draws if a == answer) for answer in best) if best else 0.0


@settings(max_examples=60)
@given(RULE, st.lists(st.tuples(*[st.lists(DRAW, min_size=3, max_size=5)] * 2), min_size=1, max_size=3), st.data())
def test_expected_is_the_mean_over_all_subsets(rule: Rule, table: list[tuple[Cell, Cell]], data: st.DataObject) -> None:
    n, column = data.draw(st.integers(1, 3)), data.draw(st.integers(0, 1))
    expected = [mean(once(rule, part) for part in itertools.combinations(row[column], n)) for row in table]
    found = rule.expected(recorded([*table, (SPOKEN, SPOKEN)]), column, n)[:-1]
    assert found.tolist() == pytest.approx(expected, abs=1e-12)


@settings(max_examples=200)
@given(RULE, st.lists(DRAW, min_size=1, max_size=4), st.data())
def test_outcomes_of_all_orders_are_what_is_expected(rule: Rule, cell: list[Draw], data: st.DataObject) -> None:
    n = data.draw(st.integers(1, min(3, len(cell))))
    # Quarters of what a verifier says: each occurs as often as any other.
    says = [*itertools.product((0.125, 0.375, 0.625, 0.875), repeat=n)] if isinstance(rule, Verified) else [(0.5,) * n]
    rows = [*itertools.product(itertools.permutations(range(len(cell))), says)]
    samples = np.array([order for order, _ in rows])
    chance = np.full(samples.shape, 0.5)
    chance[:, :n] = [said for _, said in rows]
    answers, correct = np.array([a for a, _ in cell]), np.array([right for _, right in cell])
    drawn = Drawn(np.zeros(len(rows), dtype=np.int64), samples, correct[samples], answers[samples], chance)
    expected = rule.expected(recorded([[cell], [SPOKEN]]), 0, n)[0]
    assert rule.outcome(drawn, n).mean() == pytest.approx(expected, abs=1e-12)


def independent(rule: Rule, p: float, n: int) -> float:
    """Expectation over all results of n draws, of which no two agree."""
    total = 0.0
    for draws in itertools.product((True, False), repeat=n):
        chance = float(np.prod([p if right else 1.0 - p for right in draws]))
        total += chance * once(rule, list(enumerate(draws)))
    return total


@settings(max_examples=40)
@given(
    st.one_of(st.just(RULES["any_correct"]), st.builds(Verified, st.floats(0, 1), st.floats(0, 1))),
    st.floats(0, 1),
    st.integers(1, 4),
)
def test_worth_is_the_expectation_of_independent_draws(rule: Rule, p: float, n: int) -> None:
    assert float(rule.worth(np.array(p), n, ())) == pytest.approx(independent(rule, p, n), abs=1e-9)


@pytest.mark.parametrize("name", ["majority", "weighted"])
def test_worth_of_a_vote_goes_by_the_agreement_of_right_draws_and_then_of_wrong_ones(name: str) -> None:
    """Half of three draws right: only if two right ones agree they win for sure."""
    half, all_, none = np.array(0.5), np.array(1.0), np.array(0.0)
    assert float(RULES[name].worth(half, 3, (all_, none))) == pytest.approx(0.625)
    assert float(RULES[name].worth(half, 3, (none, all_))) == pytest.approx(0.375)


def a_draw(rows: Sequence[Sequence[Draw]]) -> Drawn:
    answers, correct = (np.array([[draw[part] for draw in row] for row in rows]) for part in (0, 1))
    scores = np.where(correct, 0.5, 1.0)
    return Drawn(np.arange(len(rows)), 0 * answers, correct.astype(bool), answers, 0.0 * answers, scores)


HABITS = {"any_correct": 0, "majority": 2, "best_scored": 1, "weighted": 2}
EVERY = [*RULES.values(), Verified(0.9, 0.8), Verified(0.5, 0.5), Verified(1.0, 1.0)]


@pytest.mark.parametrize("rule", EVERY)
def test_habits_are_learnt_that_worth_asks_for(rule: Rule) -> None:
    """Right draws agree, wrong ones do not, and have the better scores; of the second example nothing was bought."""
    drawn = a_draw([[(0, True), (1, False), (0, True), (2, False), (0, True), (3, False)]] * 2)
    habits = rule.habits(drawn, np.array([6, 0]), 500, np.random.default_rng(0))
    assert len(habits) == HABITS.get(rule.name, 0)
    assert all(own.shape == (500, 2) for own in habits)
    value = rule.worth(np.full((500, 2), 0.5), 5, habits)
    assert value.shape == (500, 2)
    if rule.name in ("majority", "weighted"):
        right, wrong = (own.mean(axis=0) for own in habits)
        assert right[0] > 0.7 and wrong[0] < 0.3 and right[1] > 0.5 > wrong[1]
        assert value[:, 0].mean() > 0.6
    if rule.name == "best_scored":
        assert habits[0][:, 0].mean() > 0.7 and value[:, 0].mean() < 0.3


@pytest.mark.parametrize("rule", EVERY)
@pytest.mark.parametrize("n", [1, 2, 7, 60])
def test_worth_is_a_probability_and_grows_with_that_of_a_draw(rule: Rule, n: int) -> None:
    p, habit = np.meshgrid(np.linspace(0, 1, 201), np.linspace(0, 1, 11), indexing="ij")
    rounding = 1e-6  # tables are of single precision
    for habits in itertools.product((habit, 1.0 - habit), repeat=HABITS.get(rule.name, 0)):
        value = rule.worth(p, n, habits)
        assert value.shape == p.shape
        assert value.min() >= -rounding and value.max() <= 1 + rounding
        assert np.diff(value, axis=0).min() >= -rounding
        assert value[0] == pytest.approx(0.0, abs=rounding) and value[-1] == pytest.approx(1.0, abs=rounding)


@pytest.mark.parametrize("rule", [RULES["any_correct"], Verified(0.9, 0.8), Verified(0.4, 0.6), Verified(1.0, 0.0)])
def test_more_draws_are_worth_no_less_to_a_checker_that_knows_something(rule: Rule) -> None:
    p = np.linspace(0, 1, 101)
    values = np.array([rule.worth(p, n, ()) for n in range(1, 40)])
    assert (np.diff(values, axis=0) >= -1e-12).all()


def test_a_verifier_that_is_wrong_makes_more_draws_worth_less() -> None:
    one, many = (float(Verified(0.3, 0.5).worth(np.array(0.5), n, ())) for n in (1, 20))
    assert many < one == 0.5


def test_a_verifier_that_accepts_nothing_is_blind() -> None:
    p = np.linspace(0, 1, 5)
    assert Verified(0.0, 1.0).worth(p, 6, ()) == pytest.approx(p, abs=1e-9)


def counts() -> Recorded:
    one = np.ones((1, 1), dtype=np.int64)
    return Recorded("d", ("q0",), (("", "m0"),), one, one, None)


def silence() -> Recorded:
    return recorded([[[(-1, True), (-1, False)]]])


@pytest.mark.parametrize("table", [counts, silence])
def test_no_vote_without_answers(table: Callable[[], Recorded]) -> None:
    with pytest.raises(RecordedError, match="'d' must hold answers for a vote, but has none; choose any_correct"):
        RULES["majority"].check(table(), np.array([0]))


def test_names() -> None:
    assert {name: rule.name for name, rule in RULES.items()} == {
        name: name for name in ("any_correct", "majority", "best_scored", "weighted")
    }
    assert Verified(0.9, 0.8).name == "verified(0.9, 0.8)"
