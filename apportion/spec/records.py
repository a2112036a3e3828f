"""Reads the records of a file: lines of JSON, one JSON array, or a CSV table. It does not know their keys."""

from __future__ import annotations

import csv
import gzip
import io
import json
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any

from apportion.spec.problems import safe, show

MOST_UNPACKED = 256_000_000  # bytes of a .gz file: rows are held in memory


class BadRow(Exception):
    """A row, or a whole file, that cannot be used.

    Attributes:
        place: the field that is wrong.
    """

    def __init__(self, place: str, text: str) -> None:
        self.place = safe(place)
        super().__init__(text)


Records = Iterator[tuple[int, dict[str, Any] | BadRow]]
"""Numbers of records with what they hold, or with what is wrong with them."""


def lines(path: Path) -> Records:
    """Objects of JSON, one a line, by line; blank lines are left out. A file named .gz is unpacked.

    Raises:
        BadRow: it cannot be unpacked.
    """
    with _unpacked(path) if path.suffix == ".gz" else path.open("rb") as file:
        for number, data in enumerate(file, 1):
            if data.strip(b"\xef\xbb\xbf \t\r\n"):
                yield number, _object(data)


def _unpacked(path: Path) -> IO[bytes]:
    try:
        with gzip.open(path) as file:
            content = file.read(MOST_UNPACKED + 1)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise BadRow("data", f"a .gz file must be whole, but is not: {said(error)}; bring it anew") from None
    if len(content) > MOST_UNPACKED:
        raise BadRow("data", f"the file must unpack to at most {MOST_UNPACKED:,} bytes; take a sample of it")
    return io.BytesIO(content)


def array(path: Path) -> Records:
    """Objects of one JSON array, by their number from 1.

    Raises:
        BadRow: the file is no array.
    """
    law = "the file must be one JSON array of objects"
    try:
        found = loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise BadRow("data", f"{law}, but is not: {said(error)}; mend it") from None
    if not isinstance(found, list):
        raise BadRow("data", f"{law}, but is {show(found)}; mend it")
    for number, record in enumerate(found, 1):
        if not isinstance(record, dict):
            yield number, BadRow("data", f"each item must be a JSON object, but this is {show(record)}")
        else:
            yield number, record


def table(path: Path, head: Sequence[str] | None = None) -> Records:
    """Rows of a CSV table, by their number from 1.

    Args:
        head: names of the columns; None where they stand in a line above the rows.

    Raises:
        BadRow: the file is no such table.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = csv.DictReader(file, head, strict=True)
            for number, row in enumerate(rows, 1):
                if None in row or None in row.values():
                    yield number, BadRow("data", f"a row must have {len(rows.fieldnames or ())} cells like the head")
                elif marred := [name for name, cell in row.items() if "\0" in cell]:
                    yield number, BadRow(marred[0], "must be text without a NUL character, but holds one")
                else:
                    yield number, row
    except (csv.Error, UnicodeDecodeError) as error:
        raise BadRow("data", f"the file must be a CSV table in UTF-8, but is not: {said(error)}; mend it") from None


def loads(data: bytes) -> Any:
    """Strict JSON: no NaN, no key twice.

    Raises:
        ValueError: it is none.
        RecursionError: it is nested too deep.
    """
    return json.loads(data.decode("utf-8-sig"), parse_constant=_no_constant, object_pairs_hook=_no_twins)


def _object(data: bytes) -> dict[str, Any] | BadRow:
    """The object of one line."""
    try:
        record = loads(data)
    except UnicodeDecodeError:
        return BadRow("data", "the line must be UTF-8, but is not")
    except (ValueError, RecursionError) as error:
        return BadRow("data", f"each line must be one JSON object, but this is not: {said(error)}")
    if not isinstance(record, dict):
        return BadRow("data", f"each line must be one JSON object, but this is {show(record)}")
    return record


def said(error: Exception) -> str:
    """Why a text is no such file, shortly."""
    return "nested too deep" if isinstance(error, RecursionError) else safe(str(error), 100)


def _no_constant(word: str) -> None:
    raise ValueError(f"{word} is no JSON number")


def _no_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    record = dict(pairs)
    if len(record) < len(pairs):
        raise ValueError("a key is given twice")
    return record
