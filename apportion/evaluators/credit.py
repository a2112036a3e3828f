"""Credit for the parts of a measured graph, from the bank: what each node and edge did, and what is had without it.

It buys nothing and enters nothing in the ledger. It does not know how the graph was found, nor who is told.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from apportion.envs.banked import Retracer, on_bank
from apportion.envs.rollout import NodeRun, Rollout, value_of
from apportion.envs.stage import Example
from apportion.errors import EvaluatorError, GraphError
from apportion.evaluators.benchmark import Benchmark
from apportion.graphs.credit import Credit, EdgeCredit, Effect, NodeCredit, Said, Sample
from apportion.graphs.digest import shortened
from apportion.graphs.graph import Graph, Node
from apportion.graphs.pruning import Part, as_it_was, prunings
from apportion.graphs.space import SearchSpace
from apportion.statistics import paired

RIGHT = 0.5
"""Of a metric from 0 to 1: an answer of at least so much is right."""

LEAST = 2
"""Examples from which an effect is told."""


async def credit(
    benchmark: Benchmark, space: SearchSpace, graph: Graph, split: str = "search", metric: str | None = None
) -> Credit:
    """What the parts of a graph contributed on a split, as far as the bank knows.

    An example counts where the graph's own draws are all banked: not where one failed, was never bought, or timed out
    for good. The answers of a stage are judged by `metric` where that looks at the stage, else by the first metric that
    does; of the others nothing is said but whether they had a value. An answer is right from `RIGHT` on.

    An effect is of the examples at which all draws of the smaller graph are banked too: those that it would ask for if
    it were measured, or those that its nodes had in the whole graph where these tell more examples. Both are samples of
    the same answers. What a vote or another role of code reads may be left out at no cost; but a model that reads
    others is asked another question without one of them, and that is banked only where drafts were alike, or another
    graph has asked the same. Such an effect is of examples that are no fair sample of the split: often of those on
    which drafts agree.

    Args:
        space: in which smaller graphs are looked for; a graph that is not of it has no effects.
        metric: one of the benchmark's answer metrics; None is the first of them.

    Raises:
        EvaluatorError: there is no such metric, the evaluator raised, or its value is not finite.
        StoreError: the store cannot be read.
        RoleError: the operator of a role raised.
        SandboxError: a program must be run, and this machine has no sandbox.
    """
    judge = _Judge(benchmark, graph, metric)
    smaller = _smaller(space, graph)
    bank = on_bank(benchmark.environment)
    seen: list[_Seen] = []
    for example in benchmark.splits[split]:
        await asyncio.sleep(0)  # whoever waits for a server meanwhile is not kept waiting for all of this
        retracer, verdict = Retracer(bank, example), _Verdict(judge, example)
        rollout = await retracer.run(graph)
        value = await verdict.of(rollout)
        if rollout is None or value is None:
            continue
        did = {node.id: await verdict.did(node, rollout.nodes[node.id]) for node in graph.nodes}
        less = [[await verdict.of(await retracer.run(*way)) for way in left.ways] for left in smaller]
        seen.append(_Seen(example.id, value, did, less))
    return Credit(
        graph,
        judge.metric,
        len(seen),
        sum(one.value >= RIGHT for one in seen),
        tuple(_node_credit(graph, node, seen, judged=node.stage in judge.metrics) for node in graph.nodes),
        tuple(
            _edge_credit(source, node, seen)
            for node in graph.nodes
            if node.stage in judge.metrics
            for source in graph.candidates(node)
        ),
        tuple(effect for place in range(len(smaller)) if (effect := _effect(smaller, seen, place)) is not None),
        _sample(judge, seen),
    )


class _Did(NamedTuple):
    """What a node did on an example.

    Attributes:
        ran: whether it did: one that lacks what it reads does not.
        none: whether no text of its had a value.
        values: of its texts; None where nothing judges its stage.
        text: the one that is shown of it; None if it gave none.
    """

    ran: bool
    none: bool
    values: tuple[float, ...] | None
    text: str | None

    @property
    def right(self) -> bool:
        """Whether one of its texts is right."""
        return any(value >= RIGHT for value in self.values or ())


class _Seen(NamedTuple):
    """One example that counts.

    Attributes:
        value: of the metric.
        did: by node id.
        less: value of each smaller graph in each of its ways; None where that cannot be told.
    """

    example: str
    value: float
    did: Mapping[str, _Did]
    less: Sequence[Sequence[float | None]]


class _Smaller(NamedTuple):
    """What is left of a graph.

    Attributes:
        parts: each of which leaves it.
        ways: in which it is run: as a space builds it, and as it was in the whole graph.
    """

    parts: tuple[Part, ...]
    graph: Graph
    ways: tuple[tuple[Graph, Mapping[str, int]], ...]


class _Judge:
    """Which stages of a graph are judged, and by which metric.

    Attributes:
        stage: that the metric looks at.
        metrics: by stage.
    """

    def __init__(self, benchmark: Benchmark, graph: Graph, metric: str | None) -> None:
        names = list(benchmark.answers)
        wanted = metric or next(iter(names), None)
        if wanted is None or wanted not in names:
            listed = ", ".join(names) or "none"
            raise EvaluatorError(f"`metric` must be one of {listed}, got {wanted!r}; name one of them.")
        self.benchmark = benchmark
        self.graph = graph
        self.metric = wanted
        self.stage = benchmark.of.get(wanted, graph.output.stage)
        self.metrics = {self.stage: wanted}
        for name in names:
            self.metrics.setdefault(benchmark.of.get(name, graph.output.stage), name)


class _Verdict:
    """Judges answers to one example, each once: some are programs that are run."""

    def __init__(self, judge: _Judge, example: Example) -> None:
        self._judge = judge
        self._example = example
        self._known: dict[tuple[str, str], float] = {}

    async def of(self, rollout: Rollout | None) -> float | None:
        """The metric of a rollout, None where there is none or it failed."""
        if rollout is None or rollout.status == "failed":
            return None
        end = rollout.graph.stage_outputs[self._judge.stage]
        return await self._value(self._judge.metric, value_of(rollout.nodes[end.id]))

    async def did(self, node: Node, run: NodeRun) -> _Did:
        """What a node did."""
        metric, texts = self._judge.metrics.get(node.stage), run.candidates
        values = None if metric is None else tuple([await self._value(metric, text.value) for text in texts])
        place = next((i for i, value in enumerate(values or ()) if value >= RIGHT), 0)
        shown = texts[place] if texts else None
        return _Did(
            bool(texts or run.draws),
            all(text.value is None for text in texts),
            values,
            None if shown is None else shortened(shown.text if shown.value is None else shown.value),
        )

    async def _value(self, metric: str, answer: str | None) -> float:
        if answer is None:
            return 0.0
        if (metric, answer) not in self._known:
            self._known[metric, answer] = await self._judge.benchmark.judged(metric, answer, self._example)
        return self._known[metric, answer]


def _smaller(space: SearchSpace, graph: Graph) -> list[_Smaller]:
    """The smaller graphs, each once."""
    try:
        found = prunings(space, graph)
    except GraphError:
        return []
    parts: dict[str, list[Part]] = {}
    for part, left in found.items():
        parts.setdefault(left.key, []).append(part)
    lefts = [(tuple(own), found[own[0]]) for own in parts.values()]
    return [_Smaller(own, left, ((left, left.draw_starts), as_it_was(graph, left))) for own, left in lefts]


def _node_credit(graph: Graph, node: Node, seen: Sequence[_Seen], *, judged: bool) -> NodeCredit:
    ran = [one.did for one in seen if one.did[node.id].ran]
    own = [did[node.id] for did in ran]
    none = sum(did.none for did in own)
    if not judged:
        return NodeCredit(node.id, len(own), none, None, None, None, None)
    right = sum(did.right for did in own)
    means = [sum(did.values) / len(did.values) if did.values else 0.0 for did in own]
    mean = sum(means) / len(means) if means else None
    read = graph.candidates(node)
    if not read:
        return NodeCredit(node.id, len(own), none, right, mean, None, None)
    given = [any(did[source.id].right for source in read) for did in ran]
    lost = sum(had and not did.right for had, did in zip(given, own, strict=True))
    mended = sum(did.right and not had for had, did in zip(given, own, strict=True))
    return NodeCredit(node.id, len(own), none, right, mean, lost, mended)


def _edge_credit(source: Node, target: Node, seen: Sequence[_Seen]) -> EdgeCredit:
    pairs = [(one.did[source.id], one.did[target.id]) for one in seen]
    ends = [(a.right, b.right) for a, b in pairs if a.ran and b.ran]
    counts = [ends.count(pair) for pair in ((True, True), (True, False), (False, True), (False, False))]
    return EdgeCredit(source.id, target.id, *counts)


def _effect(smaller: Sequence[_Smaller], seen: Sequence[_Seen], place: int) -> Effect | None:
    """The effect of the smaller graph of that place; None where too few examples tell it."""
    parts, graph, ways = smaller[place]
    values = [[(one.less[place][way], one.value) for one in seen] for way in range(len(ways))]
    known = [[(less, whole) for less, whole in pairs if less is not None] for pairs in values]
    both = max(known, key=len)  # of as many the first
    if len(both) < LEAST:
        return None
    told = paired([less for less, _ in both], [whole for _, whole in both])
    return Effect(parts, graph, told.mean, told.low, told.high, told.n)


def _sample(judge: _Judge, seen: Sequence[_Seen]) -> Sample | None:
    """The first example that some node of the judged stage had right and the graph wrong, else the first wrong one."""
    own = [node.id for node in judge.graph.nodes if node.stage == judge.stage]
    wrong = [one for one in seen if one.value < RIGHT]
    lost = (one for one in wrong if any(one.did[node].right for node in own))
    shown = next(lost, wrong[0] if wrong else None)
    if shown is None:
        return None
    said = [
        Said(node, did.text, None if did.values is None else did.right)
        for node, did in shown.did.items()
        if did.text is not None
    ]
    return Sample(shown.example, tuple(said))
