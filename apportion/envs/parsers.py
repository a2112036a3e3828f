"""Output parsers: from a model's text to the value that is compared, voted on and passed to the next stage.

A parser gives None when the text has no value of its form; such a reply counts as wrong and takes no part in a vote.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence

import regex as engine

MOST_SEARCH_S = 0.25  # a sane pattern takes microseconds
FENCE = "```"

Parser = Callable[[str], str | None]

# Digits with optional thousands commas, decimals and exponent; a trailing full stop is not part of the number.
NUMBER = re.compile(r"[-+]?(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d+)?(?:[eE][-+]?\d+)?|[-+]?\.\d+")

BRACKETED = re.compile(r"\[([0-9,;\s]{1,2000})\]")
ID = re.compile(r"(?<![\w.])[0-9]{1,6}(?!\w|\.[0-9])")


def text(reply: str) -> str | None:
    """The whole text, without surrounding white space."""
    return reply.strip() or None


def first_line(reply: str) -> str | None:
    """The first line that is not blank."""
    return next((line.strip() for line in reply.splitlines() if line.strip()), None)


def last_line(reply: str) -> str | None:
    """The last line that is not blank."""
    return next((line.strip() for line in reversed(reply.splitlines()) if line.strip()), None)


def number(reply: str) -> str | None:
    """The last number of the text, without thousands commas."""
    found = NUMBER.findall(reply)
    return found[-1].replace(",", "") if found else None


def ids(reply: str) -> str | None:
    """The whole numbers in square brackets, or where there are none all whole numbers: each once, rising, as `2, 5`."""
    found = ID.findall(" ".join(BRACKETED.findall(reply))) or ID.findall(reply)
    return ", ".join(map(str, sorted(set(map(int, found))))) or None


def code(reply: str) -> str | None:
    """The first fenced block, or the whole text where there is none."""
    return code_in(reply) or None


def code_in(text: str) -> str:
    """The first fenced block, or the whole text where there is none; found in one pass, whatever the text is."""
    opened = text.find(FENCE)
    begun = text.find("\n", opened) if opened >= 0 else -1
    closed = text.find(FENCE, begun) if begun >= 0 else -1
    return (text[begun:closed] if closed >= 0 else text).strip()


def search(pattern: str, reply: str) -> engine.Match[str] | None:
    """The first match of a pattern of the user's; None also where looking for it takes too long.

    Some patterns take exponential time on some texts, and the text is a model's: hence an engine that can be stopped.
    """
    try:
        return engine.search(pattern, reply, timeout=MOST_SEARCH_S)
    except TimeoutError:
        return None


def regex(pattern: str) -> Parser:
    """The one group of the first match of `pattern`, stripped."""

    def parse(reply: str) -> str | None:
        match = search(pattern, reply)
        return (match.group(1) or "").strip() or None if match else None

    return parse


def choice(options: Sequence[str]) -> Parser:
    """The option that stands first in the text as a word of its own, case folded; longer options win a tie."""
    ordered = sorted(options, key=len, reverse=True)
    pattern = re.compile(r"(?<!\w)(?:" + "|".join(f"({re.escape(o)})" for o in ordered) + r")(?!\w)", re.IGNORECASE)

    def parse(reply: str) -> str | None:
        match = pattern.search(reply)
        return ordered[match.lastindex - 1] if match and match.lastindex else None

    return parse


def json_key(key: str) -> Parser:
    """One key of the first JSON object in the text; strings as they are, other values as JSON."""

    def parse(reply: str) -> str | None:
        found = first_object(reply)
        if found is None or key not in found:
            return None
        value = found[key]
        if not isinstance(value, str):
            return json.dumps(value, sort_keys=True)
        return value.strip().encode("utf-8", "replace").decode() or None  # JSON may escape half a surrogate pair

    return parse


def first_object(reply: str) -> dict[str, object] | None:
    """The first JSON object that stands anywhere in a text, None if there is none."""
    decoder = json.JSONDecoder()
    start = reply.find("{")
    for _ in range(100):  # a reply of a million braces must not cost a quadratic scan
        if start < 0:
            return None
        try:
            value, _ = decoder.raw_decode(reply, start)
        except (ValueError, RecursionError):
            start = reply.find("{", start + 1)
            continue
        return value if isinstance(value, dict) else None
    return None


PLAIN: dict[str, Parser] = {
    "text": text,
    "first_line": first_line,
    "last_line": last_line,
    "number": number,
    "ids": ids,
    "code": code,
}
