"""From the public files of MATH, MMLU and HumanEval to rows with the fields that prompts and evaluators name.

It knows the keys of one record and not how a file is read, nor whether a test can be used.
"""

from __future__ import annotations

import re
from typing import Any

from apportion.spec.problems import show
from apportion.spec.records import BadRow

Row = dict[str, Any]

BOX = re.compile(r"\\(?:boxed|fbox)\s*(?=(.))", re.DOTALL)
BRACE = re.compile(r"\\.|[{}]", re.DOTALL)
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"

MMLU_HEAD = ("question", "A", "B", "C", "D", "answer")
"""Columns of MMLU's CSV files, which do not name them."""


def math(number: int, record: Row) -> Row:
    """A problem of MATH (arXiv 2103.03874) or MATH-500; its answer is in the last box of the solution, or beside it."""
    answer = record.get("answer")
    if answer is None:
        answer = boxed(_text(record, "solution"))
        if not answer:
            raise BadRow("solution", "must hold its answer as \\boxed{…}, but holds none")
    elif not isinstance(answer, str) or not answer.strip():
        raise BadRow("answer", f"must be text, but is {show(answer)}")
    kinds = {"level": record.get("level"), "type": record.get("type", record.get("subject"))}
    return {
        "id": _id(number, record, "unique_id", "id"),
        "problem": _text(record, "problem"),
        **{key: value for key, value in kinds.items() if value is not None},
        "answer": answer,
    }


def boxed(solution: str) -> str | None:
    r"""What stands in the last `\boxed{…}` of a text, its braces balanced; None where there is none.

    `\boxed 5` without braces holds what follows to the end of the formula.
    """
    boxes = list(BOX.finditer(solution))
    if not boxes:
        return None
    start = boxes[-1].end()
    if boxes[-1][1] != "{":
        return re.split(r"[$\s]|\\[\])]", solution[start:], maxsplit=1)[0].rstrip(".,") or None
    depth = 0
    for brace in BRACE.finditer(solution, start):
        depth += {"{": 1, "}": -1}.get(brace[0], 0)
        if depth == 0:
            return solution[start + 1 : brace.start()].strip() or None
    return None


def mmlu_cells(number: int, record: Row) -> Row:
    """A question of MMLU (arXiv 2009.03300) as a row of its CSV files."""
    choices = [record[letter] for letter in MMLU_HEAD[1:-1]]
    return mmlu(number, {"question": record["question"], "choices": choices, "answer": record["answer"]})


def mmlu(number: int, record: Row) -> Row:
    """A question of MMLU: its choices as lines that begin with a letter, its answer as a letter."""
    choices = record.get("choices")
    if not isinstance(choices, list) or not 2 <= len(choices) <= len(LETTERS):
        raise BadRow("choices", f"must be a list of 2 to {len(LETTERS)}, but is {show(choices)}")
    if not all(isinstance(choice, str) for choice in choices):
        raise BadRow("choices", "must be texts, but one is not")
    subject = {"subject": _text(record, "subject")} if record.get("subject") is not None else {}
    return {
        "id": _id(number, record, "id"),
        **subject,
        "question": _text(record, "question"),
        "choices": "\n".join(f"{letter}. {choice}" for letter, choice in zip(LETTERS, choices, strict=False)),
        "answer": _letter(record.get("answer"), len(choices)),
    }


def humaneval(number: int, record: Row) -> Row:
    """A task of HumanEval (arXiv 2107.03374): the beginning of a function, and the test of the whole one."""
    entry = _text(record, "entry_point")
    if not entry.isidentifier():
        raise BadRow("entry_point", f"must be the name of a function, but is {show(entry)}")
    return {
        "id": _text(record, "task_id"),
        "prompt": _text(record, "prompt"),
        "entry_point": entry,
        "tests": _text(record, "test"),
    }


def _letter(answer: object, choices: int) -> str:
    """The letter of a right choice, given by it or by its number from 0."""
    place = LETTERS.find(answer.strip()) if isinstance(answer, str) and len(answer.strip()) == 1 else answer
    if isinstance(place, bool) or not isinstance(place, int) or not 0 <= place < choices:
        law = f"must be a letter to {LETTERS[choices - 1]} or a number from 0 to {choices - 1}"
        raise BadRow("answer", f"{law}, but is {show(answer)}")
    return LETTERS[place]


def _id(number: int, record: Row, *keys: str) -> str:
    """What a record is called, or else its number."""
    found = next((record[key] for key in keys if record.get(key) not in (None, "")), number)
    if isinstance(found, bool) or not isinstance(found, str | int):
        raise BadRow(keys[0], f"must be text or a whole number, but is {show(found)}")
    return str(found)


def _text(record: Row, key: str) -> str:
    value = record.get(key)
    if value is None:
        raise BadRow(key, f"every row must have `{key}`, but this one does not")
    if not isinstance(value, str) or not value.strip():
        raise BadRow(key, f"must be text, but is {show(value)}")
    return value
