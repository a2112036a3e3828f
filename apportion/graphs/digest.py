"""Credit in words, for whoever proposes the next graph: short lines, counts with what they are of, most telling first.

What models wrote is quoted as JSON strings of printable characters, so that it cannot end its line or pass for ours.
"""

from __future__ import annotations

import json
import math

from apportion.graphs.credit import Credit, EdgeCredit, Effect, NodeCredit, Sample
from apportion.graphs.graph import Graph, escaped
from apportion.graphs.pruning import Part

MOST_NODES, MOST_EDGES, MOST_EFFECTS, MOST_SAID = 8, 4, 5, 5
"""Lines of each kind: 24 with the headings."""
MOST_TEXT = 120
"""Characters of a text that are shown, its quotation marks included."""
MOST_NAME = 60
"""Characters of an id."""
MOST_PARTS = 4


def told(credit: Credit) -> str:
    """The credit of a graph in at most 25 lines."""
    metric = quoted(credit.metric, MOST_NAME)
    if not credit.examples:
        return f"Of {metric} nothing is known by node: no example has all its completions in the bank."
    lines = [f"{metric} by node: {credit.examples} examples, the answer right in {credit.right}."]
    nodes = sorted(credit.nodes, key=_told_by_node, reverse=True)
    lines += [_node(credit, node) for node in nodes[:MOST_NODES]]
    edges = sorted((edge for edge in credit.edges if edge.lost or edge.mended), key=_told_by_edge, reverse=True)
    lines += [_edge(edge) for edge in edges[:MOST_EDGES]]
    effects = sorted(credit.effects, key=_told_by_effect, reverse=True)
    lines += [_effect(credit, effect) for effect in effects[:MOST_EFFECTS]]
    if credit.sample is not None:
        lines += _sample(credit, credit.sample)
    return "\n".join(lines)


def shortened(text: str, most: int = MOST_TEXT) -> str:
    """A text of at most so many characters: of a longer one its beginning and its end."""
    if len(text) <= most:
        return text
    head = (most - 3) // 2
    return f"{text[:head]} … {text[len(text) - (most - 3 - head) :]}"


def quoted(text: str, most: int = MOST_TEXT) -> str:
    """A text as a JSON string of one line and at most so many characters, of which all are printable."""
    plain = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    left = most - 2
    while len(said := json.dumps(shortened(plain, left), ensure_ascii=False)) > most:
        left -= (len(said) - most + 1) // 2  # what is escaped has two characters
    return said


def _node(credit: Credit, node: NodeCredit) -> str:
    said = [] if node.right is None else [_right(credit.graph, node)]
    if node.lost:
        said.append(f"lost {node.lost} that it had read")
    if node.mended:
        said.append(f"mended {node.mended}")
    if node.answered < credit.examples:
        said.append(f"ran on {node.answered} of {credit.examples}")
    if node.none:
        said.append(f"no value in {node.none} of {node.answered}")
    what = shortened(str(credit.graph.by_id[node.node]), MOST_NAME)
    return f"{_name(node.node)} ({what}): {'; '.join(said) or 'always a value; nothing judges its stage'}"


def _right(graph: Graph, node: NodeCredit) -> str:
    if graph.widths[node.node] == 1:
        return f"right in {node.right} of {node.answered}{_graded(node)}"
    return f"one of its texts right in {node.right} of {node.answered}{_graded(node)}"


def _graded(node: NodeCredit) -> str:
    """The mean where the count does not tell it."""
    if node.mean is None or math.isclose(node.mean * node.answered, node.right or 0):
        return ""
    return f" (mean of its texts {node.mean:.2f})"


def _edge(edge: EdgeCredit) -> str:
    right, wrong = edge.kept + edge.lost, edge.mended + edge.missed
    ends = f"{_name(edge.source)}>{_name(edge.target)}"
    return f"edge {ends}: of {right} right ones {edge.lost} thrown away, of {wrong} wrong ones {edge.mended} mended"


def _effect(credit: Credit, effect: Effect) -> str:
    parts = " or ".join(map(_part, effect.parts[:MOST_PARTS]))
    more = f" or {len(effect.parts) - MOST_PARTS} more" if len(effect.parts) > MOST_PARTS else ""
    numbers = f"{effect.difference:+.2f} [{effect.low:+.2f}, {effect.high:+.2f}]"
    return f"without {parts}{more}: {numbers} over {effect.examples} of {credit.examples}{_besides(credit, effect)}"


def _besides(credit: Credit, effect: Effect) -> str:
    """What else changes with the first of the parts."""
    left, first = effect.graph.by_id, effect.parts[0]
    gone = [node.id for node in credit.graph.nodes if node.id not in left and node.id != first]
    said = [f"{_name(node)} goes too" for node in gone]
    changed = [node for node in left.values() if node.role != credit.graph.by_id[node.id].role]
    said += [f"{_name(node.id)} is then a {escaped(node.role)}" for node in changed]
    more = [f"{len(said) - MOST_PARTS} more"] if len(said) > MOST_PARTS else []
    return f" ({', '.join([*said[:MOST_PARTS], *more])})" if said else ""


def _sample(credit: Credit, sample: Sample) -> list[str]:
    """An example that was wrong: the right texts and the last node first to be shown, in the order of the graph."""
    last = credit.graph.output.id
    ranked = sorted(sample.said, key=lambda said: (said.node != last, not said.right, said.right is None))
    shown = ranked[:MOST_SAID]
    marks = {True: "right", False: "wrong", None: "said"}
    lines = [f"{_name(said.node)} {marks[said.right]}: {quoted(said.text)}" for said in sample.said if said in shown]
    return [f"One that it had wrong, {quoted(sample.example, MOST_NAME)}:", *lines]


def _part(part: Part) -> str:
    return _name(part) if isinstance(part, str) else f"{_name(part[0])}>{_name(part[1])}"


def _name(node: str) -> str:
    return shortened(escaped(node), MOST_NAME)


def _told_by_node(node: NodeCredit) -> tuple[int, int]:
    return (node.lost or 0) + (node.mended or 0), node.none


def _told_by_edge(edge: EdgeCredit) -> tuple[int, int]:
    return edge.lost, edge.mended


def _told_by_effect(effect: Effect) -> tuple[bool, float, int]:
    """Those whose sign is known first."""
    return effect.low > 0.0 or effect.high < 0.0, abs(effect.difference), effect.examples
