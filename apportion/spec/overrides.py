"""Applies `--set a.b=value` to a spec that has been read, before it is validated.

It knows which keys the schema allows, not what they mean.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from apportion.spec import yaml
from apportion.spec.jsonschema import known_keys
from apportion.spec.messages import unknown_key
from apportion.spec.problems import Place, Problem, Step, nearest, safe, show
from apportion.spec.yaml import Node


def apply(root: Node, overrides: Sequence[str]) -> tuple[Node, list[Problem]]:
    """Set each value in turn.

    Args:
        root: the spec as read.
        overrides: `a.b=value` each; list items by number from 0; values are YAML.

    Returns:
        The spec with the values set, and what was wrong with the overrides.
    """
    problems: list[Problem] = []
    for override in overrides:
        path, equals, text = override.partition("=")
        path = path.strip()
        source = f"--set {safe(path)}"
        place = _place(path, root)
        fault = _fault(place, root) if equals and path else "must be path=value; write it like stages.0.samples=[1,3]"
        if fault is not None:
            problems.append(Problem(source, 0, safe(path) or "top level", fault))
            continue
        value, faults = yaml.read(text.encode("utf-8", "surrogatepass"), source)
        problems += [replace(problem, line=0, place=safe(path)) for problem in faults]
        if value is not None and not faults:
            root = _put(root, place, _without_lines(value), source)
    return root, problems


def _place(path: str, root: Node) -> Place:
    """Steps of a dotted path: numbers are list items where there is a list."""
    place: tuple[Step, ...] = ()
    for step in path.split("."):
        in_list = _exists(root, place) and isinstance(root.find(place).value, tuple)
        place = (*place, int(step) if in_list and step.isascii() and step.isdigit() and len(step) < 7 else step)
    return place


def _exists(root: Node, place: Place) -> bool:
    node: Node | None = root
    for step in place:
        node = node.get(step) if node else None
    return node is not None


def _fault(place: Place, root: Node) -> str | None:
    """What is wrong with the first step that leads nowhere."""
    for depth, step in enumerate(place):
        above = place[:depth]
        if _exists(root, place[: depth + 1]):
            continue
        value = root.find(above).value if _exists(root, above) else None
        if isinstance(value, tuple):
            return f"there is no item {show(step)}; the list has {len(value)} items, numbered from 0"
        keys = known_keys(above)
        if keys is None:  # names of the user's own: a whole new entry may be set, but nothing inside one
            if depth == len(place) - 1:
                continue
            names = value if isinstance(value, dict) else {}
            return f"there is no {show(step)} here; {nearest(str(step), names)}"
        if step not in keys:
            return unknown_key(place[: depth + 1])
    return None


def _put(node: Node, place: Place, value: Node, source: str) -> Node:
    """A copy of `node` with `value` at `place`; mappings that are missing on the way are made."""
    if not place:
        return value
    step, rest = place[0], place[1:]
    below = node.get(step) or Node({}, source, 0)
    new = _put(below, rest, value, source)
    if isinstance(node.value, tuple) and isinstance(step, int):
        return replace(node, value=(*node.value[:step], new, *node.value[step + 1 :]))
    entries = node.value if isinstance(node.value, dict) else {}
    return replace(node, value={**entries, str(step): new})


def _without_lines(node: Node) -> Node:
    """A value of the command line has no line."""
    if isinstance(node.value, dict):
        return replace(node, line=0, value={key: _without_lines(below) for key, below in node.value.items()})
    if isinstance(node.value, tuple):
        return replace(node, line=0, value=tuple(_without_lines(below) for below in node.value))
    return replace(node, line=0)
