"""How fast a model answers at a stated concurrency: a few requests side by side, bought through the bank.

Seconds on the critical path are computed from these rates. Being draws like any others, probes are in the ledger
(under `searcher`) and are not sent again when a run goes on.
"""

from __future__ import annotations

import asyncio
from statistics import median

from apportion.envs.dispatch import Dispatcher
from apportion.envs.worker import Message, Sampling
from apportion.graphs.cost import Rates
from apportion.store.calls import Draw

ROUNDS = 2  # the first wakes the server up; medians over both
MOST_CONCURRENCY = 8  # more tells little and costs money
SAMPLING = Sampling(temperature=0.0, max_tokens=32)
WORDS = "stone river cloud lamp field north glass paper seven green"


async def probe(dispatcher: Dispatcher, model: str) -> Rates | None:
    """Probe one model.

    Returns:
        Its rates; None if replies are not streamed, are too short, or fail: then they cannot be told apart.

    Raises:
        LimitReached: the probes may not be bought.
    """
    concurrency = min(MOST_CONCURRENCY, dispatcher.endpoints[model].concurrency)
    draws: list[Draw] = []
    for n in range(ROUNDS):
        prompts = [_prompt(model, n * concurrency + i) for i in range(concurrency)]
        asked = (dispatcher.draw(model, (Message("user", p),), SAMPLING, 0, "searcher") for p in prompts)
        draws += await asyncio.gather(*asked)
    return rates(draws, concurrency)


def rates(draws: list[Draw], concurrency: int) -> Rates | None:
    """Medians of prompt tokens per second to the first token, and of completion tokens per second after it."""
    timed = [
        (d.prompt_tokens, d.ttft_s, d.completion_tokens, d.latency_s - d.ttft_s)
        for d in draws
        if d.ttft_s and d.completion_tokens > 1 and d.latency_s > d.ttft_s
    ]
    if not timed:
        return None
    prefill = median(prompt / ttft for prompt, ttft, _, _ in timed)
    decode = median((completion - 1) / rest for _, _, completion, rest in timed)
    return Rates(prefill, decode, concurrency)


def _prompt(model: str, n: int) -> str:
    """Distinct from its first word on, so that no server can reuse the prefix of another probe."""
    return f"{n} {model}: {' '.join([WORDS] * 6)}\nWrite the numbers from {n + 1} upwards, one after another."
