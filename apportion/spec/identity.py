"""What makes two runs the same task: the spec's values, the data, the roles' code, and how two of them differ.

It does not know stores; a store keeps the fingerprint as JSON and compares it at resume.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from hashlib import sha256
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from apportion.graphs.templates import TEMPLATES, StageChoice
from apportion.spec.problems import Place, dotted, show

if TYPE_CHECKING:
    from apportion.spec.load import LoadedSpec
    from apportion.spec.schema import TaskSpec

JSON = dict[str, "JSON"] | list["JSON"] | str | int | float | bool | None

_ABSENT = object()
DATA, LIMITS = ("data_sha256",), ("spec", "limits")

COMMON = ("job.py", "judging.py", "prompts.py")
"""What operators share."""


def fingerprint(loaded: LoadedSpec) -> dict[str, JSON]:
    """Everything that the identity of a run rests on, as JSON values.

    Defaults are written out, so a spec that says the same in other words has the same fingerprint.
    """
    spec: dict[str, JSON] = loaded.spec.model_dump(mode="json", by_alias=True)
    plugins: dict[str, JSON] = {
        path: sha256(loaded.resolve(path).read_bytes()).hexdigest() for path in loaded.spec.plugins
    }
    return {
        "spec": spec,
        "data_sha256": loaded.data_sha256,
        "roles": {name: _role_sha256(name) for name in sorted(_roles(loaded.spec))},
        **({"plugins": plugins} if plugins else {}),
    }


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """What differs between two fingerprints: one line `a.b: old -> new` a value, in the order of `old`, roles last.

    Limits may differ: a search that they stopped goes on when they are raised.
    """
    before, after = dict(_leaves((), old)), dict(_leaves((), new))
    changed = [
        "data: other content" if place == DATA else f"{dotted(place)}: {_said(before, place)} -> {_said(after, place)}"
        for place in dict.fromkeys((*before, *after))
        if before.get(place, _ABSENT) != after.get(place, _ABSENT) and place[:2] != LIMITS and place[0] != "roles"
    ]
    roles = _changed(old.get("roles"), new["roles"])
    if roles:
        changed.append(f"roles: other code or prompts of {', '.join(roles)} in this version of apportion")
    return changed


def _changed(old: Mapping[str, str] | None, new: Mapping[str, str]) -> list[str]:
    """Roles that are not what they were: all of them where it was not kept, as by earlier versions.

    One that only one of two tasks has is a difference of their specs.
    """
    return [role for role, digest in new.items() if old is None or old.get(role, digest) != digest]


def _roles(spec: TaskSpec) -> set[str]:
    """Names of the roles that graphs of a task may have, baselines included."""
    found = {"generator", "voter"}
    for stage in spec.stages:
        if stage.slots is not None:
            found.update(stage.roles or (), stage.final)
        for template in stage.templates or ():
            found.update(node.role for node in TEMPLATES[template](StageChoice(stage.name, "", 2, "", ())))
    return found


def _role_sha256(name: str) -> str:
    """Of a role's code and prompt, and of what all operators share; the code of a plugin's role is in the plugin."""
    folder = files("apportion") / "envs" / "roles"
    own = (folder / file for file in (f"{name}.py", f"{name}.txt", *COMMON))
    return sha256(b"".join(sha256(file.read_bytes()).digest() for file in own if file.is_file())).hexdigest()


def _leaves(place: Place, value: Any) -> Iterator[tuple[Place, Any]]:
    steps = value.items() if isinstance(value, Mapping) else enumerate(value) if isinstance(value, list) else ()
    empty = True
    for step, below in steps:
        empty = False
        yield from _leaves((*place, step), below)
    if empty:
        yield place, value


def _said(leaves: Mapping[Place, Any], place: Place) -> str:
    return show(leaves[place]) if place in leaves else "(absent)"
