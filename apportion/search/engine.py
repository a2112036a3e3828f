"""Optuna behind ask and tell: an in-memory study, rebuilt from our own records when a run goes on.

A rebuilt sampler with a fixed seed would repeat itself, so each ask seeds a new one from the study's seed and the
trial's number: what is proposed depends on the records alone, not on how often the run was interrupted.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import optuna
from optuna.study import StudyDirection
from optuna.trial import TrialState

from apportion.graphs.parameters import Value
from apportion.graphs.space import SearchSpace
from apportion.search.objectives import Objective
from apportion.search.samplers import FIXED_ORDER, SAMPLERS
from apportion.search.trial import Trial

SEED_STRIDE = 100_003  # a prime, so that neighbouring study seeds do not share trial seeds


class Engine:
    """A numeric sampler over a search space.

    Args:
        trials: planned number of trials; samplers size their start-up phase by it.
    """

    def __init__(
        self, space: SearchSpace, sampler: str, objectives: Sequence[Objective], seed: int, trials: int
    ) -> None:
        self._space = space
        self._sampler = sampler
        self._seed = seed
        self._trials = trials
        self._objectives = objectives
        self._distributions = space.distributions()
        self._fixed = SAMPLERS[sampler](space, seed, trials) if sampler in FIXED_ORDER else None
        self._study = optuna.create_study(directions=directions(objectives), sampler=self._seeded(0))
        self._asked: dict[int, optuna.Trial] = {}

    def add(self, trials: Sequence[Trial]) -> None:
        """Take over trials that were told earlier; those outside the space are left out."""
        self._study.add_trials([frozen(t, self._space, self._objectives) for t in trials if t.params is not None])

    def ask(self, number: int) -> tuple[dict[str, Value], dict[str, Any]]:
        """Parameters for the trial of that number, and what the sampler noted for itself."""
        self._study.sampler = self._seeded(number)
        asked = self._study.ask(self._distributions)
        self._asked[number] = asked
        noted = self._study.get_trials(deepcopy=False)[asked.number].system_attrs
        return dict(asked.params), dict(noted)

    def tell(self, trial: Trial) -> None:
        """Hand back what a trial gave, whether it was asked here or is new to the sampler."""
        asked = self._asked.pop(trial.number, None)
        if asked is None:
            self.add([trial])
            return
        for name, violation in trial.violations.items():
            asked.set_constraint(name, violation)
        values = _values(trial, self._objectives)
        if values is None:
            self._study.tell(asked, state=TrialState.FAIL)
        else:
            self._study.tell(asked, values)

    def _seeded(self, number: int) -> optuna.samplers.BaseSampler:
        if self._fixed is not None:
            return self._fixed
        seed = self._seed * SEED_STRIDE + number
        return SAMPLERS[self._sampler](self._space, seed % 2**32, self._trials)


def directions(objectives: Sequence[Objective]) -> list[StudyDirection]:
    """Optuna's directions in the order of the objectives."""
    return [StudyDirection.MAXIMIZE if o.maximize else StudyDirection.MINIMIZE for o in objectives]


def frozen(trial: Trial, space: SearchSpace, objectives: Sequence[Objective]) -> optuna.trial.FrozenTrial:
    """A told trial as Optuna's record."""
    values = _values(trial, objectives)
    return optuna.trial.create_trial(
        state=TrialState.FAIL if values is None else TrialState.COMPLETE,
        values=values,
        params=dict(trial.params or {}),
        distributions=space.distributions() if trial.params is not None else {},
        system_attrs=dict(trial.memory),
        user_attrs=_attributes(trial),
        constraints=dict(trial.violations) or None,
    )


def _attributes(trial: Trial) -> dict[str, Any]:
    means = {name: interval.mean for name, interval in trial.metrics.items()}
    return {"label": trial.label, "graph": trial.key, "state": trial.state, **means}


def _values(trial: Trial, objectives: Sequence[Objective]) -> list[float] | None:
    """Means of the objectives, None for a trial that was not measured."""
    if not all(o.metric in trial.metrics for o in objectives):
        return None
    return [trial.mean(o.metric) for o in objectives]
