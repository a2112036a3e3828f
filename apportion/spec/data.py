"""Reads the examples (JSONL) and deals them into search, validation and test splits.

It does not know prompts or evaluators: it is told which fields must be there.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from apportion.spec.problems import Problem, safe, show
from apportion.spec.schema import SplitCounts, SplitField

Row = dict[str, Any]

SPLITS = ("search", "validation", "test")
MAX_BYTES = 256_000_000  # rows are held in memory
MAX_SHOWN = 20  # problems of one kind that are listed


@dataclass(frozen=True)
class Splits:
    """Rows of each split; each row is an object of the file whose id is text."""

    search: tuple[Row, ...]
    validation: tuple[Row, ...]
    test: tuple[Row, ...]


@dataclass(frozen=True)
class Table:
    """A data file as read.

    Attributes:
        source: how messages call the file.
        rows: line number -> object, in file order; lines that cannot be used are left out.
        id_field: field that holds the unique id.
        sha256: hex digest of the file's bytes.
        problems: what is wrong with its lines.
    """

    source: str
    rows: Mapping[int, Row]
    id_field: str
    sha256: str
    problems: tuple[Problem, ...]

    @property
    def fields(self) -> tuple[str, ...]:
        """Every field that some row has, in order of appearance."""
        return tuple(dict.fromkeys(name for row in self.rows.values() for name in row))

    def lacking(self, field: str) -> Problem | None:
        """The first row without `field`, if some but not all rows have it; null counts as absent."""
        lines = [line for line, row in self.rows.items() if row.get(field) is None]
        if not lines:
            return None
        more = f" and {len(lines) - 1} more rows do not" if len(lines) > 1 else ""
        text = f"every row must have the field, but this one{more or ' does not'}; add it, or remove the row"
        return Problem(self.source, lines[0], safe(field), text)

    def unfit(self, field: str, check: Callable[[object], None]) -> Iterator[Problem]:
        """Rows whose `field` is there and makes `check` raise ValueError."""
        for line, row in self.rows.items():
            try:
                if row.get(field) is not None:
                    check(row[field])
            except ValueError as error:
                yield Problem(self.source, line, safe(field), str(error))


def file_fault(path: Path) -> str | None:
    """Why a file cannot be read, None when it can."""
    try:
        if not path.exists():
            return "does not exist"
        if not path.is_file():
            return "is not a regular file"
        with path.open("rb") as file:
            file.read(1)
    except (OSError, ValueError) as error:
        return f"cannot be read ({getattr(error, 'strerror', None) or error})"
    return None


def read(path: Path, source: str, id_field: str) -> Table:
    """Read a JSONL file.

    Args:
        path: a file that `file_fault` has no complaint about.
        source: how messages call the file.
        id_field: field that must hold a unique text or whole number.
    """
    digest = hashlib.sha256()
    rows: dict[int, Row] = {}
    seen: dict[str, int] = {}
    problems: list[Problem] = []
    if path.stat().st_size > MAX_BYTES:
        fault = Problem(source, 0, "data", f"the file must be at most {MAX_BYTES:,} bytes; take a sample of it")
        return Table(source, rows, id_field, "", (fault,))
    with path.open("rb") as file:
        for line, data in enumerate(file, 1):
            digest.update(data)
            if not data.strip(b"\xef\xbb\xbf \t\r\n"):
                continue
            try:
                row = _row(data, id_field)
                if first := seen.get(row[id_field]):
                    raise _BadLine(id_field, f"ids must be unique, but {show(row[id_field])} is on line {first} too")
            except _BadLine as bad:
                problems.append(Problem(source, line, bad.place, f"{bad}; mend the line or remove it"))
                continue
            rows[line] = row
            seen[row[id_field]] = line
    if not rows and not problems:
        problems.append(Problem(source, 0, "data", "must hold at least one row, but is empty; write one object a line"))
    return Table(source, rows, id_field, digest.hexdigest(), _shorten(problems))


def deal(table: Table, split: SplitCounts | SplitField, seed: int) -> tuple[Splits, list[Problem]]:
    """Deal rows into the splits.

    Counts are taken in the order of a hash of (seed, id): a shuffle that depends neither on the order of the file nor
    on a version of Python.

    Returns:
        The splits, and what is wrong with the rows' own split words.
    """
    if isinstance(split, SplitField):
        return _deal_by_field(table, split.field)
    shuffled = sorted(table.rows.values(), key=lambda row: _rank(seed, row[table.id_field]))
    rows = iter(shuffled)
    counts = (split.search, split.validation, split.test)
    return Splits(*(tuple(islice(rows, count)) for count in counts)), []


def _deal_by_field(table: Table, field: str) -> tuple[Splits, list[Problem]]:
    dealt: dict[str, list[Row]] = {name: [] for name in SPLITS}
    problems = []
    for line, row in table.rows.items():
        word = row.get(field)
        if isinstance(word, str) and word in dealt:
            dealt[word].append(row)
        else:
            text = f"must be one of {', '.join(SPLITS)}, but is {show(word)}; write the row's split"
            problems.append(Problem(table.source, line, safe(field), text))
    if not problems:
        for name in SPLITS:
            if not dealt[name]:
                text = f"every split must have a row, but none is '{name}'; write it in some rows"
                problems.append(Problem(table.source, 0, safe(field), text))
    return Splits(*(tuple(dealt[name]) for name in SPLITS)), list(_shorten(problems))


class _BadLine(Exception):
    """A line of the data that cannot be used."""

    def __init__(self, place: str, text: str) -> None:
        self.place = safe(place)
        super().__init__(text)


def _row(data: bytes, id_field: str) -> Row:
    """The object of one line, its id as text."""
    try:
        row = json.loads(data.decode("utf-8-sig"), parse_constant=_no_constant, object_pairs_hook=_no_twins)
        json.dumps(row, ensure_ascii=False).encode()  # a lone surrogate could never be sent or stored
    except UnicodeEncodeError:
        raise _BadLine("data", "text must be whole characters, but an escape \\ud800-\\udfff stands alone") from None
    except UnicodeDecodeError:
        raise _BadLine("data", "the line must be UTF-8, but is not") from None
    except (ValueError, RecursionError) as error:
        text = "nested too deep" if isinstance(error, RecursionError) else safe(str(error), 100)
        raise _BadLine("data", f"each line must be one JSON object, but this is not: {text}") from None
    if not isinstance(row, dict):
        raise _BadLine("data", f"each line must be one JSON object, but this is {show(row)}")
    name = row.get(id_field)
    if not isinstance(name, str | int) or isinstance(name, bool) or name == "":
        found = show(name) if id_field in row else "absent"
        raise _BadLine(id_field, f"the id must be text or a whole number, but is {found}")
    row[id_field] = str(name)
    return row


def _no_constant(word: str) -> None:
    raise ValueError(f"{word} is no JSON number")


def _no_twins(pairs: list[tuple[str, Any]]) -> Row:
    row = dict(pairs)
    if len(row) < len(pairs):
        raise ValueError("a key is given twice")
    return row


def _rank(seed: int, name: str) -> bytes:
    return hashlib.sha256(f"{seed}:{name}".encode()).digest()


def _shorten(problems: list[Problem]) -> tuple[Problem, ...]:
    if len(problems) <= MAX_SHOWN:
        return tuple(problems)
    more = f"{len(problems) - MAX_SHOWN} more lines of this file are wrong; mend these first"
    return (*problems[:MAX_SHOWN], Problem(problems[0].source, 0, "data", more))
