"""The roles a node may play and the composition rules of each, as data.

What a role *does* is in `apportion.envs.operators`; this module only says what it needs and yields.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Role:
    """Composition rules of a role.

    Attributes:
        calls_model: False for roles that are plain code and need no model.
        least_candidates: texts that must reach it from nodes of its own stage.
        selects: True when it yields one of its candidates (one text), whatever `samples` says.
    """

    calls_model: bool
    least_candidates: int
    selects: bool


ROLES: Mapping[str, Role] = {
    "generator": Role(calls_model=True, least_candidates=0, selects=False),
    "refiner": Role(calls_model=True, least_candidates=1, selects=False),
    "fuser": Role(calls_model=True, least_candidates=2, selects=False),
    "scorer": Role(calls_model=True, least_candidates=1, selects=True),
    "voter": Role(calls_model=False, least_candidates=1, selects=True),
}
