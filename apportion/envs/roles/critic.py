"""Says what is right and wrong in each candidate and passes all of them on; it chooses none and writes none anew."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from apportion.envs.roles.job import Job, heard, lacking
from apportion.envs.rollout import Candidate, NodeRun

COMMENT_TOKENS: Final = 128


async def criticise(job: Job) -> NodeRun:
    """Attach `samples` comments to each candidate; candidates of one text are asked about once."""
    first: dict[str, Candidate] = {}
    for candidate in job.candidates:
        first.setdefault(candidate.text.strip(), candidate)
    # The stage's own length and stop texts are made for its answers.
    rounds = await job.ask_each([*first.values()], replace(job.sampling, max_tokens=COMMENT_TOKENS, stop=()))
    draws = tuple(draw for drawn in rounds for draw in drawn)
    if not heard(draws):
        return NodeRun(lacking(draws), (), draws)
    said = {t: tuple(filter(None, map(str.strip, heard(drawn)))) for t, drawn in zip(first, rounds, strict=True)}
    candidates = (replace(c, comments=(*c.comments, *said[c.text.strip()])) for c in job.candidates)
    return NodeRun("ok", tuple(candidates), draws)
