"""From the trials of a study to the batches of Agent-REINFORCE, and to what is known of them.

It needs neither a distribution nor an agent.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from optuna.study import StudyDirection
from optuna.trial import FrozenTrial

from apportion.agent.reinforce.history import Asked, History, Proposal, Tried
from apportion.errors import GraphError, StoreError
from apportion.graphs.graph import Graph
from apportion.graphs.space import SearchSpace
from apportion.search.engine import NUMBER
from apportion.search.reinforce.settings import Settings as Numeric
from apportion.search.utility import utility

Ended = tuple[tuple[int, tuple[float, ...]], ...]
"""Trials by number, with their values."""

PROPOSAL, ASKED = "agent_reinforce:proposal", "agent_reinforce:asked"
"""Where a trial keeps where it came from, and the first of a batch what was asked before it."""


def history(
    rounds: Rounds,
    space: SearchSpace,
    directions: Sequence[StudyDirection],
    numeric: Numeric,
    cost: Callable[[Graph], float | None],
    names: Sequence[str] = (),
) -> History:
    """What a study knows, as an agent remembers it; trials of nobody's space are left out.

    Args:
        names: of the objectives, where they have any.
    """
    seen = [trial for trial in rounds.trials if trial.values is not None]
    tried: list[Tried] = []
    for trial in rounds.trials:
        with contextlib.suppress(GraphError):
            graph = space.build(trial.params)
            own = None
            if trial.values is not None:
                own = utility(trial, seen, directions, numeric.penalty, numeric.weight)
            proposal = proposal_of(trial) if PROPOSAL in trial.system_attrs else None
            tried.append(Tried(_number(trial), graph, trial.params, trial.values or (), own, cost(graph), proposal))
    return History(tried, rounds.asked, [*_objectives(directions, names)])


def _objectives(directions: Sequence[StudyDirection], names: Sequence[str]) -> Iterator[str]:
    for place, direction in enumerate(directions):
        name = names[place] if names else f"objective {place + 1}" if place else "score"
        yield f"{name} ({'higher' if direction == StudyDirection.MAXIMIZE else 'lower'} is better)"


@dataclass
class Rounds:
    """Trials by the batches that they belong to.

    Attributes:
        trials: that ended, in order, also of others.
        asked: before each batch.
        batches: trials of each, those under way included.
    """

    trials: list[FrozenTrial] = field(default_factory=list)
    asked: list[Asked] = field(default_factory=list)
    batches: list[list[FrozenTrial]] = field(default_factory=list)


def rounds_of(trials: Sequence[FrozenTrial]) -> Rounds:
    """The batches of a study, whatever the order in which its trials were told: one may have been measured anew.

    Raises:
        StoreError: a trial does not remember what it must.
    """
    found = Rounds()
    for trial in sorted(trials, key=_number):
        if trial.state.is_finished():
            found.trials.append(trial)
        if ASKED in trial.system_attrs:
            found.asked.append(Asked.from_dict(_mapping(trial, ASKED)))
            found.batches.append([])
        if PROPOSAL in trial.system_attrs:
            if not found.batches:
                raise StoreError(
                    f"a batch must remember what was asked before it, but trial {_number(trial)} does not; bring the "
                    "run's store back from a copy."
                )
            found.batches[-1].append(trial)
    return found


def _number(trial: FrozenTrial) -> int:
    """In the run, where that has one of its own."""
    return int(trial.user_attrs.get(NUMBER, trial.number))


def ended(batch: Sequence[FrozenTrial]) -> Ended:
    """Those of a batch that are over."""
    return tuple((trial.number, tuple(trial.values or ())) for trial in batch if trial.state.is_finished())


def proposal_of(trial: FrozenTrial) -> Proposal:
    """Where a trial came from.

    Raises:
        StoreError: it does not say so as it was written.
    """
    return Proposal.from_dict(_mapping(trial, PROPOSAL))


def _mapping(trial: FrozenTrial, name: str) -> Mapping[str, Any]:
    found = trial.system_attrs[name]
    if not isinstance(found, Mapping):
        raise StoreError(
            f"trial {_number(trial)} must remember its proposal, but remembers "
            f"{found!r:.60}; bring the run's store back from a copy."
        )
    return found
