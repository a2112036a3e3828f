"""The prompt template of each role, of `{task}`, the stage's own prompt, and `{candidates}`, and how these are shown.

The built-in ones are the `.txt` files of this folder; a role of the user's brings its own. Who is asked is not known
here.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from typing import Final

from apportion.envs.rollout import Candidate
from apportion.errors import GraphError
from apportion.template import names

NAMES = ("task", "candidates")

# Lines of a candidate that could pass for ours.
DASHES: Final = re.compile(r"\s*(-{3,})\s*")
NUMBER: Final = re.compile(r"\s*\[\d+\]")
COMMENT: Final = re.compile(r"\s*comment\s*:", re.IGNORECASE)

added: dict[str, str] = {}
"""Templates of the user's own roles."""


def prompt_of(role: str) -> str:
    """The template of a role.

    Raises:
        GraphError: it has none.
    """
    return added[role] if role in added else _built_in(role)


def check(role: str, prompt: str) -> None:
    """Refuse a template that cannot be filled in.

    Raises:
        GraphError: it is none, or uses a name that a role's prompt does not have.
    """
    try:
        unknown = [name for name in names(prompt) if name not in NAMES]
    except ValueError as error:
        raise GraphError(f"the prompt of role {role!r} must be a template: {error}") from None
    if unknown:
        raise GraphError(
            f"a role's prompt may use {{task}} and {{candidates}}, but that of {role!r} uses {{{unknown[0]}}}; "
            "put that into the stage's prompt."
        )


def listed(candidates: Sequence[Candidate], *, numbered: bool, comments: bool) -> str:
    """Candidates one below the other, such that no line of one can pass for the beginning of another.

    Where one has a line that could, each stands between two lines of dashes longer than any of theirs, as code does in
    Markdown; our number stands before the first, and comments below the second.

    Args:
        numbered: whether each of several begins with its number.
        comments: whether to show what critics said, every comment in one line.
    """
    texts = [candidate.text.strip() for candidate in candidates]
    numbered = numbered and len(texts) > 1
    framed = any(_like_ours(text, numbered=numbered, comments=comments) for text in texts)
    if framed:
        dashes = [line[1] for text in texts for line in map(DASHES.fullmatch, text.splitlines()) if line]
        rule = "-" * (1 + max(map(len, dashes), default=2))
        texts = [f"{rule}\n{text}\n{rule}" for text in texts]
    if comments and any(candidate.comments for candidate in candidates):
        said = [[f"Comment: {' '.join(comment.split())}" for comment in c.comments] for c in candidates]
        texts = ["\n".join((text, *below)) for text, below in zip(texts, said, strict=True)]
    if numbered:
        texts = [f"[{i}] {text}" for i, text in enumerate(texts, 1)]
    return ("\n" if framed or numbered else "\n---\n").join(texts)


def _like_ours(text: str, *, numbered: bool, comments: bool) -> bool:
    """Whether a line could pass for ours; looked for only where there may be one, as most texts have none."""
    return (
        ("---" in text and any(map(DASHES.fullmatch, text.splitlines())))
        or (numbered and "[" in text and any(map(NUMBER.match, text.splitlines()[1:])))  # ours stands before the first
        or (comments and ":" in text and any(map(COMMENT.match, text.splitlines())))
    )


@cache
def _built_in(role: str) -> str:
    file = files("apportion.envs") / "roles" / f"{role}.txt"
    if not file.is_file():
        raise GraphError(f"a role that calls `dressed` needs a prompt, but {role!r} has none; give it to add_role.")
    return file.read_text(encoding="utf-8").strip()
