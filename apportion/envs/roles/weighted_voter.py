"""Keeps the values whose candidates have the most score together; it asks nobody and scores nothing."""

from __future__ import annotations

from collections import defaultdict

from apportion.envs.roles.job import Job
from apportion.envs.roles.judging import distinct, frequencies, same
from apportion.envs.rollout import NodeRun


async def vote_by_score(job: Job) -> NodeRun:
    """The first candidate of each of the `keep` heaviest values.

    A candidate without a score weighs nothing. Ties go to the most frequent value, so that candidates of which none
    has a score are counted, then to the first drawn.
    """
    weights, votes = defaultdict[str, float](float), frequencies(job.candidates)
    for candidate in job.candidates:
        weights[same(candidate)] += candidate.score or 0.0
    winners = sorted(distinct(job.candidates), key=lambda c: (-weights[same(c)], -votes[same(c)]))
    return NodeRun("ok", tuple(winners or job.candidates)[: job.node.keep])
