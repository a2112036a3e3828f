"""Parquet and CSV files as checked columns. Needs the extra `data`.

It knows rows and their numbers, and what a number or a text must be, not what a table is about.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from apportion.errors import RecordedError
from apportion.graphs.graph import escaped

if TYPE_CHECKING:
    import pyarrow as pa

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

TEXTS = ("dataset", "question_id", "model", "stage", "answer", "read", "role")  # in a CSV file, whatever they look like
NONE = -1  # in place of an answer
MOST_WHOLE = 2**53  # up to which a float holds whole numbers exactly


def load(path: Path) -> pa.Table:
    """Read a file.

    Raises:
        RecordedError: pyarrow is not installed, the file is no table, or it has no row.
    """
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
        why = escaped(" ".join(str(error).split())[:160])
        raise RecordedError(f"{escaped(str(path))} must be a table, but {why}; mend it.") from None
    if not table.num_rows:
        raise RecordedError(f"{escaped(str(path))} must hold outcomes, but has no row; record some.")
    return table


def _read_csv(path: Path) -> pa.Table:
    """A CSV file, in which ids and answers are text whatever they look like.

    Raises:
        pa.ArrowInvalid: it is none; a row that is wrong has its number, without the head.
    """
    import pyarrow as pa
    import pyarrow.csv

    options = pyarrow.csv.ConvertOptions(column_types=dict.fromkeys(TEXTS, pa.string()))
    try:
        return pyarrow.csv.read_csv(path, convert_options=options)
    except pa.ArrowInvalid:  # again by one thread, as several do not know the numbers of rows
        try:
            return pyarrow.csv.read_csv(path, pyarrow.csv.ReadOptions(use_threads=False), convert_options=options)
        except pa.ArrowInvalid as error:
            raise pa.ArrowInvalid(re.sub(r"Row #(\d+)", lambda row: f"row {int(row[1]) - 1}", str(error))) from None


@dataclass(frozen=True)
class Columns:
    """Columns of a table as arrays, checked.

    Attributes:
        path: of the file, for errors.
        rows: numbers of the table's rows in the file, from 1, for errors.
    """

    path: Path
    table: pa.Table
    rows: Ints

    @property
    def file(self) -> str:
        """The path as errors say it."""
        return escaped(str(self.path))

    def require(self, names: tuple[str, ...], kind: str) -> None:
        """Refuse a table that lacks a column.

        Raises:
            RecordedError: it does.
        """
        lacking = [name for name in names if name not in self.table.column_names]
        if lacking:
            raise RecordedError(f"{kind} must have {', '.join(names)}, but {self.file} lacks {lacking[0]!r}; add it.")

    def where(self, kept: Flags) -> Columns:
        """Some of the rows."""
        return Columns(self.path, self.table.filter(kept), self.rows[kept])

    def codes(self, name: str) -> tuple[tuple[str, ...], Ints]:
        """Distinct texts, sorted, and which of them each row has."""
        column = self.texts(name)
        self.refuse(np.asarray(column.is_null()), f"`{name}` must be given", None)
        texts, codes = np.unique(np.asarray(column.to_numpy(), dtype=np.str_), return_inverse=True)
        return tuple(texts.tolist()), codes.astype(np.int64)

    def texts(self, name: str) -> pa.ChunkedArray:
        """Texts, null where there is none.

        Raises:
            RecordedError: they cannot be had.
        """
        import pyarrow as pa

        column = self.table.column(name)
        try:
            return column.cast("string")
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            raise RecordedError(f"`{name}` of {self.file} must be text, got {column.type}; convert it.") from None

    def answers(self, question: Ints) -> Ints:
        """Numbers of the answers, alike where both the question and the text are."""
        if "answer" not in self.table.column_names:
            return np.full(len(self.rows), NONE)
        import pyarrow.compute as pc

        encoded = pc.dictionary_encode(self.texts("answer")).combine_chunks()
        text = np.asarray(pc.fill_null(encoded.indices, NONE)).astype(np.int64)
        _, numbers = np.unique(question * (int(text.max()) + 2) + text, return_inverse=True)
        return np.where(text == NONE, NONE, numbers)

    def whole(self, name: str) -> Ints:
        """Whole numbers from 0 upwards."""
        value = self.numbers(name)
        whole = np.isfinite(value) & (value >= 0) & (value == np.floor(value))
        self.refuse(~whole, f"`{name}` must be a whole number from 0 upwards", value)
        self.refuse(value >= MOST_WHOLE, f"`{name}` must be below 2^53", value)
        return value.astype(np.int64)

    def amount(self, name: str) -> Floats:
        """Numbers from 0 upwards, NaN where there is none."""
        if name not in self.table.column_names:
            return np.full(len(self.rows), np.nan)
        value = self.numbers(name)
        self.refuse((value < 0) | np.isinf(value), f"`{name}` must be finite and 0 or more", value)
        return value

    def score(self, name: str) -> Floats:
        """Finite numbers, NaN where there is none."""
        value = self.numbers(name)
        self.refuse(np.isinf(value), f"`{name}` must be finite", value)
        return value

    def truth(self, name: str) -> Flags:
        """True or false."""
        import pyarrow as pa

        column = self.table.column(name)
        self._refuse_words(name, "true or false", lambda text: text.lower() in ("true", "false"))
        if not pa.types.is_boolean(column.type):
            raise RecordedError(f"`{name}` of {self.file} must be true or false, got {column.type}; convert it.")
        self.refuse(np.asarray(column.is_null()), f"`{name}` must be given", None)
        return np.asarray(column.to_numpy(), dtype=np.bool_)

    def numbers(self, name: str) -> Floats:
        """Numbers, NaN where there is none."""
        import pyarrow as pa

        try:
            return np.asarray(self.table.column(name).cast("float64").to_numpy(), dtype=np.float64)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            self._refuse_words(name, "a number", _is_number)
            kind = self.table.column(name).type
            raise RecordedError(f"`{name}` of {self.file} must be numbers, got {kind}; convert it.") from None

    def refuse(self, wrong: Flags, law: str, value: NDArray[Any] | None) -> None:
        """Refuse the first row that is wrong.

        Raises:
            RecordedError: there is one.
        """
        if wrong.any():
            at = int(wrong.argmax())
            raise self._wrong(at, law if value is None else f"{law}, got {value[at]:g}")

    def _refuse_words(self, name: str, kind: str, fits: Callable[[str], bool]) -> None:
        """Refuse the first text of a column of texts that does not fit: it is what made all of them texts in a CSV."""
        import pyarrow as pa

        column = self.table.column(name)
        if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
            for at, text in enumerate(column.to_pylist()):
                if text is not None and not fits(text):
                    raise self._wrong(at, f"`{name}` must be {kind}, got '{escaped(text[:60])}'")

    def _wrong(self, at: int, law: str) -> RecordedError:
        """That a law does not hold in a row."""
        known = [name for name in ("question_id", "stage", "model") if name in self.table.column_names]
        place = ", ".join(f"{name} {escaped(str(self.table.column(name)[at]))}" for name in known)
        return RecordedError(f"{law} in row {self.rows[at]} of {self.file} ({place}); mend it.")


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def again(cell: Ints) -> Flags:
    """Which entries stood before."""
    _, first = np.unique(cell, return_index=True)
    again = np.ones(len(cell), dtype=bool)
    again[first] = False
    return again
