"""Buying what a recording should hold: each stage asked in every way that a search may ask it, on each upstream value.

The ways of a stage are N plain samples of each of its models, its baselines and, for a stage with templates, every
choice of template, model and samples. It knows no file and no search.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace

from apportion.build import Search, space_of
from apportion.envs.environment import Environment
from apportion.envs.rollout import Rollout
from apportion.envs.stage import Example
from apportion.errors import ApportionError
from apportion.graphs.graph import Graph, Node
from apportion.graphs.space import SearchSpace, Stage
from apportion.graphs.templates import TEMPLATES, StageChoice, TemplateStage
from apportion.run import RunFolder
from apportion.search.study import FAILED_IN_A_ROW
from apportion.store.calls import BANKED, Spender

SPLITS = ("search", "validation", "test")
FACT = "sampled"
"""Under which a run folder keeps what was sampled into it."""


@dataclass(frozen=True)
class Extent:
    """How much is sampled.

    Attributes:
        samples: plain samples of each model on each prompt of a stage.
        states: values that a stage passes on to later ones, at most, for each of its models: the commonest.
    """

    samples: int
    states: int
    splits: tuple[str, ...] = SPLITS


@dataclass(frozen=True)
class Way:
    """One way of answering a stage.

    Attributes:
        model: for which it is counted.
        graph: of the stage's nodes alone.
        plain: whether it is the plain samples, with their vote for an end.
    """

    model: str
    graph: Graph
    plain: bool = False


@dataclass(frozen=True)
class Asked:
    """One way on one example.

    Attributes:
        state: values of the earlier stages that the stage's prompt reads.
    """

    way: Way
    state: Mapping[str, str]
    rollout: Rollout


def ways(stage: Stage, samples: int) -> list[Way]:
    """Every way in which a stage is asked, each once."""
    found: dict[str, Way] = {}

    def add(model: str, nodes: Sequence[Node], *, plain: bool = False) -> None:
        way = Way(model, Graph(tuple(nodes)), plain)
        found.setdefault(way.graph.key, way)

    warmths = () if isinstance(stage, TemplateStage) else stage.temperatures
    for model in stage.models:
        for warmth in warmths or (None,):
            drafts, voter = TEMPLATES["vote"](StageChoice(stage.name, model, samples, model, ()))
            add(model, [replace(drafts, temperature=warmth), voter], plain=True)
        for baseline in ("single", "vote"):
            add(model, TEMPLATES[baseline](StageChoice(stage.name, model, stage.widest, model, ())))
    if isinstance(stage, TemplateStage):
        for point in stage.points():
            add(str(point[f"{stage.name}.model"]), stage.nodes(point, ()))
    return list(found.values())


async def walk(
    environment: Environment, space: SearchSpace, extent: Extent, example: Example, spender: Spender = "searcher"
) -> AsyncIterator[Asked]:
    """Ask one example in every way, stage by stage.

    Raises:
        LimitReached: a draw may not be bought.
    """
    states: list[dict[str, str]] = [{}]
    for place, stage in enumerate(space.stages):
        own = ways(stage, extent.samples)
        given: dict[tuple[str, ...], list[str]] = {}
        for state in _distinct(states, stage.reads):
            told = {name: await environment.retold(name, value, example) for name, value in state.items()}
            posed = Example(example.id, {**example.fields, **told})
            rollouts = await asyncio.gather(*(environment.run(way.graph, posed, spender) for way in own))
            asked = [Asked(way, state, rollout) for way, rollout in zip(own, rollouts, strict=True)]
            for one in asked:
                yield one
            given[tuple(state.values())] = passed_on(asked, extent.states)
        known = [
            {**state, stage.name: value}
            for state in states
            for value in given[tuple(state[name] for name in stage.reads)]
        ]
        wanted = {name for later in space.stages[place + 1 :] for name in later.reads}
        states = _distinct(known, [earlier.name for earlier in space.stages[: place + 1] if earlier.name in wanted])


def passed_on(asked: Sequence[Asked], most: int) -> list[str]:
    """Values of a stage that later stages are asked on: of each model the `most` that most of its ways end with.

    Of equally many the one goes first that more of its plain samples have, then the one that was drawn first.
    """
    ends: dict[str, Counter[str]] = {}
    drawn: dict[str, Counter[str]] = {}
    for one in asked:
        model, rollout = one.way.model, one.rollout
        if rollout.answer is not None:
            ends.setdefault(model, Counter())[rollout.answer] += 1
        if one.way.plain:
            drafts = rollout.nodes[one.way.graph.nodes[0].id]
            drawn.setdefault(model, Counter()).update(c.value for c in drafts.candidates if c.value is not None)
    found: dict[str, None] = {}
    for model in dict.fromkeys(one.way.model for one in asked):
        ended, seen = ends.get(model, Counter[str]()), drawn.get(model, Counter[str]())
        ranked = sorted({**seen, **ended}, key=lambda value: (-ended[value], -seen[value]))
        found.update(dict.fromkeys(ranked[:most]))
    return list(found)


async def sample(search: Search, extent: Extent, on_example: Callable[[int, int, int], None]) -> None:
    """Buy what is not in the bank of a run folder yet.

    Args:
        on_example: called with the number of examples that are done, that of all, and that of draws that failed.

    Raises:
        LimitReached: a limit of the task ended it; what was bought is kept.
        ApportionError: the store failed, or the servers answer nothing.
    """
    space, folder = space_of(search.spec), search.folder
    environment = search.benchmark.environment
    examples = [example for split in extent.splits for example in search.benchmark.splits[split]]
    window = asyncio.Semaphore(sum(model.concurrency for model in search.spec.models.values()))

    async def one(example: Example) -> tuple[int, int]:
        """How many draws were had, and how many failed."""
        async with window:
            rollouts = [asked.rollout async for asked in walk(environment, space, extent, example)]
        ends = {(draw.key, draw.index): draw.status for rollout in rollouts for draw in rollout.draws}
        return sum(status in BANKED for status in ends.values()), sum(status == "failed" for status in ends.values())

    async with search.session():
        earlier = extents_of(folder)
        if extent not in earlier:
            folder.trials.set_fact(FACT, [asdict(known) for known in (*earlier, extent)])
        tasks = [asyncio.create_task(one(example)) for example in examples]
        silent = failed = 0
        try:
            for done, task in enumerate(asyncio.as_completed(tasks), 1):
                had, lost = await task
                silent, failed = 0 if had else silent + 1, failed + lost
                if silent >= FAILED_IN_A_ROW:
                    raise ApportionError(_dead(search))
                on_example(done, len(examples), failed)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


def extents_of(folder: RunFolder) -> list[Extent]:
    """What was sampled into a run folder."""
    kept = folder.trials.fact(FACT) or ()
    return [Extent(known["samples"], known["states"], tuple(known["splits"])) for known in kept]


def _dead(search: Search) -> str:
    model, kind, message, _ = search.folder.calls.failures()[0]
    return (
        f"servers must answer, but {FAILED_IN_A_ROW} examples in a row gave nothing: {model} ({kind}): {message}; "
        "mend it and go on with the same command."
    )


def _distinct(states: Sequence[Mapping[str, str]], names: Sequence[str]) -> list[dict[str, str]]:
    """The values of some stages in states, each combination once, in order."""
    found = {tuple(state[name] for name in names): None for state in states}
    return [dict(zip(names, values, strict=True)) for values in found]
