"""What a run of Agent-REINFORCE or its relatives knows by now. It needs no torch."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from apportion.agent.reinforce.history import History
from apportion.agent.reinforce.knowledge import distilled
from apportion.agent.reinforce.rounds import history, rounds_of
from apportion.agent.reinforce.settings import WAYS, Settings
from apportion.agents.costs import costs_of, priced
from apportion.graphs.space import SearchSpace
from apportion.run import RunFolder
from apportion.search.engine import directions, frozen
from apportion.search.objectives import Objective
from apportion.spec import TaskSpec


def settings(spec: TaskSpec, knowledge: str = "") -> Settings:
    """How the search goes: as the sampler's name says, but for what the spec gives."""
    given = {"batch", "insights", "memory_tokens", "fail_closed", "update", "mix", "initial_insights", "sweeps"}
    changes = spec.search.agent.model_dump(include={*given, "roles", "credit"}, exclude_none=True)
    return dataclasses.replace(WAYS[spec.search.sampler], knowledge=knowledge, **changes)


def past(folder: RunFolder, space: SearchSpace, objectives: Sequence[Objective]) -> History:
    """What a run knows by now, whatever its sampler is."""
    told = [frozen(trial, space, objectives) for trial in folder.told() if trial.params is not None]
    known = WAYS.get(folder.spec.search.sampler, Settings()).numeric
    price = priced(folder.spec, costs_of(folder)).price
    return history(rounds_of(told), space, directions(objectives), known, price)


def learnt(folder: RunFolder, space: SearchSpace, objectives: Sequence[Objective]) -> str:
    """What a run teaches another one, in words."""
    return distilled(past(folder, space, objectives), space, priced(folder.spec, costs_of(folder)).unit)
