"""JSON in what an agent wrote, prose and fences around it or not. A reply is hostile until it is read.

It knows the form of an answer as far as objects and lists, and not what they mean.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from typing import Any, NoReturn

MOST_TEXT = 100_000  # characters of a reply that are looked at
MOST_STARTS = 200  # braces at which an object is looked for
MOST_SCORE = 1e9  # of what is expected; more is no score
SHOWN = 60  # characters of what is wrong that are quoted


def objects(text: str) -> Iterator[Mapping[str, Any]]:
    """JSON objects that stand in a text, outermost ones, in order."""
    text = text[:MOST_TEXT]
    decoder = json.JSONDecoder(parse_constant=_no_number)
    at = text.find("{")
    for _ in range(MOST_STARTS):
        if at < 0:
            return
        try:
            value, end = decoder.raw_decode(text, at)
        except (ValueError, RecursionError):
            end = at + 1
        else:
            yield value
        at = text.find("{", end)


def items(text: str, key: str, sign: str) -> list[Any]:
    """The list under a key of the first JSON object that has it; prose around it, or fences, do no harm.

    Args:
        sign: a key of each item, by which items are known that stand without a list around them.

    Returns:
        Whatever stands in the list; nothing where there is none.
    """
    loose: list[Any] = []
    for found in objects(text):
        if key in found:
            listed = found[key]
            return listed if isinstance(listed, list) else [listed]
        if sign in found:
            loose.append(found)
    return loose


def plain(words: str) -> str:
    """In one line, without what a terminal might take for a command."""
    return " ".join("".join(c if c.isprintable() else " " for c in words).split())


def whole(said: object) -> int | None:
    """A whole number, also where it was written as 3.0 or "3"; None for what is none."""
    if isinstance(said, bool):
        return None
    if isinstance(said, str) and said.strip().isdecimal() and said.isascii() and len(said) < 10:
        return int(said)
    if isinstance(said, float):
        return int(said) if said.is_integer() else None
    return said if isinstance(said, int) else None


def score(said: object) -> float | None:
    """What a score is expected to be; None for what is no finite number."""
    if isinstance(said, bool) or not isinstance(said, (int, float)) or abs(said) > MOST_SCORE:
        return None
    return float(said) if math.isfinite(said) else None


def _no_number(word: str) -> NoReturn:
    raise ValueError(f"{word} is no JSON number")
