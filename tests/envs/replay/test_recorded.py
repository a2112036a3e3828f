"""A table is read as it was written, or refused with the row that is wrong."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st

from apportion.envs.replay.recorded import NONE, Recorded, read
from apportion.errors import RecordedError

Row = Mapping[str, Any]
COUNTED = [
    {"dataset": "d", "question_id": q, "model": m, "n_samples": 4, "n_correct": c}
    for (q, m), c in zip(itertools.product("ab", ("large", "small")), (4, 1, 2, 0), strict=True)
]


def sample(question: str, model: str, index: int, **others: object) -> dict[str, Any]:
    return {
        "dataset": "d", "question_id": question, "stage": "", "model": model, "sample_index": index,
        "answer": "x", "correct": True, "completion_tokens": 7, **others,
    }  # fmt: skip


def written(folder: Path, rows: list[Any], suffix: str = ".parquet") -> Path:
    path = folder / f"table{suffix}"
    table = pa.Table.from_pylist(rows)
    if suffix == ".csv":
        pyarrow.csv.write_csv(table, path)
    else:
        pyarrow.parquet.write_table(table, path)
    return path


@pytest.mark.parametrize("suffix", [".parquet", ".csv"])
def test_counts(tmp_path: Path, suffix: str) -> None:
    table = read(written(tmp_path, COUNTED, suffix))
    assert (table.dataset, table.questions, table.pairs) == ("d", ("a", "b"), (("", "large"), ("", "small")))
    assert table.correct.tolist() == [[4, 1], [2, 0]] and (table.drawn == 4).all() and table.samples is None


@pytest.mark.parametrize("suffix", [".parquet", ".csv"])
def test_samples(tmp_path: Path, suffix: str) -> None:
    rows = [
        sample("2", "m", 1, answer="7", correct=False, completion_tokens=None),
        sample("10", "m", 0, answer="7"),
        sample("2", "m", 0, answer="8", completion_tokens=3),
        sample("2", "m", 2, answer="7", correct=False),
        sample("2", "n", 0, answer=None, correct=False),
    ]
    table = read(written(tmp_path, rows, suffix))
    assert table.questions == ("10", "2") and table.pairs == (("", "m"), ("", "n"))
    assert table.drawn.tolist() == [[1, 0], [3, 1]] and table.correct.tolist() == [[1, 0], [1, 0]]
    assert table.samples is not None
    first = table.samples.start[1, 0]
    own = slice(first, first + 3)
    assert table.samples.correct[own].tolist() == [True, False, False]
    one, two, three = table.samples.answers[own].tolist()
    assert one != two == three and one != NONE != two
    assert table.samples.answers[table.samples.start[0, 0]] != two, "equal texts of different questions are no vote"
    if suffix == ".parquet":  # a CSV file does not tell an absent text from an empty one
        assert table.samples.answers[table.samples.start[1, 1]] == NONE
    tokens = table.samples.amounts["completion_tokens"][own]
    assert tokens[0] == 3 and np.isnan(tokens[1]) and tokens[2] == 7
    assert np.isnan(table.samples.amounts["cost_usd"]).all()


@pytest.mark.parametrize("suffix", [".parquet", ".csv"])
def test_scores(tmp_path: Path, suffix: str) -> None:
    rows = [sample("a", "m", 1, score=-0.5), sample("a", "m", 0, score=2.0), sample("b", "m", 0, score=None)]
    table = read(written(tmp_path, rows, suffix))
    first, second = (cell.scores for _, cell in table.cells(0))
    assert first.tolist() == [2.0, -0.5] and np.isnan(second).all()
    without = read(written(tmp_path, [sample("a", "m", 0)], suffix))
    assert without.samples is not None and without.samples.scores is None
    with pytest.raises(
        RecordedError, match="'d' must be recorded sample by sample, but has counts; choose any_correct"
    ):
        next(read(written(tmp_path, COUNTED, suffix)).cells(0))


@given(st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from("mn"), st.integers(0, 5)), min_size=1, unique=True))
def test_every_sample_is_found_again(
    tmp_path_factory: pytest.TempPathFactory, places: list[tuple[str, str, int]]
) -> None:
    rows = [sample(q, m, i, completion_tokens=10 * i) for q, m, i in places]
    table = read(written(tmp_path_factory.mktemp("tables"), rows))
    assert table.samples is not None and table.drawn.sum() == len(rows)
    for q, m in {(q, m) for q, m, _ in places}:
        at = table.questions.index(q), table.pairs.index(("", m))
        own = slice(table.samples.start[at], table.samples.start[at] + table.drawn[at])
        expected = sorted(10.0 * i for question, model, i in places if (question, model) == (q, m))
        assert table.samples.amounts["completion_tokens"][own].tolist() == expected


REFUSED: dict[str, tuple[list[Row], str]] = {
    "another dataset": ([], "the dataset must be one of d in .*, got 'none'; choose one"),
    "a column is absent": ([{"dataset": "d", "question_id": "a", "model": "m"}], "lacks 'sample_index'; add it"),
    "no samples": (
        [{**COUNTED[0], "n_samples": 0, "n_correct": 0}],
        r"`n_samples` must be 1 or more, got 0 in row 1 of",
    ),
    "more correct than drawn": (
        [COUNTED[0], {**COUNTED[1], "n_correct": 5}],
        r"`n_correct` must not be above `n_samples`, got 5 in row 2 of .* \(question_id a, model small\); mend it",
    ),
    "a negative count": (
        [{**COUNTED[0], "n_correct": -1}],
        "`n_correct` must be a whole number from 0 upwards, got -1",
    ),
    "half a sample": ([{**COUNTED[0], "n_samples": 4.5}], "`n_samples` must be a whole number from 0 upwards, got 4.5"),
    "a count twice": ([COUNTED[0], COUNTED[1], COUNTED[0]], "a question and model must stand once in row 3 of"),
    "a sample twice": (
        [sample("a", "m", 0), sample("a", "m", 1), sample("a", "m", 1)],
        r"a sample of a question, stage and model must stand once, got 1 in row 3 of",
    ),
    "a truth that is none": ([sample("a", "m", 0, correct=1)], "`correct` of .* must be true or false, got int64"),
    "an unknown truth": (
        [sample("a", "m", 0), sample("a", "m", 1, correct=None)],
        "`correct` must be given in row 2 of",
    ),
    "no model": ([sample("a", "m", 0), sample("a", None, 1)], "`model` must be given in row 2 of"),  # type: ignore[arg-type]
    "negative tokens": (
        [sample("a", "m", 0, completion_tokens=-1)],
        "`completion_tokens` must be finite and 0 or more, got -1",
    ),
    "a score without end": ([sample("a", "m", 0, score=float("inf"))], "`score` must be finite, got inf in row 1"),
    "words for scores": (
        [sample("a", "m", 0, score="1.5"), sample("a", "m", 1, score="good")],
        r"`score` must be a number, got 'good' in row 2 of .* \(question_id a, stage , model m\); mend it",
    ),
    "words for numbers": (
        [sample("a", "m", 0, completion_tokens="many")],
        "`completion_tokens` must be a number, got 'many' in row 1 of",
    ),
    "words for the truth": (
        [sample("a", "m", 0, correct="true"), sample("a", "m", 1, correct="maybe")],
        "`correct` must be true or false, got 'maybe' in row 2 of",
    ),
    "the truth in words": ([sample("a", "m", 0, correct="true")], "`correct` of .* must be true or false, got string"),
    "a number that no float holds": (
        [sample("a", "m", 0), sample("a", "m", 0, sample_index=1e300)],
        r"`sample_index` must be below 2\^53, got 1e\+300 in row 2 of",
    ),
    "no dataset": ([sample("a", "m", 0), sample("a", "m", 1, dataset=None)], "`dataset` must be given in row 2 of"),
    "a dataset without a name": (
        [sample("a", "m", 0), sample("a", "m", 1, dataset="")],
        "`dataset` must be given in row 2 of",
    ),
    "a list for a text": ([{**sample("a", "m", 0), "model": ["m"]}], "`model` of .* must be text, got list<"),
    "a list for an answer": ([sample("a", "m", 0, answer=["m"])], "`answer` of .* must be text, got list<"),
    "two datasets": (
        [sample("a", "m", 0), sample("a", "m", 1, dataset="e")],
        "one dataset must be named of .* which has d, e",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_wrong_is_named(tmp_path: Path, name: str) -> None:
    rows, said = REFUSED[name]
    with pytest.raises(RecordedError, match=said) as error:
        read(written(tmp_path, rows) if rows else written(tmp_path, COUNTED[:1]), *(() if rows else ("none",)))
    assert "\n" not in str(error.value)


def test_rows_are_counted_in_the_file_not_in_the_dataset(tmp_path: Path) -> None:
    rows = [sample("a", "m", 0), sample("b", "m", 0, dataset="e"), sample("b", "m", 0, dataset="e")]
    with pytest.raises(RecordedError, match="in row 3 of"):
        read(written(tmp_path, rows), "e")


def test_files_that_are_no_tables(tmp_path: Path) -> None:
    broken = tmp_path / "broken.parquet"
    broken.write_bytes(b"PAR1 and no more")
    for path, said in ((broken, "must be a table, but"), (tmp_path / "none.csv", "must be a table, but")):
        with pytest.raises(RecordedError, match=said):
            read(path)
    with pytest.raises(RecordedError, match=r"must be a \.parquet or \.csv file, got 'table\.json'"):
        read(tmp_path / "table.json")


def test_a_row_of_a_csv_file_that_is_cut_short_is_named(tmp_path: Path) -> None:
    path = written(tmp_path, [sample("a", "m", 0), sample("a", "m", 1)], ".csv")
    path.write_text(path.read_text() + "d,a\n")
    with pytest.raises(RecordedError, match="must be a table, but CSV parse error: row 3: Expected 8 columns, got 2"):
        read(path)


@pytest.fixture
def table(tmp_path: Path) -> Recorded:
    return read(written(tmp_path, [*COUNTED[:3], {**COUNTED[3], "model": "tiny"}]))


def test_columns_of_models(table: Recorded) -> None:
    assert table.at("", ["large"], 4) == [0]
    with pytest.raises(
        RecordedError, match=r"'d' must hold every model of stage '', but lacks 'huge'; it has large, small"
    ):
        table.at("", ["large", "huge"])
    with pytest.raises(RecordedError, match=r"must hold 5 samples of 'large' for each question, but has 4 for 'a'"):
        table.at("", ["large"], 5)
    with pytest.raises(RecordedError, match=r"must hold 1 samples of 'small' for each question, but has 0 for 'b'"):
        table.at("", ["small"])


HIDING = "m\x1b[2J\u202e"
SHOWN = r"m\x1b[2J\u202e"


@pytest.mark.parametrize(
    "rows",
    [
        [sample(HIDING, HIDING, 0), sample(HIDING, HIDING, 0)],
        [sample("a", HIDING, 0, completion_tokens=-1)],
        [sample("a", "m", 0, dataset=HIDING), sample("a", "m", 0, dataset="e")],
        [sample("a", HIDING, 0, sample_index=0.5)],
    ],
)
@pytest.mark.parametrize("suffix", [".parquet", ".csv"])
def test_what_a_table_says_does_nothing_to_a_terminal(tmp_path: Path, rows: list[Row], suffix: str) -> None:
    with pytest.raises(RecordedError) as error:
        read(written(tmp_path, rows, suffix))
    assert SHOWN in str(error.value) and str(error.value).isprintable()


def test_what_is_asked_of_a_table_does_nothing_to_a_terminal(tmp_path: Path) -> None:
    table = read(written(tmp_path, [sample("a", HIDING, 0), sample(HIDING, "n", 0)]))
    for model, least in (("none", 1), (HIDING, 2), ("n", 1)):
        with pytest.raises(RecordedError) as error:
            table.at("", [model], least)
        assert str(error.value).isprintable()
    path = written(tmp_path, [sample("a", "m", 0, correct=HIDING)], ".csv")
    with pytest.raises(RecordedError) as error:
        read(path.rename(tmp_path / f"{HIDING}.csv"))
    assert str(error.value).isprintable() and SHOWN in str(error.value)
