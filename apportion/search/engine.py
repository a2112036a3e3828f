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

from apportion.errors import GraphError, StoreError
from apportion.graphs.graph import Graph
from apportion.graphs.parameters import Params, Value
from apportion.graphs.space import SearchSpace
from apportion.search.objectives import Objective
from apportion.search.samplers import MADE_ONCE, SAMPLERS, Prices
from apportion.search.trial import PAPER, Trial

SEED_STRIDE = 100_003  # a prime, so that neighbouring study seeds do not share trial seeds
REFUSED_STRIDE = 7_919  # a prime too: proposals after a refused one are seeded apart
MOST_REFUSED = 200  # proposals in a row that are no graph
REFUSED = "refused"
"""Where a trial remembers the proposals before it that were no graph."""
NUMBER = "trial"
"""Where Optuna's record has the number of the trial in the run, which counts baselines outside the space too."""


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
        self._prices: Prices = {}
        self._budget: float | None = None
        self._made: optuna.samplers.BaseSampler | None = None
        self._given: optuna.samplers.BaseSampler | None = None
        self._study = optuna.create_study(directions=directions(objectives), sampler=self._seeded(0))
        self._asked: dict[int, optuna.Trial] = {}

    def ask_by(self, sampler: optuna.samplers.BaseSampler) -> None:
        """Ask a sampler of the caller's from now on. It serves the whole study, and seeds each trial for itself."""
        self._given = sampler

    def within(self, prices: Prices, budget: float) -> None:
        """Draw graphs of a nominal price within a budget only; for samplers that can.

        Raises:
            GraphError: no graph is within it.
        """
        self._prices, self._budget, self._made = prices, budget, None
        self._seeded(0)

    def add(self, trials: Sequence[Trial]) -> None:
        """Take over trials that were told earlier, each after the proposals that were refused before it.

        Trials outside the space are left out.
        """
        for trial in trials:
            if trial.params is not None:
                refused = [_refused(self._space, params) for params in trial.memory.get(REFUSED, ())]
                self._study.add_trials([*refused, frozen(trial, self._space, self._objectives)])

    def ask(self, number: int) -> tuple[dict[str, Value], Graph, dict[str, Any]]:
        """Parameters for the trial of that number, their graph, and what is to be remembered with it.

        Proposals that are no graph are told so to the sampler and asked anew.

        Raises:
            GraphError: so many in a row are none; with the reason of the last.
        """
        refused: list[dict[str, Value]] = []
        while True:
            self._study.sampler = self._seeded(number + len(refused) * REFUSED_STRIDE)
            asked = self._study.ask(self._distributions)
            try:
                graph = self._space.build(asked.params)
            except GraphError:
                if len(refused) == MOST_REFUSED:
                    raise
                asked.set_constraint("graph", 1.0)
                self._study.tell(asked, state=TrialState.PRUNED)
                refused.append(dict(asked.params))
                continue
            self._asked[number] = asked
            noted = dict(self._study.get_trials(deepcopy=False)[asked.number].system_attrs)
            return dict(asked.params), graph, {**noted, REFUSED: refused} if refused else noted

    def tell(self, trial: Trial) -> None:
        """Hand back what a trial gave, whether it was asked here or is new to the sampler."""
        asked = self._asked.pop(trial.number, None)
        if asked is None:
            self.add([trial])
            return
        for name, violation in trial.violations.items():
            asked.set_constraint(name, violation)
        for name, value in _attributes(trial).items():
            asked.set_user_attr(name, value)
        self._study.tell(asked, _values(trial, self._objectives), state=_state(trial, self._objectives))

    def _seeded(self, number: int) -> optuna.samplers.BaseSampler:
        if self._given is not None:
            return self._given
        if self._sampler in MADE_ONCE:
            if self._made is None:
                self._made = MADE_ONCE[self._sampler](self._space, self._seed, self._trials, self._prices, self._budget)
            return self._made
        seed = self._seed * SEED_STRIDE + number
        return SAMPLERS[self._sampler](self._space, seed % 2**32, self._trials)


def directions(objectives: Sequence[Objective]) -> list[StudyDirection]:
    """Optuna's directions in the order of the objectives."""
    return [StudyDirection.MAXIMIZE if o.maximize else StudyDirection.MINIMIZE for o in objectives]


def frozen(trial: Trial, space: SearchSpace, objectives: Sequence[Objective]) -> optuna.trial.FrozenTrial:
    """A told trial as Optuna's record.

    Raises:
        StoreError: its parameters are none of the space, as where somebody has edited them.
    """
    try:
        return optuna.trial.create_trial(
            state=_state(trial, objectives),
            values=_values(trial, objectives),
            params=dict(trial.params or {}),
            distributions=space.distributions() if trial.params is not None else {},
            system_attrs={name: value for name, value in trial.memory.items() if name != REFUSED},
            user_attrs=_attributes(trial),
            constraints=dict(trial.violations) or None,
        )
    except (ValueError, TypeError) as error:
        raise StoreError(
            f"trial {trial.number} must have parameters of the task's space, but: {error}; bring the run's store back "
            "from a copy."
        ) from None


def _refused(space: SearchSpace, params: Params) -> optuna.trial.FrozenTrial:
    """A proposal that is no graph: samplers that know constraints learn from it, the others leave it out."""
    return optuna.trial.create_trial(
        state=TrialState.PRUNED, params=dict(params), distributions=space.distributions(), constraints={"graph": 1.0}
    )


def _state(trial: Trial, objectives: Sequence[Objective]) -> TrialState:
    """Measured; in part only or refused on paper, from which samplers learn what they can; or failed."""
    if _values(trial, objectives) is not None:
        return TrialState.COMPLETE
    return TrialState.PRUNED if trial.state == "pruned" or PAPER in trial.violations else TrialState.FAIL


def _attributes(trial: Trial) -> dict[str, Any]:
    means = {name: interval.mean for name, interval in trial.metrics.items()}
    return {"label": trial.label, "graph": trial.key, "state": trial.state, **means, NUMBER: trial.number}


def _values(trial: Trial, objectives: Sequence[Objective]) -> list[float] | None:
    """Means of the objectives, None for a trial that was not measured."""
    if trial.state == "pruned" or not all(o.metric in trial.metrics for o in objectives):
        return None
    return [trial.mean(o.metric) for o in objectives]
