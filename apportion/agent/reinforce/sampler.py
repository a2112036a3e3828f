"""Agent-REINFORCE as an Optuna sampler: batches drawn from a distribution that an agent and gradients move.

What it knows is rebuilt from the study at every call, so that a study that goes on, goes on alike. What it finds is the
study's best trial; its last graph is only the last one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial, TrialState

from apportion.agent.nudge import Nudge, standing
from apportion.agent.question import Agent
from apportion.agent.reinforce.brief import Brief, Terms
from apportion.agent.reinforce.history import Asked, History, Proposal
from apportion.agent.reinforce.learner import Learner, Learnt
from apportion.agent.reinforce.loop import STRIDE, Loop
from apportion.agent.reinforce.mixes import placed
from apportion.agent.reinforce.probe import Probe
from apportion.agent.reinforce.rounds import ASKED, PROPOSAL, Ended, Rounds, ended, history, proposal_of, rounds_of
from apportion.agent.reinforce.settings import Settings
from apportion.errors import GraphError, StoreError
from apportion.graphs.parameters import Value
from apportion.graphs.probabilistic import ProbabilisticGraph
from apportion.graphs.slots import SlotStage
from apportion.graphs.space import SearchSpace
from apportion.search.reinforce.drawing import Drawn, Measured, draw, fresh
from apportion.search.reinforce.policy import one_thread
from apportion.search.utility import utility

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.study import Study, StudyDirection


class AgentReinforceSampler(BaseSampler):
    """Proposes graphs as Agent-REINFORCE does (arXiv 2511.00086), joined with REINFORCE; by its settings also others.

    A batch holds the agent's own graph, if it gave one, and draws from the distribution. Of several objectives the
    first counts as it is, the others as shares of their range so far.

    Args:
        space: at least one of its stages must be of slots.
        agent: who is asked.
        terms: what an answer costs, and may.
        probe: what few examples give; without one, mixes are taken as they are named, and nothing is swept.
        nudges: what the person in charge has said meanwhile; pins mean nothing here.
        objectives: names of the study's objectives, for the agent.

    Attributes:
        distribution: as it is after the trials that were folded last.

    Raises:
        GraphError: no stage is of slots, or the budget covers no graph.
    """

    def __init__(
        self,
        space: SearchSpace,
        agent: Agent[Brief],
        terms: Terms,
        seed: int = 0,
        settings: Settings = Settings(),  # noqa: B008 - frozen
        probe: Probe | None = None,
        nudges: Sequence[Nudge] = (),
        objectives: Sequence[str] = (),
    ) -> None:
        if not any(isinstance(stage, SlotStage) for stage in space.stages):
            raise GraphError(
                "Agent-REINFORCE searches graphs of `slots`, but all stages have `templates`; give one slots, or "
                "search with agenttts."
            )
        self._space, self._terms, self._seed, self._settings, self._nudges = space, terms, seed, settings, nudges
        self._objectives = objectives
        purse = terms.purse
        self.distribution = ProbabilisticGraph(space, purse.prices if purse.budget else None, purse.budget)
        self._learner = Learner(self.distribution, settings)
        self._loop = Loop(space, terms, agent, settings, probe, seed)
        self._parameters = space.distributions()
        self._folded: list[Ended] = []

    @property
    def weight(self) -> float:
        """Of the agent's table beside the gradient, from 0 to 1."""
        return self._learner.weight

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """All parameters, so that they are chosen together."""
        return self._parameters

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """The next graph of the batch; where there is none left, the first of a new one.

        Raises:
            AgentError: the agent gives nothing that can be used, and the search may not go on without.
            LimitReached: a draw that is needed may not be bought.
        """
        trials = [other for other in study.get_trials(deepcopy=False) if other.number != trial.number]
        with one_thread():
            params, proposal, asked = self._next(rounds_of(trials), study.directions)
        keep = study._storage.set_trial_system_attr
        if asked is not None:
            keep(trial._trial_id, ASKED, asked.to_dict())
        keep(trial._trial_id, PROPOSAL, proposal.to_dict())
        return params

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """Not reached: every parameter is sampled together."""
        raise LookupError(f"`{param_name}` must be a parameter of the space, and it is not; ask with the space's own.")

    def fold(self, study: Study) -> None:
        """Bring the distribution to where it stands after the study's trials, asking nothing."""
        with one_thread():
            self._fold(rounds_of(study.get_trials(deepcopy=False)), study.directions)

    def _next(
        self, rounds: Rounds, directions: Sequence[StudyDirection]
    ) -> tuple[dict[str, Value], Proposal, Asked | None]:
        """Parameters of the next graph, where it comes from, and what was asked before it."""
        known_of = self._fold(rounds, directions)
        notes = standing(self._nudges, len(known_of.tried)).notes
        number, asked = len(rounds.asked) - 1, None
        own = rounds.batches[-1] if rounds.batches else []
        if not rounds.asked:
            number, asked, own = 0, self._loop.opening(self.distribution, notes), []
            self._begin(asked)
        elif len(own) >= self._settings.batch:
            number, own = number + 1, []
            findings = rounds.asked[0].swept
            asked = Asked({})
            if self._asks(number):
                asked = self._loop.round(self.distribution, known_of, findings, number, notes)
            self._learn(rounds, len(rounds.batches) - 1, directions, asked)
            asked = replace(asked, weight=self._learner.weight if self._settings.update == "both" else None)
        latest = asked or rounds.asked[-1]
        known = {tried.graph.key for tried in known_of.tried}
        if latest.graph and not own and self._space.build(latest.params).key not in known:
            return latest.params, Proposal(number, latest.source, self._order(), latest.expected), asked
        drawn = self._drawn(known_of, known, number, len(own))
        return drawn.params, Proposal(number, "drawn", drawn.order), asked

    def _asks(self, number: int) -> bool:
        """Whether the agent is asked before a batch; of updates in turn it has every second."""
        update = self._settings.update
        return update in ("text", "both") or (update == "alternating" and number % 2 == 0)

    def _drawn(self, past: History, known: set[str], number: int, place: int) -> Drawn:
        """A graph of the distribution, a new one if there is one to be found."""
        generator = torch.Generator().manual_seed((self._seed * STRIDE + number) * STRIDE + place)
        numeric = self._settings.numeric
        with torch.no_grad():
            if not numeric.fresh:
                return draw(self.distribution, 1, generator)[0]
            measured = [Measured(tried.graph, tried.params, own) for tried, own in past.measured]
            return fresh(self.distribution, known, measured, generator, numeric.screened, self._learner.start)

    def _order(self) -> list[int]:
        """An order of slots for a graph that was not drawn; empty where slots have one of their own."""
        free = any(isinstance(stage, SlotStage) and stage.free_order for stage in self._space.stages)
        slots = sum(stage.slots for stage in self._space.stages if isinstance(stage, SlotStage))
        return list(range(slots)) if free else []

    def _begin(self, asked: Asked) -> None:
        stages = [stage for stage in self._space.stages if isinstance(stage, SlotStage)]
        if asked.mix and not all(_of_stage(stage, asked.mix.get(stage.name, {})) for stage in stages):
            raise _edited(f"a mix must be of the space's models, but the search began with {dict(asked.mix)!r:.80}")
        self._learner.start_over(placed(self._space, self._terms.purse, asked.mix) if asked.mix else {})
        self._folded = []

    def _fold(self, rounds: Rounds, directions: Sequence[StudyDirection]) -> History:
        """Move the distribution as all whole batches but the last did, and say what is known."""
        learnt = list(zip(rounds.batches, rounds.asked[1:], strict=False))
        if not self._folded or self._folded != [ended(batch) for batch, _ in learnt[: len(self._folded)]]:
            self._begin(rounds.asked[0] if rounds.asked else Asked({}))
        for place, (_, asked) in list(enumerate(learnt))[len(self._folded) :]:
            self._learn(rounds, place, directions, asked)
        return history(rounds, self._space, directions, self._settings.numeric, self._terms.cost, self._objectives)

    def _learn(self, rounds: Rounds, place: int, directions: Sequence[StudyDirection], asked: Asked) -> None:
        """Learn from a batch, but for trials of which a parameter was given by the user or not asked for."""
        batch = rounds.batches[place]
        last = max((trial.number for trial in batch), default=-1)
        seen = [trial for trial in rounds.trials if trial.values is not None and trial.number <= last]
        told = [trial for trial in batch if trial.state in (TrialState.COMPLETE, TrialState.PRUNED)]
        told = [trial for trial in told if self._parameters.keys() <= trial.params.keys()]
        told = [trial for trial in told if "fixed_params" not in trial.system_attrs]
        numeric = self._settings.numeric
        learnt = [
            Learnt(
                trial.params,
                proposal_of(trial).order,
                utility(trial, seen, directions, numeric.penalty, numeric.weight),
            )
            for trial in told
        ]
        try:
            self._learner.learn(learnt, asked.probabilities)
        except GraphError as error:
            raise _edited(f"a table that was given must be of the space, but {error}") from None
        self._folded.append(ended(batch))


def _of_stage(stage: SlotStage, counts: Mapping[str, int]) -> bool:
    """Whether these are numbers of slots by model of a stage, as a mix has them."""
    return counts.keys() <= set(stage.models) and 1 <= sum(counts.values()) <= stage.slots


def _edited(what: str) -> StoreError:
    return StoreError(f"{what}; bring the run's store back from a copy.")
