"""What an agent is asked, and the one method of everything that answers.

A language model reads the messages; whatever stands in for one reads the brief, and answers in the same JSON.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from apportion.envs.worker import Message


class Brief(Protocol):
    """What a round knows; each way of searching has its own.

    Attributes:
        round: from 1; from 0 where something is asked before the first.
        seed: of the round; whatever draws at random draws from it.
    """

    @property
    def round(self) -> int:
        """From 1, or from 0 where something is asked before the first."""
        ...

    @property
    def seed(self) -> int:
        """Of the round; whatever draws at random draws from it."""
        ...


Known = TypeVar("Known", bound=Brief, covariant=True)
Told = TypeVar("Told", bound=Brief, contravariant=True)


@dataclass(frozen=True)
class Question(Generic[Known]):
    """One question to an agent.

    Attributes:
        purpose: a word for what is asked for, which stands for the form of the answer too.
        schema: JSON schema of the answer.
    """

    purpose: str
    messages: tuple[Message, ...]
    schema: Mapping[str, Any]
    brief: Known


class Agent(Protocol[Told]):
    """Whatever answers."""

    def answer(self, question: Question[Told]) -> str:
        """The answer: JSON, or text that holds it.

        Raises:
            AgentError: there is none.
        """
        ...


def conversation(system: str, *said: str) -> tuple[Message, ...]:
    """What is said in turns: first by us, then by the agent, and so on, below the system's message."""
    turns = [Message("assistant" if i % 2 else "user", text) for i, text in enumerate(said)]
    return (Message("system", system), *turns)
