"""A distribution as a text that a language model can read and write back. It knows neither prompts nor logits.

One line a slot, one the final node, one a stage of templates:

    solve.1: model small=0.70, large=0.30; role refiner=0.50, fuser=0.50; to 2=0.12, final=0.30
    solve.final: role decider=1.00; model large=1.00
    answer: template single=0.50, vote=0.50; model small=1.00; samples 2=0.40, 3=0.60

`to` are edges, each with a probability of its own; the probabilities of anything else are of one choice and sum to 1.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping

import networkx as nx

from apportion.errors import GraphError
from apportion.graphs.notation import EDGES, Row, either, escaped, rows_of, some
from apportion.graphs.parameters import Value
from apportion.graphs.probabilistic.distribution import ProbabilisticGraph
from apportion.graphs.slots import FINAL, NO, YES, SlotStage
from apportion.graphs.space import MOST_TEXT, SearchSpace, few

SHARE = r"(0(\.[0-9]{1,4})?|1(\.0{1,4})?)"  # as it is asked for; more forms are read
NUMBER = r"[0-9]+(\.[0-9]*)?|\.[0-9]+"
MOST_FREE = 0.99  # shown of an edge in free order: 1 would say that the other way is closed

Probabilities = Mapping[str, Mapping[Value, float]]


def to_table(distribution: ProbabilisticGraph) -> str:
    """The probabilities of all parameters, each by itself, to two decimals; to more where there are ten values or more.

    What rounds to 0.00 is read back as impossible: mix what comes back with what was there (`moved`).
    """
    known = distribution.probabilities()
    free = {stage.name for stage in distribution.space.stages if isinstance(stage, SlotStage) and stage.free_order}
    lines = []
    for head, row in rows_of(distribution.space).items():
        groups = [
            f"{key} " + ", ".join(f"{value}={p:.{_decimals(len(known[name]))}f}" for value, p in known[name].items())
            for key, name in row.choices.items()
        ]
        most = MOST_FREE if head.rpartition(".")[0] in free else 1.0
        shown = {to: known[name][YES] if to == FINAL else min(most, known[name][YES]) for to, name in row.edges.items()}
        if shown:
            groups.append(f"{EDGES} " + ", ".join(f"{to}={p:.2f}" for to, p in shown.items()))
        lines.append(f"{head}: {'; '.join(groups)}")
    return "\n".join(lines)


def pattern(space: SearchSpace, leave_out: Collection[str] = ()) -> str:
    """A regular expression (ECMA 262) of the lines of a table, for servers that hold a model to a JSON schema.

    Groups stand in the order of `to_table`, each once. It does not say that the probabilities of a choice sum to 1, nor
    that a value stands once.

    Args:
        leave_out: keys that lines may not give.
    """
    lines = []
    for head, row in rows_of(space).items():
        of = {key: [*map(str, space.parameters[name].values)] for key, name in row.choices.items()}
        of |= {EDGES: [*row.edges]} if row.edges else {}
        groups = [
            f"{escaped(key)} {some(f'{either(values)}={SHARE}', len(values))}"
            for key, values in of.items()
            if key not in leave_out
        ]
        if groups:
            *others, last = groups
            lines.append(f"{escaped(head)}:{''.join(f'( {own};)?' for own in others)}( {last};?)?")
    return f"^({'|'.join(lines)})$"


def from_table(space: SearchSpace, text: str) -> dict[str, dict[Value, float]]:
    """Probabilities from such a table, for `ProbabilisticGraph.set_probabilities`.

    Whatever a table leaves out is absent; a value that a choice leaves out has probability 0. A choice whose sum is 1
    but for rounding is divided by it.

    Raises:
        GraphError: it is no such table, or not of the space: which line, and why.
    """
    if len(text) > MOST_TEXT:
        raise GraphError(f"a table must have at most {MOST_TEXT} characters, got {len(text)}; shorten it.")
    rows = rows_of(space)
    found: dict[str, dict[Value, float]] = {}
    sure: nx.DiGraph[str] = nx.DiGraph()
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip():
            try:
                _read(space, rows, line, found, sure)
            except GraphError as error:
                raise GraphError(f"line {number}: {error}") from None
    return found


def moved(
    distribution: ProbabilisticGraph, probabilities: Probabilities, weight: float
) -> dict[str, dict[Value, float]]:
    """Probabilities on the way from those of a distribution to others: (1 - weight) · old + weight · new.

    Raises:
        GraphError: the weight is not from 0 to 1, or a parameter is not of the space.
    """
    if not 0.0 <= weight <= 1.0:
        raise GraphError(f"`weight` must be from 0 to 1, got {weight}; mend it.")
    known = distribution.probabilities()
    for name in probabilities:
        if name not in known:
            raise GraphError(f"probabilities must be of parameters of the space, got {name!r:.60}; leave it out.")
    return {
        name: {value: (1.0 - weight) * p + weight * new.get(value, 0.0) for value, p in known[name].items()}
        for name, new in probabilities.items()
    }


def _decimals(values: int) -> int:
    return 1 + len(str(values))


def _read(
    space: SearchSpace,
    rows: Mapping[str, Row],
    line: str,
    found: dict[str, dict[Value, float]],
    sure: nx.DiGraph[str],
) -> None:
    """Read a line into what is found; `sure` holds the edges of probability 1."""
    head, _, rest = (part.strip() for part in line.partition(":"))
    if head not in rows:
        raise GraphError(f"a line must begin with {few(rows)} and a colon, got {head!r:.60}; leave it out.")
    row = rows[head]
    for group in rest.removesuffix(";").split(";"):
        key, _, entries = group.strip().partition(" ")
        if key == EDGES and row.edges:
            for to, p in _entries(entries, row.edges, f"an edge of {head}"):
                _enter(found, row.edges[to], {NO: 1.0 - p, YES: p})
                if p == 1.0:
                    _check_cycle(sure, head, f"{head.rpartition('.')[0]}.{to}")
        elif key in row.choices:
            name = row.choices[key]
            values = {str(value): value for value in space.parameters[name].values}
            given = dict(_entries(entries, values, f"`{name}`"))
            total = sum(given.values())
            if abs(total - 1.0) > len(values) * 0.5 * 10.0 ** -_decimals(len(values)) + 1e-9:
                raise GraphError(f"the probabilities of `{name}` must sum to 1, got {total:.6g}; mend them.")
            _enter(found, name, {value: given.get(shown, 0.0) / total for shown, value in values.items()})
        else:
            raise GraphError(f"{head} must give {', '.join(row.keys)}, got {key!r:.60}; leave it out.")


def _entries(text: str, known: Mapping[str, object], of: str) -> Iterator[tuple[str, float]]:
    """What stands before and behind each equals sign."""
    seen: set[str] = set()
    for entry in text.split(","):
        shown, _, number = (part.strip() for part in entry.rpartition("="))
        if shown not in known:
            raise GraphError(f"{of} must be among {few(known)}, got {entry.strip()!r:.60}; write VALUE=PROBABILITY.")
        if shown in seen:
            raise GraphError(f"{of} must give a value once, but {shown!r} stands twice; remove one.")
        if not re.fullmatch(NUMBER, number) or float(number) > 1.0:
            raise GraphError(f"{of} must have probabilities from 0 to 1, got {number!r:.60} for {shown!r}; mend it.")
        seen.add(shown)
        yield shown, float(number)


def _enter(found: dict[str, dict[Value, float]], name: str, probabilities: dict[Value, float]) -> None:
    if name in found:
        raise GraphError(f"a table must give each choice once, but `{name}` stands twice; remove one.")
    found[name] = probabilities


def _check_cycle(sure: nx.DiGraph[str], source: str, target: str) -> None:
    sure.add_nodes_from((source, target))
    if nx.has_path(sure, target, source):
        cycle = " -> ".join([*nx.shortest_path(sure, target, source), target])
        raise GraphError(f"edges of probability 1 must not form a cycle, but {cycle} do; lower one of them.")
    sure.add_edge(source, target)
