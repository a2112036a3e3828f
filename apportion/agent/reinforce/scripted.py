"""An agent without a model, which follows the insights of Agent-REINFORCE (arXiv 2511.00086) to the letter, or chance.

It stands in for a language model where the method is to be measured without one. It reads the brief of a question and
answers in the same JSON; of the task it knows no more than what was tried and found.
"""

from __future__ import annotations

import json
import random
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from apportion.agent.question import Question
from apportion.agent.reinforce.brief import Brief
from apportion.agent.reinforce.history import Tried
from apportion.agent.reinforce.mixes import Mix
from apportion.agent.reinforce.moves import Kind, moves
from apportion.agent.reinforce.reply import first_roles
from apportion.graphs.graph import Graph
from apportion.graphs.notation import rows_of, to_lines
from apportion.graphs.parameters import Params, Value
from apportion.graphs.pruning import cast
from apportion.graphs.slots import YES
from apportion.graphs.space import SearchSpace

ELITES = 3  # of the best graphs, whose choices the table is raised to
PARENTS = 5  # of the best graphs, whose steps tell which kind of step helps
STEP = 0.5  # of the way from the table to the elites
HOPE = 0.02  # gain that is expected of a kind of step that was not tried
BY_INSIGHT: Mapping[int, tuple[Kind, ...]] = {
    1: ("model",),
    2: ("wider", "deeper", "thinner", "shallower"),
    3: ("wider", "deeper", "thinner", "shallower"),
}
OPPOSITE: Mapping[Kind, Kind] = {"wider": "shallower", "deeper": "thinner"}

Step = tuple[tuple[Kind, ...], Graph, Mapping[str, Value]]


@dataclass(frozen=True)
class ScriptedAgent:
    """Answers by rule; the same for the same brief.

    1. Of the mixes it names that of the models which did best alone, and the most even one.
    2. From the best graph it goes on in the kinds of steps that have helped, one step at a time.
    3. What made a graph deeper is tried with a slot less side by side, and the other way round.

    An insight that it is not told is replaced by chance.
    """

    def answer(self, question: Question[Brief]) -> str:
        """Mixes, or a table and a graph, as JSON."""
        brief = question.brief
        rng = random.Random(f"{brief.seed} {question.purpose}")
        if brief.mixes:
            return json.dumps({"mixes": [dict(mix) for mix in _mixes(brief, rng)]})
        best = sorted(brief.history.measured, key=lambda own: -own[1])
        step = next(_ideas(brief, [own for own, _ in best], rng), None)
        said: dict[str, Any] = {"table": _table(brief, [own for own, _ in best[:ELITES]]), "graph": None}
        if step is not None:
            said["graph"] = to_lines(brief.space, step[2])
            said["expected"] = best[0][0].values[0] if best else None
        return json.dumps(said)


def _mixes(brief: Brief, rng: random.Random) -> list[Mix]:
    """Two of those that are offered."""
    if 1 not in brief.insights:
        return rng.sample(list(brief.mixes), min(2, len(brief.mixes)))
    scores = next((own.means for own in brief.findings if own.insight == 1), {})
    first = max(brief.mixes, key=lambda mix: (fmean(_score(mix, scores)), -sum(map(len, mix.values()))))
    even = min(brief.mixes, key=lambda mix: (-sum(map(len, mix.values())), _spread(mix)))
    return [first, even]


def _score(mix: Mix, scores: Mapping[str, float]) -> list[float]:
    return [scores.get(model, 0.0) for own in mix.values() for model, n in own.items() for _ in range(n)] or [0.0]


def _spread(mix: Mix) -> int:
    return max(max(own.values()) - min(own.values()) for own in mix.values())


def _ideas(brief: Brief, best: Sequence[Tried], rng: random.Random) -> Iterator[Step]:
    """New graphs within the budget, the most hopeful first: steps from the best, then from the next best."""
    known = {tried.graph.key for tried in brief.history.tried}
    gains = _gains(brief, best[:PARENTS])
    for parent in best[:PARENTS]:
        steps = [own for own in _steps(brief, parent) if own[1].key not in known and brief.terms.covers(own[1])]
        rng.shuffle(steps)
        yield from sorted(steps, key=lambda own: -_hope(brief, own[0], gains, rng))


def _steps(brief: Brief, parent: Tried) -> list[Step]:
    """One step from a graph; by insight 3 also two that keep width and depth in balance."""
    one = moves(brief.space, parent.graph)
    found: list[Step] = [((kind,), built, params) for kind, built, params in one.values()]
    if 3 in brief.insights:
        for kind, built, _ in one.values():
            if kind in OPPOSITE:
                second = moves(brief.space, built, frozenset((OPPOSITE[kind],))).values()
                found += [((kind, k), b, p) for k, b, p in second]
    if brief.roles:
        return found
    return [(kinds, *_in_first_roles(brief.space, params)) for kinds, _, params in found]


def _in_first_roles(space: SearchSpace, params: Params) -> tuple[Graph, dict[str, Value]]:
    """A graph as a reply is read where roles are not searched."""
    own = cast(space, {**params, **first_roles(space)})
    return space.build(own), own


def _gains(brief: Brief, parents: Sequence[Tried]) -> Mapping[Kind, list[float]]:
    """What steps of each kind between graphs that were measured have gained."""
    measured = {tried.graph.key: own for tried, own in brief.history.measured}
    gains: dict[Kind, list[float]] = defaultdict(list)
    for parent in parents:
        for key, (kind, _, _) in moves(brief.space, parent.graph).items():
            if key in measured and parent.utility is not None:
                gains[kind].append(measured[key] - parent.utility)
    return gains


def _hope(brief: Brief, kinds: Sequence[Kind], gains: Mapping[Kind, list[float]], rng: random.Random) -> float:
    """What a step is expected to gain: as others of its kind, and some hope where few were tried."""
    told = any(kind in own for kind in kinds for n, own in BY_INSIGHT.items() if n in brief.insights)
    if not told:
        return rng.gauss(0.0, HOPE)
    return sum((sum(gains.get(kind, ())) + HOPE) / (len(gains.get(kind, ())) + 1) for kind in kinds)


def _table(brief: Brief, elites: Sequence[Tried]) -> list[str]:
    """Lines that move the table half of the way to what the best graphs have."""
    space = brief.space
    used = [{name for stage in space.stages for name in stage.used(own.params)} for own in elites]
    lines = []
    for head, row in rows_of(space).items():
        groups = []
        for key, name in row.choices.items():
            chosen = [own.params[name] for own, names in zip(elites, used, strict=True) if name in names]
            if chosen and (brief.roles or not name.endswith(".role")):
                shares = {v: chosen.count(v) / len(chosen) for v in space.parameters[name].values}
                groups.append(f"{key} {', '.join(_moved(brief, name, shares))}")
        edges = {
            to: sum(name in names for names in used) / len(elites) if elites else 0.0 for to, name in row.edges.items()
        }
        if edges and elites:
            moved = (f"{to}={_between(brief, row.edges[to], YES, share):.2f}" for to, share in edges.items())
            groups.append(f"to {', '.join(moved)}")
        if groups:
            lines.append(f"{head}: {'; '.join(groups)}")
    return lines


def _moved(brief: Brief, name: str, shares: Mapping[Value, float]) -> list[str]:
    """Probabilities that sum to 1 as they are written."""
    p = {value: round(_between(brief, name, value, share), 4) for value, share in shares.items()}
    most = max(p, key=p.__getitem__)  # of which rounding may take a little, and leaves it above 0
    p[most] = round(1.0 - sum(own for value, own in p.items() if value != most), 4)
    return [f"{value}={own:.4f}" for value, own in p.items()]


def _between(brief: Brief, name: str, value: Value, share: float) -> float:
    return (1.0 - STEP) * brief.probabilities[name][value] + STEP * share
