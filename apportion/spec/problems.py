"""How a mistake in a task is said: one line with its place, near names, and values made safe to print.

It does not know YAML, the schema or which mistakes there are.
"""

from __future__ import annotations

import difflib
import itertools
import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from apportion.graphs.graph import escaped

Step = str | int
Place = tuple[Step, ...]
Finding = tuple[Place, str]
"""A place in the spec and what is wrong there; its line is looked up later."""

SHOWN_CHARACTERS = 60
MAX_NAMES = 500  # names that are compared for nearness: comparing is slow

# Prefixes under which well-known vendors issue keys, and any long run that mixes letters with several digits.
_KEY_PREFIX = re.compile(r"(?:sk|pk|rk|hf|gsk|ghp|gho|xai|pplx|r8|glpat|xox[a-z])[-_]|AIza|AKIA|eyJ|Bearer ", re.ASCII)
_KEY_RUN = re.compile(r"[A-Za-z0-9]{20,}")


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake.

    Attributes:
        source: the file, or `--set a.b`.
        line: line in the file from 1; 0 when there is none.
        place: dotted path of the key.
        text: the law, the value and the remedy.
    """

    source: str
    line: int
    place: str
    text: str

    def __str__(self) -> str:
        if self.source == f"--set {self.place}":
            return f"{self.source}: {self.text}"
        where = f"{self.source}:{self.line}" if self.line else self.source
        return f"{where}: {self.place}: {self.text}"


def dotted(place: Place) -> str:
    """A place as the user would write it after `--set`."""
    return ".".join(safe(str(step), 40) or "''" for step in place) or "top level"


def safe(text: str, most: int = SHOWN_CHARACTERS) -> str:
    """Text that is safe to print and short; what looks like a secret is left out."""
    if looks_like_key(text):
        return "(hidden: it looks like a key)"
    return escaped(text if len(text) <= most else text[: most - 1] + "…")


def show(value: object) -> str:
    """A value of the file as it is quoted in a message."""
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case str():
            return f"'{safe(value)}'" if value else "empty text"
        case float() if not math.isfinite(value):
            return ".nan" if math.isnan(value) else ".inf" if value > 0 else "-.inf"
        case int() | float():
            return safe(repr(value))
        case dict():
            keys = ", ".join(safe(str(key), 20) for key in list(value)[:3])
            return f"a mapping of {keys}" + (", …" if len(value) > 3 else "") if value else "an empty mapping"
        case list() | tuple():
            return f"a list of {len(value)}" if value else "an empty list"
        case _:
            return f"a {type(value).__name__}"


def looks_like_key(text: str) -> bool:
    """Whether text looks like an API key itself rather than the name of one."""
    if _KEY_PREFIX.match(text):
        return True
    return any(
        sum(c.isdigit() for c in run) >= 3 and any(c.isalpha() for c in run) for run in _KEY_RUN.findall(text[:2000])
    )


def nearest(word: str, known: Iterable[str]) -> str:
    """`did you mean 'x'?` for the nearest known name, else the list of known names."""
    names = list(itertools.islice(known, MAX_NAMES))
    near = difflib.get_close_matches(word[:64], names, 1, 0.6)
    if near:
        return f"did you mean '{safe(near[0])}'?"
    listed = ", ".join(safe(name) for name in names[:12]) + (", …" if len(names) > 12 else "")
    return f"use one of {listed}" if listed else "remove it"


def twins(items: Iterable[str | None]) -> Iterator[tuple[int, str]]:
    """Items that came before, with their numbers; None is skipped."""
    seen: set[str] = set()
    for number, item in enumerate(items):
        if item is None:
            continue
        if item in seen:
            yield number, item
        seen.add(item)
