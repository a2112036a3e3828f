"""Puts all candidates in order with one prompt and keeps the best; it does not know how good the best is."""

from __future__ import annotations

import re
from typing import Final

from apportion.envs.roles.job import Job, heard, lacking
from apportion.envs.roles.judging import distinct, kept, same, unjudged
from apportion.envs.rollout import NodeRun

# Numbers of a few digits that are no part of a longer or a decimal one.
NUMBER: Final = re.compile(r"(?<![\d.])\d{1,6}(?!\.?\d)")
CHAIN: Final = re.compile(r"\[?\d{1,6}\]?(?:\s*>\s*\[?\d{1,6}\]?)+")
BRACKETED: Final = re.compile(r"\[\d{1,6}\]")


async def rank(job: Job) -> NodeRun:
    """Join `samples` rankings of the distinct values by Borda count.

    The first of n has n points, the last one; the score is the share of the points that a candidate might have got.
    """
    listed = distinct(job.candidates)
    n = len(listed)
    if n == 0:
        return unjudged(job)
    if n == 1:
        return NodeRun("ok", kept(job, {same(listed[0]): 1.0}))
    draws = tuple(await job.ask(job.dressed(listed, numbered=True), job.judging(16 + 4 * n)))
    if not heard(draws):
        return NodeRun(lacking(draws), (), draws)
    rankings = [ranking for text in heard(draws) if (ranking := read_ranking(text, n))]
    if not rankings:
        return NodeRun("ok", unjudged(job).candidates, draws)
    places = [sum(ranking.index(i) for ranking in rankings) for i in range(n)]
    scores = {same(c): 1 - place / (n * len(rankings)) for c, place in zip(listed, places, strict=True)}
    return NodeRun("ok", kept(job, scores), draws)


def read_ranking(reply: str, n: int) -> list[int]:
    """Places 0 to n-1, the best first: of a chain such as `2 > 1`, else of numbers in brackets, else of any.

    Unknown numbers are dropped, of repeated ones the first counts, missing ones come last in their order. Without a
    known number it is empty.
    """
    chain = CHAIN.search(reply)
    said = chain[0] if chain else " ".join(BRACKETED.findall(reply)) or reply
    known = {str(i + 1): i for i in range(n)}
    named = [known[number] for number in NUMBER.findall(said) if number in known]
    return list(dict.fromkeys([*named, *range(n)])) if named else []
