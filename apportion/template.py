"""Prompt templates: `{name}` stands for a data field or an earlier stage, `{{` and `}}` for braces. Nothing else.

It does not know which names exist; attribute access, indices, conversions and format specs are refused.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import lru_cache

_TOKEN = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")
_NAME = re.compile(r"[^\W\d][\w -]*")


@lru_cache(maxsize=256)
def parts(template: str) -> tuple[tuple[str, str | None], ...]:
    """Split a template into (literal text, name after it or None).

    Raises:
        ValueError: a brace is unpaired, or what stands in braces is not a plain name.
    """
    found: list[tuple[str, str | None]] = []
    literal, end = "", 0
    for token in _TOKEN.finditer(template):
        literal += template[end : token.start()]
        end = token.end()
        if token[0] in ("{{", "}}"):
            literal += token[0][0]
        elif token[1] is None:
            raise ValueError(f"braces must be paired, but a lone {token[0]!r} stands at {token.start()}; double it")
        elif not _NAME.fullmatch(token[1]):
            raise ValueError(
                f"braces must hold a plain name, but hold {token[1][:60]!r}; "
                "write {name}, or {{ and }} for braces in the text"
            )
        else:
            found.append((literal, token[1]))
            literal = ""
    return (*found, (literal + template[end:], None))


def names(template: str) -> tuple[str, ...]:
    """Names that a template reads, each once, in order of appearance."""
    return tuple(dict.fromkeys(name for _, name in parts(template) if name is not None))


def render(template: str, values: Mapping[str, object]) -> str:
    """Fill a template in.

    Raises:
        KeyError: a name of the template is not in `values`.
    """
    return "".join(literal + ("" if name is None else as_text(values[name])) for literal, name in parts(template))


def as_text(value: object) -> str:
    """A data value as it stands in a prompt: text as it is, a list of texts one a line, else JSON."""
    if isinstance(value, str):
        return value
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return "\n".join(value)
    return json.dumps(value, ensure_ascii=False)
