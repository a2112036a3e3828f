"""AgentTTS and its relatives: from a task spec to the sampler, and from a run's folder back to what it did."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from apportion.agent.nudge import Nudge
from apportion.agent.question import Agent
from apportion.agent.tts.brief import Brief
from apportion.agent.tts.history import History
from apportion.agent.tts.knowledge import distilled
from apportion.agent.tts.live import TemplateAllocations
from apportion.agent.tts.sampler import AgentTTSSampler, history
from apportion.agent.tts.settings import WAYS, Settings
from apportion.agents.asked import model_of
from apportion.agents.costs import Costs, costs_of, priced
from apportion.agents.told import told_of
from apportion.graphs.space import SearchSpace
from apportion.run import RunFolder
from apportion.search.engine import directions, frozen
from apportion.search.objectives import Objective
from apportion.spec import TaskSpec

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler

    from apportion.envs.dispatch import Dispatcher


@dataclass(frozen=True)
class Past:
    """What a run knows, as its agent sees it; trials have the numbers of the run."""

    allocations: TemplateAllocations
    history: History


def sampler(
    spec: TaskSpec,
    space: SearchSpace,
    costs: Costs,
    dispatcher: Dispatcher,
    nudges: Sequence[Nudge],
    knowledge: str,
) -> BaseSampler:
    """The sampler of a run, on the event loop of the run.

    Args:
        knowledge: of other runs, in words.

    Raises:
        GraphError: a stage is of slots.
    """
    allocations = allocations_of(spec, space, costs)
    return AgentTTSSampler(allocations, _agent(spec, dispatcher), spec.seed, settings(spec, knowledge), nudges)


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
    cost = priced(spec, costs)
    sizes = {name: model.parameters for name, model in spec.models.items()}
    return TemplateAllocations(space, sizes, cost.price, cost.unit, cost.budget)


def past(folder: RunFolder, space: SearchSpace, objectives: Sequence[Objective]) -> Past:
    """What a run knows by now, whatever its sampler is.

    Raises:
        GraphError: a stage is of slots.
    """
    allocations = allocations_of(folder.spec, space, costs_of(folder))
    told = [frozen(trial, space, objectives) for trial in told_of(folder)]
    return Past(allocations, history(told, allocations, directions(objectives)[0]))


def learnt(folder: RunFolder, space: SearchSpace, objectives: Sequence[Objective]) -> str:
    """What a run teaches another one, in words.

    Raises:
        GraphError: a stage is of slots.
    """
    known = past(folder, space, objectives)
    return distilled(known.history, known.allocations)


def _agent(spec: TaskSpec, dispatcher: Dispatcher) -> Agent[Brief]:
    """Who answers: a model, on the running event loop, or code."""
    if spec.search.agent.evolution:
        from apportion.agent.tts.evolution import EvolutionAgent

        return EvolutionAgent()
    if (model := model_of(spec, dispatcher)) is not None:
        return model
    from apportion.agent.tts.numeric import NumericAgent

    return NumericAgent()
