"""REINFORCE as an Optuna sampler: draws graphs from a distribution and moves it towards those that did well.

Its state is a fold of the finished trials: the same trials give the same distribution, so that a study that is rebuilt
goes on as if it had never stopped. What it finds is the study's best trial, not its last draw.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import torch
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState

from apportion.errors import GraphError
from apportion.graphs.graph import Graph
from apportion.graphs.parameters import Value
from apportion.graphs.probabilistic import ProbabilisticGraph
from apportion.graphs.slots import ABSENT, NO, YES
from apportion.graphs.space import SearchSpace
from apportion.search.screening import promise

if TYPE_CHECKING:
    from apportion.graphs.probabilistic.purchases import Prices

DRAWN = "reinforce:order"
"""Attribute of the trials that this sampler drew: the order of their slots, empty for the slots' own."""


@dataclass(frozen=True)
class Settings:
    """How the distribution is moved.

    Attributes:
        edge: probability of every edge at the start; None is the sparse prior of Agent-REINFORCE, 0.119.
        absent: probability at the start that a slot is absent by choice; None is that of one model.
        lr: step of Adam, in logits.
        batch: graphs an update.
        baseline: what is taken from each utility: the mean of the others of its batch, a moving average over earlier
            batches, or nothing.
        scaled: whether what is left is divided by the batch's standard deviation, so that the small differences of late
            batches count as much as the large ones of early batches, which Adam remembers.
        entropy: weight of the distribution's entropy in nats beside the utility.
        used: whether choices that left no trace in the graph are left out of the gradient, to the good of its noise.
        penalty: utility lost for each whole bound that a graph is over.
        weight: of each objective after the first, scaled to the range it had so far, beside 1 for the first.
        fresh: whether only graphs are proposed that no trial has; where the distribution gives none, a flatter one is
            drawn from, which keeps a distribution that has settled looking around.
        screened: graphs that are drawn for each that is proposed, which is the fresh one of most `promise`: a third
            from the distribution, a third as at the start, a third near the best graph so far. 1 proposes the first
            fresh one of the distribution.
    """

    edge: float | None = 0.35
    absent: float | None = None
    lr: float = 1.0
    batch: int = 8
    baseline: Literal["leave_one_out", "moving", "none"] = "leave_one_out"
    scaled: bool = True
    entropy: float = 0.0
    used: bool = True
    penalty: float = 1.0
    weight: float = 0.2
    fresh: bool = True
    screened: int = 128


GPTSWARM = Settings(
    edge=None, absent=0.0, lr=0.1, batch=3, baseline="none", scaled=False, used=False, fresh=False, screened=1
)
"""As the released code of Agent-REINFORCE trains its baseline: vanilla REINFORCE of GPTSwarm, 3 graphs an update."""

DRAWS, FLATTEN, MOST_FLATTENED = 16, 0.8, 20  # drawn at once in looking for a new graph; then logits shrink, and again
NEAR = 0.2  # probability that a graph drawn near another takes a value that is drawn evenly
FEWEST_TOLD = 8  # graphs measured before others are screened by them
LEAST_SPREAD = 1e-9  # of utilities, so that a batch of equal ones moves nothing
MOVING = 0.9  # share of the old value in the moving average of utilities


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """One torch thread for a while: on tensors as small as these, more of them only wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


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
        self._parameters = space.distributions()
        self._seed = seed
        self._space = space
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
            params, order = self._fresh(study, generator) if self.settings.fresh else self._drawn(1, generator)[0]
        study._storage.set_trial_system_attr(trial._trial_id, DRAWN, order)
        return params

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
            self._update(batch, [self._utility(trial, seen, study.directions) for trial in batch])
            self._folded += [trial.number for trial in batch]

    def _drew(self, trial: FrozenTrial) -> bool:
        """Whether a trial was drawn here, no parameter of it given by the user or not asked for."""
        whole = self._parameters.keys() <= trial.params.keys() and "fixed_params" not in trial.system_attrs
        return whole and DRAWN in trial.system_attrs

    def _drawn(self, n: int, generator: torch.Generator) -> list[tuple[dict[str, Value], list[int]]]:
        """Parameters and order of n graphs."""
        batch = self.distribution.sample(n, generator)
        orders = [[]] * n if batch.order is None else batch.order.tolist()
        return list(zip(self.distribution.params(batch), orders, strict=True))

    def _fresh(self, study: Study, generator: torch.Generator) -> tuple[dict[str, Value], list[int]]:
        """The most promising of many graphs that no trial has, if there is one to be found."""
        told = self._told(study)
        keys = {graph.key for graph in self._graphs.values() if graph is not None}
        settled = self.distribution.logits.detach().clone()
        drawn = self._candidates(told, study.directions, generator)
        for flatter in range(MOST_FLATTENED):
            fresh: dict[str, tuple[Graph, dict[str, Value], list[int]]] = {}
            for params, order in drawn:
                graph = self._space.build(params)
                if graph.key not in keys:
                    fresh.setdefault(graph.key, (graph, params, order))
            if fresh:
                self.distribution.set_logits(settled)
                _, params, order = self._most_promising(list(fresh.values()), told, study.directions)
                return params, order
            self.distribution.set_logits(settled * FLATTEN ** (flatter + 1))
            drawn = self._drawn(DRAWS, generator)
        self.distribution.set_logits(settled)
        return drawn[0]

    def _told(self, study: Study) -> list[FrozenTrial]:
        """Trials whose graphs were measured; the graphs of all that ended are kept by number."""
        ended = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED))
        for trial in ended:
            if trial.number not in self._graphs:
                self._graphs[trial.number] = None
                with contextlib.suppress(GraphError):
                    self._graphs[trial.number] = self._space.build(trial.params)
        return [trial for trial in ended if trial.values is not None and self._graphs[trial.number] is not None]

    def _candidates(
        self, told: Sequence[FrozenTrial], directions: Sequence[StudyDirection], generator: torch.Generator
    ) -> list[tuple[dict[str, Value], list[int]]]:
        """Draws from the distribution; if they are screened, as many from the one at the start and near the best."""
        drawn = self._drawn(DRAWS if self.settings.screened == 1 else self.settings.screened // 3, generator)
        if self.settings.screened == 1 or not told:
            return drawn
        best = max(told, key=lambda trial: self._utility(trial, told, directions)).params
        settled = self.distribution.logits.detach().clone()
        for probabilities in (self._start(), self._near(best)):
            self.distribution.set_logits(torch.zeros_like(settled))
            self.distribution.set_probabilities(probabilities)
            drawn += self._drawn(self.settings.screened // 3, generator)
        self.distribution.set_logits(settled)
        return drawn

    def _near(self, params: Mapping[str, Value]) -> dict[str, dict[Value, float]]:
        """Probabilities of one graph's values, a little left for the others."""
        return {
            name: {v: NEAR / len(p.values) + (1.0 - NEAR) * (v == params.get(name)) for v in p.values}
            for name, p in self._space.parameters.items()
        }

    def _most_promising(
        self,
        fresh: Sequence[tuple[Graph, dict[str, Value], list[int]]],
        told: Sequence[FrozenTrial],
        directions: Sequence[StudyDirection],
    ) -> tuple[Graph, dict[str, Value], list[int]]:
        if self.settings.screened == 1 or len(told) < FEWEST_TOLD:
            return fresh[0]
        utilities = [self._utility(trial, told, directions) for trial in told]
        measured = [graph for trial in told if (graph := self._graphs[trial.number]) is not None]
        return fresh[int(promise([graph for graph, _, _ in fresh], measured, utilities).argmax())]

    def _start_over(self, study: str) -> None:
        self._study = study
        self._folded: list[int] = []
        self._graphs: dict[int, Graph | None] = {}
        self._average: float | None = None
        self.distribution.set_logits(torch.zeros_like(self.distribution.logits))
        self.distribution.set_probabilities(self._start())
        self._adam = torch.optim.Adam(self.distribution.parameters(), lr=self.settings.lr, maximize=True)

    def _start(self) -> dict[str, dict[Value, float]]:
        """Probabilities that are not even at the start."""
        edge, absent = self.settings.edge, self.settings.absent
        start: dict[str, dict[Value, float]] = {}
        for name, parameter in self._space.parameters.items():
            values = parameter.values
            if edge is not None and values == (NO, YES):
                start[name] = {NO: 1.0 - edge, YES: edge}
            elif absent is not None and values[-1] == ABSENT:
                start[name] = dict.fromkeys(values, (1.0 - absent) / (len(values) - 1)) | {ABSENT: absent}
        return start

    def _utility(self, trial: FrozenTrial, seen: Sequence[FrozenTrial], directions: Sequence[StudyDirection]) -> float:
        over = sum(max(0.0, violation) for violation in (trial.constraints or {}).values())
        utility = -self.settings.penalty * over
        for k, (value, direction) in enumerate(zip(trial.values or (), directions, strict=False)):
            sign = 1.0 if direction == StudyDirection.MAXIMIZE else -1.0
            if k == 0:
                utility += sign * value
            else:
                known = [other.values[k] for other in seen]
                spread = max(known) - min(known)
                utility += sign * self.settings.weight * ((value - min(known)) / spread if spread else 0.0)
        return utility

    def _update(self, batch: Sequence[FrozenTrial], utilities: Sequence[float]) -> None:
        """One step of Adam up the mean of advantage times log-probability, and up the entropy."""
        settings, n = self.settings, len(batch)
        u = torch.tensor(utilities, dtype=torch.float64)
        if settings.baseline == "leave_one_out" and n > 1:
            advantage = (u - u.mean()) * n / (n - 1)
        elif settings.baseline == "moving" and self._average is not None:
            advantage = u - self._average
        else:
            advantage = u
        if settings.scaled and n > 1:
            advantage = advantage / (u.std() + LEAST_SPREAD)
        mean = float(u.mean())
        self._average = mean if self._average is None else MOVING * self._average + (1.0 - MOVING) * mean
        orders = [trial.system_attrs[DRAWN] for trial in batch]
        realised = self.distribution.batch([trial.params for trial in batch], orders if orders[0] else None)
        log_p = self.distribution.used_log_prob(realised) if settings.used else self.distribution.log_prob(realised)
        gain = (advantage * log_p).mean() + settings.entropy * self.distribution.entropy()
        self._adam.zero_grad()
        gain.backward()  # type: ignore[no-untyped-call]
        self._adam.step()
