"""The difference of two graphs, as a picture and as text: what only one of them has, and what changed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from apportion.graphs.drawing.graphs import reads, role_line
from apportion.graphs.drawing.lettering import text_width
from apportion.graphs.drawing.matching import Pair, matched
from apportion.graphs.drawing.picture import Arrow, Box, Picture
from apportion.graphs.drawing.rendering import BOLD, ROOM, THICK
from apportion.graphs.graph import Graph, Node, escaped

# Okabe and Ito's colours; dashes, and signs in the labels, say the same without colour.
GONE, NEW, CHANGED = "#D55E00", "#0072B2", "#8A7F00"
SAME_BOX = Box("same", ("in both",))
CHANGED_BOX = Box("changed", ("changed: first -> second",), fill="#FBF6B8", stroke=CHANGED)
GONE_BOX = Box("gone", ("- only in the first",), fill="#FBE5D8", stroke=GONE, dashed=True)
NEW_BOX = Box("new", ("+ only in the second",), fill="#D4E8F5", stroke=NEW)


def difference(a: Graph, b: Graph) -> Picture:
    """Both graphs in one: what only one of them has, and `old -> new` where a node changed."""
    pairs = matched(a, b)
    first = _edges(a, {old.id: str(i) for i, (old, _) in enumerate(pairs) if old})
    second = _edges(b, {new.id: str(i) for i, (_, new) in enumerate(pairs) if new})
    arrows = [Arrow(*ends) for ends in first if ends in second]
    arrows += [Arrow(*ends, 1.8, GONE, True, "only in the first", "gone") for ends in first if ends not in second]
    arrows += [Arrow(*ends, 2.4, NEW, False, "only in the second", "new") for ends in second if ends not in first]
    boxes = tuple(_box(str(i), pair) for i, pair in enumerate(pairs))
    return Picture(boxes, tuple(arrows), legend=(SAME_BOX, CHANGED_BOX, GONE_BOX, NEW_BOX))


def difference_text(a: Graph, b: Graph) -> str:
    """One line a node: `-` only in the first, `+` only in the second, `~` changed, each with what it reads."""
    pairs = matched(a, b)
    before = {new.id: old.id for old, new in pairs if old and new}
    return "\n".join(_line(pair, before) for pair in pairs)


def _edges(graph: Graph, name: dict[str, str]) -> list[tuple[str, str]]:
    return [(name[source], name[node.id]) for node in graph.nodes for source in node.inputs]


def _box(name: str, pair: Pair) -> Box:
    old, new = pair
    if old is None or new is None:
        node = old or new
        assert node is not None
        return _lone(name, node, NEW_BOX if old is None else GONE_BOX)
    kind, change = (SAME_BOX, "") if str(old) == str(new) else (CHANGED_BOX, f" -> {new}")
    same = _settings(old) == _settings(new)
    roles = _turned(role_line(old), role_line(new)) if same else _turned(old.role, new.role)
    lines = (*roles, *(() if same else _turned(_settings(old), _settings(new))), *_turned(old.model, new.model))
    return replace(kind, id=name, lines=lines, group=new.stage, title=f"{new.id}: {old}{change}")


def _lone(name: str, node: Node, kind: Box) -> Box:
    sign = kind.lines[0][0]
    lines = (f"{sign} {role_line(node)}", *_turned(node.model, node.model))
    return replace(kind, id=name, lines=lines, group=node.stage, title=f"{node.id}: {node}")


def _settings(node: Node) -> str:
    """How often and how a node is asked."""
    return role_line(node).removeprefix(node.role).strip() or "x1"


def _turned(old: str | None, new: str | None) -> tuple[str, ...]:
    """What a label says of something that was one and is another, on one line where that fits."""
    if old == new:
        return () if new is None else (new,)
    both = f"{old or 'code'} -> {new or 'code'}"
    return (both,) if text_width(both, BOLD) < ROOM / THICK else (f"{old or 'code'} ->", new or "code")


def _line(pair: Pair, before: Mapping[str, str]) -> str:
    """A line of the text.

    Args:
        before: ids in the first graph by those in the second.
    """
    old, new = pair
    if old is None or new is None:
        node = old or new
        assert node is not None
        return escaped(f"{'+' if old is None else '-'} {node.id}  {node}{reads(node.inputs)}")
    was = "" if old.id == new.id else f" (was {old.id})"
    kept = {before.get(source) for source in new.inputs}
    moved = [f"-{source}" for source in old.inputs if source not in kept]
    moved += [f"+{source}" for source in new.inputs if before.get(source) not in old.inputs]
    same = str(old) == str(new)
    kinds = old if same else f"{old} -> {new}"
    return escaped(f"{' ' if same and not moved else '~'} {new.id}{was}  {kinds}{reads(moved)}")
