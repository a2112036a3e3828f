"""Tables of recorded outcomes: reading, checking, and choosing what of them is replayed. Needs the extra `data`.

A table is a parquet or CSV file in one of two forms (docs/recorded-outcomes.md): a row a sample, or a row a question
and model with counts. It does not know what a choice among samples is worth (`selection`), nor what anything costs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from apportion.errors import RecordedError

if TYPE_CHECKING:
    import pyarrow as pa

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

PLACE = ("dataset", "question_id", "model")
COUNTS = ("n_samples", "n_correct")
AMOUNTS = ("prompt_tokens", "completion_tokens", "latency_s", "cost_usd")
NONE = -1  # in place of an answer


@dataclass(frozen=True, eq=False)
class Samples:
    """Samples one by one, those of a question and pair side by side.

    Attributes:
        start: questions x pairs, the place of the first; `Recorded.drawn` says how many there are.
        correct: of each sample.
        answers: of each sample, equal numbers for equal answers to a question; -1 for none.
        amounts: `prompt_tokens`, `completion_tokens`, `latency_s` and `cost_usd` of each sample; NaN where unrecorded.
    """

    start: Ints
    correct: NDArray[np.bool_]
    answers: Ints
    amounts: dict[str, Floats]


@dataclass(frozen=True, eq=False)
class Recorded:
    """What models did on the questions of one dataset.

    Attributes:
        questions: their ids, sorted.
        pairs: stages and models, sorted; a table of one stage may call it "".
        drawn, correct: questions x pairs, numbers of samples.
        samples: None where only counts were recorded.
    """

    dataset: str
    questions: tuple[str, ...]
    pairs: tuple[tuple[str, str], ...]
    drawn: Ints
    correct: Ints
    samples: Samples | None

    def at(self, stage: str, models: Sequence[str], least: int = 1) -> list[int]:
        """Columns of some models of a stage, all of whose cells hold enough samples.

        Raises:
            RecordedError: the table lacks a model there, or a cell has fewer than `least` samples.
        """
        known = [model for own, model in self.pairs if own == stage]
        columns = []
        for model in models:
            if model not in known:
                listed = ", ".join(known[:8]) + (", ..." if len(known) > 8 else "")
                raise RecordedError(
                    f"{self.dataset!r} must hold every model of stage {stage!r}, but lacks {model!r}; it has {listed}."
                )
            column = self.pairs.index((stage, model))
            poor = np.flatnonzero(self.drawn[:, column] < least)
            if len(poor):
                raise RecordedError(
                    f"{self.dataset!r} must hold {least} samples of {model!r} for each question, but has "
                    f"{self.drawn[poor[0], column]} for {self.questions[poor[0]]!r}; leave one of the two out."
                )
            columns.append(column)
        return columns


def read(path: Path, dataset: str | None = None) -> Recorded:
    """Read the outcomes of one dataset.

    Args:
        dataset: which; None where the table holds one only.

    Raises:
        RecordedError: pyarrow is not installed, the file is no such table, or a row is wrong: which, and why.
    """
    table = _load(path)
    names = table.column_names
    form = "counts" if COUNTS[0] in names else "samples"
    wanted = (*PLACE, *(COUNTS if form == "counts" else ("sample_index", "correct")))
    lacking = [name for name in wanted if name not in names]
    if lacking:
        raise RecordedError(
            f"a table of {form} must have {', '.join(wanted)}, but {path} lacks {lacking[0]!r}; add it."
        )
    own, rows = _of_dataset(path, table, dataset)
    column = _Columns(path, own, rows)
    questions, question = column.codes("question_id")
    models, model = column.codes("model")
    stages, stage = column.codes("stage") if "stage" in names else (("",), np.zeros(len(rows), dtype=np.int64))
    pair_codes, pair = np.unique(stage * len(models) + model, return_inverse=True)
    pairs = tuple((stages[code // len(models)], models[code % len(models)]) for code in pair_codes.tolist())
    cell = question * len(pairs) + pair
    shape = len(questions), len(pairs)
    name = str(own.column("dataset")[0])
    if form == "counts":
        n, c = column.whole("n_samples"), column.whole("n_correct")
        column.refuse(n < 1, "`n_samples` must be 1 or more", n)
        column.refuse(c > n, "`n_correct` must not be above `n_samples`", c)
        column.refuse(_again(cell), "a question and model must stand once", None)
        drawn, correct = np.zeros(shape, dtype=np.int64), np.zeros(shape, dtype=np.int64)
        drawn.flat[cell], correct.flat[cell] = n, c
        return Recorded(name, questions, pairs, drawn, correct, None)
    index = column.whole("sample_index")
    order = np.lexsort((index, cell))
    same = (cell[order][1:] == cell[order][:-1]) & (index[order][1:] == index[order][:-1])
    twice = np.zeros(len(rows), dtype=bool)
    twice[order[1:][same]] = True
    column.refuse(twice, "a sample of a question, stage and model must stand once", index)
    right = column.truth("correct")
    drawn = np.bincount(cell, minlength=shape[0] * shape[1])
    start = np.cumsum(drawn) - drawn
    samples = Samples(
        start.reshape(shape),
        right[order],
        column.answers(question)[order],
        {amount: column.amount(amount)[order] for amount in AMOUNTS},
    )
    correct = np.bincount(cell, weights=right, minlength=len(drawn)).astype(np.int64)
    return Recorded(name, questions, pairs, drawn.reshape(shape), correct.reshape(shape), samples)


def _load(path: Path) -> pa.Table:
    try:
        import pyarrow as pa
        import pyarrow.csv
        import pyarrow.parquet
    except ImportError:
        raise RecordedError("reading recorded outcomes needs pyarrow; run pip install 'apportion[data]'.") from None
    readers = {".parquet": pyarrow.parquet.read_table, ".csv": _read_csv}
    if path.suffix not in readers:
        raise RecordedError(f"recorded outcomes must be a .parquet or .csv file, got {path.name!r}; convert it.")
    try:
        table: pa.Table = readers[path.suffix](path)
    except (OSError, pa.ArrowException) as error:
        raise RecordedError(f"{path} must be a table, but {' '.join(str(error).split())[:160]}; mend it.") from None
    if not table.num_rows:
        raise RecordedError(f"{path} must hold outcomes, but has no row; record some.")
    return table


def _read_csv(path: Path) -> pa.Table:
    """A CSV file, in which ids and answers are text whatever they look like."""
    import pyarrow as pa
    import pyarrow.csv

    texts = dict.fromkeys((*PLACE, "stage", "answer"), pa.string())
    return pyarrow.csv.read_csv(path, convert_options=pyarrow.csv.ConvertOptions(column_types=texts))


def _of_dataset(path: Path, table: pa.Table, dataset: str | None) -> tuple[pa.Table, Ints]:
    """The rows of a dataset, and their numbers from 1."""
    import pyarrow.compute as pc

    names = sorted(map(str, pc.unique(table.column("dataset")).to_pylist()))
    if dataset is None and len(names) > 1:
        raise RecordedError(f"one dataset must be named of {path}, which has {', '.join(names[:8])}; choose one.")
    wanted = names[0] if dataset is None else dataset
    if wanted not in names:
        raise RecordedError(f"the dataset must be one of {', '.join(names[:8])} in {path}, got {wanted!r}; choose one.")
    own = np.asarray(pc.fill_null(pc.equal(table.column("dataset").cast("string"), wanted), fill_value=False))
    return table.filter(own), np.flatnonzero(own) + 1


@dataclass(frozen=True)
class _Columns:
    """Columns of a table as arrays, checked.

    Attributes:
        rows: numbers of its rows in the file, for errors.
    """

    path: Path
    table: pa.Table
    rows: Ints

    def codes(self, name: str) -> tuple[tuple[str, ...], Ints]:
        """Distinct texts, sorted, and which of them each row has."""
        column = self.table.column(name).cast("string")
        self.refuse(np.asarray(column.is_null()), f"`{name}` must be given", None)
        texts, codes = np.unique(np.asarray(column.to_numpy(), dtype=np.str_), return_inverse=True)
        return tuple(texts.tolist()), codes.astype(np.int64)

    def answers(self, question: Ints) -> Ints:
        """Numbers of the answers, alike where both the question and the text are."""
        if "answer" not in self.table.column_names:
            return np.full(len(self.rows), NONE)
        import pyarrow.compute as pc

        encoded = pc.dictionary_encode(self.table.column("answer").cast("string")).combine_chunks()
        text = np.asarray(pc.fill_null(encoded.indices, NONE)).astype(np.int64)
        _, numbers = np.unique(question * (int(text.max()) + 2) + text, return_inverse=True)
        return np.where(text == NONE, NONE, numbers)

    def whole(self, name: str) -> Ints:
        """Whole numbers from 0 upwards."""
        value = self._numbers(name)
        whole = np.isfinite(value) & (value >= 0) & (value == np.floor(value))
        self.refuse(~whole, f"`{name}` must be a whole number from 0 upwards", value)
        return value.astype(np.int64)

    def amount(self, name: str) -> Floats:
        """Numbers from 0 upwards, NaN where there is none."""
        if name not in self.table.column_names:
            return np.full(len(self.rows), np.nan)
        value = self._numbers(name)
        self.refuse((value < 0) | np.isinf(value), f"`{name}` must be finite and 0 or more", value)
        return value

    def truth(self, name: str) -> NDArray[np.bool_]:
        """True or false."""
        import pyarrow as pa

        column = self.table.column(name)
        if not pa.types.is_boolean(column.type):
            raise RecordedError(f"`{name}` of {self.path} must be true or false, got {column.type}; convert it.")
        self.refuse(np.asarray(column.is_null()), f"`{name}` must be given", None)
        return np.asarray(column.to_numpy(), dtype=np.bool_)

    def refuse(self, wrong: NDArray[np.bool_], law: str, value: NDArray[Any] | None) -> None:
        """Refuse the first row that is wrong.

        Raises:
            RecordedError: there is one.
        """
        if wrong.any():
            at = int(wrong.argmax())
            known = [name for name in ("question_id", "stage", "model") if name in self.table.column_names]
            place = ", ".join(f"{name} {self.table.column(name)[at]}" for name in known)
            got = "" if value is None else f", got {value[at]:g}"
            raise RecordedError(f"{law}{got} in row {self.rows[at]} of {self.path} ({place}); mend it.")

    def _numbers(self, name: str) -> Floats:
        import pyarrow as pa

        try:
            return np.asarray(self.table.column(name).cast("float64").to_numpy(), dtype=np.float64)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            kind = self.table.column(name).type
            raise RecordedError(f"`{name}` of {self.path} must be numbers, got {kind}; convert it.") from None


def _again(cell: Ints) -> NDArray[np.bool_]:
    """Which entries stood before."""
    _, first = np.unique(cell, return_index=True)
    again = np.ones(len(cell), dtype=bool)
    again[first] = False
    return again
