"""Tables of chains: what a first stage answered, and what a second made of an answer that it read. Needs `data`.

It knows which rows are about which answer (docs/recorded-outcomes.md), not what a choice among them is worth.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from apportion.envs.replay.columns import NONE, Columns, load
from apportion.envs.replay.recorded import Recorded, of_dataset, of_samples
from apportion.errors import RecordedError
from apportion.graphs.graph import escaped

Ints = NDArray[np.int64]

PLACE = ("dataset", "question_id", "stage", "model", "sample_index")
ROLE, WRITES = "role", "generator"  # a column that may be there, and what rows must have that are draws


class Source(NamedTuple):
    """Where a stage was recorded."""

    path: Path
    dataset: str | None
    stage: str


@dataclass(frozen=True, eq=False)
class Chain:
    """Recordings of two stages, of which the second was asked about answers of the first.

    Attributes:
        first: what is right of it is not looked at; all is wrong here.
        second: its questions are states: a question with an answer that was read there.
        question: of each state, the question of the first stage.
        answer: of each state, the number of the answer among those of the first stage; -1 where none was recorded.
    """

    first: Recorded
    second: Recorded
    question: Ints
    answer: Ints


def read(first: Source, second: Source) -> Chain:
    """Read the outcomes of two stages.

    Raises:
        RecordedError: pyarrow is not installed, a file is no such table, or a row is wrong: which, and why.
    """
    upper = _rows(first, (*PLACE, "answer"))
    questions, question = upper.codes("question_id")
    one = of_samples(upper, questions, question, np.zeros(len(question), dtype=bool))
    texts = upper.table.column("answer").cast("string").to_pylist()
    numbers = dict(zip(zip(question.tolist(), texts, strict=True), upper.answers(question).tolist(), strict=True))

    lower = _rows(second, (*PLACE, "correct", "read"))
    names, name = lower.codes("question_id")
    place = {own: i for i, own in enumerate(questions)}
    of = np.array([place.get(own, NONE) for own in names])[name]
    lower.refuse(of == NONE, f"`question_id` must be one of stage {first.stage!r}", None)
    given = _values(lower, first.stage)
    met = sorted(set(zip(of.tolist(), given, strict=True)))
    number = {own: i for i, own in enumerate(met)}
    state = np.array([number[own] for own in zip(of.tolist(), given, strict=True)])
    two = of_samples(lower, tuple(f"{questions[q]} on {text}" for q, text in met), state)
    asked, known = np.array([q for q, _ in met]), np.array([numbers.get(own, NONE) for own in met])
    return Chain(one, two, asked, known)


def _rows(source: Source, wanted: tuple[str, ...]) -> Columns:
    """Rows of a stage that are draws."""
    table = load(source.path)
    every = Columns(source.path, table, np.arange(table.num_rows) + 1)
    every.require(wanted, f"a table of stage {source.stage!r} of a chain")
    own = of_dataset(every, source.dataset)
    stages, stage = own.codes("stage")
    if source.stage not in stages:
        raise RecordedError(
            f"{own.file} must hold stage {source.stage!r}, but has {escaped(', '.join(stages[:8]))}; mend `stage`."
        )
    own = own.where(stage == stages.index(source.stage))
    if ROLE in own.table.column_names:
        roles, role = own.codes(ROLE)
        if WRITES not in roles:
            raise RecordedError(f"{own.file} must hold draws of role {WRITES!r} of {source.stage!r}, but has none.")
        own = own.where(role == roles.index(WRITES))
    return own


def _values(column: Columns, stage: str) -> list[str]:
    """The answer of a stage that each row read."""
    texts, text = column.codes("read")
    values = [_value(own, stage) for own in texts]
    wrong = np.array([value is None for value in values])[text]
    column.refuse(wrong, f"`read` must be a JSON object of one text, the answer of {stage!r}", None)
    return [str(values[own]) for own in text.tolist()]


def _value(text: str, stage: str) -> str | None:
    """None where it is no object of just this stage's answer."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    value = found.get(stage) if isinstance(found, dict) and len(found) == 1 else None
    return value if isinstance(value, str) else None
