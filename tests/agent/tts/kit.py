"""A space of allocations in AgentTTS's units, and agents that answer what they are told to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from apportion.agent.question import Question
from apportion.agent.tts.allocation import Allocation, Choice, StageChoices
from apportion.agent.tts.brief import Brief
from apportion.errors import AgentError, GraphError
from apportion.graphs.cost import units
from apportion.graphs.parameters import Value

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

LLAMA = {"3b": 3e9, "8b": 8e9, "70b": 70e9}
QWEN = {"7b": 7e9, "32b": 32e9, "72b": 72e9}


@dataclass(frozen=True)
class Subtask:
    """A stage of AgentTTS: parameters of its models, prompt and reply tokens."""

    name: str
    models: Mapping[str, float]
    prompt: int
    reply: int


@dataclass(frozen=True)
class Units:
    """Allocations whose cost is the sum of B(S)."""

    subtasks: Sequence[Subtask]
    budget: float | None
    most: int = 100
    hows: tuple[str, ...] = ()
    unit: str = "units"

    @property
    def stages(self) -> Sequence[StageChoices]:
        return [StageChoices(own.name, tuple(own.models), self.hows, 1, self.most) for own in self.subtasks]

    def cost(self, allocation: Allocation) -> float | None:
        chosen = ((own, allocation[own.name]) for own in self.subtasks)
        return sum(units(own.models[c.model], own.prompt, own.reply, c.samples) for own, c in chosen)

    def fit(self, allocation: Allocation) -> Allocation:
        return dict(allocation)

    def distributions(self) -> dict[str, BaseDistribution]:
        from optuna.distributions import CategoricalDistribution, IntDistribution

        found: dict[str, BaseDistribution] = {}
        for own in self.subtasks:
            found[f"{own.name}.model"] = CategoricalDistribution(list(own.models))
            found[f"{own.name}.samples"] = IntDistribution(1, self.most)
            if self.hows:
                found[f"{own.name}.how"] = CategoricalDistribution(self.hows)
        return found

    def params(self, allocation: Allocation) -> dict[str, Value]:
        found: dict[str, Value] = {}
        for stage, choice in allocation.items():
            found |= {f"{stage}.model": choice.model, f"{stage}.samples": choice.samples}
            found |= {f"{stage}.how": choice.how} if self.hows else {}
        return found

    def allocation(self, params: Mapping[str, Value]) -> Allocation:
        try:
            return {
                own.name: Choice(
                    str(params[f"{own.name}.model"]),
                    int(params[f"{own.name}.samples"]),
                    str(params.get(f"{own.name}.how", "")),
                )
                for own in self.subtasks
            }
        except KeyError as absent:
            raise GraphError(f"parameters must be those of the space, but {absent} is absent; add it.") from None


def two_wiki(budget: float | None = 1000.0, hows: tuple[str, ...] = ()) -> Units:
    """2WikiMultiHopQA of the paper."""
    stages = [Subtask("retrieve", QWEN, 2048, 128), Subtask("answer", LLAMA, 256, 64)]
    return Units(stages, budget, hows=hows)


@dataclass
class Told:
    """An agent that gives these answers in turn, and none after the last.

    Attributes:
        questions: that it was asked.
    """

    answers: Sequence[str]
    questions: list[Question[Brief]] = field(default_factory=list)

    def answer(self, question: Question[Brief]) -> str:
        self.questions.append(question)
        if len(self.questions) > len(self.answers):
            raise AgentError("the agent must answer, but said nothing more; tell it more.")
        return self.answers[len(self.questions) - 1]
