"""How a search moved its distribution over graphs: the sampler is told the run's trials again, one by one.

Only samplers that keep a distribution have a course to show. It needs the extra `torch`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import optuna

from apportion.build import objectives_of, space_of
from apportion.errors import ApportionError
from apportion.report.plots import Snapshot
from apportion.run import RunFolder
from apportion.search.engine import directions, frozen
from apportion.search.plan import drawn_within
from apportion.search.samplers import MADE_ONCE

if TYPE_CHECKING:
    from apportion.agent.reinforce.sampler import AgentReinforceSampler
    from apportion.graphs.probabilistic import ProbabilisticGraph
    from apportion.search.reinforce.sampler import ReinforceSampler

LEARNING = ("reinforce", "gptswarm", "maas", "agent_reinforce", "textgrad", "maao")


@dataclass(frozen=True)
class Evolution:
    """The course of a distribution.

    Attributes:
        distribution: as it is after the last trial.
        snapshots: its probabilities at the start and after each update.
        at: trials that were told by then.
    """

    distribution: ProbabilisticGraph
    snapshots: Sequence[Snapshot]
    at: Sequence[int]


def evolution(folder: RunFolder) -> Evolution:
    """The course of a run's distribution so far.

    Raises:
        ApportionError: the run's sampler keeps none.
        ModuleNotFoundError: torch is not installed.
    """
    spec = folder.spec
    space, objectives = space_of(spec), objectives_of(spec)
    sampler = _sampler(folder)
    study = optuna.create_study(directions=directions(objectives))
    snapshots: list[Snapshot] = [sampler.distribution.probabilities()]
    at = [0]
    for trial in folder.told():
        if trial.params is not None:
            study.add_trial(frozen(trial, space, objectives))
            sampler.fold(study)
            probabilities = sampler.distribution.probabilities()
            if probabilities != snapshots[-1]:
                snapshots.append(probabilities)
                at.append(trial.number + 1)
    return Evolution(sampler.distribution, snapshots, at)


def _sampler(folder: RunFolder) -> ReinforceSampler | AgentReinforceSampler:
    """The sampler as the study began with it: it draws within what the budget bounds, at the prices of that time."""
    spec, name = folder.spec, folder.spec.search.sampler
    if name not in LEARNING:
        raise ApportionError(
            f"a distribution is kept by {', '.join(LEARNING)}, but this run's `search.sampler` is {name}; "
            "run with one of them."
        )
    if spec.search.wires_graphs:
        from apportion.agents.reinforce import course

        return course(folder, space_of(spec))
    from apportion.search.reinforce.sampler import ReinforceSampler

    within = drawn_within(spec.budget.bounds(len(spec.stages)), folder.trials.fact("prices") or {})
    sampler = MADE_ONCE[name](space_of(spec), spec.seed, spec.limits.trials, *within)
    assert isinstance(sampler, ReinforceSampler)
    return sampler
