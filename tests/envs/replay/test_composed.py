"""What configurations are truly worth is what all subsets of draws on all meetings of questions say."""

from __future__ import annotations

import itertools
from statistics import mean
from typing import Literal

import numpy as np
import pytest

from apportion.envs.replay.composed import Composed
from apportion.envs.replay.rules import RULES, Drawn, Verified
from apportion.envs.replay.task import Split, stage
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
    return Composed("t", (one, two, three), 8.0, 3, 5, combine)


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


def test_a_split_is_no_larger_than_the_smallest_recording() -> None:
    assert composed("all").split(np.random.default_rng(0)).questions.shape == (3, 1)
