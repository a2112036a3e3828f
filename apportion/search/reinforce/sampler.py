"""REINFORCE as an Optuna sampler: draws graphs from a distribution and moves it towards those that did well.

Its state is a fold of the finished trials: the same trials give the same distribution, so that a study that is rebuilt
goes on as if it had never stopped. What it finds is the study's best trial, not its last draw.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState

from apportion.errors import GraphError
from apportion.graphs.graph import Graph, calls_of
from apportion.graphs.probabilistic import ProbabilisticGraph
from apportion.graphs.space import SearchSpace
from apportion.search.reinforce.drawing import Measured, draw, fresh
from apportion.search.reinforce.policy import Policy, one_thread, sparse
from apportion.search.reinforce.settings import Settings
from apportion.search.utility import utility

if TYPE_CHECKING:
    from apportion.graphs.probabilistic.purchases import Prices

DRAWN = "reinforce:order"
"""Attribute of the trials that this sampler drew: the order of their slots, empty for the slots' own."""


class ReinforceSampler(BaseSampler):
    """Draws from a `ProbabilisticGraph` that Adam moves up the score-function gradient.

    The first objective counts as it is, in [0, 1]; the others as shares of their range so far. A trial that was refused
    or is over a bound loses `penalty` for it. Trials that another sampler proposed move nothing; they help to screen.
    Graphs that were screened are no longer draws from the distribution, so that its step is towards what did well among
    them, not up the exact gradient.

    Args:
        prices: nominal price of one call by stage and model, with `budget`: only graphs within it are drawn.

    Attributes:
        distribution: as it is after the trials that were folded last.

    Raises:
        GraphError: the budget covers no graph.
    """

    def __init__(
        self,
        space: SearchSpace,
        seed: int,
        settings: Settings | None = None,
        prices: Prices | None = None,
        budget: float | None = None,
    ) -> None:
        self.settings = settings or Settings()
        self.distribution = ProbabilisticGraph(space, prices, budget)
        self._prices, self._budget = prices or {}, budget
        self._parameters = space.distributions()
        self._seed = seed
        self._space = space
        self._policy = Policy(self.distribution, self.settings, sparse(space, self.settings))
        self._start_over("")

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """All parameters, so that they are chosen together."""
        return self._parameters

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Parameters of one graph, drawn after all finished trials were learnt from."""
        self.fold(study)
        generator = torch.Generator().manual_seed(self._seed * 1_000_003 + trial.number)
        with torch.no_grad(), one_thread():
            if self.settings.fresh:
                measured = self._measured(study)
                known = {graph.key for graph in self._graphs.values() if graph is not None}
                screened = self.settings.screened
                drawn = fresh(self.distribution, known, measured, generator, screened, self._policy.start)
            else:
                drawn = draw(self.distribution, 1, generator)[0]
        study._storage.set_trial_system_attr(trial._trial_id, DRAWN, drawn.order)
        return drawn.params

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """Not reached: every parameter is sampled together."""
        raise LookupError(f"`{param_name}` must be a parameter of the space, and it is not; ask with the space's own.")

    def fold(self, study: Study) -> None:
        """Learn from all whole batches of finished trials that were drawn here, in the order of their numbers."""
        with one_thread():
            self._fold(study)

    def _fold(self, study: Study) -> None:
        ended = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED))
        drawn = [trial for trial in ended if self._drew(trial)]
        if study.study_name != self._study or [t.number for t in drawn[: len(self._folded)]] != self._folded:
            self._start_over(study.study_name)
        size = self.settings.batch
        while len(drawn) >= len(self._folded) + size:
            batch = drawn[len(self._folded) : len(self._folded) + size]
            seen = [trial for trial in drawn[: len(self._folded) + size] if trial.values is not None]
            orders = [trial.system_attrs[DRAWN] for trial in batch]
            utilities = [self._utility(trial, seen, study.directions) for trial in batch]
            self._policy.step([trial.params for trial in batch], orders, utilities)
            self._folded += [trial.number for trial in batch]

    def _drew(self, trial: FrozenTrial) -> bool:
        """Whether a trial was drawn here, no parameter of it given by the user or not asked for."""
        whole = self._parameters.keys() <= trial.params.keys() and "fixed_params" not in trial.system_attrs
        return whole and DRAWN in trial.system_attrs

    def _measured(self, study: Study) -> list[Measured]:
        """Graphs that were measured; those of all trials that ended are kept by number."""
        ended = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED))
        for trial in ended:
            if trial.number not in self._graphs:
                self._graphs[trial.number] = None
                with contextlib.suppress(GraphError):
                    self._graphs[trial.number] = self._space.build(trial.params)
        told = [(t, graph) for t in ended if t.values is not None and (graph := self._graphs[t.number]) is not None]
        seen = [trial for trial, _ in told]
        return [Measured(graph, t.params, self._utility(t, seen, study.directions)) for t, graph in told]

    def _start_over(self, study: str) -> None:
        self._study = study
        self._folded: list[int] = []
        self._graphs: dict[int, Graph | None] = {}
        self._policy.start_over()

    def _utility(self, trial: FrozenTrial, seen: Sequence[FrozenTrial], directions: Sequence[StudyDirection]) -> float:
        settings = self.settings
        total = utility(trial, seen, directions, settings.penalty, settings.weight)
        return total - settings.cost * self._share(trial) if settings.cost and self._budget else total

    def _share(self, trial: FrozenTrial) -> float:
        """Nominal cost of a trial's graph, as a share of the budget."""
        graph = self._space.build(trial.params)
        calls = [(self._prices[node.stage, node.model], calls_of(graph, node)) for node in graph.nodes if node.model]
        return sum(price * count for price, count in calls) / (self._budget or 1.0)
