"""Accepts or rejects each candidate and keeps the best of the accepted ones; it does not compare them.

A reply in another form than was asked for is no verdict: it counts neither for the candidate nor against it, and a
candidate without any verdict is kept only where none is accepted, after those that were rejected.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Final

from apportion.envs.roles.job import Job
from apportion.envs.roles.judging import judge_each, plain_lines
from apportion.envs.rollout import NodeRun
from apportion.store.calls import Draw

VERDICT_TOKENS: Final = 32
FIRST_TOKENS: Final = 4  # where the first one tells all
ALTERNATIVES: Final = 10  # to the first token: enough for `yes` and `no` in a few spellings
ACCEPTED: Final = 0.5
VERDICT: Final = re.compile(r"\W*(yes|no)(?:\W*$|\s*[.,;:!]|\s+-\s)", re.IGNORECASE)
"""A line that is `yes` or `no`, or goes on behind a mark: `No, it is 4.`, but neither `not yes` nor `no doubt`."""


async def verify(job: Job) -> NodeRun:
    """Judge each distinct value `samples` times; the score is the mean probability of `yes`."""
    how = job.judging(FIRST_TOKENS, ALTERNATIVES) if job.logprobs else job.judging(VERDICT_TOKENS)
    return await judge_each(job, how, mean_probability, ACCEPTED)


def mean_probability(draws: Sequence[Draw]) -> float | None:
    """Mean over the verdicts that were given; None if none was."""
    given = [p for draw in draws if draw.status in ("ok", "truncated") and (p := probability(draw)) is not None]
    return sum(given) / len(given) if given else None


def probability(draw: Draw) -> float | None:
    """Of `yes` against `no` as the first token, where that is known; else 1 or 0 by the first line."""
    mass = {"yes": 0.0, "no": 0.0}
    for token, logprob in draw.first_token.items():
        if (word := token.strip().casefold()) in mass:
            mass[word] += math.exp(logprob)
    if total := sum(mass.values()):
        return mass["yes"] / total
    verdict = VERDICT.match(next(iter(plain_lines(draw.text)), ""))
    return None if verdict is None else float(verdict[1].casefold() == "yes")
