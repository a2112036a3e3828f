"""What a call costs on paper: FLOPs, USD and seconds from a model card and token counts.

One module holds every cost formula with its source; evaluators, ledger and reports call it.
It knows nothing of prompts, graphs, servers or searches.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

COSTS = ("calls", "tokens", "flops", "eflops", "usd", "latency_s")
"""Metrics that every answer has without an evaluator."""

# AgentTTS's unit of compute (arXiv 2508.00890): one pass of a 3B model over 128 prompt and 64 completion tokens.
UNIT_PARAMETERS, UNIT_PROMPT_TOKENS, UNIT_COMPLETION_TOKENS = 3e9, 128, 64

B200_FLOPS_PER_BYTE = 562.5
"""Arithmetic intensity of a B200, the device of the Kinetics scaling law (arXiv 2506.05333)."""


@dataclass(frozen=True, slots=True)
class ModelCard:
    """What is known of a model without running it.

    Attributes:
        parameters: active parameters, a count.
        layers: transformer layers; 0 leaves the attention term out.
        width: model dimension; 0 leaves the attention term out.
        prompt_usd_per_mtok: USD per million prompt tokens; None is unknown, never 0.
        completion_usd_per_mtok: USD per million completion tokens; None is unknown, never 0.
        kv_elements_per_token: keys and values kept for a token, 2 · KV heads · head dimension · layers; 0 is unknown.
        gqa_ratio: query heads that share one KV head; 0 is unknown.
    """

    name: str
    parameters: float
    layers: int = 0
    width: int = 0
    prompt_usd_per_mtok: float | None = None
    completion_usd_per_mtok: float | None = None
    kv_elements_per_token: int = 0
    gqa_ratio: int = 0

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


def node_flops(card: ModelCard, question_tokens: float, answer_tokens: float, in_degree: int) -> float:
    """FLOPs of a node that reads the question and the answers of `in_degree` others: Np = A + d·Bt, Nd = Bt.

    Source: the FLOPs budget of Agent-REINFORCE (arXiv 2511.00086); quadratic in the in-degree.
    """
    return call_flops(card, question_tokens + in_degree * answer_tokens, answer_tokens)


def units(parameters: float, prompt_tokens: float, completion_tokens: float, samples: float) -> float:
    """AgentTTS's budget units of S samples: B(S) = 2·[(a·p / r)·(r + S) - 1].

    With a = M / 3e9, r = Np / Nd and p = Np / 128 that is (a·(Np + S·Nd) - 128) / 64: the samples that the unit's 3B
    model could draw on the unit's prompt for the same FLOPs. Each stage's units leave out one unit prompt, so they are
    affine in FLOPs, not a ratio. Source: arXiv 2508.00890.

    Args:
        parameters: active parameters, a count.
    """
    scale = parameters / UNIT_PARAMETERS
    return (scale * (prompt_tokens + samples * completion_tokens) - UNIT_PROMPT_TOKENS) / UNIT_COMPLETION_TOKENS


def units_flops(units: float, stages: int) -> float:
    """FLOPs of an answer whose stages cost so many of AgentTTS's units together; each leaves out one unit prompt.

    Source: the inverse of `units`, which are affine in FLOPs (arXiv 2508.00890).
    """
    return 2 * UNIT_PARAMETERS * (units * UNIT_COMPLETION_TOKENS + stages * UNIT_PROMPT_TOKENS)


def flops_units(flops: float, stages: int) -> float:
    """AgentTTS's units of so many FLOPs over stages, the inverse of `units_flops` (arXiv 2508.00890)."""
    return (flops / (2 * UNIT_PARAMETERS) - stages * UNIT_PROMPT_TOKENS) / UNIT_COMPLETION_TOKENS


def samples_for(units: float, parameters: float, prompt_tokens: float, completion_tokens: float) -> float:
    """Samples that so many units pay for, the inverse of `units`: S(B) = r·[(B/2 + 1) / (a·p) - 1].

    Below 1, or even below 0, where the units do not cover one pass. Source: AgentTTS (arXiv 2508.00890).
    """
    tokens = (units * UNIT_COMPLETION_TOKENS + UNIT_PROMPT_TOKENS) * UNIT_PARAMETERS / parameters
    return (tokens - prompt_tokens) / completion_tokens


def whole_samples_for(units: float, parameters: float, prompt_tokens: float, completion_tokens: float) -> int:
    """Whole samples that so many units pay for; 0 where they do not cover one pass."""
    # What exactly one pass costs may come back as 0.999... samples: a millionth of a sample is forgiven.
    return max(0, math.floor(samples_for(units, parameters, prompt_tokens, completion_tokens) + 1e-6))


def eflops(
    card: ModelCard,
    prompt_tokens: float,
    completion_tokens: float,
    samples: int = 1,
    flops_per_byte: float = B200_FLOPS_PER_BYTE,
) -> float | None:
    """Equivalent FLOPs to generate N samples of one prompt, with the traffic of their KV cache counted as FLOPs.

    2·N·P·Lo + 2·r·N·Li·D·Lo + r·N·D·Lo² + I·(2·Li·D·Lo + N·D·Lo²), with D KV elements a token, two bytes each, and
    GQA ratio r. The samples share the prompt's cache; loading the parameters is spread over a large batch and left
    out, and so is encoding the prompt. Source: the Kinetics scaling law (arXiv 2506.05333).

    Args:
        flops_per_byte: arithmetic intensity I of the device.

    Returns:
        None when the card does not know its KV elements or its GQA ratio.
    """
    if not (card.kv_elements_per_token and card.gqa_ratio):
        return None
    prompt_kv = 2 * prompt_tokens * card.kv_elements_per_token * completion_tokens
    completion_kv = samples * card.kv_elements_per_token * completion_tokens**2
    compute = 2 * samples * card.parameters * completion_tokens
    attention = card.gqa_ratio * (samples * prompt_kv + completion_kv)
    return compute + attention + flops_per_byte * (prompt_kv + completion_kv)
