"""The roles a node may play and the composition rules of each, as data.

What a role *does* is in `apportion.envs.roles`; this module only says what it needs and what it gives.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from apportion.errors import GraphError


@dataclass(frozen=True, slots=True)
class Role:
    """Composition rules of a role.

    Attributes:
        gives: `new` texts that it writes; the `kept` best of its candidates; or `all` of them, with something added.
        least: candidates that must reach it from nodes of its own stage; 0 is a role that answers afresh.
        calls_model: False for roles that are plain code and need no model.
        each: True when it is asked once for each candidate, not once for all of them.
        comments: `writes` them on its candidates; `reads` them where its candidates have any; None ignores them.
        scores: `writes` them on its candidates; `reads` them, so that each candidate must have one; None ignores them.
    """

    gives: Literal["new", "kept", "all"]
    least: int
    calls_model: bool = True
    each: bool = False
    comments: Literal["reads", "writes"] | None = None
    scores: Literal["reads", "writes"] | None = None


ROLES: dict[str, Role] = {
    "generator": Role("new", 0),
    "refiner": Role("new", 1, comments="reads"),
    "fuser": Role("new", 2, comments="reads"),
    "decider": Role("new", 1, comments="reads"),
    "critic": Role("all", 1, each=True, comments="writes"),
    "ranker": Role("kept", 2, comments="reads", scores="writes"),
    "scorer": Role("kept", 1, each=True, scores="writes"),
    "verifier": Role("kept", 1, each=True, scores="writes"),
    "tester": Role("kept", 1, scores="writes"),
    "voter": Role("kept", 1, calls_model=False),
    "id_voter": Role("new", 1, calls_model=False),
    "weighted_voter": Role("kept", 1, calls_model=False, scores="reads"),
}
"""Every role by name. `apportion.add_role` adds one together with what it does."""


def add(name: str, role: Role) -> None:
    """Make a role known to graphs.

    Raises:
        GraphError: the name is taken by another role, or is not a plain lower-case word.
    """
    if not re.fullmatch(r"[a-z][a-z0-9_]{0,39}", name):
        raise GraphError(f"a role's name must be a lower-case word such as 'debater', got {name!r}; rename it.")
    if ROLES.get(name, role) != role:
        raise GraphError(f"a role is added once, but {name!r} is there with other rules; choose another name.")
    ROLES[name] = role
