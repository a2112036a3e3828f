"""Prompt templates with named inputs: `{name}` is filled, `{{` and `}}` are braces, nothing else is interpreted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from string import Formatter

from apportion.errors import SpecError


@dataclass(frozen=True, slots=True)
class Template:
    """A text with named gaps.

    Attributes:
        pieces: literal text and, after it, the name of a gap or None.
    """

    pieces: tuple[tuple[str, str | None], ...]

    @classmethod
    def parse(cls, text: str) -> Template:
        """Read a template.

        Raises:
            SpecError: a brace stands alone, or a gap holds anything but a plain name.
        """
        try:
            pieces = [(literal, name, spec, how) for literal, name, spec, how in Formatter().parse(text)]
        except ValueError as error:
            raise SpecError([f"braces must come in pairs, but {error}; write {{{{ for a brace."]) from None
        for _, name, spec, how in pieces:
            if name is not None and (not name.isidentifier() or spec or how):
                gap = f"{{{name}{'!' + how if how else ''}{':' + spec if spec else ''}}}"
                raise SpecError([f"a gap must be a plain name, got {gap!r}; write {{name}}."])
        return cls(tuple((literal, name) for literal, name, _, _ in pieces))

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the gaps, each once, in order."""
        return tuple(dict.fromkeys(name for _, name in self.pieces if name is not None))

    def fill(self, values: Mapping[str, str]) -> str:
        """The text with every gap filled; values are inserted as they are, braces and all."""
        return "".join(literal + (values[name] if name is not None else "") for literal, name in self.pieces)


@cache
def role_prompt(role: str) -> Template:
    """The built-in prompt of a role that works on candidates: `fuser`, `refiner` or `scorer`."""
    text = (files("apportion.envs") / "roles" / f"{role}.txt").read_text(encoding="utf-8")
    return Template.parse(text.strip())
