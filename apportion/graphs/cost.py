"""What a call costs on paper: FLOPs, USD and seconds from a model card and token counts.

One module holds every cost formula with its source; evaluators, ledger and reports call it.
It knows nothing of prompts, servers or searches.
"""

from __future__ import annotations

from dataclasses import dataclass

COSTS = ("calls", "tokens", "flops", "usd", "latency_s")
"""Metrics that every answer has without an evaluator."""


@dataclass(frozen=True, slots=True)
class ModelCard:
    """What is known of a model without running it.

    Attributes:
        parameters: active parameters, a count.
        layers: transformer layers; 0 leaves the attention term out.
        width: model dimension; 0 leaves the attention term out.
        prompt_usd_per_mtok: USD per million prompt tokens; None is unknown, never 0.
        completion_usd_per_mtok: USD per million completion tokens; None is unknown, never 0.
    """

    name: str
    parameters: float
    layers: int = 0
    width: int = 0
    prompt_usd_per_mtok: float | None = None
    completion_usd_per_mtok: float | None = None

    @property
    def priced(self) -> bool:
        """Whether both prices are known."""
        return self.prompt_usd_per_mtok is not None and self.completion_usd_per_mtok is not None


@dataclass(frozen=True, slots=True)
class Rates:
    """How fast a model ran on a server, probed at a stated concurrency.

    Attributes:
        prefill_tok_s: prompt tokens per second of one request.
        decode_tok_s: completion tokens per second of one request.
        concurrency: requests in flight while probing.
    """

    prefill_tok_s: float
    decode_tok_s: float
    concurrency: int


def prefill_flops(card: ModelCard, prompt_tokens: float) -> float:
    """FLOPs to encode a prompt: 2·M·Np + 2·L·D·Np·(Np+1).

    Source: the FLOPs budget of Agent-REINFORCE (arXiv 2511.00086); the first term alone is AgentTTS's
    (arXiv 2508.00890, 2·M a token), which drops attention.
    """
    attention = 2 * card.layers * card.width * prompt_tokens * (prompt_tokens + 1)
    return 2 * card.parameters * prompt_tokens + attention


def decode_flops(card: ModelCard, prompt_tokens: float, completion_tokens: float) -> float:
    """FLOPs to generate one completion: 2·M·Nd + 2·L·D·Nd·(2·Np+Nd+1).

    Source: the FLOPs budget of Agent-REINFORCE (arXiv 2511.00086).
    """
    attention = 2 * card.layers * card.width * completion_tokens * (2 * prompt_tokens + completion_tokens + 1)
    return 2 * card.parameters * completion_tokens + attention


def call_flops(card: ModelCard, prompt_tokens: float, completion_tokens: float) -> float:
    """FLOPs of one call that encodes its own prompt."""
    return prefill_flops(card, prompt_tokens) + decode_flops(card, prompt_tokens, completion_tokens)


def call_usd(card: ModelCard, prompt_tokens: float, completion_tokens: float) -> float | None:
    """USD of one call by list price; None when a price is unknown."""
    if card.prompt_usd_per_mtok is None or card.completion_usd_per_mtok is None:
        return None
    return (prompt_tokens * card.prompt_usd_per_mtok + completion_tokens * card.completion_usd_per_mtok) / 1e6


def call_latency_s(rates: Rates, prompt_tokens: float, completion_tokens: float) -> float:
    """Seconds of one call at the probed rates: Np / prefill + Nd / decode."""
    return prompt_tokens / rates.prefill_tok_s + completion_tokens / rates.decode_tok_s
