"""Drawing graphs of a search space one by one with networkx: the slow way, there to be compared with.

The same distribution as `apportion.graphs.probabilistic`, told a second time in plain Python after Agent-REINFORCE
(arXiv 2511.00086). It knows no tensors and no gradients.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import networkx as nx

from apportion.graphs.graph import Graph, Node, calls_of
from apportion.graphs.parameters import Value
from apportion.graphs.roles import ROLES
from apportion.graphs.slots import ABSENT, FINAL, NO, YES, SlotStage
from apportion.graphs.space import SearchSpace
from apportion.graphs.templates import TemplateStage

Choose = Callable[[Sequence[float]], int]
"""Weights to the place of one of them."""

FUSER_LIFT = 0.5
SLACK = 1e-9


def by_chance(rng: random.Random) -> Choose:
    """Chooses in proportion to the weights."""
    return lambda weights: rng.choices(range(len(weights)), weights)[0]


@dataclass(frozen=True)
class NetworkxSampler:
    """Draws parameters of graphs.

    Attributes:
        probabilities: of every value of every parameter, as `ProbabilisticGraph.probabilities` gives them.
        prices: by stage and model, the nominal cost of one call.
        budget: bound on the nominal cost; None for none.
        fuser_rule: as in `ProbabilisticGraph`.
    """

    space: SearchSpace
    probabilities: Mapping[str, Mapping[Value, float]]
    prices: Mapping[tuple[str, str], float] = field(default_factory=dict)
    budget: float | None = None
    fuser_rule: bool = False

    def draw(self, choose: Choose, order: Sequence[int] | None = None) -> dict[str, Value]:
        """Parameters of one graph.

        Args:
            order: of the slots of all stages; None for a random one where a stage has free order, else their own.
        """
        slots = [(stage, k) for stage in _slotted(self.space) for k in range(1, stage.slots + 1)]
        walked = list(slots) if order is None else [slots[place] for place in order]
        if order is None and any(stage.free_order for stage in _slotted(self.space)):
            walked = [slots.pop(choose([1.0] * len(slots))) for _ in walked]
        drawing = _Drawing(self, choose)
        present = drawing.buy(walked)
        drawing.buy_points()
        for stage in _slotted(self.space):
            drawing.connect(stage, present[stage.name])
        return drawing.chosen


class _Drawing:
    """One graph while it is drawn."""

    def __init__(self, sampler: NetworkxSampler, choose: Choose) -> None:
        self._of = sampler
        self._choose = choose
        self._free = math.inf  # of the budget, beyond what is kept back
        self.chosen: dict[str, Value] = {name: p.values[0] for name, p in sampler.space.parameters.items()}

    def buy(self, walked: Sequence[tuple[SlotStage, int]]) -> dict[str, list[int]]:
        """Choose models and samples; the slots of each stage that are there, in the order in which they were bought."""
        stages = _slotted(self._of.space)
        if self._of.budget is not None:
            kept = sum(map(self._cheapest, stages)) + sum(map(self._kept, stages))
            self._free = self._of.budget * (1 + SLACK) - kept - sum(min(self._points(t)) for t in self._templates())
        present: dict[str, list[int]] = {stage.name: [] for stage in stages}
        for stage, slot in walked:
            if slot == 1:
                self._free += self._cheapest(stage)
            if self._buy_slot(stage, slot):
                present[stage.name].append(slot)
        return present

    def buy_points(self) -> None:
        """Choose what stages of templates are."""
        for template in self._templates():
            costs, listed = self._points(template), list(template.points())
            covered = [i for i, cost in enumerate(costs) if cost <= self._free + min(costs)]
            weights = [math.prod(self._of.probabilities[n][v] for n, v in listed[i].items()) for i in covered]
            place = covered[self._choose(weights)]
            self._free += min(costs) - costs[place]
            self.chosen |= listed[place]

    def connect(self, stage: SlotStage, present: Sequence[int]) -> None:
        """Choose what is not bought before; `present` is in the order in which slots were bought."""
        graph: nx.DiGraph[str] = nx.DiGraph()
        graph.add_nodes_from(map(str, range(1, stage.slots + 1)), width=0, scored=False, role="generator")
        graph.add_node(FINAL)
        tried = present if stage.free_order else sorted(present)
        for a, b in ((a, b) for a in tried for b in tried if (a, b) in stage.pairs):
            if not nx.has_path(graph, str(b), str(a)) and self._take(f"{stage.name}.{a}>{b}", (NO, YES)) == YES:
                graph.add_edge(str(a), str(b))
        self._connect_final(stage, graph, sorted(present))
        useful = nx.ancestors(graph, FINAL)
        for slot in range(1, stage.slots + 1):
            if stage.temperatures:
                self._take(f"{stage.name}.{slot}.temperature", list(map(float, stage.temperatures)))
        self._free += self._kept(stage)
        covered = [model for model in stage.deciding_models if self._price(stage, model) <= self._free]
        final = [role for role in stage.final if covered or not ROLES[role].calls_model]
        hears = any(ROLES[r].comments == "reads" and ROLES[r].least < 2 for r in final)
        for place in [place for place in nx.topological_sort(graph) if place in useful]:
            self._cast(stage, graph, place, deaf=not hears and graph.has_edge(place, FINAL))
        if ROLES[str(self._take(f"{stage.name}.{FINAL}.role", _fitting(final, graph, FINAL)))].calls_model:
            self._free -= self._price(stage, str(self._take(f"{stage.name}.{FINAL}.model", covered)))

    def _connect_final(self, stage: SlotStage, graph: nx.DiGraph[str], present: Sequence[int]) -> None:
        """Choose what the final node reads, given that it reads something."""
        names = [f"{stage.name}.{slot}>{FINAL}" for slot in present]
        absent = [self._of.probabilities[name][NO] for name in names]
        for i, slot in enumerate(present):
            p = 1.0 - absent[i]
            if not graph.pred[FINAL]:
                p /= 1.0 - math.prod(absent[i:])
            if self._choose([max(0.0, 1.0 - p), p]):
                self.chosen[names[i]] = YES
                graph.add_edge(str(slot), FINAL)

    def _cast(self, stage: SlotStage, graph: nx.DiGraph[str], slot: str, *, deaf: bool) -> None:
        """Choose the role of a slot, and note what it gives."""
        node, read = graph.nodes[slot], [graph.nodes[source] for source in graph.pred[slot]]
        node["width"] = int(self.chosen.get(f"{stage.name}.{slot}.samples", 1))
        if not read:
            return
        allowed = [
            role for role in _fitting(stage.roles, graph, slot) if not (deaf and ROLES[role].comments == "writes")
        ]
        name = f"{stage.name}.{slot}.role"
        p = self._of.probabilities[name]
        if self._of.fuser_rule and any(source["role"] == "fuser" for source in read):
            allowed = [role for role in allowed if role != "fuser"]
        weights = {role: p[role] / sum(p[other] for other in allowed) for role in allowed}
        if self._of.fuser_rule and "fuser" in weights:
            lifted = min(1.0, weights["fuser"] + FUSER_LIFT)
            rest = 1.0 - weights["fuser"]
            weights = {role: w * (1.0 - lifted) / rest if rest else 0.0 for role, w in weights.items()} | {
                "fuser": lifted
            }
        node["role"] = self.chosen[name] = allowed[self._choose(list(weights.values()))]
        role, given = ROLES[node["role"]], sum(source["width"] for source in read)
        if role.gives != "new":
            node["width"] = given if role.gives == "all" else min(stage.keep, given)
        elif not role.calls_model:
            node["width"] = 1
        kept_scores = role.gives != "new" and all(source["scored"] for source in read)
        node["scored"] = role.scores == "writes" or kept_scores

    def _take(self, name: str, allowed: Sequence[Value]) -> Value:
        """Choose one of the allowed values of a parameter."""
        p = self._of.probabilities[name]
        self.chosen[name] = allowed[self._choose([p[value] for value in allowed])]
        return self.chosen[name]

    def _buy_slot(self, stage: SlotStage, slot: int) -> bool:
        least, most = stage.samples
        covered = [model for model in stage.models if self._price(stage, model) * least <= self._free]
        model = str(self._take(f"{stage.name}.{slot}.model", covered if slot == 1 else [*covered, ABSENT]))
        if model == ABSENT:
            return False
        price = self._price(stage, model)
        enough = [n for n in range(least, most + 1) if price * n <= self._free]
        count = int(self._take(f"{stage.name}.{slot}.samples", enough)) if stage.samples != (1, 1) else 1
        self._free -= price * count
        return True

    def _price(self, stage: SlotStage | TemplateStage, model: str) -> float:
        return self._of.prices.get((stage.name, model), 0.0)

    def _cheapest(self, stage: SlotStage) -> float:
        return min(self._price(stage, model) for model in stage.models) * stage.samples[0]

    def _kept(self, stage: SlotStage) -> float:
        """What is kept back for a final node that cannot do without a model."""
        if stage.decides_by_code or not stage.deciding_models:
            return 0.0
        return min(self._price(stage, model) for model in stage.deciding_models)

    def _templates(self) -> list[TemplateStage]:
        return [stage for stage in self._of.space.stages if isinstance(stage, TemplateStage)]

    def _points(self, stage: TemplateStage) -> list[float]:
        """What each distinct choice of a stage of templates costs."""
        return [self._point_price(stage, point) for point in stage.points()]

    def _point_price(self, stage: TemplateStage, point: Mapping[str, Value]) -> float:
        above = [Node(name, name, "generator", "m") for name in stage.reads]
        graph = Graph((*above, *stage.nodes(point, stage.reads)))
        own = (node for node in graph.nodes if node.stage == stage.name)
        return sum(calls_of(graph, node) * self._price(stage, node.model) for node in own if node.model)


def _fitting(roles: Sequence[str], graph: nx.DiGraph[str], slot: str) -> list[str]:
    """The roles that may read what a place reads."""
    read = [graph.nodes[source] for source in graph.pred[slot]]
    given, scored = sum(source["width"] for source in read), all(source["scored"] for source in read)
    commented = any(ROLES[source["role"]].comments == "writes" for source in read)
    return [
        name
        for name in roles
        if ROLES[name].least <= given
        and (scored or ROLES[name].scores != "reads")
        and (not commented or ROLES[name].comments == "reads")
    ]


def _slotted(space: SearchSpace) -> list[SlotStage]:
    return [stage for stage in space.stages if isinstance(stage, SlotStage)]
