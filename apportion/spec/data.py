"""Reads the examples and deals them into search, validation and test splits.

It does not know prompts or evaluators: it is told which fields must be there.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from apportion.spec.formats import FORMATS, Row
from apportion.spec.problems import Problem, safe, show
from apportion.spec.records import BadRow
from apportion.spec.schema import SplitCounts, SplitField
from apportion.spec.types import MAX_ITEMS

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
        rows: number -> object, in file order; rows that cannot be used are left out.
        id_field: field that holds the unique id.
        sha256: hex digest of the file's bytes.
        problems: what is wrong with its rows.
        lines: whether rows are numbered by their lines, else from 1.
        left_out: ids of rows that were to be left out, and were there.
    """

    source: str
    rows: Mapping[int, Row]
    id_field: str
    sha256: str
    problems: tuple[Problem, ...]
    lines: bool = True
    left_out: frozenset[str] = frozenset()

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
        return problem(self.source, lines[0], safe(field), text, lines=self.lines)

    def unfit(self, field: str, check: Callable[[object], None]) -> Iterator[Problem]:
        """Rows whose `field` is there and makes `check` raise ValueError."""
        for line, row in self.rows.items():
            try:
                if row.get(field) is not None:
                    check(row[field])
            except ValueError as error:
                yield problem(self.source, line, safe(field), str(error), lines=self.lines)

    def unreadable(self, field: str, check: Callable[[object], None]) -> Iterator[Problem]:
        """All rows at once whose `field` makes `check` raise ValueError, to be left out by their ids."""
        bad: dict[str, str] = {}
        for row in self.rows.values():
            try:
                if row.get(field) is not None:
                    check(row[field])
            except ValueError as error:
                bad[row[self.id_field]] = str(error)
        if bad:
            name, why = next(iter(bad.items()))
            law = f"every test must be asserts of calls and literals, but {len(bad)} of {len(self.rows)} are not"
            ids = ", ".join(safe(name) for name in list(bad)[:MAX_ITEMS]) + (", …" if len(bad) > MAX_ITEMS else "")
            text = f"{law}: in that of {show(name)} {why}; leave them out: add {ids} to `without` of `data`"
            yield Problem(self.source, 0, safe(field), text)


def problem(source: str, number: int, place: str, text: str, *, lines: bool) -> Problem:
    """What is wrong with a row: said as `file:7` where rows are lines, else as `file, row 7`."""
    return Problem(source, number, place, text) if lines else Problem(f"{source}, row {number}", 0, place, text)


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


def read(path: Path, source: str, id_field: str, format_name: str = "jsonl", without: Collection[str] = ()) -> Table:
    """Read a data file.

    Args:
        path: a file that `file_fault` has no complaint about.
        source: how messages call the file.
        id_field: field that must hold a unique text or whole number.
        format_name: a key of `FORMATS`.
        without: ids of rows that are left out.
    """
    form = FORMATS[format_name]
    rows: dict[int, Row] = {}
    seen: dict[str, int] = {}
    left_out: set[str] = set()
    problems: list[Problem] = []
    digest = ""
    try:
        digest = _digest([path, *map(path.with_name, form.beside)])
        for number, read_row in form.rows(path):
            row = read_row if isinstance(read_row, BadRow) else _checked(read_row, id_field)
            if not isinstance(row, BadRow) and (first := seen.get(row[id_field])):
                where = f"{'on line' if form.lines else 'in row'} {first}"
                row = BadRow(id_field, f"ids must be unique, but {show(row[id_field])} is {where} too")
            if isinstance(row, BadRow):
                text = f"{row}; mend the {'line' if form.lines else 'row'} or remove it"
                problems.append(problem(source, number, row.place, text, lines=form.lines))
            elif row[id_field] in without:
                left_out.add(row[id_field])
            else:
                rows[number] = row
                seen[row[id_field]] = number
    except BadRow as bad:  # the file as a whole
        problems.append(Problem(source, 0, bad.place, str(bad)))
    if not rows and not problems:
        what = "one object a line" if form.lines else "rows"
        problems.append(Problem(source, 0, "data", f"must hold at least one row, but is empty; write {what}"))
    return Table(source, rows, id_field, digest, _shorten(problems), form.lines, frozenset(left_out))


def _digest(files: Sequence[Path]) -> str:
    """SHA-256 of a file, of several that of their own.

    Raises:
        BadRow: one of them is too large or cannot be read.
    """
    digests = []
    for file in files:
        if fault := file_fault(file):
            raise BadRow("data", f"{show(file.name)} must lie beside the file, but it {fault}; copy it there")
        if file.stat().st_size > MAX_BYTES:
            raise BadRow("data", f"the file must be at most {MAX_BYTES:,} bytes; take a sample of it")
        with file.open("rb") as stream:
            digests.append(hashlib.file_digest(stream, "sha256").hexdigest())
    return digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest()


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
            problems.append(problem(table.source, line, safe(field), text, lines=table.lines))
    if not problems:
        for name in SPLITS:
            if not dealt[name]:
                text = f"every split must have a row, but none is '{name}'; write it in some rows"
                problems.append(Problem(table.source, 0, safe(field), text))
    return Splits(*(tuple(dealt[name]) for name in SPLITS)), list(_shorten(problems))


def _checked(row: Row, id_field: str) -> Row | BadRow:
    """A row that can be sent and stored, its id as text."""
    try:
        json.dumps(row, ensure_ascii=False).encode()  # a lone surrogate could never be sent or stored
    except UnicodeEncodeError:
        return BadRow("data", "text must be whole characters, but an escape \\ud800-\\udfff stands alone")
    name = row.get(id_field)
    if not isinstance(name, str | int) or isinstance(name, bool) or name == "":
        found = show(name) if id_field in row else "absent"
        return BadRow(id_field, f"the id must be text or a whole number, but is {found}")
    return {**row, id_field: str(name)}


def _rank(seed: int, name: str) -> bytes:
    return hashlib.sha256(f"{seed}:{name}".encode()).digest()


def _shorten(problems: list[Problem]) -> tuple[Problem, ...]:
    if len(problems) <= MAX_SHOWN:
        return tuple(problems)
    more = f"{len(problems) - MAX_SHOWN} more lines of this file are wrong; mend these first"
    return (*problems[:MAX_SHOWN], Problem(problems[0].source, 0, "data", more))
