"""Models that can be called, and what is asked of them: keys, requests, what one can cost and what came of it.

It sends nothing, and knows neither bank nor purse.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from apportion.envs.limits import Spend
from apportion.envs.worker import Message, Reply, Request, Sampling, Worker
from apportion.errors import WorkerError
from apportion.graphs.cost import ModelCard, call_flops, call_usd
from apportion.store.calls import Attempt, Billed, Draw, DrawStatus, canonical


@dataclass(frozen=True)
class Endpoint:
    """A model that can be called.

    Attributes:
        card: size and prices, for the ledger.
        worker: makes one attempt.
        served_name: the server's name for the model.
        identity: what makes two models the same for the bank, whatever the task calls them.
        concurrency: requests that the server works on at once.
        queue: further requests that the worker is handed, to choose from.
        seeds: whether the server takes a per-request seed.
        logprobs: whether the server gives log-probabilities.
        schemas: whether the server keeps replies to a JSON schema.
    """

    card: ModelCard
    worker: Worker
    served_name: str
    identity: str
    concurrency: int
    seeds: bool = False
    queue: int = 0
    logprobs: bool = False
    schemas: bool = False


@dataclass(eq=False, slots=True)
class Prompt:
    """What is asked of a model, the same for every sample, and the arithmetic of what one costs.

    Attributes:
        how: canonical JSON of the sampling.
        record: canonical JSON of all that is asked, of which `key` is the hash.
        bytes: of all messages and the schema, in UTF-8.
    """

    model: str
    endpoint: Endpoint
    messages: tuple[Message, ...]
    sampling: Sampling
    how: str
    key: str
    record: str
    bytes: int = field(init=False)

    def __post_init__(self) -> None:
        self.bytes = text_bytes(self.messages) + len(self.sampling.schema.encode())

    def request(self, index: int) -> Request:
        """The request for one sample."""
        endpoint = self.endpoint
        seed = int(self.key[:7], 16) + index if endpoint.seeds else None
        return Request(endpoint.served_name, self.messages, self.sampling, seed)

    def most(self, template_tokens: int) -> Spend:
        """The most that one attempt can cost: a token is at least one byte, and the chat template adds its own."""
        prompt, completion = self.bytes + template_tokens, self.sampling.max_tokens
        return Spend(1, prompt + completion, call_usd(self.endpoint.card, prompt, completion) or 0.0)

    def completed(self, index: int, reply: Reply, in_flight: int) -> tuple[Draw, Attempt]:
        """The draw and the ledger row of a reply."""
        usage = reply.usage
        attempt = self._attempt(reply.status, "yes", usage.prompt_tokens, usage.completion_tokens, reply.latency_s)
        draw = Draw(
            self.key,
            index,
            reply.status,
            reply.text,
            reply.finish_reason,
            usage.prompt_tokens,
            usage.completion_tokens,
            usage.estimated,
            reply.ttft_s,
            reply.latency_s,
            in_flight,
            attempt.flops,
            attempt.usd,
            reply.first_token,
        )
        return draw, attempt

    def failed(self, index: int, error: WorkerError, seconds: float) -> tuple[Draw, Attempt]:
        """The draw and the ledger row of an attempt without a reply; what may have been billed is charged in full."""
        attempt = self.lost(seconds) if error.possibly_billed else self._attempt(error.kind, "no", 0, 0, seconds)
        attempt = attempt._replace(outcome=error.kind, status=error.status, message=str(error)[:500])
        status: DrawStatus = "timeout" if error.kind == "timeout" else "failed"
        return Draw(self.key, index, status, finish_reason=error.kind), attempt

    def lost(self, seconds: float) -> Attempt:
        """The ledger row of a request of which nothing came back: charged as if every token was generated."""
        return self._attempt("lost", "possibly", likely_prompt_tokens(self.messages), self.sampling.max_tokens, seconds)

    def _attempt(self, outcome: str, billed: Billed, prompt: int, completion: int, seconds: float) -> Attempt:
        card = self.endpoint.card
        flops, usd = call_flops(card, prompt, completion), call_usd(card, prompt, completion)
        return Attempt(outcome, billed, prompt, completion, flops, usd, seconds)


def canonical_sampling(sampling: Sampling) -> str:
    """The sampling as the keys of draws have it.

    Log-probabilities and a schema are left out where none are wanted, as in banks that are older than they.
    """
    later: list[int | str] = [sampling.top_logprobs, sampling.schema]
    while later and not later[-1]:
        later.pop()
    return canonical([sampling.temperature, sampling.max_tokens, sampling.top_p, list(sampling.stop), *later])


def text_bytes(messages: tuple[Message, ...]) -> int:
    """UTF-8 bytes of all messages."""
    return sum(len(message.content.encode()) for message in messages)


def likely_prompt_tokens(messages: tuple[Message, ...]) -> int:
    """An estimate of prompt tokens: four bytes a token, eight tokens a message for the chat template."""
    return sum(len(message.content.encode()) // 4 + 8 for message in messages)
