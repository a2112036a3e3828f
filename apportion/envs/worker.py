"""What a model call is: the request, the reply, and the one-method protocol of everything that answers one.

A worker makes exactly one attempt and either returns a checked `Reply` or raises `WorkerError`. It knows nothing of
samples, banks, limits or retries: those belong to the dispatcher.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol

ReplyStatus = Literal["ok", "truncated", "refused"]


@dataclass(frozen=True, slots=True)
class Message:
    """One chat message."""

    role: Literal["system", "user", "assistant"]
    content: str


@dataclass(frozen=True, slots=True)
class Sampling:
    """How a completion is drawn. Part of the identity of a draw.

    Attributes:
        top_logprobs: how many alternatives to the first token are wanted with their log-probabilities; 0 for none.
        schema: JSON text of the JSON schema that the reply must meet; empty for none.
    """

    temperature: float
    max_tokens: int
    top_p: float = 1.0
    stop: tuple[str, ...] = ()
    top_logprobs: int = 0
    schema: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "temperature", 0.0 + self.temperature)  # 0 and -0.0 too are banked as 0.0


@dataclass(frozen=True, slots=True)
class Request:
    """One attempt at one completion.

    Attributes:
        model: the name under which the server knows the model.
        seed: sent only if not None; workers whose server cannot take seeds get None.
    """

    model: str
    messages: tuple[Message, ...]
    sampling: Sampling
    seed: int | None = None


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one attempt.

    Attributes:
        estimated: True when the server gave no usable count and the numbers are an estimate from the text.
    """

    prompt_tokens: int
    completion_tokens: int
    estimated: bool = False


@dataclass(frozen=True, slots=True)
class Reply:
    """A reply that the model finished and that passed the checks.

    Attributes:
        status: `ok`; `truncated` at `max_tokens`; `refused` by a content filter, or with no content at all.
        finish_reason: the server's own word, verbatim.
        ttft_s: seconds from sending to the first piece of text, None when not streamed.
        latency_s: seconds from sending to the end of the reply.
        first_token: log-probabilities of the likeliest first tokens; empty when the server did not give them.
    """

    text: str
    status: ReplyStatus
    finish_reason: str
    usage: Usage
    ttft_s: float | None
    latency_s: float
    first_token: Mapping[str, float] = field(default_factory=dict)


class Worker(Protocol):
    """Anything that can answer a chat request."""

    async def complete(self, request: Request) -> Reply:
        """Make one attempt.

        Raises:
            WorkerError: the attempt gave no usable reply.
        """
        ...

    async def close(self) -> None:
        """Release connections and processes. May be called twice."""
        ...
