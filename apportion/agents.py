"""From a task spec to the agent that proposes, and from a run's folder back to what it did and is asked to do."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from apportion.agent.question import Agent
from apportion.agent.tts.brief import Brief
from apportion.agent.tts.history import History
from apportion.agent.tts.live import TemplateAllocations
from apportion.agent.tts.nudge import Nudge, nudged
from apportion.agent.tts.sampler import AgentTTSSampler, history
from apportion.agent.tts.settings import WAYS, Settings
from apportion.agent.worker import WorkerAgent
from apportion.errors import ApportionError
from apportion.graphs.cost import COSTS, Rates, flops_units
from apportion.graphs.graph import Graph
from apportion.graphs.paper import Measured, on_paper, refined
from apportion.graphs.space import SearchSpace
from apportion.run import RunFolder
from apportion.search.engine import directions, frozen
from apportion.search.judging import owed
from apportion.search.objectives import Objective
from apportion.search.plan import bounded
from apportion.search.trial import Trial
from apportion.spec import TaskSpec
from apportion.spec.paper import guessed_lengths

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler

    from apportion.envs.dispatch import Dispatcher

NUDGES = "nudges"
"""Under which a run keeps what was asked of it meanwhile."""
WORDS = {"flops": "FLOPs", "eflops": "FLOPs, KV traffic included", "usd": "USD", "latency_s": "seconds"}

Costs = Callable[[Graph], Mapping[str, float | None]]
"""Costs of one answer of a graph on paper."""


@dataclass(frozen=True)
class Past:
    """What a run knows, as its agent sees it; trials have the numbers of the run."""

    allocations: TemplateAllocations
    history: History


def asking(
    spec: TaskSpec, space: SearchSpace, costs: Costs, dispatcher: Dispatcher, folder: RunFolder, knowledge: str
) -> Callable[[], BaseSampler]:
    """What makes the sampler of a run that asks an agent; to be called on the event loop of the run.

    Args:
        knowledge: of other runs, in words.

    Raises:
        GraphError: a stage is of slots.
    """
    allocations = allocations_of(spec, space, costs)
    nudges, own = nudges_of(folder), settings(spec, knowledge)

    def make() -> BaseSampler:
        return AgentTTSSampler(allocations, _agent(spec, dispatcher), spec.seed, own, nudges)

    return make


def settings(spec: TaskSpec, knowledge: str = "") -> Settings:
    """How the search goes: as the sampler's name says, but for what the spec gives."""
    given = {"batch", "insights", "memory", "memory_tokens", "fail_closed"}
    changes = spec.search.agent.model_dump(include=given, exclude_none=True)
    return dataclasses.replace(WAYS[spec.search.sampler], knowledge=knowledge, **changes)


def allocations_of(spec: TaskSpec, space: SearchSpace, costs: Costs) -> TemplateAllocations:
    """The allocations of a task, priced in what its budget bounds; without one, in its cost objective, else in calls.

    Raises:
        GraphError: a stage is of slots.
    """
    stages = len(spec.stages)
    bounds, units = spec.budget.bounds(stages), spec.budget.units
    objective = next((o.metric for o in spec.objectives if o.metric in COSTS), "calls")
    metric = bounded(bounds) or next(iter(bounds), objective)
    in_units = units is not None and metric == "flops"

    def price(graph: Graph) -> float | None:
        cost = costs(graph).get(metric)
        return cost if cost is None or not in_units else flops_units(cost, stages)

    sizes = {name: model.parameters for name, model in spec.models.items()}
    unit = "units of AgentTTS" if in_units else WORDS.get(metric, metric)
    return TemplateAllocations(space, sizes, price, unit, units if in_units else bounds.get(metric))


def past(folder: RunFolder, space: SearchSpace, objectives: Sequence[Objective]) -> Past:
    """What a run knows by now, whatever its sampler is.

    Raises:
        GraphError: a stage is of slots.
    """
    allocations = allocations_of(folder.spec, space, _costs(folder))
    told = [frozen(trial, space, objectives) for trial in told_of(folder)]
    return Past(allocations, history(told, allocations, directions(objectives)[0]))


def told_of(folder: RunFolder) -> list[Trial]:
    """Trials of the space that were told, in order: those that its sampler sees."""
    return [trial for trial in folder.told() if trial.params is not None and not owed(trial)]


def nudges_of(folder: RunFolder) -> list[Nudge]:
    """What was asked of a run meanwhile, in order."""
    return [Nudge.from_dict(nudge) for nudge in folder.trials.fact(NUDGES) or ()]


def nudge(
    folder: RunFolder,
    space: SearchSpace,
    pin: Sequence[str] = (),
    unpin: Sequence[str] = (),
    notes: Sequence[str] = (),
    drop: Sequence[int] = (),
) -> Nudge:
    """Ask something of a run that goes on later; every trial that it asks for from then on heeds it.

    Args:
        folder: held by this process.
        pin: `STAGE.KEY=VALUE` each.
        unpin: `STAGE.KEY` each.
        drop: numbers of notes that are taken back, from 1.

    Returns:
        All that stands now.

    Raises:
        ApportionError: the run is done or asks no agent, or the space has no such choice.
    """
    spec, earlier = folder.spec, nudges_of(folder)
    if not spec.search.asks_agent:
        raise ApportionError(
            f"a search that asks an agent can be nudged, but the sampler of {folder.path} is {spec.search.sampler}; "
            "run with agenttts."
        )
    if notes and spec.search.agent.model is None:
        raise ApportionError(f"a note must have a model that reads it, but code answers in {folder.path}; pin instead.")
    if folder.outcome is not None and folder.outcome["state"] == "done":
        raise ApportionError(f"a search that goes on can be nudged, but that in {folder.path} is done; run another.")
    allocations = allocations_of(spec, space, _costs(folder))
    before = earlier[-1] if earlier else Nudge()
    made = nudged(before, allocations, len(told_of(folder)), pin, unpin, notes, drop)
    folder.trials.set_fact(NUDGES, [own.to_dict() for own in (*earlier, made)])
    return made


def _agent(spec: TaskSpec, dispatcher: Dispatcher) -> Agent[Brief]:
    """Who answers: a model, on the running event loop, or code."""
    own = spec.search.agent
    if own.evolution:
        from apportion.agent.tts.evolution import EvolutionAgent

        return EvolutionAgent()
    if own.model is None:
        from apportion.agent.tts.numeric import NumericAgent

        return NumericAgent()
    loop = asyncio.get_running_loop()
    return WorkerAgent(dispatcher, own.model, loop, temperature=own.temperature, max_tokens=own.max_tokens)


def _costs(folder: RunFolder) -> Costs:
    """Costs on paper with what a run has learnt of lengths and speeds."""
    spec, facts = folder.spec, folder.trials
    cards = {name: model.card(name) for name, model in spec.models.items()}
    learnt = facts.fact("learnt")
    lengths = refined(guessed_lengths(spec, ()), Measured.from_dict(learnt) if learnt else Measured())
    known = facts.fact("rates") or {}
    rates = {name: Rates(prefill, decode, spec.models[name].concurrency) for name, (prefill, decode) in known.items()}
    return lambda graph: on_paper(graph, cards, lengths, rates)
