"""A graph of a space as lines that a language model can read and write back.

One line a slot that the graph has, one the final node, one a stage of templates:

    solve.1: model small; to 2, final
    solve.2: model large; role fuser; to final
    solve.final: role decider; model large
    answer: template vote; model small; samples 3

`to` are edges. A table of probabilities (`graphs/probabilistic/table.py`) has the same lines, with a probability each.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field

from apportion.errors import GraphError
from apportion.graphs.parameters import Params, Value
from apportion.graphs.pruning import cast
from apportion.graphs.slots import ABSENT, YES, SlotStage
from apportion.graphs.space import SearchSpace, few

EDGES = "to"


@dataclass
class Row:
    """What a line may hold: parameters by the key that it has there, and edges by where they lead."""

    choices: dict[str, str] = field(default_factory=dict)
    edges: dict[str, str] = field(default_factory=dict)

    @property
    def keys(self) -> list[str]:
        """What may begin a group of the line."""
        return [*self.choices, *([EDGES] if self.edges else [])]


def rows_of(space: SearchSpace) -> dict[str, Row]:
    """Lines by how they begin."""
    rows: dict[str, Row] = {}
    for name in space.parameters:
        if ">" in name:
            head, to = name.split(">")
            rows.setdefault(head, Row()).edges[to] = name
        else:
            head, _, key = name.rpartition(".")
            rows.setdefault(head, Row()).choices[key] = name
    return rows


def pattern(space: SearchSpace, leave_out: Collection[str] = ()) -> str:
    """A regular expression (ECMA 262) of the lines of a graph, for servers that hold a model to a JSON schema.

    Groups stand in the order of `to_lines`; `from_lines` reads them in any.

    Args:
        leave_out: keys that lines may not give.
    """
    lines = []
    for head, row in rows_of(space).items():
        groups = [
            f"{escaped(key)} {either(str(value) for value in space.parameters[name].values if value != ABSENT)}"
            for key, name in row.choices.items()
            if key not in leave_out
        ]
        if row.edges:  # they make a slot of use; all else has a value where it is left out
            before = "".join(f"({own}; )?" for own in groups)
            lines.append(f"{escaped(head)}: {before}{EDGES} {some(either(row.edges), len(row.edges))}")
        elif groups:
            lines.append(f"{escaped(head)}: {groups[0]}{''.join(f'(; {own})?' for own in groups[1:])}")
    return f"^({'|'.join(lines)})$"


def some(of: str, most: int) -> str:
    """A regular expression of one to so many, with commas between."""
    return f"{of}(, {of}){{0,{most - 1}}}" if most > 1 else of


def either(texts: Iterable[str]) -> str:
    """A regular expression of one of some texts."""
    return f"({'|'.join(map(escaped, texts))})"


def escaped(text: str) -> str:
    """A text as a regular expression of itself, with no escape that ECMA 262 does not have."""
    return re.sub(r"[\^$.*+?()\[\]{}|\\]", r"\\\g<0>", text)


def to_lines(space: SearchSpace, params: Params) -> list[str]:
    """What shapes the graph of some parameters, and no more of them."""
    used = {name for stage in space.stages for name in stage.used(params)}
    lines = []
    for head, row in rows_of(space).items():
        groups = [f"{key} {params[name]}" for key, name in row.choices.items() if name in used]
        edges = [to for to, name in row.edges.items() if name in used]
        groups += [f"{EDGES} {', '.join(edges)}"] if edges else []
        if groups:
            lines.append(f"{head}: {'; '.join(groups)}")
    return lines


def from_lines(space: SearchSpace, lines: Iterable[str]) -> dict[str, Value]:
    """Parameters of the graph that the lines describe; `to_lines` is the inverse.

    A slot without a line is not there. What a line leaves out has its first value, a role the first that it can play.

    Raises:
        GraphError: a line is none, or there is no such graph in the space: which, and why.
    """
    rows = rows_of(space)
    given: dict[str, Value] = {}
    seen: set[str] = set()
    for line in lines:
        head, _, rest = (part.strip() for part in line.partition(":"))
        if head not in rows:
            raise GraphError(f"a line must begin with {few(rows)} and a colon, got {head!r:.60}; leave it out.")
        if head in seen:
            raise GraphError(f"a graph must describe each place once, but {head!r} stands twice; remove one.")
        seen.add(head)
        given |= dict(_entries(space, head, rows[head], rest))
    params: dict[str, Value] = {name: parameter.values[0] for name, parameter in space.parameters.items()}
    slots = [f"{s.name}.{i}" for s in space.stages if isinstance(s, SlotStage) for i in range(1, s.slots + 1)]
    for name in (f"{slot}.model" for slot in slots if slot not in seen):
        if ABSENT in space.parameters[name].values:
            params[name] = ABSENT
    params |= given
    fitted = cast(space, params)
    roles = [name for name in given if name.endswith(".role")]
    if any(fitted[name] != given[name] for name in roles):
        fitted = params  # which says what is wrong with it
    space.build(fitted)
    return fitted


def _entries(space: SearchSpace, head: str, row: Row, rest: str) -> Iterator[tuple[str, Value]]:
    found: set[str] = set()
    for group in filter(None, (part.strip() for part in rest.split(";"))):
        key, _, said = group.partition(" ")
        if key in found or key not in row.keys:
            raise GraphError(f"{head} may give {', '.join(row.keys)}, each once, got {key!r:.60}; leave it out.")
        found.add(key)
        if key == EDGES:
            for to in (part.strip() for part in said.split(",")):
                if to not in row.edges:
                    raise GraphError(f"an edge of {head} must lead to {few(row.edges)}, got {to!r:.60}; mend it.")
                yield row.edges[to], YES
        else:
            yield row.choices[key], _value(space, row.choices[key], said.strip())


def _value(space: SearchSpace, name: str, said: str) -> Value:
    values = {str(value): value for value in space.parameters[name].values}
    if said not in values:
        raise GraphError(f"`{name}` must be one of {few(values)}, got {said!r:.60}; choose one.")
    return values[said]
