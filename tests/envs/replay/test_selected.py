"""What is said of programs selected by tests is what all subsets of small tables say, and what was published."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from statistics import mean

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apportion.bench.searchers.race import Job, run
from apportion.bench.searchers.task_file import load
from apportion.envs.replay.market import Market
from apportion.envs.replay.recorded import Recorded, Samples
from apportion.envs.replay.rule import Drawn
from apportion.envs.replay.selected import ERROR, SCORERS, Every, Selected
from apportion.envs.replay.task import Split, stage
from apportion.errors import RecordedError

CODET = Path(__file__).parents[3] / "experiments" / "searchers" / "tasks" / "codet.yaml"
Table = list[list[int]]  # asserts passed, programs x test samples


def recorded(correct: Sequence[Sequence[bool]]) -> Recorded:
    flat = np.array([c for row in correct for c in row], dtype=bool)
    drawn = np.array([[len(row)] for row in correct])
    samples = Samples((np.cumsum(drawn) - drawn[:, 0])[:, None], flat, np.zeros(len(flat), dtype=np.int64), {})
    right = np.array([[sum(row)] for row in correct])
    return Recorded("d", tuple(map(str, range(len(correct)))), (("", "m"),), drawn, right, samples)


def task(tables: Sequence[Table], correct: Sequence[Sequence[bool]], budget: int = 100) -> Selected:
    """A task whose options are all numbers of draws that all questions have."""
    tests = [[True] * len(table[0]) for table in tables]
    shape = len(tables), max(map(len, tables)), max(map(len, tests))
    passed = np.zeros(shape, dtype=np.int64)
    for q, table in enumerate(tables):
        passed[q, : len(table), : len(table[0])] = table
    shares = [n / budget for n in range(1, 1 + max(shape[1:]))]
    code = stage("code", recorded(correct), "", {"m": 1.0}, list(SCORERS.values()), budget, shares)
    test = stage("test", recorded(tests), "", {"m": 1.0}, [Every()], budget, shares)
    return Selected("t", (code, test), budget, min(2, len(tables)), 5, passed)


def selected(rule: str, table: Table, correct: Sequence[bool], programs: Sequence[int], tests: Sequence[int]) -> float:
    """Probability that the program selected is right, said in another way than the package says it."""
    pattern = {p: tuple(table[p][t] for t in tests) for p in programs}
    sizes = Counter(pattern.values())

    def score(p: int) -> float:
        return sum(pattern[p]) * (math.sqrt(sizes[pattern[p]]) if rule == "dual_agreement" else 1.0)

    best = max(map(score, programs))
    return mean(correct[p] for p in programs if math.isclose(score(p), best, abs_tol=1e-9))


def over_subsets(rule: str, table: Table, correct: Sequence[bool], n: int, m: int) -> float:
    subsets = itertools.combinations(range(len(table)), n), itertools.combinations(range(len(table[0])), m)
    return mean(selected(rule, table, correct, programs, tests) for programs, tests in itertools.product(*subsets))


def drawn(samples: Sequence[int], correct: Sequence[bool]) -> Drawn:
    taken = np.array([samples])
    return Drawn(np.zeros(1, dtype=np.int64), taken, np.array(correct)[taken], taken * 0, np.zeros(taken.shape))


def index(own: Selected, rule: str, n: int, m: int) -> int:
    code, test = own.stages
    for i, (a, b) in enumerate(own.configurations):
        option = code.options[a]
        if (code.rules[option.rule].name, option.n, test.options[b].n) == (rule, n, m):
            return i
    raise LookupError((rule, n, m))


@st.composite
def questions(draw: st.DrawFn) -> tuple[Table, list[bool]]:
    programs, tests = draw(st.integers(1, 4)), draw(st.integers(1, 3))
    row = st.lists(st.integers(0, 2), min_size=tests, max_size=tests)
    return draw(st.lists(row, min_size=programs, max_size=programs)), draw(
        st.lists(st.booleans(), min_size=programs, max_size=programs)
    )


@given(questions())
def test_the_outcome_is_exact_over_ties(question: tuple[Table, list[bool]]) -> None:
    table, correct = question
    own = task([table], [correct])
    orders = itertools.permutations(range(len(table))), itertools.permutations(range(len(table[0])))
    for programs, tests in itertools.islice(itertools.product(*orders), 0, None, 7):
        draws = [drawn(programs, correct), drawn(tests, [True] * len(tests))]
        for configuration in own.configurations:
            option, m = own.stages[0].options[configuration[0]], own.stages[1].options[configuration[1]].n
            rule = own.stages[0].rules[option.rule].name
            expected = selected(rule, table, correct, programs[: option.n], tests[:m])
            assert own.outcome(configuration, draws) == pytest.approx([expected], abs=1e-12)


@settings(max_examples=10, deadline=None, derandomize=True)  # of many random estimates, some are far off
@given(st.lists(questions(), min_size=2, max_size=3))
def test_the_truth_is_that_of_all_subsets(tables: list[tuple[Table, list[bool]]]) -> None:
    own = task([table for table, _ in tables], [correct for _, correct in tables])
    every = Split(np.arange(len(tables)) * np.ones((2, 1), dtype=np.int64))
    assert own.truth_error <= ERROR
    assert own.value(own.configurations, every) == pytest.approx(own.truth, abs=1e-6)
    for configuration, truth in zip(own.configurations, own.truth, strict=True):
        option, m = own.stages[0].options[configuration[0]], own.stages[1].options[configuration[1]].n
        rule = own.stages[0].rules[option.rule].name
        expected = mean(over_subsets(rule, table, correct, option.n, m) for table, correct in tables)
        assert truth == pytest.approx(expected, abs=5 * own.truth_error + 1e-9)


HAND = [
    ("count", [[3], [3], [1]], [True, False, False], 1 / 2),  # a tie of two
    ("dual_agreement", [[5], [3], [3], [3], [3]], [True, False, False, False, False], 0.0),  # 2 x 3 beats 1 x 5
    ("count", [[5], [3], [3], [3], [3]], [True, False, False, False, False], 1.0),
    ("dual_agreement", [[2, 1], [1, 2], [3, 1]], [False, False, True], 1.0),  # three asserts each, but not the same
    ("dual_agreement", [[4], [2], [2], [2], [2]], [True, False, False, False, False], 1 / 5),  # 1 x 4 = 2 x 2
    ("dual_agreement", [[4, 3], *[[4, 1]] * 4], [True, False, False, False, False], 0.0),  # asserts all pass count too
    ("dual_agreement", [[0], [0], [0], [0]], [True, False, False, True], 1 / 2),  # tests say nothing
]


@pytest.mark.parametrize(("rule", "table", "correct", "expected"), HAND)
def test_by_hand(rule: str, table: Table, correct: list[bool], expected: float) -> None:
    own = task([table], [correct])
    at = index(own, rule, len(table), len(table[0]))
    draws = [drawn(range(len(table)), correct), drawn(range(len(table[0])), [True] * len(table[0]))]
    assert own.outcome(own.configurations[at], draws).tolist() == [pytest.approx(expected)]
    assert own.truth[at] == pytest.approx(expected)  # all are drawn, so nothing is left to chance


def test_the_truth_is_the_same_every_time() -> None:
    tables = [[[1, 0], [0, 2], [1, 1]]] * 2, [[True, False, True]] * 2
    assert task(*tables).truth.tolist() == task(*tables).truth.tolist()


def test_a_split_asks_both_stages_the_same() -> None:
    own = task([[[1], [0]]] * 5, [[True, False]] * 5)
    questions = own.split(np.random.default_rng(0)).questions
    assert questions.shape == (2, 2) and (questions[0] == questions[1]).all() and own.least_questions == 5


def test_the_budget_holds_for_both_stages_together() -> None:
    own = task([[[1, 0, 2], [0, 1, 0]]], [[True, False]], budget=4)
    assert sorted({tuple(row) for row in own.calls(own.configurations)[:, None].tolist()}) == [(2,), (3,), (4,)]
    assert (own.cost(own.configurations) == own.calls(own.configurations)).all()


@pytest.fixture(scope="module")
def humaneval() -> Selected:
    """The table of experiments/, with the options of which its source gives accuracies."""
    pytest.importorskip("pyarrow")
    own = load(CODET)
    assert isinstance(own, Selected)
    shares = [n / 200 for n in (1, 5, 10, 25, 100)]
    code, test = own.stages
    stages = (
        stage("code", code.recorded, "code", {"codegen-16b": 1.0}, code.rules, 200, shares),
        stage("test", test.recorded, "test", {"codegen-16b": 1.0}, test.rules, 200, shares),
    )
    return Selected("codet", stages, 200, 50, 60, own.passed)


PUBLISHED = [
    ("count", 100, 100, 0.218), ("dual_agreement", 100, 100, 0.369),
    ("count", 100, 1, 0.225), ("count", 100, 25, 0.235), ("dual_agreement", 100, 25, 0.304),
    ("count", 10, 1, 0.226), ("count", 10, 25, 0.279), ("count", 10, 100, 0.305), ("dual_agreement", 10, 100, 0.347),
    ("count", 5, 100, 0.306), ("count", 1, 25, 0.2275),
]  # fmt: skip


@pytest.mark.parametrize(("rule", "n", "m", "accuracy"), PUBLISHED)
def test_as_published_with_the_samples(humaneval: Selected, rule: str, n: int, m: int, accuracy: float) -> None:
    """Accuracies that the source gives are those of one draw of subsets, exact where all samples are drawn."""
    within = 0.0006 if n == m == 100 else 0.03
    assert humaneval.truth[index(humaneval, rule, n, m)] == pytest.approx(accuracy, abs=within)
    assert humaneval.truth_error <= ERROR


def test_one_program_needs_no_test(humaneval: Selected) -> None:
    right = humaneval.stages[0].recorded.correct[:, humaneval.stages[0].columns[0]].mean() / 100
    for m in (1, 100):
        assert humaneval.truth[index(humaneval, "count", 1, m)] == pytest.approx(right, abs=4 * ERROR)


def test_a_market_measures_what_the_value_says(humaneval: Selected) -> None:
    at = index(humaneval, "dual_agreement", 25, 25)
    found = [Market(humaneval, seed) for seed in range(40)]
    differences = [m.measure(at) - humaneval.value(humaneval.configurations[[at]], m.split)[0] for m in found]
    assert abs(mean(differences)) < 4 * np.std(differences) / math.sqrt(len(found))
    assert found[0].spent == 50 * 50
    examples = np.arange(50)
    assert found[0].score(at, examples).shape == (50,)


def test_a_market_says_no_worth_of_a_stage_by_itself() -> None:
    own = task([[[1], [0]]] * 2, [[True, False]] * 2)
    market = Market(own, 0)
    assert not market.independent and not market.shared
    for ask in (
        lambda: market.worth(0, np.array([0]), np.array(0.5), ()),
        lambda: market.habits(0, 0, 1, np.random.default_rng(0)),
        lambda: market.combined([np.array(0.5)] * 2),
    ):
        with pytest.raises(TypeError, match="must be independent"):
            ask()


TASK = """\
name: small
search: 2
trials: 3
budget: 4
shares: [0.25, 0.5]
matrix: matrix.csv
stages:
  code: {data: table.csv, stage: code, prices: {m: 1}, select: [count, dual_agreement]}
  test: {data: table.csv, stage: test, prices: {m: 1}}
"""
MATRIX = [("question_id", "code_sample", "test_sample", "passed", "total")] + [
    (q, p, 1, int(p == q), 1) for q in range(3) for p in range(2)
]


def write(folder: Path, text: str = TASK, matrix: Sequence[Sequence[object]] = MATRIX) -> Path:
    """A task of three questions, two programs and two test samples each, of which the second says something."""
    rows = [("dataset", "question_id", "stage", "model", "sample_index", "correct")]
    rows += [
        ("d", str(q), s, "m", str(i), str(i == q).lower()) for q in range(3) for s in ("code", "test") for i in (0, 1)
    ]
    for name, table in (("table.csv", rows), ("matrix.csv", matrix)):
        (folder / name).write_text("".join(",".join(map(str, row)) + "\n" for row in table), encoding="utf-8")
    path = folder / "task.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_task_file(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    path = write(tmp_path)
    own = load(path)
    assert isinstance(own, Selected)
    assert own.passed.tolist() == [[[0, 1], [0, 0]], [[0, 0], [0, 1]], [[0, 0], [0, 0]]]
    assert own.truth[index(own, "count", 2, 2)] == pytest.approx(
        2 / 3
    )  # wherever a program is right, the test finds it
    done = run(Job(str(path), "random", 0, "draws", bank=False))
    assert done.stages == 2 and done.optimum == pytest.approx(2 / 3) and done.trials > 0


WRONG_ROWS = [
    (7, (0, 1, 0, 0, 1), "must stand once in row 7"),
    (7, (0, 2, 0, 0, 1), "`code_sample` must be a recorded sample, from 0, got 2 in row 7"),
    (7, (0, 1, 5, 0, 1), "`test_sample` must be a recorded sample, from 0, got 5 in row 7"),
    (7, ("x", 0, 0, 0, 1), "`question_id` must be one of 'd' in row 7 .*question_id x"),
    (7, (0, 0, 0, 3, 2), "`passed` must not be above `total`, got 3 in row 7"),
    (7, (0, 0, 0, -1, 2), "`passed` must be a whole number from 0 upwards, got -1 in row 7"),
    (7, (2, 0, 0, 1, 2), "lacks code_sample 1 with test_sample 0 of '2'"),
    (0, ("question_id", "code_sample", "test_sample", "passed", "tests"), "lacks 'total'"),
]


@pytest.mark.parametrize(("at", "row", "message"), WRONG_ROWS)
def test_a_wrong_matrix_is_refused(tmp_path: Path, at: int, row: tuple[object, ...], message: str) -> None:
    pytest.importorskip("pyarrow")
    matrix: list[Sequence[object]] = [*MATRIX]
    matrix[at : at + 1] = [row]
    if message.startswith("must stand once"):
        matrix[at] = MATRIX[1]
    with pytest.raises(RecordedError, match=message):
        load(write(tmp_path, matrix=matrix))


WRONG_FILES = [
    ("matrix: matrix.csv\n", "", "need a matrix"),
    ("matrix: matrix.csv\n", "matrix: absent.csv\n", "absent.csv must be a table"),
    ("matrix: matrix.csv\n", "matrix: matrix.csv\ncombine: mean\n", "no combine"),
    ("  test: {data: table.csv, stage: test, prices: {m: 1}}\n", "", "two stages"),
    ("[count, dual_agreement]", "[count, majority]", "stage one selects"),
    (", select: [count, dual_agreement]", "", "stage one selects"),
    ("stage: test, prices: {m: 1}", "stage: test, prices: {m: 1}, select: [count]", "stage two has no select"),
]


@pytest.mark.parametrize(("old", "new", "message"), WRONG_FILES)
def test_a_wrong_task_file_is_refused(tmp_path: Path, old: str, new: str, message: str) -> None:
    pytest.importorskip("pyarrow")
    with pytest.raises(RecordedError, match=message):
        load(write(tmp_path, TASK.replace(old, new)))
