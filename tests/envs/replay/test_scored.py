"""Rules that go by scores are what all subsets, all orders and all independent draws say."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace
from statistics import NormalDist, mean

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apportion.envs.replay import scored as module
from apportion.envs.replay.composed import Composed
from apportion.envs.replay.recorded import Recorded
from apportion.envs.replay.rule import WEIGHT, Drawn, Flags, Floats, Rule
from apportion.envs.replay.rules import RULES
from apportion.envs.replay.scored import BEATEN, ERROR, Weighted, beaten
from apportion.envs.replay.task import Split, stage
from apportion.errors import RecordedError
from tests.envs.replay.tables import Scored, recorded, scored

SCORES = st.sampled_from([-1.0, -0.25, 0.0, 0.1, 0.2, 0.3, 1.0])  # 0.1 + 0.2 and 0.3 are a tie
DRAW = st.tuples(st.integers(-1, 2), st.booleans(), SCORES)
BY_SCORE = st.sampled_from([RULES["best_scored"], RULES["weighted"]])


def once(rule: Rule, draws: Sequence[Scored]) -> float:
    """Probability that the choice among some draws is right, said in another way than the package says it."""
    if rule.name == "best_scored":
        top = max(score for _, _, score in draws)
        return mean(right for _, right, score in draws if score == top)
    sums = {a: sum(score for answer, _, score in draws if answer == a) for a, _, _ in draws if a >= 0}
    best = [a for a in sums if round(sums[a], 6) == round(max(sums.values()), 6)]
    return mean(right for a, right, _ in draws if a in best) if best else 0.0


@settings(max_examples=100)
@given(BY_SCORE, st.lists(st.lists(DRAW, min_size=3, max_size=6), min_size=1, max_size=3), st.data())
def test_expected_is_the_mean_over_all_subsets(rule: Rule, table: list[list[Scored]], data: st.DataObject) -> None:
    n = data.draw(st.integers(1, 3))
    own = scored([[cell] for cell in table])
    values = [mean(once(rule, part) for part in itertools.combinations(cell, n)) for cell in table]
    assert rule.expected(own, 0, n).tolist() == pytest.approx(values, abs=1e-9)
    assert rule.error(own, 0, n) == 0.0


@settings(max_examples=200)
@given(BY_SCORE, st.lists(DRAW, min_size=1, max_size=5), st.data())
def test_outcomes_of_all_orders_are_what_is_expected(rule: Rule, cell: list[Scored], data: st.DataObject) -> None:
    n = data.draw(st.integers(1, len(cell)))
    samples = np.array([*itertools.permutations(range(len(cell)))])
    answers, correct, scores = (np.array(part) for part in zip(*cell, strict=True))
    zeros = np.zeros(len(samples), dtype=np.int64)
    drawn = Drawn(zeros, samples, correct[samples], answers[samples], samples * 0.0, scores[samples])
    assert rule.outcome(drawn, n).mean() == pytest.approx(rule.expected(scored([[cell]]), 0, n)[0], abs=1e-9)


def some(seed: int, questions: int, draws: int) -> Recorded:
    rng = np.random.default_rng(seed)
    answers = rng.choice([-1, 0, 1, 2], p=[0.1, 0.4, 0.3, 0.2], size=(questions, draws))
    scores = rng.gamma(2.0, 1.0, answers.shape) + (answers == 0)
    return scored([[[(int(a), bool(a == 0), float(s)) for a, s in zip(*row, strict=True)]]
                   for row in zip(answers, scores, strict=True)])  # fmt: skip


@pytest.mark.parametrize("n", [2, 5, 9])
def test_a_weighted_vote_over_random_parts_errs_as_little_as_it_says(n: int, monkeypatch: pytest.MonkeyPatch) -> None:
    table, rule = some(1, 12, 12), Weighted()
    assert rule.error(table, 0, n) == 0.0
    exact = rule.expected(table, 0, n).mean()
    monkeypatch.setattr(module, "_all", lambda count, n, repeats: False)
    found = rule.expected(table, 0, n)
    assert rule.error(table, 0, n) == ERROR
    assert 0 < abs(found.mean() - exact) < 4 * ERROR
    assert found.tolist() == rule.expected(table, 0, n).tolist(), "the same every time"


def test_a_weighted_vote_of_many_draws() -> None:
    table, rule = some(2, 60, 40), Weighted()
    assert rule.error(table, 0, 20) == ERROR and rule.error(table, 0, 40) == 0.0 == rule.error(table, 0, 1)
    values = [rule.expected(table, 0, n).mean() for n in (1, 5, 20, 40)]
    assert values == sorted(values) and values[-1] > 0.9 and values[0] == pytest.approx(0.4, abs=0.06)


def test_equal_weights_are_a_majority() -> None:
    table = some(3, 20, 9)
    assert table.samples is not None
    alike = replace(table, samples=replace(table.samples, scores=np.full(180, 2.5)))
    for n in (1, 4, 7):
        assert RULES["weighted"].expected(alike, 0, n) == pytest.approx(RULES["majority"].expected(table, 0, n))


def test_a_score_can_outweigh_a_majority() -> None:
    cell: list[Scored] = [(0, True, 1.1), (1, False, 0.5), (1, False, 0.5)]
    assert RULES["weighted"].expected(scored([[cell]]), 0, 3).tolist() == [1.0]
    assert RULES["majority"].expected(scored([[cell]]), 0, 3).tolist() == [0.0]
    below: list[Scored] = [(0, True, -0.1), (1, False, -1.0), (1, False, 0.5)]
    assert RULES["weighted"].expected(scored([[below]]), 0, 3).tolist() == [1.0], "scores below 0 count against"


def of(rule: Rule, table: Recorded) -> Composed:
    size = len(table.questions)
    return Composed("t", (stage("s", table, "", {"m0": 1.0}, [rule], 3.0, [0.4, 1.0]),), 3.0, size, 5)


@pytest.mark.parametrize("rule", [RULES["best_scored"], RULES["weighted"]])
def test_a_table_without_scores_is_refused(rule: Rule) -> None:
    with pytest.raises(RecordedError, match=f"a score of every draw for {rule.name}, but lacks one of 'm0' for 'q0'"):
        of(rule, recorded([[[(0, True)] * 3]]))
    with pytest.raises(RecordedError, match="but lacks one of 'm0' for 'q1'; add it, or choose another rule"):
        of(rule, scored([[[(0, True, 0.0)] * 3], [[(0, True, 1.0), (0, True, np.nan), (0, True, 1.0)]]]))


def test_what_other_models_lack_is_no_matter() -> None:
    table = scored([[[(0, True, 1.0)] * 3, [(0, True, np.nan)]]])
    assert of(RULES["best_scored"], table).truth.tolist() == [1.0, 1.0]


def test_no_vote_without_answers() -> None:
    with pytest.raises(RecordedError, match="'d' must hold answers for a vote, but has none; choose best_scored"):
        of(RULES["weighted"], scored([[[(-1, True, 1.0)] * 3]]))


@pytest.mark.parametrize("rule", [RULES["best_scored"], RULES["weighted"]])
def test_draws_of_a_task_carry_their_scores(rule: Rule) -> None:
    task = of(rule, some(4, 30, 8))
    split = Split(np.arange(30)[None])
    rng, found = np.random.default_rng(0), []
    for _ in range(300):
        drawn = task.stages[0].drawn(0, split.questions[0], rng)
        found.append([task.outcome(row, [drawn]).mean() for row in task.configurations])
    error = np.std(found, axis=0) / np.sqrt(len(found))
    assert (np.abs(np.mean(found, axis=0) - task.value(task.configurations, split)) < 4 * error + 1e-12).all()
    part = drawn.of(np.array([3, 1]), 2)
    assert drawn.scores is not None and part.scores is not None
    assert part.scores.tolist() == drawn.scores[[3, 1], :2].tolist()


def test_how_much_a_true_value_may_err() -> None:
    table = some(5, 60, 40)
    budget, shares = 20.0, [1.0]
    vote = stage("vote", table, "", {"m0": 1.0}, [RULES["weighted"]], budget, shares)
    best = stage("best", table, "", {"m0": 1.0}, [RULES["best_scored"]], budget, shares)
    assert Composed("t", (best, best), 40.0, 9, 1).truth_error == 0.0
    assert Composed("t", (vote, best), 40.0, 9, 1).truth_error == ERROR
    assert Composed("t", (vote, vote), 40.0, 9, 1).truth_error == pytest.approx(ERROR * 2**0.5)
    assert Composed("t", (vote, vote), 40.0, 9, 1, "mean").truth_error == pytest.approx(ERROR / 2**0.5)


@pytest.mark.parametrize("p", [0.1, 0.5, 0.75])
@pytest.mark.parametrize("behind", [0.05, 0.25, 0.5, 0.9])
def test_worth_of_the_best_score_is_that_of_normal_scores(p: float, behind: float) -> None:
    rng, n, runs = np.random.default_rng(0), 6, 40_000
    right = rng.random((runs, n)) < p
    apart = -(2**0.5) * NormalDist().inv_cdf(behind)
    scores = rng.standard_normal((runs, n)) + apart * right
    seen = right[np.arange(runs), scores.argmax(axis=1)].mean()
    found = float(RULES["best_scored"].worth(np.array(p), n, (np.array(behind),)))
    assert found == pytest.approx(seen, abs=0.012)


def test_worth_of_scores_that_know_nothing_and_of_those_that_know_all() -> None:
    p = np.linspace(0, 1, 41)
    rule = RULES["best_scored"]
    for n in (1, 3, 50):
        assert rule.worth(p, n, (np.array(0.5),)) == pytest.approx(p, abs=1e-6)
        assert rule.worth(p, n, (np.array(0.0),)) == pytest.approx(1 - (1 - p) ** n, abs=1e-3)
        assert rule.worth(p, n, (np.array(1.0),)) == pytest.approx(p**n, abs=1e-3)


def drawn(correct: Flags, scores: Floats) -> Drawn:
    zeros = np.zeros(correct.shape, dtype=np.int64)
    return Drawn(zeros[:, 0], zeros, correct, zeros, scores, scores)


CORRECT = np.array([[True, False, False], [False, True, True], [True, True, True]])
GIVEN = np.array([[1.0, 2.0, 0.5], [0.0, 1.0, 0.0], [1.0, 1.0, 1.0]])


@pytest.mark.parametrize(
    ("bought", "pairs"),
    [
        ([0, 0, 0], [(0, 0), (0, 0), (0, 0)]),
        ([3, 3, 3], [(1, 2), (0.5, 2), (0, 0)]),  # 1 < 2 is lost, 1 > 0.5 won; 0 < 1 is won, and 0 = 0 half lost
        ([2, 0, 0], [(1, 1), (0, 0), (0, 0)]),
        ([1, 2, 3], [(0, 0), (0, 1), (0, 0)]),
    ],
)
def test_how_often_wrong_draws_have_the_better_score(bought: list[int], pairs: list[tuple[float, int]]) -> None:
    found = beaten(drawn(CORRECT, GIVEN), np.array(bought), 4000, np.random.default_rng(0))
    lost, all_ = np.array(pairs).T
    usual = (lost.sum() + WEIGHT * BEATEN) / (all_.sum() + WEIGHT)
    assert found.shape == (4000, 3)
    assert found.mean(axis=0) == pytest.approx((lost + WEIGHT * usual) / (all_ + WEIGHT), abs=0.02)


def test_scores_that_were_not_bought_say_nothing() -> None:
    other = np.where(np.arange(3) < 2, GIVEN, -GIVEN), CORRECT ^ (np.arange(3) == 2)
    one, changed = (
        beaten(drawn(correct, scores), np.array([2, 1, 2]), 50, np.random.default_rng(0))
        for scores, correct in ((GIVEN, CORRECT), other)
    )
    assert (one == changed).all()


@pytest.mark.parametrize("behind", [0.1, 0.5, 0.8])
def test_with_many_scores_what_is_usual_comes_to_the_truth(behind: float) -> None:
    rng = np.random.default_rng(0)
    correct = rng.random((20, 40)) < 0.5
    scores = rng.standard_normal(correct.shape) - 2**0.5 * NormalDist().inv_cdf(behind) * correct
    found = beaten(drawn(correct, scores), np.full(20, 40), 200, rng)
    assert found.mean() == pytest.approx(behind, abs=0.05)
    assert beaten(drawn(correct, scores), np.full(20, 4), 200, rng).std() > 1.5 * found.std()
