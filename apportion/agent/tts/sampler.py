"""AgentTTS as an Optuna sampler: first the initial trials, then batches that an agent proposes, round by round.

What it knows is rebuilt from the study at every call, so that a study that goes on, goes on alike.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from optuna.samplers import BaseSampler
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from apportion.agent.nudge import Nudge, standing
from apportion.agent.question import Agent
from apportion.agent.tts.allocation import Allocations
from apportion.agent.tts.brief import Brief
from apportion.agent.tts.history import History, Origin, Proposal, Round, Tried
from apportion.agent.tts.initial import initial
from apportion.agent.tts.loop import Loop, by_chance
from apportion.agent.tts.pinning import Pinned
from apportion.agent.tts.settings import Settings
from apportion.errors import GraphError, StoreError
from apportion.search.engine import NUMBER

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.study import Study

MEMORY = "agent"
"""Where a trial keeps its proposal, and the first of a batch the round."""


class AgentTTSSampler(BaseSampler):
    """Proposes allocations as AgentTTS does (arXiv 2508.00890); by its settings also as what it was compared with.

    Of several objectives it goes by the first.

    Args:
        space: what may be proposed; the study's trials must have its parameters.
        agent: who is asked.
        nudges: what the person in charge has said meanwhile.
    """

    def __init__(
        self,
        space: Allocations,
        agent: Agent[Brief],
        seed: int = 0,
        settings: Settings = Settings(),  # noqa: B008 - frozen
        nudges: Sequence[Nudge] = (),
    ) -> None:
        self._space, self._seed, self._settings, self._nudges = space, seed, settings, nudges
        self._loop = Loop(agent, settings)

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """All parameters, so that they are chosen together."""
        return self._space.distributions()

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """The next proposal of the batch; where there is none left, the first of a new one.

        Raises:
            AgentError: the agent proposes nothing that can be used, and chance may not fill in.
            GraphError: nothing is within the budget.
        """
        trials = [other for other in study.get_trials(deepcopy=False) if other.number != trial.number]
        memory = self._next(trials, study.directions[0])
        study._storage.set_trial_system_attr(trial._trial_id, MEMORY, memory)
        return dict(self._space.params(Proposal.from_dict(memory["proposal"]).allocation))

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """Not reached: every parameter is sampled together."""
        raise LookupError(f"`{param_name}` must be a parameter of the space, and it is not; ask with the space's own.")

    def _next(self, trials: Sequence[FrozenTrial], direction: StudyDirection) -> dict[str, Any]:
        """What the next trial is to remember."""
        past = history(trials, self._space, direction)
        told = len(past.tried)
        own = [trial.system_attrs[MEMORY] for trial in trials if MEMORY in trial.system_attrs]
        begun = [memory for memory in own if "round" in memory]
        if begun and self._standing(begun[-1]["told"]) == self._standing(told):  # or the rest of the batch is void
            place, batch = own[-1]["place"] + 1, begun[-1]["round"]["proposals"]
            if place < len(batch):
                return {"place": place, "proposal": batch[place]}
        new = self._round(past, self._standing(told), first=not own).to_dict()
        return {"place": 0, "proposal": new["proposals"][0], "round": new, "told": told}

    def _standing(self, told: int) -> Nudge:
        return standing(self._nudges, told)

    def _round(self, past: History, nudge: Nudge, *, first: bool) -> Round:
        space = Pinned(self._space, nudge.pins) if nudge.pins else self._space
        if first and (opening := self._opening(space, past)):
            return Round(0, (), opening)
        return self._loop.round(space, past, self._seed, nudge.notes)

    def _opening(self, space: Allocations, past: History) -> list[Proposal]:
        """The initial trials, which compare models; without that insight a random one, or none by who knows others."""
        if 1 in self._settings.insights and (found := initial(space)):
            return [Proposal(allocation, Origin(0, "initial")) for allocation in found]
        if self._settings.knowledge:
            return []
        return by_chance(Brief(space, past, (), (), 1, stalled=False, round=0, seed=self._seed))


def history(trials: Sequence[FrozenTrial], space: Allocations, direction: StudyDirection) -> History:
    """What a study knows, as an agent remembers it: trials that ended, and the rounds that they come from."""
    tried = [found for trial in trials if (found := _tried(trial, space, direction)) is not None]
    rounds = [Round.from_dict(of["round"]) for trial in trials if "round" in (of := _memory(trial))]
    return History(tried, [round_ for round_ in rounds if round_.number])


def _tried(trial: FrozenTrial, space: Allocations, direction: StudyDirection) -> Tried | None:
    if not trial.state.is_finished():
        return None
    try:
        allocation = space.allocation(trial.params)
    except GraphError:
        return None
    memory = _memory(trial)
    origin = Proposal.from_dict(memory["proposal"]).origin if memory else None
    score = None
    if trial.state is TrialState.COMPLETE:
        score = trial.values[0] if direction is StudyDirection.MAXIMIZE else -trial.values[0]
    return Tried(trial.user_attrs.get(NUMBER, trial.number), allocation, space.cost(allocation), score, origin)


def _memory(trial: FrozenTrial) -> Mapping[str, Any]:
    """What a trial keeps of its proposal; empty where no agent proposed it.

    Raises:
        StoreError: it is not as it was written.
    """
    memory = trial.system_attrs.get(MEMORY, {})
    if not isinstance(memory, Mapping) or (memory and not {"place", "proposal"} <= memory.keys()):
        raise StoreError(
            f"trial {trial.user_attrs.get(NUMBER, trial.number)} must remember its proposal, but remembers "
            f"{memory!r:.60}; bring the run's store back from a copy."
        )
    return memory
