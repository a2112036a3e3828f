"""How wide a text is, near enough for any common sans-serif font, and what is left of it where it does not fit."""

from __future__ import annotations

import unicodedata


def text_width(text: str, size: float) -> float:
    """Pixels that a text of that size takes."""
    return size * sum(_ems(character) for character in text)


def fitted(text: str, width: float, size: float) -> str:
    """A text in so many pixels: of one that is too long the middle is left out."""
    text = shown(text)
    if text_width(text, size) <= width:
        return text
    most = min(len(text) - 1, int(3 * width / size))  # no character is narrower than a third of its height
    return next((s for keep in range(most, 0, -1) if text_width(s := _ends(text, keep), size) <= width), "…")


def shown(text: str) -> str:
    """A text without what XML and fonts have no sign for."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


def _ends(text: str, keep: int) -> str:
    return f"{text[: (keep + 1) // 2]}…{text[len(text) - keep // 2 :]}"


def _ems(character: str) -> float:
    """Width in units of the height, as in DejaVu Sans, which is wider than most."""
    if unicodedata.east_asian_width(character) in "WF" or character in "mwMW@%…":
        return 1.0
    if character in "ijltfrI.,:;|!'`()[]{}/ ":
        return 0.4
    return 0.75 if character.isupper() else 0.62
