"""What is said of a chain is what all draws of its first stage and all draws on what each leads to say."""

from __future__ import annotations

import itertools
import json
import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
import pytest

from apportion.bench.searchers.race import Job, run
from apportion.bench.searchers.task_file import load
from apportion.envs.replay.chained import Chained
from apportion.envs.replay.market import Market
from apportion.envs.replay.task import Split
from apportion.errors import RecordedError
from tests.envs.replay.test_recorded import written

pytest.importorskip("pyarrow")

TASK = """\
name: small
search: 2
trials: 3
budget: 8
shares: [0.125, 0.25, 0.375, 0.5]
chain: true
stages:
  capital: {data: table.parquet, prices: {small: 1, large: 2}, select: [majority]}
  day: {data: table.parquet, prices: {small: 1, large: 2}, select: [any_correct, majority]}
"""
QUESTIONS, MODELS = ("x", "y", "z"), ("small", "large")
# What each model answered at the first stage, and on what: its answers at the second; "yes" is right.
FIRST: dict[tuple[str, str], list[str | None]] = {
    ("x", "small"): ["Oslo", "Oslo", "Rome"], ("x", "large"): ["Oslo", None, "Oslo"],
    ("y", "small"): ["Rome", "Lima", None], ("y", "large"): ["Lima", "Lima", "Bonn"],
    ("z", "small"): [None, None, None], ("z", "large"): ["Bonn", "Oslo", "Rome"],
}  # fmt: skip
SECOND: dict[tuple[str, str, str], list[str | None]] = {
    ("x", "Oslo", "small"): ["yes", "no", "no"], ("x", "Oslo", "large"): ["yes", "yes", "no"],
    ("x", "Rome", "small"): ["no", "no", None], ("x", "Rome", "large"): ["yes", "no", "other"],
    ("y", "Lima", "small"): ["yes", "no", None], ("y", "Lima", "large"): ["yes", "yes", "yes"],
    ("y", "Rome", "small"): ["no", "no", "no"], ("y", "Oslo", "small"): ["yes", "yes", "yes"],
    ("z", "Bonn", "large"): ["no", "yes", "yes"], ("z", "Oslo", "small"): ["yes", "yes", "no"],
}  # fmt: skip


def rows() -> list[dict[str, Any]]:
    """A recording: the first stage is not judged, and other roles than that of who draws do not count."""
    made = []
    for (question, model), answers in FIRST.items():
        for i, answer in enumerate(answers):
            made.append(row(question, "capital", model, i, answer, None, "{}"))
        made.append(row(question, "capital", model, 0, "Nowhere", None, "{}", role="fuser"))
    for (question, read, model), answers in SECOND.items():
        for i, answer in enumerate(answers):
            made.append(row(question, "day", model, i, answer, answer == "yes", json.dumps({"capital": read})))
    return made


def row(
    question: str, stage: str, model: str, index: int, answer: str | None, right: bool | None, read: str,  # noqa: FBT001
    role: str = "generator",
) -> dict[str, Any]:  # fmt: skip
    return {
        "dataset": "d", "question_id": question, "stage": stage, "model": model, "sample_index": index,
        "answer": answer, "correct": right, "read": read, "role": role, "status": "ok",
    }  # fmt: skip


def made(folder: Path, text: str = TASK, recorded: list[dict[str, Any]] | None = None) -> Chained:
    written(folder, rows() if recorded is None else recorded)
    (folder / "task.yaml").write_text(text, encoding="utf-8")
    task = load(folder / "task.yaml")
    assert isinstance(task, Chained)
    return task


@pytest.fixture
def chain(tmp_path: Path) -> Chained:
    return made(tmp_path)


def winners(answers: Sequence[str | None]) -> list[str]:
    votes = Counter(answer for answer in answers if answer is not None)
    return [answer for answer, count in votes.items() if count == max(votes.values())]


def right(rule: str, answers: Sequence[str | None]) -> float:
    if rule == "any_correct":
        return float("yes" in answers)
    return mean(float(answer == "yes") for answer in winners(answers)) if winners(answers) else 0.0


def accuracy(rule: str, cell: Sequence[str | None] | None, n: int) -> float:
    """Over all parts of n draws; 0 where nothing was recorded."""
    parts: list[tuple[str | None, ...]] = [] if cell is None else [*itertools.combinations(cell, n)]
    return mean(right(rule, part) for part in parts) if parts else 0.0


def by_hand(task: Chained, configuration: Sequence[int], question: str) -> tuple[float, float]:
    """Accuracy on a question, and the probability to meet an answer that was not recorded, over all draws."""
    one, two = (own.options[o] for own, o in zip(task.stages, configuration, strict=True))
    above, below = task.stages[0].models[one.arm], task.stages[1].models[two.arm]
    rule = task.stages[1].rules[two.rule].name
    values, unknown = [], []
    for part in itertools.combinations(FIRST[question, above], one.n):
        led = winners(part)
        cells = [SECOND.get((question, answer, below)) for answer in led]
        worth = [accuracy(rule, cell, two.n) for cell in cells]
        values.append(mean(worth) if led else 0.0)
        unknown.append(mean(float(cell is None) for cell in cells) if led else 0.0)
    return mean(values), mean(unknown)


def test_the_truth_is_that_of_all_draws(chain: Chained) -> None:
    assert len(chain.configurations) > 20 and chain.truth_error == 0.0
    for row, truth, unknown in zip(chain.configurations.tolist(), chain.truth, chain.unrecorded, strict=True):
        found = [by_hand(chain, row, question) for question in QUESTIONS]
        assert truth == pytest.approx(mean(value for value, _ in found), abs=1e-12)
        assert unknown == pytest.approx(mean(lost for _, lost in found), abs=1e-12)
    assert 0.0 == chain.unrecorded.min() < chain.unrecorded.max() < 1.0


def test_the_value_is_that_of_the_examples(chain: Chained) -> None:
    split = Split(np.array([[2, 0]] * 2))
    found = chain.value(chain.configurations, split)
    each = chain.each(chain.configurations, split.questions[0])
    for row, value, own in zip(chain.configurations.tolist(), found, each.tolist(), strict=True):
        expected = [by_hand(chain, row, question)[0] for question in ("z", "x")]
        assert value == pytest.approx(mean(expected), abs=1e-12) and own == pytest.approx(expected, abs=1e-12)


def test_what_the_second_stage_is_worth_depends_on_the_first(chain: Chained) -> None:
    means = np.zeros([len(own.options) for own in chain.stages])
    means[tuple(chain.configurations.T)] = chain.truth
    whole = means[:, np.unique(chain.configurations[:, 1])]
    assert np.linalg.matrix_rank(np.round(whole, 9)) > 1


def test_a_market_measures_what_the_value_says(chain: Chained) -> None:
    at = int(chain.truth.argmax())
    found = [Market(chain, seed) for seed in range(400)]
    differences = [m.measure(at) - chain.value(chain.configurations[[at]], m.split)[0] for m in found]
    assert abs(mean(differences)) < 4 * np.std(differences) / math.sqrt(len(found))
    repeated = [Market(chain, 5).measure(at), Market(chain, 5).measure(at)]
    assert repeated[0] == repeated[1]


def test_every_configuration_is_measured_without_bias(chain: Chained) -> None:
    split = Split(np.array([[0, 1, 2]] * 2))
    rng, runs = np.random.default_rng(0), 300
    totals = np.zeros((runs, len(chain.configurations)))
    for k in range(runs):
        drawn = [[own.drawn(m, split.questions[s], rng) for m in range(2)] for s, own in enumerate(chain.stages)]
        for c, row in enumerate(chain.configurations):
            arms = [own.options[o].arm for own, o in zip(chain.stages, row, strict=True)]
            totals[k, c] = chain.outcome(row, [drawn[s][arm] for s, arm in enumerate(arms)]).mean()
    error = totals.std(axis=0) / math.sqrt(runs)
    assert (np.abs(totals.mean(axis=0) - chain.truth) < 4.5 * error + 1e-12).all()


def test_a_split_asks_both_stages_the_same(chain: Chained) -> None:
    questions = chain.split(np.random.default_rng(0)).questions
    assert questions.shape == (2, 2) and (questions[0] == questions[1]).all() and chain.least_questions == 3


@pytest.mark.parametrize("sampler", ["random", "tpe", "greedy", "quadratic"])
def test_chains_are_raced(tmp_path: Path, sampler: str) -> None:
    made(tmp_path)
    done = run(Job(str(tmp_path / "task.yaml"), sampler, 0, "draws", bank=False))
    assert done.stages == 2 and done.trials > 0 and done.leads and 0 < done.optimum < 1


def test_an_example_without_any_recorded_state(tmp_path: Path) -> None:
    few = [own for own in rows() if own["stage"] == "capital" or own["question_id"] == "x"]
    task = made(tmp_path, recorded=few)
    drawn = [own.drawn(0, np.array([1, 2]), np.random.default_rng(0)) for own in task.stages]
    assert task.outcome(task.configurations[0], drawn).tolist() == [0.0, 0.0]
    assert task.each(task.configurations, np.array([1, 2])).max() == 0.0


def test_cells_with_too_few_draws_count_as_unrecorded(tmp_path: Path) -> None:
    lacking = ("x", "small", 2)
    short = [own for own in rows() if (own["question_id"], own["model"], own["sample_index"], own["stage"])
             != (*lacking, "day") or "Oslo" not in own["read"]]  # fmt: skip
    assert len(short) == len(rows()) - 1
    assert draws_of(made(tmp_path, recorded=short), 1, "small") == 2, "as many as are recorded wherever it is"
    task = made(tmp_path, TASK.replace("select: [any", "fewest: 3, select: [any"), short)
    assert draws_of(task, 1, "small") == 3
    assert task.unrecorded.sum() > made(tmp_path).unrecorded.sum()


def draws_of(task: Chained, stage: int, model: str) -> int:
    """Most draws of a model's options."""
    own = task.stages[stage]
    return max(o.n for o in own.options if own.models[o.arm] == model)


def test_the_first_stage_may_be_chosen_by_scores(tmp_path: Path) -> None:
    scored = [{**own, "score": float(own["answer"] == "Rome")} for own in rows()]
    task = made(tmp_path, TASK.replace("select: [majority]", "select: [best_scored]"), scored)
    above, below = task.stages
    for a, b in task.configurations.tolist():
        one, two = above.options[a], below.options[b]
        if (above.models[one.arm], one.n) == ("small", 3):  # of x and y, Rome has the best score; of z all is silent
            rule, model = below.rules[two.rule].name, below.models[two.arm]
            cells = [SECOND.get((question, "Rome", model)) for question in ("x", "y")]
            worth = [accuracy(rule, cell, two.n) for cell in cells]
            found = task.each(np.array([[a, b]]), np.arange(3))
            assert found[0].tolist() == pytest.approx([*worth, 0.0])


def test_rows_in_csv_and_in_two_files(tmp_path: Path) -> None:
    # A CSV file does not tell silence from an empty answer, and one of nulls alone has no type.
    spoken = [{**own, "answer": own["answer"] or "silence", "correct": bool(own["correct"])} for own in rows()]
    expected = made(tmp_path, recorded=spoken).truth.tolist()
    for name, part in (("capital", spoken), ("day", [own for own in spoken if own["stage"] == "day"])):
        written(tmp_path, part, ".csv").rename(tmp_path / f"{name}.csv")
    text = TASK.replace("capital: {data: table.parquet", "capital: {data: capital.csv")
    (tmp_path / "csv.yaml").write_text(text.replace("day: {data: table.parquet", "day: {data: day.csv"))
    assert load(tmp_path / "csv.yaml").truth.tolist() == expected


def test_the_stage_of_the_table_may_have_another_name(tmp_path: Path) -> None:
    expected = made(tmp_path).truth.tolist()
    text = TASK.replace("capital: {", "first: {stage: capital, ").replace("day: {", "second: {stage: day, ")
    assert made(tmp_path, text).truth.tolist() == expected


WRONG_ROWS: dict[str, tuple[dict[str, Any], str]] = {
    "no JSON": ({"read": "Oslo"}, "`read` must be a JSON object of one text, the answer of 'capital' in row"),
    "another stage": ({"read": '{"town": "Oslo"}'}, "`read` must be a JSON object of one text"),
    "two of them": ({"read": '{"capital": "Oslo", "town": "Oslo"}'}, "`read` must be a JSON object of one text"),
    "a number": ({"read": '{"capital": 3}'}, "`read` must be a JSON object of one text"),
    "too deep": ({"read": "[" * 100_000}, "`read` must be a JSON object of one text"),
    "nothing": ({"read": None}, "`read` must be given in row"),
    "not judged": ({"correct": None}, "`correct` must be given in row"),
    "of no question": ({"question_id": "v"}, "`question_id` must be one of stage 'capital' in row .*question_id v"),
    "again": ({"sample_index": 1}, "a sample of a question, stage and model must stand once, got 1 in row"),
}


@pytest.mark.parametrize("name", WRONG_ROWS)
def test_a_wrong_row_is_refused(tmp_path: Path, name: str) -> None:
    change, said = WRONG_ROWS[name]
    recorded = rows()
    at = next(i for i, own in enumerate(recorded) if own["stage"] == "day")
    recorded[at] = {**recorded[at], **change}
    with pytest.raises(RecordedError, match=said) as error:
        made(tmp_path, recorded=recorded)
    assert "\n" not in str(error.value)


WRONG_FILES = {
    "one stage": ("  day: {", "#", "a chain needs two stages, and no combine and no matrix; mend the stages"),
    "combined": ("chain: true", "chain: true\ncombine: all", "no combine"),
    "a perfect checker first": (
        "select: [majority]",
        "select: [any_correct]",
        "without knowing what is right, but 'capi",
    ),
    "a verifier first": (
        "select: [majority]",
        "select: [{completeness: 1, soundness: 1}]",
        r"but 'capital' has verified\(1, 1\); choose majority",
    ),
    "an unknown stage": ("day: {", "night: {", r"table\.parquet must hold stage 'night', but has capital, day; mend"),
    "an unknown model": ("day: {", "day: {models: [none], ", "every model must have a price, but 'none' has none"),
    "too few draws": (
        "day: {",
        "day: {models: [small], fewest: 4, ",
        "must have 4 draws of some question, but 'small'",
    ),
    "too few draws of all": ("day: {", "day: {fewest: 4, ", r"4 draws of some question in .*, but 'small' has not"),
    "no such file": ("day: {data: table", "day: {data: none", "must be a table, but"),
}


@pytest.mark.parametrize("name", WRONG_FILES)
def test_a_wrong_task_file_is_refused(tmp_path: Path, name: str) -> None:
    old, new, said = WRONG_FILES[name]
    assert TASK.count(old) == 1
    with pytest.raises(RecordedError, match=said):
        made(tmp_path, TASK.replace(old, new))


@pytest.mark.parametrize("column", ["stage", "read", "answer"])
def test_a_table_that_is_no_chain_is_refused(tmp_path: Path, column: str) -> None:
    without = [{key: value for key, value in own.items() if key != column} for own in rows()]
    with pytest.raises(RecordedError, match=f"a table of stage '.*' of a chain must have .*lacks '{column}'; add it"):
        made(tmp_path, recorded=without)


def test_no_draws_of_who_draws(tmp_path: Path) -> None:
    with pytest.raises(RecordedError, match="must hold draws of role 'generator' of 'capital', but has none"):
        made(tmp_path, recorded=[{**own, "role": "judge"} for own in rows()])
