"""Tables of recorded outcomes: reading, checking, and choosing what of them is replayed. Needs the extra `data`.

A table is a parquet or CSV file in one of two forms (docs/recorded-outcomes.md): a row a sample, or a row a question
and model with counts. It does not know what a choice among samples is worth (`selection`), nor what anything costs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from apportion.envs.replay.columns import NONE as NONE
from apportion.envs.replay.columns import Columns, again, load
from apportion.errors import RecordedError
from apportion.graphs.graph import escaped

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

PLACE = ("dataset", "question_id", "model")
COUNTS = ("n_samples", "n_correct")
SAMPLE = ("sample_index", "correct")
AMOUNTS = ("prompt_tokens", "completion_tokens", "latency_s", "cost_usd")


@dataclass(frozen=True, eq=False)
class Samples:
    """Samples one by one, those of a question and pair side by side.

    Attributes:
        start: questions x pairs, the place of the first; `Recorded.drawn` says how many there are.
        correct: of each sample.
        answers: of each sample, equal numbers for equal answers to a question; -1 for none.
        amounts: `prompt_tokens`, `completion_tokens`, `latency_s` and `cost_usd` of each sample; NaN where unrecorded.
        scores: of each sample, NaN where there is none; None where the table has none.
    """

    start: Ints
    correct: NDArray[np.bool_]
    answers: Ints
    amounts: dict[str, Floats]
    scores: Floats | None = None


class Cell(NamedTuple):
    """Samples of one question, stage and model.

    Attributes:
        scores: empty where the table has none.
    """

    correct: NDArray[np.bool_]
    answers: Ints
    scores: Floats


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

    def part(self, questions: Ints) -> Recorded:
        """Some of the questions."""
        names = tuple(self.questions[q] for q in questions.tolist())
        own = self.samples and replace(self.samples, start=self.samples.start[questions])
        return Recorded(self.dataset, names, self.pairs, self.drawn[questions], self.correct[questions], own)

    def cells(self, column: int) -> Iterator[tuple[int, Cell]]:
        """Numbers of the questions, each with its samples.

        Raises:
            RecordedError: only counts were recorded.
        """
        own = self.samples
        if own is None:
            raise RecordedError(
                f"{self.dataset!r} must be recorded sample by sample, but has counts; choose any_correct."
            )
        for question, (start, count) in enumerate(zip(own.start[:, column], self.drawn[:, column], strict=True)):
            at = slice(start, start + count)
            yield (
                question,
                Cell(own.correct[at], own.answers[at], np.empty(0) if own.scores is None else own.scores[at]),
            )

    def at(self, stage: str, models: Sequence[str], least: int = 1) -> list[int]:
        """Columns of some models of a stage, all of whose cells hold enough samples.

        Raises:
            RecordedError: the table lacks a model there, or a cell has fewer than `least` samples.
        """
        known = [model for own, model in self.pairs if own == stage]
        columns = []
        for model in models:
            if model not in known:
                listed = escaped(", ".join(known[:8])) + (", ..." if len(known) > 8 else "")
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


def read(path: Path | str, dataset: str | None = None) -> Recorded:
    """Read the outcomes of one dataset.

    Args:
        dataset: which; None where the table holds one only.

    Raises:
        RecordedError: pyarrow is not installed, the file is no such table, or a row is wrong: which, and why.
    """
    path = Path(path)
    table = load(path)
    every = Columns(path, table, np.arange(table.num_rows) + 1)
    counted = COUNTS[0] in table.column_names
    form, own = ("counts", COUNTS) if counted else ("samples", SAMPLE)
    every.require((*PLACE, *own), f"a table of {form}")
    column = of_dataset(every, dataset)
    questions, question = column.codes("question_id")
    return (_of_counts if counted else of_samples)(column, questions, question)


def of_dataset(column: Columns, dataset: str | None) -> Columns:
    """The rows of a dataset.

    Raises:
        RecordedError: there are several and none is named, or there is no such dataset.
    """
    import pyarrow.compute as pc

    found = column.texts("dataset")
    given = pc.fill_null(pc.not_equal(found, ""), fill_value=False)
    column.refuse(~np.asarray(given), "`dataset` must be given", None)
    names = sorted(pc.unique(found).to_pylist())
    listed = escaped(", ".join(names[:8]))
    if dataset is None and len(names) > 1:
        raise RecordedError(f"one dataset must be named of {column.file}, which has {listed}; choose one.")
    wanted = names[0] if dataset is None else dataset
    if wanted not in names:
        raise RecordedError(f"the dataset must be one of {listed} in {column.file}, got {wanted!r}; choose one.")
    return column.where(np.asarray(pc.equal(found, wanted)))


def _pairs(column: Columns) -> tuple[tuple[tuple[str, str], ...], Ints]:
    """Stages with models, sorted, and which of them each row has."""
    models, model = column.codes("model")
    known = "stage" in column.table.column_names
    stages, stage = column.codes("stage") if known else (("",), np.zeros(len(column.rows), dtype=np.int64))
    codes, pair = np.unique(stage * len(models) + model, return_inverse=True)
    return tuple((stages[code // len(models)], models[code % len(models)]) for code in codes.tolist()), pair


def _of_counts(column: Columns, questions: tuple[str, ...], question: Ints) -> Recorded:
    pairs, pair = _pairs(column)
    cell = question * len(pairs) + pair
    n, c = column.whole("n_samples"), column.whole("n_correct")
    column.refuse(n < 1, "`n_samples` must be 1 or more", n)
    column.refuse(c > n, "`n_correct` must not be above `n_samples`", c)
    column.refuse(again(cell), "a question and model must stand once", None)
    drawn, correct = (np.zeros((len(questions), len(pairs)), dtype=np.int64) for _ in range(2))
    drawn.flat[cell], correct.flat[cell] = n, c
    return Recorded(_dataset(column), questions, pairs, drawn, correct, None)


def of_samples(
    column: Columns, questions: tuple[str, ...], question: Ints, right: NDArray[np.bool_] | None = None
) -> Recorded:
    """Outcomes recorded sample by sample.

    Args:
        questions: what counts as a question.
        question: number of it, of each row.
        right: whether each row is; None for what the column `correct` says.

    Raises:
        RecordedError: a row is wrong.
    """
    pairs, pair = _pairs(column)
    cell = question * len(pairs) + pair
    index = column.whole("sample_index")
    order = np.lexsort((index, cell))
    same = (cell[order][1:] == cell[order][:-1]) & (index[order][1:] == index[order][:-1])
    twice = np.zeros(len(index), dtype=bool)
    twice[order[1:][same]] = True
    column.refuse(twice, "a sample of a question, stage and model must stand once", index)
    right = column.truth("correct") if right is None else right
    shape = len(questions), len(pairs)
    drawn = np.bincount(cell, minlength=shape[0] * shape[1])
    correct = np.bincount(cell, weights=right, minlength=len(drawn)).astype(np.int64)
    samples = Samples(
        (np.cumsum(drawn) - drawn).reshape(shape),
        right[order],
        column.answers(question)[order],
        {amount: column.amount(amount)[order] for amount in AMOUNTS},
        column.score("score")[order] if "score" in column.table.column_names else None,
    )
    return Recorded(_dataset(column), questions, pairs, drawn.reshape(shape), correct.reshape(shape), samples)


def _dataset(column: Columns) -> str:
    return str(column.table.column("dataset")[0])
