"""Studies by Agent-REINFORCE on made-up scores, agents that answer by rule, and trials as a log keeps them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import optuna
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial
from torch import Tensor

from apportion.agent.question import Agent, Question
from apportion.agent.reinforce.brief import Brief, Terms
from apportion.agent.reinforce.history import Asked, Proposal
from apportion.agent.reinforce.rounds import ASKED, PROPOSAL
from apportion.agent.reinforce.sampler import AgentReinforceSampler
from apportion.agent.reinforce.settings import NUMERIC, Settings
from apportion.errors import AgentError
from apportion.graphs.parameters import Params
from apportion.graphs.slots import SlotStage
from apportion.graphs.space import SearchSpace
from apportion.graphs.templates import TemplateStage
from tests.agent.reinforce.kit import PRICES, Measures, one, terms, two

UP, DOWN = StudyDirection.MAXIMIZE, StudyDirection.MINIMIZE
SPACE = one(4)
MIXED = SearchSpace(
    (
        TemplateStage("hint", tuple(PRICES), ("single", "vote"), (2, 3)),
        SlotStage("solve", tuple(PRICES), 3, ("refiner", "fuser"), ("decider",), reads=("hint",)),
    )
)
SPACES = {"one": SPACE, "free order": one(4, free_order=True), "two": two(), "templates beside": MIXED}
FEW = replace(NUMERIC, screened=6)


@dataclass
class Asker:
    """Another agent's answers, with what it was asked.

    Attributes:
        asked: purpose and words of each question.
    """

    agent: Agent[Brief]
    asked: list[tuple[str, str]] = field(default_factory=list)

    def answer(self, question: Question[Brief]) -> str:
        self.asked.append((question.purpose, json.dumps([[own.role, own.content] for own in question.messages])))
        return self.agent.answer(question)


class Silent:
    """An agent that never answers."""

    def answer(self, question: Question[Brief]) -> str:
        raise AgentError("the agent must answer, but is gone; wait.")


class Rows:
    """An agent that wants the slots of `solve` in a row: an edge more in its graph each round."""

    def answer(self, question: Question[Brief]) -> str:
        brief = question.brief
        if question.purpose == "mix":
            return json.dumps({"mixes": [dict(mix) for mix in brief.mixes[:2]]})
        n = 1 + brief.round % 3
        last = next(stage for stage in brief.space.stages if stage.name == "solve")
        assert isinstance(last, SlotStage)
        lines = [f"solve.{i}: model small; to {i + 1 if i < n else 'final'}" for i in range(1, n + 1)]
        lines += [f"solve.final: role {last.final[0]}; model small"]
        first = {"find": ["find.1: model large; samples 2; to final", "find.final: role voter"],
                 "hint": ["hint: template single; model small"]}  # fmt: skip
        lines += [line for stage in brief.space.stages for line in first.get(stage.name, [])]
        return json.dumps({"table": ["solve.1: to 2=0.8"], "graph": lines, "expected": 0.5 + brief.round / 100})


def worth(params: Params) -> float:
    """A made-up accuracy from 0 to 1: the more of a graph's parameters are large or there, the better."""
    return sum(value in ("large", "yes") for value in params.values()) / len(params)


def made(space: SearchSpace, agent: Agent[Brief], own: Terms | None = None, **settings: Any) -> AgentReinforceSampler:
    settings = {"batch": 3, "numeric": FEW, "sweeps": False, **settings}
    probe = Measures(lambda graph, example: 0.1 * (len(graph.nodes) + example % 3), 9)
    return AgentReinforceSampler(space, agent, own or terms(space, 14.0), 3, Settings(**settings), probe)


def studied(
    sampler: AgentReinforceSampler,
    space: SearchSpace,
    n: int,
    study: optuna.Study | None = None,
    *,
    trouble: bool = False,
) -> optuna.Study:
    """A study of n trials more, of which with trouble every fifth fails and every fourth is refused."""
    study = study or optuna.create_study(direction="maximize")
    study.sampler = sampler
    for _ in range(n):
        trial = study.ask(space.distributions())
        if trouble and trial.number % 5 == 4:
            study.tell(trial, state=TrialState.FAIL)
        elif trouble and trial.number % 4 == 2:
            trial.set_constraint("paper", 0.5)
            study.tell(trial, state=TrialState.PRUNED)
        else:
            study.tell(trial, worth(trial.params))
    return study


def record(trial: FrozenTrial, **changes: Any) -> FrozenTrial:
    """A trial as a log keeps it: through JSON."""
    attrs = {name: trial.system_attrs[name] for name in (ASKED, PROPOSAL) if name in trial.system_attrs}
    given = {
        "state": trial.state,
        "values": trial.values,
        "params": json.loads(json.dumps(trial.params)),
        "distributions": trial.distributions,
        "system_attrs": json.loads(json.dumps(attrs, allow_nan=False)),
        "constraints": trial.constraints or None,
        **changes,
    }
    return create_trial(**given)


def records(study: optuna.Study) -> list[FrozenTrial]:
    return [record(trial) for trial in study.get_trials(deepcopy=False)]


def said(trial: FrozenTrial) -> list[Any]:
    """What it remembers with a trial."""
    return [trial.system_attrs.get(name) for name in (ASKED, PROPOSAL)]


def rebuilt(trials: Sequence[FrozenTrial], sampler: AgentReinforceSampler | None = None) -> optuna.Study:
    study = optuna.create_study(direction="maximize", sampler=sampler or optuna.samplers.RandomSampler(seed=1))
    study.add_trials(list(trials))
    return study


def proposal(trial: FrozenTrial) -> Proposal:
    return Proposal.from_dict(trial.system_attrs[PROPOSAL])


def asked(trial: FrozenTrial) -> Asked:
    return Asked.from_dict(trial.system_attrs[ASKED])


def logits(sampler: AgentReinforceSampler) -> Tensor:
    found = sampler.distribution.logits.detach().clone()
    assert bool(found.isfinite().all())
    return found
