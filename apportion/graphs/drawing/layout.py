"""Where boxes stand and arrows run: groups side by side, columns inside them, and no arrow through a box.

It knows heights and names, not what is in a box. Arrows that pass columns run in lanes of their own there, one for each
box that they come from and each kind. The order in a column is that of what is joined to it (the barycentre heuristic
of Sugiyama, Tagawa and Toda, 1981).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

WIDTH = 164.0  # of a box, in pixels like everything here
GAP_X, GAP_Y, LANE = 60.0, 16.0, 11.0  # between columns, between boxes, and of an arrow that passes a column
MARGIN, HEADING, INSET = 14.0, 24.0, 10.0  # around the picture, above a group, and around its boxes
APART = 6.0  # of two arrows that join the same boxes in both directions, from the middle of a box
SWEEPS = 8  # over the columns, to find an order with few crossings

Point = tuple[float, float]
Item = tuple[str, str, int]
"""A box, of no kind, in its own column; or the lane of arrows from or to it, of a kind, in a later column."""


@dataclass(frozen=True, slots=True)
class Place:
    """A box to be placed: its name, the group it stands in, and its height."""

    id: str
    group: str
    height: float


@dataclass(frozen=True, slots=True)
class Link:
    """An arrow to be led from a box to another; those of one kind may share lanes."""

    source: str
    target: str
    kind: str = ""


@dataclass(frozen=True, slots=True)
class Rectangle:
    """A place: its top left corner and its size."""

    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True, slots=True)
class Layout:
    """Where everything stands.

    Attributes:
        boxes: by name.
        groups: by name, in the order in which they stand.
        routes: of the arrows: points joined by a curve between two columns and by a line along a column, in turn.
    """

    width: float
    height: float
    boxes: Mapping[str, Rectangle]
    groups: Mapping[str, Rectangle]
    routes: tuple[tuple[Point, ...], ...]


def layout(places: Sequence[Place], arrows: Sequence[Link]) -> Layout:
    """Place boxes, those of a group in an order that arrows follow as far as they can."""
    groups = list(dict.fromkeys(place.group for place in places))
    ordered = sorted(places, key=lambda place: groups.index(place.group))
    rank = {place.id: i for i, place in enumerate(ordered)}
    ends = [sorted((arrow.source, arrow.target), key=rank.__getitem__) for arrow in arrows]
    column = _columns(ordered, ends)
    chains = [_chain(a, b, arrow.kind, column) for (a, b), arrow in zip(ends, arrows, strict=True)]
    middle = _middles(ordered, column, chains)
    reach = max(abs(middle[p.id, "", column[p.id]]) + p.height / 2 for p in ordered)
    reach = max(reach, *(abs(y) + LANE / 2 for y in middle.values()))
    top = MARGIN + HEADING + reach
    middle = {item: top + y for item, y in middle.items()}
    boxes = {
        p.id: Rectangle(_left(column[p.id]), middle[p.id, "", column[p.id]] - p.height / 2, WIDTH, p.height)
        for p in ordered
    }
    bottom = top + reach + INSET
    bands = {group: _band([column[p.id] for p in ordered if p.group == group], bottom) for group in groups}
    pairs = {(arrow.source, arrow.target) for arrow in arrows}
    routes = []
    for arrow, chain in zip(arrows, chains, strict=True):
        forth = rank[arrow.source] < rank[arrow.target]
        twofold = (arrow.target, arrow.source) in pairs
        points = _points(chain, middle, (-APART if forth else APART) if twofold else 0.0)
        routes.append(tuple(points if forth else reversed(points)))
    width = _left(max(column.values())) + WIDTH + INSET + MARGIN
    return Layout(width, bottom + MARGIN, boxes, bands, tuple(routes))


def _left(column: int) -> float:
    return MARGIN + INSET + column * (WIDTH + GAP_X)


def _band(columns: Sequence[int], bottom: float) -> Rectangle:
    x = _left(min(columns)) - INSET
    return Rectangle(x, MARGIN, _left(max(columns)) + WIDTH + INSET - x, bottom - MARGIN)


def _chain(a: str, b: str, kind: str, column: Mapping[str, int]) -> list[Item]:
    """What an arrow passes from column to column, its ends included."""
    lanes = [(a, kind, c) for c in range(column[a] + 1, column[b])]
    return [(a, "", column[a]), *lanes, (b, "", column[b])]


def _points(chain: Sequence[Item], middle: Mapping[Item, float], shift: float) -> list[Point]:
    """The corners of a route from left to right, `shift` below the middles of the boxes at its ends."""
    points = []
    for item in chain:
        y = middle[item] + (shift if item in (chain[0], chain[-1]) else 0.0)
        points += [(_left(item[2]), y), (_left(item[2]) + WIDTH, y)]
    return points[1:-1]


def _columns(ordered: Sequence[Place], links: Sequence[Sequence[str]]) -> dict[str, int]:
    """Column of each box: one after the longest path to it, and after all groups before its own."""
    before: dict[str, list[str]] = defaultdict(list)
    for a, b in links:
        before[b].append(a)
    column: dict[str, int] = {}
    first, group = 0, None
    for place in ordered:
        if place.group != group:
            first, group = 1 + max(column.values(), default=-1), place.group
        column[place.id] = max([first, *(column[source] + 1 for source in before[place.id])])
    return column


def _middles(
    ordered: Sequence[Place], column: Mapping[str, int], chains: Sequence[Sequence[Item]]
) -> dict[Item, float]:
    """Height of the middle of each box and lane, above and below 0."""
    tall = {(place.id, "", column[place.id]): place.height + GAP_Y for place in ordered}
    columns: dict[int, list[Item]] = defaultdict(list)
    for item in dict.fromkeys([*tall, *(item for chain in chains for item in chain)]):
        columns[item[2]].append(item)
    joined: dict[int, dict[Item, set[Item]]] = {-1: defaultdict(set), 1: defaultdict(set)}
    for chain in chains:
        for a, b in pairwise(chain):
            joined[1][a].add(b)
            joined[-1][b].add(a)
    middle: dict[Item, float] = {}
    for items in columns.values():
        middle |= _stacked(items, tall)
    for sweep in range(SWEEPS):
        side = -1 if sweep % 2 == 0 else 1
        for c in sorted(columns, reverse=side == 1):
            near = {item: [middle[other] for other in joined[side][item]] or [middle[item]] for item in columns[c]}
            columns[c].sort(key=lambda item: sum(near[item]) / len(near[item]))
            middle |= _stacked(columns[c], tall)
    return middle


def _stacked(items: Sequence[Item], tall: Mapping[Item, float]) -> dict[Item, float]:
    """Middles of items that stand one below the other, the whole around 0."""
    y = -sum(tall.get(item, LANE) for item in items) / 2
    middle = {}
    for item in items:
        middle[item] = y + tall.get(item, LANE) / 2
        y += tall.get(item, LANE)
    return middle
