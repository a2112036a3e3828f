"""A stage that is searched freely: up to K slots, edges between them, and a final node that gives the stage's text.

The first slot is there; any other may be absent, and is as good as absent where no path leads from it to the final
node. A slot that reads no other is a generator; the others play the role that is chosen for them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

from apportion.errors import GraphError
from apportion.graphs.canonical import arranged
from apportion.graphs.graph import Node
from apportion.graphs.parameters import Choice, Count, Parameter, Params, Value
from apportion.graphs.roles import ROLES

FINAL = "final"
ABSENT = "absent"
NO, YES = "no", "yes"


@dataclass(frozen=True)
class SlotStage:
    """What may be chosen for one stage, as slots of a graph.

    Attributes:
        slots: nodes beside the final one, at most.
        roles: what a slot that reads others may be; none of them leaves no edges between slots.
        final: what the final node may be.
        samples: least and most samples of a slot.
        temperatures: what a slot's temperature may be; none of them is the stage's own.
        final_models: models of a final node that calls one; none of them is `models`.
        keep: candidates that a choosing slot passes on, at most.
        reads: earlier stages that the prompt reads.
        free_order: edges may run both ways between two slots, as long as there is no cycle; else only from a slot to a
            later one, which loses no graph but its symmetric copies.

    Raises:
        GraphError: when built, if some choice of edges would leave a slot without a role that it can play.
    """

    name: str
    models: tuple[str, ...]
    slots: int
    roles: tuple[str, ...]
    final: tuple[str, ...]
    samples: tuple[int, int] = (1, 1)
    temperatures: tuple[float, ...] = ()
    final_models: tuple[str, ...] = ()
    keep: int = 1
    reads: tuple[str, ...] = ()
    free_order: bool = False

    def __post_init__(self) -> None:
        _check(self)

    @property
    def count(self) -> Count:
        """The range of samples of a slot."""
        return Count(*self.samples)

    @property
    def widest(self) -> int:
        """Samples that all slots together may draw."""
        return self.slots * self.samples[1]

    @cached_property
    def pairs(self) -> tuple[tuple[int, int], ...]:
        """Slots that an edge may join, from and to, counted from 1."""
        places = range(1, self.slots + 1) if self.roles else ()
        return tuple((a, b) for a in places for b in places if a < b or (self.free_order and a != b))

    @property
    def deciding_models(self) -> tuple[str, ...]:
        """Models of the final node; none where it is code whatever is chosen."""
        if not any(ROLES[role].calls_model for role in self.final):
            return ()
        return self.final_models or self.models

    @property
    def decides_by_code(self) -> bool:
        """Whether the final node always has a role that calls no model."""
        return any(not ROLES[role].calls_model and _modest(role, reading=False) for role in self.final)

    @cached_property
    def parameters(self) -> dict[str, Parameter]:
        """`1.model`, `1.samples`, …, `1.role`, the edges `1>2` and `1>final`, `final.role`, `final.model`."""
        found: dict[str, Parameter] = {}
        for slot in range(1, self.slots + 1):
            found[f"{slot}.model"] = Choice(self.models if slot == 1 else (*self.models, ABSENT))
            if self.samples != (1, 1):
                found[f"{slot}.samples"] = self.count
            if self.temperatures:
                found[f"{slot}.temperature"] = Choice(tuple(map(float, self.temperatures)))
            if self.roles:
                found[f"{slot}.role"] = Choice(self.roles)
        for a, b in self.pairs:
            found[f"{a}>{b}"] = Choice((NO, YES))
        for slot in range(1, self.slots + 1):
            found[f"{slot}>{FINAL}"] = Choice((NO, YES))
        found[f"{FINAL}.role"] = Choice(self.final)
        if self.deciding_models:
            found[f"{FINAL}.model"] = Choice(self.deciding_models)
        return {f"{self.name}.{name}": parameter for name, parameter in found.items()}

    def nodes(self, params: Params, upstream: tuple[str, ...]) -> tuple[Node, ...]:
        """The stage's nodes, in an order that does not depend on which slots they stand in.

        Raises:
            GraphError: the edges form a cycle, or none leads to the final node.
        """
        own = {name.removeprefix(f"{self.name}."): value for name, value in params.items()}
        reads = self._edges(own)
        used = _reaching(reads)
        if used == {FINAL}:
            raise GraphError(
                f"the final node must read a slot, but no edge of {self.name!r} leads to it; set `{self.name}.1>final`."
            )
        _check_cycles(self.name, reads)
        return arranged([self._node(place, own, reads[place], upstream) for place in reads if place in used])

    def choices(self, nodes: Sequence[Node]) -> dict[str, Value]:
        """Parameters that give such nodes, the last of which is the final one.

        The rest of the slots are absent; what else is theirs has its first value.

        Raises:
            GraphError: the nodes are not of this stage's space.
        """
        *drafts, last = nodes
        if len(drafts) > self.slots:
            raise GraphError(f"{self.name!r} has {self.slots} slots, but the graph has {len(drafts)}; leave some out.")
        place = {node.id: str(i) for i, node in enumerate(drafts, 1)} | {last.id: FINAL}
        found: dict[str, Value] = {name: parameter.values[0] for name, parameter in self.parameters.items()}
        found |= {f"{self.name}.{slot}.model": ABSENT for slot in range(max(1, len(drafts)) + 1, self.slots + 1)}
        for node in nodes:
            at = f"{self.name}.{place[node.id]}"
            given: dict[str, Value | None] = {"model": node.model, "temperature": node.temperature}
            if node.model is not None:
                given["samples"] = node.samples
            if node is last or any(source in place for source in node.inputs):
                given["role"] = node.role
            for key, value in given.items():
                if value is not None and f"{at}.{key}" in found:
                    found[f"{at}.{key}"] = value
            for source in node.inputs:
                if source in place:
                    found[f"{self.name}.{place[source]}>{place[node.id]}"] = YES
        return found

    def used(self, params: Params) -> list[str]:
        """Names of the parameters that shape the stage, edges that are absent left out."""
        own = {name.removeprefix(f"{self.name}."): value for name, value in params.items()}
        reads = self._edges(own)
        used = _reaching(reads)
        found: list[str] = []
        for place in (place for place in reads if place in used):
            found += [f"{source}>{place}" for source in reads[place]]
            name = str(own[f"{place}.role"]) if place == FINAL or reads[place] else "generator"
            asked = ("model", "samples", "temperature") if ROLES[name].calls_model else ()
            found += [f"{place}.{key}" for key in (*(() if name == "generator" else ("role",)), *asked)]
        return [f"{self.name}.{name}" for name in found if f"{self.name}.{name}" in self.parameters]

    def points(self) -> Iterator[dict[str, Value]]:
        """Every setting of the parameters that gives a graph, equal graphs included."""
        yield from _settings(list(self.parameters.items()))

    def _edges(self, own: Params) -> dict[str, list[str]]:
        """What each place that is there reads, final last."""
        places = [str(slot) for slot in range(1, self.slots + 1) if own.get(f"{slot}.model") != ABSENT]
        return {
            place: [source for source in places if own.get(f"{source}>{place}") == YES] for place in (*places, FINAL)
        }

    def _node(self, place: str, own: Params, reads: list[str], upstream: tuple[str, ...]) -> Node:
        final = place == FINAL
        name = str(own[f"{place}.role"]) if final or reads else "generator"
        role = ROLES[name]
        inputs = tuple(f"{self.name}.{source}" for source in reads)
        samples = int(own.get(f"{place}.samples", 1)) if role.calls_model and not final else 1
        warmth = own.get(f"{place}.temperature") if role.calls_model else None
        return Node(
            id=f"{self.name}.{place}",
            stage=self.name,
            role=name,
            model=str(own[f"{place}.model"]) if role.calls_model else None,
            samples=samples,
            inputs=inputs if reads else upstream,
            temperature=None if warmth is None else float(warmth),
            keep=self.keep if role.gives == "kept" and not final else 1,
        )


def _settings(parameters: list[tuple[str, Parameter]]) -> Iterator[dict[str, Value]]:
    if not parameters:
        yield {}
        return
    (name, parameter), *rest = parameters
    for value in parameter.values:
        for others in _settings(rest):
            yield {name: value, **others}


def _reaching(reads: dict[str, list[str]]) -> set[str]:
    """Places from which a path leads to the final node, itself included."""
    found, front = {FINAL}, [FINAL]
    while front:
        new = [source for source in reads[front.pop()] if source not in found]
        found.update(new)
        front += new
    return found


def _check_cycles(stage: str, reads: dict[str, list[str]]) -> None:
    done: set[str] = set()
    for start in reads:
        path: list[str] = []
        if cycle := _cycle(start, reads, path, done):
            shown = " -> ".join(f"{stage}.{place}" for place in reversed(cycle))
            raise GraphError(f"edges must not form a cycle, but {shown} does; remove one of these edges.")


def _cycle(place: str, reads: dict[str, list[str]], path: list[str], done: set[str]) -> list[str] | None:
    if place in path:
        return [*path[path.index(place) :], place]
    if place in done:
        return None
    path.append(place)
    for source in reads[place]:
        if cycle := _cycle(source, reads, path, done):
            return cycle
    path.pop()
    done.add(place)
    return None


def _check(stage: SlotStage) -> None:
    for name in (*stage.roles, *stage.final):
        if name not in ROLES or ROLES[name].least == 0:
            known = [known for known, role in ROLES.items() if role.least]
            raise GraphError(f"a slot that reads others must be one of {', '.join(known)}, got {name!r}; choose these.")
    if stage.slots < 1 or not stage.final or not stage.models:
        raise GraphError(f"a stage needs a slot, a model and a final role, but {stage.name!r} lacks one; add it.")
    if ABSENT in (*stage.models, *stage.final_models):
        raise GraphError(f"a model must not be named {ABSENT!r}, but one of {stage.name!r} is; give it another name.")
    least, most = stage.samples
    if not 1 <= least <= most:
        raise GraphError(f"`samples` must be from 1 upwards, got [{least}, {most}] in {stage.name!r}; mend it.")
    warm = all(0.0 <= temperature <= 2.0 for temperature in stage.temperatures)
    if not warm or any(a >= b for a, b in pairwise(stage.temperatures)):
        raise GraphError(
            f"`temperatures` must be from 0 to 2 and rise, got {list(stage.temperatures)} in {stage.name!r}; mend them."
        )
    if stage.keep < 1:
        raise GraphError(f"`keep` must be at least 1, got {stage.keep} in {stage.name!r}; raise it.")
    if ends := [name for name in stage.final if ROLES[name].gives == "all"]:
        raise GraphError(f"a final node must give one text, but a {ends[0]} gives all it reads; choose another role.")
    critics = any(ROLES[name].comments == "writes" for name in stage.roles)
    for what, roles, reading in (("slot", stage.roles, critics), ("final node", stage.final, False)):
        # Whatever the edges are, a place that reads one lone draft must have a role to play.
        if roles and not any(_modest(name, reading=reading) for name in roles):
            heard = ", and its comments," if reading else ""
            raise GraphError(
                f"a {what} that reads one draft{heard} must have a role to play, but {', '.join(roles)} need more; "
                f"add {'refiner' if what == 'slot' else 'decider'}."
            )


def _modest(name: str, *, reading: bool) -> bool:
    """Whether a role makes do with one unscored draft and, if need be, reads the comments on it."""
    role = ROLES[name]
    alone = role.least <= 1 and role.scores != "reads" and role.gives != "all"
    return alone and (not reading or role.comments == "reads")
