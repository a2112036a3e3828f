"""A stage as an environment sees it: how to ask, how to read the reply. It does not know who answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from apportion.envs.parsers import Parser
from apportion.envs.retelling import Retelling
from apportion.envs.worker import Message, Sampling
from apportion.template import render


@dataclass(frozen=True, slots=True)
class Example:
    """One question of the task.

    Attributes:
        fields: named texts that prompts may use, and whatever evaluators compare with.
    """

    id: str
    fields: Mapping[str, object] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True, slots=True)
class Stage:
    """How one stage is asked and read.

    Attributes:
        prompt: template over data fields and the names of earlier stages.
        system: template of a system message, None for none.
        retell: from its answer to what later prompts read; None where that is the answer.
        parse: from a reply to a value.
        sampling: how its completions are drawn.
    """

    name: str
    prompt: str
    parse: Parser
    sampling: Sampling
    system: str | None = None
    retell: Retelling | None = None

    def messages(self, values: Mapping[str, object]) -> tuple[Message, ...]:
        """The chat messages for one example.

        Args:
            values: data fields and the answers of earlier stages, by name.
        """
        return self.dressed(render(self.prompt, values), values)

    def dressed(self, prompt: str, values: Mapping[str, object]) -> tuple[Message, ...]:
        """The chat messages around a ready prompt."""
        system = () if self.system is None else (Message("system", render(self.system, values)),)
        return (*system, Message("user", prompt))
