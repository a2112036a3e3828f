"""What the expected value of a row must be for each kind of evaluator: a bad one is found before it costs money.

It does not know which rows there are.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping

from apportion.asserts import read_check
from apportion.spec.problems import show
from apportion.spec.schema import EvaluatorSpec, JsonFieldsOptions
from apportion.spec.types import compiled

MADE: Mapping[str, type] = {"dataset": str, "seed": int, "size": int, "index": int, "sha256": str}
"""How a row of reasoning-gym was made."""


def check(evaluator: EvaluatorSpec, value: object) -> None:
    """Refuse an expected value that the evaluator cannot compare with.

    Raises:
        ValueError: law, value and remedy.
    """
    kind, options = evaluator.kind, evaluator.options
    if kind == "regex":
        _each(value, compiled)
    elif kind == "numeric":
        _each(value, _number)
    elif kind == "set_f1":
        listed(value)
    elif kind == "math_equal":
        _each(value, _formula)
    elif kind == "reasoning_gym":
        _made(value)
    elif kind == "json_fields":
        _object(value, options.fields if isinstance(options, JsonFieldsOptions) and options.fields else ())


def listed(value: object) -> None:
    """Refuse a value that is no list of texts.

    Raises:
        ValueError: law, value and remedy.
    """
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise ValueError(f"must be a list of texts, but is {show(value)}; mend the row")


def test(value: object) -> None:
    """Refuse a test that cannot be taken apart into calls and what they must give.

    Raises:
        ValueError: why.
    """
    if not isinstance(value, str):
        raise ValueError(f"is no text, but {show(value)}")
    read_check(value)


def _each(value: object, check_one: Callable[[object], object]) -> None:
    for item in value if isinstance(value, list) else [value]:
        check_one(item)


def _number(value: object) -> None:
    try:
        fits = not isinstance(value, bool) and math.isfinite(float(str(value).replace(",", "")))
    except ValueError:
        fits = False
    if not fits:
        raise ValueError(f"must be a number for `numeric`, but is {show(value)}; mend the row")


def _formula(value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, str | int | float) or not str(value).strip():
        raise ValueError(f"must be text or a number for `math_equal`, but is {show(value)}; mend the row")


def _made(value: object) -> None:
    law = "must say how `apportion data reasoning-gym` made the row"
    if not isinstance(value, Mapping):
        raise ValueError(f"{law}, but is {show(value)}; use that file's `made`")
    for key, kind in MADE.items():
        if type(value.get(key)) is not kind:
            raise ValueError(f"{law}, but its `{key}` is {show(value.get(key))}; use that file's `made`")


def _object(value: object, keys: Iterable[str]) -> None:
    found = value
    if isinstance(value, str):
        try:
            found = json.loads(value)
        except (ValueError, RecursionError):
            found = None
    if not isinstance(found, Mapping):
        raise ValueError(f"must be a JSON object for `json_fields`, but is {show(value)}; mend the row")
    missing = [key for key in keys if key not in found]
    if missing:
        raise ValueError(f"must have every key of `fields`, but {show(missing[0])} is absent; mend the row")
