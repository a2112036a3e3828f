"""What makes two runs the same task: the spec's values and the data's content, and how two of them differ.

It does not know stores; a store keeps the fingerprint as JSON and compares it at resume.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from apportion.spec.problems import Place, dotted, show

if TYPE_CHECKING:
    from apportion.spec.load import LoadedSpec

JSON = dict[str, "JSON"] | list["JSON"] | str | int | float | bool | None

_ABSENT = object()
DATA, LIMITS = ("data_sha256",), ("spec", "limits")


def fingerprint(loaded: LoadedSpec) -> dict[str, JSON]:
    """Everything that the identity of a run rests on, as JSON values.

    Defaults are written out, so a spec that says the same in other words has the same fingerprint.
    """
    spec: dict[str, JSON] = loaded.spec.model_dump(mode="json", by_alias=True)
    plugins: dict[str, JSON] = {
        path: sha256(loaded.resolve(path).read_bytes()).hexdigest() for path in loaded.spec.plugins
    }
    return {"spec": spec, "data_sha256": loaded.data_sha256, **({"plugins": plugins} if plugins else {})}


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """What differs between two fingerprints: one line `a.b: old -> new` a value, in the order of `old`.

    Limits may differ: a search that they stopped goes on when they are raised.
    """
    before, after = dict(_leaves((), old)), dict(_leaves((), new))
    return [
        "data: other content" if place == DATA else f"{dotted(place)}: {_said(before, place)} -> {_said(after, place)}"
        for place in dict.fromkeys((*before, *after))
        if before.get(place, _ABSENT) != after.get(place, _ABSENT) and place[:2] != LIMITS
    ]


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
