"""Accepts or rejects each candidate and keeps the best of the accepted ones; it does not compare them."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Final

from apportion.envs.parsers import first_line
from apportion.envs.roles.job import Job
from apportion.envs.roles.judging import judge_each
from apportion.envs.rollout import NodeRun
from apportion.store.calls import Draw

VERDICT_TOKENS: Final = 32
FIRST_TOKENS: Final = 4  # where the first one tells all
ALTERNATIVES: Final = 10  # to the first token: enough for `yes` and `no` in a few spellings
ACCEPTED: Final = 0.5
VERDICT: Final = re.compile(r"\b(yes|no)\b", re.IGNORECASE)


async def verify(job: Job) -> NodeRun:
    """Judge each distinct value `samples` times; the score is the mean probability of `yes`."""
    how = job.judging(FIRST_TOKENS, ALTERNATIVES) if job.logprobs else job.judging(VERDICT_TOKENS)
    return await judge_each(job, how, mean_probability, ACCEPTED)


def mean_probability(draws: Sequence[Draw]) -> float | None:
    """Mean over the verdicts that were given; None if none was."""
    given = [p for draw in draws if draw.status in ("ok", "truncated") and (p := probability(draw)) is not None]
    return sum(given) / len(given) if given else None


def probability(draw: Draw) -> float | None:
    """Of `yes` against `no` as the first token, where that is known; else 1 or 0 by the word on the first line."""
    mass = {"yes": 0.0, "no": 0.0}
    for token, logprob in draw.first_token.items():
        if (word := token.strip().casefold()) in mass:
            mass[word] += math.exp(logprob)
    if total := sum(mass.values()):
        return mass["yes"] / total
    verdict = VERDICT.search(first_line(draw.text) or "")
    return None if verdict is None else float(verdict[0].casefold() == "yes")
