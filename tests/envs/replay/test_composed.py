"""What configurations are truly worth is what all subsets of draws on all meetings of questions say."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from statistics import mean
from typing import Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apportion.envs.replay.composed import Composed
from apportion.envs.replay.rule import Drawn
from apportion.envs.replay.rules import RULES, Verified
from apportion.envs.replay.task import Split, stage
from apportion.errors import RecordedError
from tests.envs.replay.tables import recorded, some
from tests.envs.replay.test_rules import once

COMBINE: list[Literal["all", "mean"]] = ["all", "mean"]


def composed(combine: Literal["all", "mean"]) -> Composed:
    """Three stages of different sizes and rules; the last has one question and a model that is always right."""
    shares, prices = [0.25, 0.5], {"m1": 1.0, "m0": 2.0}
    rules = [RULES["any_correct"], Verified(0.9, 0.7)]
    one = stage("one", some(1, 4, 2, 5), "", prices, rules, 8, shares)
    two = stage("two", some(2, 3, 2, 4), "", prices, [RULES["majority"]], 8, shares)
    three = stage("three", recorded([[[(0, True)] * 2]]), "", {"m0": 1.0}, [RULES["majority"]], 8, [0.125])
    return Composed("t", (one, two, three), 8.0, 1, 5, combine)


def by_subsets(task: Composed, s: int, o: int) -> list[float]:
    """What an option of a stage is worth on each question."""
    own, option = task.stages[s], task.stages[s].options[o]
    samples, column = own.recorded.samples, own.columns[option.arm]
    assert samples is not None
    values = []
    for q in range(len(own.recorded.questions)):
        cell = range(samples.start[q, column], samples.start[q, column] + own.recorded.drawn[q, column])
        draws = [(int(samples.answers[i]), bool(samples.correct[i])) for i in cell]
        rule = own.rules[option.rule]
        values.append(mean(once(rule, part) for part in itertools.combinations(draws, option.n)))
    return values


def together(task: Composed, values: tuple[float, ...]) -> float:
    return float(np.prod(values)) if task.combine == "all" else mean(values)


@pytest.mark.parametrize("combine", COMBINE)
def test_the_truth_is_the_mean_over_all_meetings_of_questions(combine: Literal["all", "mean"]) -> None:
    task = composed(combine)
    assert len(task.configurations) > 10
    expected = [
        mean(together(task, met) for met in itertools.product(*(by_subsets(task, s, o) for s, o in enumerate(row))))
        for row in task.configurations.tolist()
    ]
    assert task.truth.tolist() == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("combine", COMBINE)
def test_the_value_is_the_mean_over_the_examples_of_a_split(combine: Literal["all", "mean"]) -> None:
    task = composed(combine)
    split = Split(np.array([[3, 0, 3], [1, 2, 0], [0, 0, 0]]))
    expected = [
        mean(
            together(task, tuple(by_subsets(task, s, o)[split.questions[s, e]] for s, o in enumerate(row)))
            for e in range(3)
        )
        for row in task.configurations.tolist()
    ]
    assert task.value(task.configurations, split).tolist() == pytest.approx(expected, abs=1e-12)


def test_values_of_more_configurations_than_are_computed_at_once() -> None:
    task = composed("all")
    split = task.split(np.random.default_rng(0))
    many = np.tile(task.configurations, (1 + 5000 // len(task.configurations), 1))
    expected = np.tile(task.value(task.configurations, split), 1 + 5000 // len(task.configurations))
    assert len(many) > 4096 and task.value(many, split).tolist() == expected.tolist()


@pytest.mark.parametrize(("combine", "expected"), [("all", [0.0, 0.0, 0.0, 1.0]), ("mean", [0.0, 0.5, 0.5, 1.0])])
def test_an_outcome_is_of_all_stages(combine: Literal["all", "mean"], expected: list[float]) -> None:
    table = recorded([[[(0, True), (1, False)]]] * 4)
    own = stage("s", table, "", {"m0": 1.0}, [RULES["any_correct"]], 1, [1.0])
    task = Composed("t", (own, own), 2.0, 4, 1, combine)

    def drawn(right: list[bool]) -> Drawn:
        correct = np.array(right)[:, None]
        return Drawn(np.arange(4), np.zeros((4, 1), dtype=np.int64), correct, ~correct * 1, np.zeros((4, 1)))

    parts = [drawn([False, False, True, True]), drawn([False, True, False, True])]
    assert task.outcome(task.configurations[0], parts).tolist() == expected


def test_a_split_takes_questions_of_each_stage_once_and_by_chance() -> None:
    task = Composed("t", composed("all").stages[:2], 8.0, 3, 5)
    splits = [task.split(np.random.default_rng(seed)) for seed in range(40)]
    for split in splits:
        assert split.questions.shape == (2, 3) and split.size == 3
        assert all(len(set(row)) == 3 for row in split.questions.tolist())
    assert {q for split in splits for q in split.questions[0].tolist()} == {0, 1, 2, 3}
    assert len({tuple(split.questions[1].tolist()) for split in splits}) == 6, "questions meet at random"
    assert (task.split(np.random.default_rng(7)).questions == splits[7].questions).all()


def test_a_split_of_more_questions_than_there_are_is_refused() -> None:
    with pytest.raises(RecordedError, match="`search` must be at most the 1 questions of the smallest table, got 2"):
        Composed("t", composed("all").stages, 8.0, 2, 5)


def mixture(seed: int = 5, questions: int = 4) -> Composed:
    """Two models of one table and one of another, asked the same questions; the first stage has a verifier too."""
    table, other = some(seed, questions, 3, 4), some(seed + 1, questions, 1, 3)
    rules = [RULES["any_correct"], Verified(0.9, 0.7)]
    made = (
        stage("one", table, "", {"m2": 2.0}, rules, 8, [0.25, 0.5], optional=True),
        stage("two", table, "", {"m0": 1.0, "m1": 1.0}, rules[:1], 8, [0.25, 0.5], optional=True),
        stage("three", other, "", {"m0": 3.0}, [RULES["majority"]], 8, [0.5, 1.0], optional=True),
    )
    return Composed("t", made, 8.0, 3, 5, "any")


def test_any_stage_suffices_on_a_question_that_all_are_asked() -> None:
    task = mixture()
    values = [[by_subsets(task, s, o) if option.n else [0.0] * 4 for o, option in enumerate(own.options)]
              for s, own in enumerate(task.stages)]  # fmt: skip
    met = [[1 - np.prod([1 - values[s][o][q] for s, o in enumerate(row)]) for q in range(4)]
           for row in task.configurations.tolist()]  # fmt: skip
    assert task.shared and not composed("all").shared
    assert task.truth.tolist() == pytest.approx([mean(row) for row in met], abs=1e-12)
    split = Split(np.array([[3, 0, 1]] * 3))
    part = [mean(row[q] for q in (3, 0, 1)) for row in met]
    assert task.value(task.configurations, split).tolist() == pytest.approx(part, abs=1e-12)
    apart = [1 - np.prod([1 - mean(values[s][o]) for s, o in enumerate(row)]) for row in task.configurations.tolist()]
    assert np.abs(task.truth - apart).max() > 0.02, "a question is hard or easy for all"


def test_a_stage_may_draw_nothing_but_not_all_of_them() -> None:
    task = mixture()
    assert [own.options[0] for own in task.stages] == [(0, 0, 0, -1)] * 3
    rows = {tuple(row) for row in task.configurations.tolist()}
    assert (0, 0, 0) not in rows and {(1, 0, 0), (0, 1, 0), (0, 0, 1)} <= rows
    assert len(rows) == len(task.configurations)
    alone = task.configurations.tolist().index([0, 3, 0])
    option = task.stages[1].options[3]
    assert task.truth[alone] == pytest.approx(mean(by_subsets(task, 1, 3)))
    assert task.calls(task.configurations)[alone] == task.cost(task.configurations)[alone] == option.n


def test_one_stage_of_which_any_suffices_is_that_stage() -> None:
    own = stage("s", some(1, 4, 2, 5), "", {"m0": 1.0, "m1": 2.0}, [RULES["any_correct"]], 8, [0.25, 0.5])
    optional = stage("s", own.recorded, "", {"m0": 1.0, "m1": 2.0}, own.rules, 8, [0.25, 0.5], optional=True)
    plain, mixed = Composed("t", (own,), 8.0, 3, 5), Composed("t", (optional,), 8.0, 3, 5, "any")
    assert mixed.truth.tolist() == pytest.approx(plain.truth.tolist(), abs=1e-12)


def test_a_split_of_shared_questions_asks_all_stages_the_same() -> None:
    questions = [mixture().split(np.random.default_rng(seed)).questions for seed in range(20)]
    assert all(own.shape == (3, 3) and (own == own[0]).all() and len(set(own[0])) == 3 for own in questions)
    assert {q for own in questions for q in own[0].tolist()} == {0, 1, 2, 3}


def test_an_outcome_of_which_any_suffices() -> None:
    task = mixture()
    rng = np.random.default_rng(3)
    for row in task.configurations[::3]:
        drawn = [own.drawn(own.options[o].arm, np.arange(4), rng) for own, o in zip(task.stages, row, strict=True)]
        options = [own.options[o] for own, o in zip(task.stages, row, strict=True)]
        parts = [
            own.rules[option.rule].outcome(draws, option.n)
            for own, option, draws in zip(task.stages, options, drawn, strict=True)
            if option.n
        ]
        assert task.outcome(row, drawn).tolist() == np.any(parts, axis=0).tolist()


def test_what_configurations_are_worth_where_questions_meet_at_random_or_are_shared() -> None:
    worth = [np.array([[0.0, 1.0], [1.0, 1.0]]), np.array([[1.0, 0.0]])]
    both = np.array([[0, 0], [1, 0]])
    assert composed("all").valued(worth, both).tolist() == [0.25, 0.5]
    assert composed("mean").valued(worth, both).tolist() == [0.5, 0.75]
    assert mixture().valued(worth, both).tolist() == [1.0, 1.0]


@settings(max_examples=50)
@given(st.lists(st.lists(st.floats(0, 1), min_size=4, max_size=4), min_size=1, max_size=4), st.data())
def test_stages_are_combined_element_by_element_and_each_counts_in_proportion(
    parts: list[list[float]], data: st.DataObject
) -> None:
    s, share = data.draw(st.integers(0, len(parts) - 1)), data.draw(st.floats(0, 1))
    wrong = [[1.0 - value for value in part] for part in parts]
    for task, expected in (
        (composed("all"), [math.prod(column) for column in zip(*parts, strict=True)]),
        (composed("mean"), [mean(column) for column in zip(*parts, strict=True)]),
        (mixture(), [1.0 - math.prod(column) for column in zip(*wrong, strict=True)]),
    ):
        own = np.array(parts).reshape(-1, 2, 2)
        assert task.combined(list(own)).ravel().tolist() == pytest.approx(expected, abs=1e-12)
        assert task.combined(list(own.astype(np.float32))).dtype == np.float32
        sides = [task.combined([np.full((2, 2), side) if i == s else part for i, part in enumerate(own)])
                 for side in (0.0, 1.0, share)]  # fmt: skip
        assert sides[2] == pytest.approx(sides[0] + share * (sides[1] - sides[0]), abs=1e-12)


def test_stages_of_which_any_suffices_must_be_asked_the_same() -> None:
    own = stage("own", some(1, 3, 2, 2), "", {"m0": 1.0}, [RULES["any_correct"]], 2, [1.0])
    fewer = stage("fewer", some(1, 2, 2, 2), "", {"m0": 1.0}, [RULES["any_correct"]], 2, [1.0])
    named = replace(own.recorded, dataset="e")
    for other in (fewer, stage("fewer", named, "", {"m0": 1.0}, own.rules, 2, [1.0])):
        with pytest.raises(RecordedError, match="same questions, but 'own' and 'fewer' have tables with others; mend"):
            Composed("t", (own, other), 4.0, 2, 1, "any")
        assert len(Composed("t", (own, other), 4.0, 2, 1, "all").truth) == 1
    again = stage("again", own.recorded, "", {"m1": 1.0, "m0": 1.0}, own.rules, 2, [1.0])
    with pytest.raises(RecordedError, match="must stand in one of them, but 'm0' stands in 'again' again; list it"):
        Composed("t", (own, again), 4.0, 2, 1, "any")
