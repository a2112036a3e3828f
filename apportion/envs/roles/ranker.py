"""Puts all candidates in order with one prompt and keeps the best; it does not know how good the best is."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final

from apportion.envs.roles.job import Job, heard, lacking
from apportion.envs.roles.judging import distinct, kept, plain_lines, same, unjudged
from apportion.envs.rollout import NodeRun

LABEL: Final = re.compile(r"^[^\d:]{0,40}:")


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
    texts = [candidate.text for candidate in listed]
    rankings = [ranking for text in heard(draws) if (ranking := read_ranking(text, texts))]
    if not rankings:
        return NodeRun("ok", unjudged(job).candidates, draws)
    places = [sum(ranking.index(i) for ranking in rankings) for i in range(n)]
    scores = {same(c): 1 - place / (n * len(rankings)) for c, place in zip(listed, places, strict=True)}
    return NodeRun("ok", kept(job, scores), draws)


def read_ranking(reply: str, texts: Sequence[str]) -> list[int]:
    """Places of the texts, the best first, by the last line that is a ranking: `2 > 1`, or `Best first: [2] > [1]`.

    A reply may also name the best alone, by its number or as a copy of how it was shown: small models do. Texts that
    are not named come last in their order. Empty where nothing is a ranking; a line with anything else in it, with a
    number of no text, or with one twice is none.
    """
    known = {str(i): i - 1 for i in range(1, len(texts) + 1)}
    lines = plain_lines(reply)
    copied = [i for i, text in enumerate(texts) if reply.strip() == f"[{i + 1}] {text.strip()}"]
    orders = (_order(line, known) for line in reversed(lines))
    named = copied or next((order for order in orders if len(order) > 1 or len(lines) == 1), [])
    return list(dict.fromkeys([*named, *range(len(texts))])) if named else []


def _order(line: str, known: Mapping[str, int]) -> list[int]:
    """Places that a line of known numbers with `>` between them names; none where it is no such line."""
    said = [part.strip(" \t[]") for part in LABEL.sub("", line).rstrip(".").split(">")]
    named = dict.fromkeys(known[number] for number in said if number in known)
    return list(named) if len(named) == len(said) else []
