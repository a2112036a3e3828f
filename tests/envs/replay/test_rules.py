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
NO_RIVAL = np.zeros(())
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


def test_draws_of_some_examples() -> None:
    samples = np.arange(12).reshape(3, 4)
    every = Drawn(np.array([7, 8, 9]), samples, samples % 2 == 0, samples * 10, samples / 100)
    part = every.of(np.array([2, 0]), 2)
    assert part.questions.tolist() == [9, 7] and part.samples.tolist() == [[8, 9], [0, 1]]
    assert part.correct.tolist() == [[True, False]] * 2 and part.answers.tolist() == [[80, 90], [0, 10]]
    assert part.chance.tolist() == [[0.08, 0.09], [0.0, 0.01]]


def independent(rule: Rule, p: float, n: int, rival: float) -> float:
    """Expectation over all results of n draws: right, the commonest wrong answer, or an answer of its own."""
    chances = p, (1.0 - p) * rival, (1.0 - p) * (1.0 - rival)
    total = 0.0
    for kinds in itertools.product(range(3), repeat=n):
        draws = [(kind if kind < 2 else 10 + i, kind == 0) for i, kind in enumerate(kinds)]
        total += float(np.prod([chances[kind] for kind in kinds])) * once(rule, draws)
    return total


@settings(max_examples=40)
@given(
    st.one_of(st.just(RULES["any_correct"]), st.builds(Verified, st.floats(0, 1), st.floats(0, 1))),
    st.floats(0, 1),
    st.integers(1, 4),
)
def test_worth_is_the_expectation_of_independent_draws(rule: Rule, p: float, n: int) -> None:
    assert float(rule.worth(np.array(p), n, NO_RIVAL)) == pytest.approx(independent(rule, p, n, 0.5), abs=1e-9)


@settings(max_examples=40)
@given(st.integers(0, 40), st.integers(0, 40), st.integers(1, 5))
def test_worth_of_a_vote_is_exact_where_it_is_tabled(p: int, rival: int, n: int) -> None:
    rule = RULES["majority"]
    found = float(rule.worth(np.array(p / 40), n, np.array(rival / 40)))
    assert found == pytest.approx(independent(rule, p / 40, n, rival / 40), abs=1e-9)


@settings(max_examples=40)
@given(st.floats(0, 1), st.floats(0, 1), st.integers(1, 5))
def test_worth_of_a_vote_is_near_elsewhere(p: float, rival: float, n: int) -> None:
    rule = RULES["majority"]
    found = float(rule.worth(np.array(p), n, np.array(rival)))
    assert found == pytest.approx(independent(rule, p, n, rival), abs=1e-9 if n < 3 else 2e-3)


def test_votes_of_one_and_of_two_are_worth_a_draw() -> None:
    p, rival = np.meshgrid(np.linspace(0, 1, 97), np.linspace(0, 1, 97))
    for n in (1, 2):
        assert RULES["majority"].worth(p, n, rival) == pytest.approx(p, abs=1e-12)


def binomial_vote(p: float, n: int) -> float:
    """Probability that the right one of two answers has most of n votes."""
    lead = np.arange(n + 1) - n / 2
    ways = np.array([float(p) ** k * (1.0 - p) ** (n - k) * float(np.prod((n - np.arange(k)) / (k - np.arange(k))))
                     for k in range(n + 1)])  # fmt: skip
    return float(ways @ np.where(lead > 0, 1.0, np.where(lead == 0, 0.5, 0.0)))


@pytest.mark.parametrize("n", [10, 25, 100])
def test_votes_of_many_against_one_rival(n: int) -> None:
    p = np.array([0.25, 0.4, 0.475, 0.5, 0.75])
    found = RULES["majority"].worth(p, n, np.ones(()))
    assert found.tolist() == pytest.approx([binomial_vote(own, n) for own in p.tolist()], abs=1e-9)


@pytest.mark.parametrize("rule", [*RULES.values(), Verified(0.9, 0.8), Verified(0.5, 0.5), Verified(1.0, 1.0)])
@pytest.mark.parametrize("n", [1, 2, 7, 60])
def test_worth_is_a_probability_and_grows_with_that_of_a_draw(rule: Rule, n: int) -> None:
    p, rival = np.meshgrid(np.linspace(0, 1, 201), np.linspace(0, 1, 11), indexing="ij")
    value = rule.worth(p, n, rival)
    assert value.shape == p.shape
    assert value.min() >= -1e-12 and value.max() <= 1 + 1e-12
    assert (np.diff(value, axis=0) >= -1e-12).all()
    assert (np.diff(value, axis=1) <= 1e-12).all(), "a rival never helps"
    assert value[0] == pytest.approx(0.0, abs=1e-12) and value[-1] == pytest.approx(1.0, abs=1e-12)


@pytest.mark.parametrize("rule", [RULES["any_correct"], Verified(0.9, 0.8), Verified(0.4, 0.6), Verified(1.0, 0.0)])
def test_more_draws_are_worth_no_less_to_a_checker_that_knows_something(rule: Rule) -> None:
    p = np.linspace(0, 1, 101)
    values = np.array([rule.worth(p, n, NO_RIVAL) for n in range(1, 40)])
    assert (np.diff(values, axis=0) >= -1e-12).all()


def test_a_verifier_that_is_wrong_makes_more_draws_worth_less() -> None:
    one, many = (float(Verified(0.3, 0.5).worth(np.array(0.5), n, NO_RIVAL)) for n in (1, 20))
    assert many < one == 0.5


def test_a_verifier_that_accepts_nothing_is_blind() -> None:
    p = np.linspace(0, 1, 5)
    assert Verified(0.0, 1.0).worth(p, 6, NO_RIVAL) == pytest.approx(p, abs=1e-9)


def test_worth_broadcasts() -> None:
    p, rival = np.full((4, 3), 0.5), np.array([0.0, 0.5, 1.0])
    value = RULES["majority"].worth(p, 5, rival)
    assert value.shape == (4, 3) and value[0] == pytest.approx(
        [independent(RULES["majority"], 0.5, 5, r) for r in rival]
    )


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
