"""Turns what pydantic says into problems with a place, a law, the value and a remedy.

It knows pydantic's error types, not what the keys mean.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from apportion.spec.jsonschema import known_keys
from apportion.spec.problems import Finding, Place, nearest, safe, show
from apportion.spec.yaml import Node

# What pydantic puts in a location although it is no key of the file.
_TAGS = frozenset(
    {"split:counts", "split:field", "parse:word", "parse:rule", "insight:number", "insight:text", "[key]"}
)
# Follow-on errors: the first mistake of the same mapping is reported already.
_FOLLOW_ON = frozenset({"default_factory_not_called"})

# pydantic's error type -> law and remedy; {} are keys of the error's context.
_LAWS: Mapping[str, tuple[str, str]] = {
    "string_type": ("must be text", "put it in quotes"),
    "int_type": ("must be a whole number", "write digits without quotes, like 5 or 2e6"),
    "float_type": ("must be a number", "write it without quotes, like 0.7 or 1e9"),
    "bool_type": ("must be true or false (yes, no, on and off are text)", "write true or false"),
    "finite_number": ("must be a finite number", "write a number like 0.7, or leave the key out if it may be"),
    "model_type": ("must be a mapping of keys", "write `key: value` lines below it"),
    "dict_type": ("must be a mapping of names", "write `name:` lines below it"),
    "tuple_type": ("must be a list", "write it like [a, b]"),
    "greater_than": ("must be greater than {gt}", "raise it"),
    "greater_than_equal": ("must be at least {ge}", "raise it"),
    "less_than": ("must be less than {lt}", "lower it"),
    "less_than_equal": ("must be at most {le}", "lower it"),
    "string_too_short": ("must not be empty", "write it, or leave the key out if it may be"),
    "string_too_long": ("must have at most {max_length} characters", "shorten it"),
    "string_pattern_mismatch": ("must match {pattern}", "use only those characters"),
    "too_short": ("must have {min_length} or more entries", "add some"),
    "too_long": ("must have at most {max_length} entries", "remove the rest"),
}


def findings(error: ValidationError, root: Node) -> Iterator[Finding]:
    """Every mistake that pydantic found.

    Args:
        error: what pydantic raised.
        root: the file, to tell the keys of a location from pydantic's own words.
    """
    for details in error.errors(include_url=False):
        finding = _finding(details, root)
        if finding is not None:
            yield finding


def unknown_key(place: Place) -> str:
    """What is wrong with a key that the schema does not know."""
    keys = known_keys(place[:-1]) or {}
    return f"unknown key {show(place[-1])}; {nearest(str(place[-1]), keys)}"


def _finding(details: ErrorDetails, root: Node) -> Finding | None:
    kind, context = details["type"], details.get("ctx", {})
    keys = tuple(step for step in details["loc"] if step not in _TAGS)
    if kind == "missing":
        return _missing(keys)
    if kind == "extra_forbidden":
        return keys, unknown_key(keys)
    place = _existing(keys, root)
    value = root.find(place).plain()
    if kind in _FOLLOW_ON or (kind == "too_short" and _length(value) > context["actual_length"]):
        return None  # pydantic counts without the items that it refused
    if "[key]" in details["loc"]:
        value = place[-1]
    if kind == "law":
        return place, str(context["text"])
    return place, _text(kind, context, value, details["msg"])


def _missing(place: Place) -> Finding:
    key = place[-1]
    if isinstance(key, int):
        return place[:-1], f"must have more items, but item {key} is absent; write it like [1, 5]"
    about = (known_keys(place[:-1]) or {}).get(key, "")
    return place, f"required key is absent; add `{key}: …`" + (f" ({about.rstrip('.')})" if about else "")


def _text(kind: str, context: Mapping[str, Any], value: object, message: str) -> str:
    if kind == "literal_error":
        words = [word.strip("'") for word in context["expected"].replace(" or ", ", ").split(", ")]
        return f"must be one of {', '.join(words)}, but is {show(value)}; {nearest(str(value), words)}"
    if kind not in _LAWS:
        return f"{safe(message, 200)}, but is {show(value)}; mend it"
    law, remedy = _LAWS[kind]
    return f"{law.format(**context)}, but is {show(value)}; {remedy}"


def _existing(place: Place, root: Node) -> Place:
    """The part of a location that is in the file: short forms have fewer levels than pydantic sees."""
    node = root
    for depth, step in enumerate(place):
        below = node.get(step)
        if below is None:
            return place[:depth]
        node = below
    return place


def _length(value: object) -> int:
    return len(value) if isinstance(value, dict | tuple) else 0
