"""Choosing among candidates: which are the same, which are the best, and how a judge is asked about each.

It does not know what a judge is asked, only how its opinion is read.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Final

from apportion.envs.roles.job import Job, heard, lacking
from apportion.envs.rollout import Candidate, NodeRun
from apportion.envs.worker import Sampling
from apportion.store.calls import Draw

EMPHASIS: Final = str.maketrans("", "", "*_`")


def plain_lines(reply: str) -> list[str]:
    """The lines of a judge's reply that are not blank, without Markdown's emphasis and surrounding white space."""
    return [line for line in map(str.strip, reply.translate(EMPHASIS).splitlines()) if line]


def same(candidate: Candidate) -> str:
    """What two candidates share that say the same: their value, but for case and white space."""
    return " ".join((candidate.value or "").split()).casefold()


def frequencies(candidates: Sequence[Candidate]) -> Counter[str]:
    """How many candidates have each value."""
    return Counter(same(c) for c in candidates if c.value is not None)


def distinct(candidates: Sequence[Candidate]) -> list[Candidate]:
    """The first candidate of each value; those without a value are left out."""
    first: dict[str, Candidate] = {}
    for candidate in candidates:
        if candidate.value is not None:
            first.setdefault(same(candidate), candidate)
    return list(first.values())


def kept(job: Job, scores: Mapping[str, float | None]) -> tuple[Candidate, ...]:
    """The `keep` best candidates that have a value in `scores`, each with its score: different values, then repeats.

    No score is worse than any. Ties go to the most frequent value, then to the first drawn.
    """
    votes, repeats = frequencies(job.candidates), Counter[str]()
    ranked: list[tuple[tuple[float, ...], Candidate]] = []
    for place, candidate in enumerate(job.candidates):
        value = same(candidate)
        if candidate.value is not None and value in scores:
            score = scores[value]
            merit = -1.0 if score is None else score
            ranked.append(((repeats[value], -merit, -votes[value], place), replace(candidate, score=score)))
            repeats[value] += 1
    return tuple(candidate for _, candidate in sorted(ranked, key=lambda pair: pair[0])[: job.node.keep])


def unjudged(job: Job) -> NodeRun:
    """What is passed on where there is nothing to judge by: the most frequent values, else the first texts."""
    unscored = dict.fromkeys(map(same, distinct(job.candidates)))
    return NodeRun("ok", kept(job, unscored) or job.candidates[: job.node.keep])


async def judge_each(
    job: Job, sampling: Sampling, read: Callable[[Sequence[Draw]], float | None], least: float | None = None
) -> NodeRun:
    """Ask about each distinct value and keep the best; one value alone is not judged unless its score is `weighed`.

    Args:
        read: from the opinions on a candidate to its score from 0 to 1, None if it has none.
        least: a score below which candidates are dropped, unless none reaches it.
    """
    asked = distinct(job.candidates)
    if len(asked) < (1 if job.weighed else 2):
        return unjudged(job)
    rounds = await job.ask_each(asked, sampling)
    draws = tuple(draw for drawn in rounds for draw in drawn)
    if not heard(draws):
        return NodeRun(lacking(draws), (), draws)
    scores = {same(candidate): read(drawn) for candidate, drawn in zip(asked, rounds, strict=True)}
    accepted = {v: s for v, s in scores.items() if least is None or (s is not None and s >= least)}
    return NodeRun("ok", kept(job, accepted or scores), draws)
