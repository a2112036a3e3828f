"""The prompt template of each role: of `{task}`, the stage's own prompt, and `{candidates}`.

The built-in ones are the `.txt` files of this folder; a role of the user's brings its own. Who is asked is not known
here.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files

from apportion.errors import GraphError
from apportion.template import names

NAMES = ("task", "candidates")

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


@cache
def _built_in(role: str) -> str:
    file = files("apportion.envs") / "roles" / f"{role}.txt"
    if not file.is_file():
        raise GraphError(f"a role that calls `dressed` needs a prompt, but {role!r} has none; give it to add_role.")
    return file.read_text(encoding="utf-8").strip()
