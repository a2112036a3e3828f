"""What calls of model-written code gave: the answers of a sandbox, read with suspicion, and their comparison.

It knows the form of an answer and not where it comes from. Everything in it may be the code's invention, except that
the code knows no expected value.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Final, Literal

MOST_DEPTH: Final = 70
"""Of an answer that is read: some more than `sandbox_child` writes, far less than Python's stack holds."""

MOST_ITEMS: Final = 4096
"""Of one set or dict: items can be chosen so that all have one hash, and 43,000 such took 10 s to read."""

CaseStatus = Literal["value", "raised", "not_plain", "timeout", "crashed"]


@dataclass(frozen=True, slots=True)
class CaseResult:
    """What one call gave.

    Attributes:
        status: `value`; `raised` by the call, or by loading the code; `not_plain` a value of another type than None,
            bool, int, float, str, list, tuple, set and dict, too deep, or with too many items; `timeout` not answered
            by the deadline; `crashed` the process ended, was killed for writing too much or making too many files, or
            wrote among the answers.
        value: of exact plain types; None unless the status is `value`.
        detail: the exception, as far as the code tells the truth.
    """

    status: CaseStatus
    value: object = None
    detail: str = ""

    def gave(self, expected: object) -> bool:
        """Whether there is a value and it is the same as the expected one."""
        return self.status == "value" and same(self.value, expected)


@dataclass(frozen=True, slots=True)
class CasesRun:
    """One result for each case, in order, and the first text that the code printed."""

    results: tuple[CaseResult, ...]
    printed: str


def same(value: object, expected: object) -> bool:
    """Whether two plain values are equal and of equal types throughout: 1 is not True, (1,) is not [1].

    Floats are the same within a relative 1e-9 or an absolute 1e-12, except as keys of a dict or items of a set. NaN is
    the same as nothing.
    """
    if type(value) is not type(expected):
        return False
    if isinstance(value, float) and isinstance(expected, float):
        return math.isclose(value, expected, rel_tol=1e-9, abs_tol=1e-12)
    if isinstance(value, (list, tuple)) and isinstance(expected, (list, tuple)):
        return len(value) == len(expected) and all(map(same, value, expected))
    if isinstance(value, set) and isinstance(expected, set):
        return sorted(map(repr, value)) == sorted(map(repr, expected))  # repr keeps 1, 1.0 and True apart
    if isinstance(value, dict) and isinstance(expected, dict):
        mine, other = ({repr(key): item for key, item in d.items()} for d in (value, expected))
        return mine.keys() == other.keys() and all(same(item, other[key]) for key, item in mine.items())
    return value == expected


def results(answers: bytes, cases: int, ended: CaseStatus) -> tuple[CaseResult, ...]:
    """One result for each case: from its line, or else from how the process ended.

    Answers that are not well formed void the run, since the code has written among them.
    """
    *lines, _ = answers.split(b"\n")  # the last is empty, or was cut off
    try:
        read = [_result(line) for line in lines]
    except (ValueError, TypeError, LookupError, RecursionError):
        read = None
    if read is None or len(read) > cases:
        return (CaseResult("crashed", detail="the code wrote among the answers"),) * cases
    return (*read, *[CaseResult(ended)] * (cases - len(read)))


def _result(line: bytes) -> CaseResult:
    status, content = json.loads(line)
    if status == "value":
        return CaseResult("value", _value(content))
    if status in ("raised", "not_plain") and isinstance(content, str):
        return CaseResult(status, detail=content)
    raise ValueError(status)


def _value(content: object, depth: int = 0) -> object:
    """The value that `sandbox_child.plain` wrote."""
    if content is None or isinstance(content, (bool, int, float, str)):
        return content
    if not isinstance(content, dict) or depth == MOST_DEPTH:
        raise ValueError("not an answer")
    ((kind, items),) = content.items()
    if kind in ("set", "dict") and len(items) > MOST_ITEMS:
        raise ValueError("not an answer")
    if kind == "dict":
        return {_value(key, depth + 1): _value(item, depth + 1) for key, item in items}
    return {"list": list, "tuple": tuple, "set": set}[kind](_value(item, depth + 1) for item in items)
