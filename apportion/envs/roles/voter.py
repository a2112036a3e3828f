"""Keeps the most frequent values; it asks nobody. Candidates without a value do not vote."""

from __future__ import annotations

from apportion.envs.roles.job import Job
from apportion.envs.roles.judging import distinct, frequencies, same
from apportion.envs.rollout import NodeRun


async def vote(job: Job) -> NodeRun:
    """The first candidate of each of the `keep` most frequent values; of equally frequent ones the first drawn."""
    votes = frequencies(job.candidates)
    winners = sorted(distinct(job.candidates), key=lambda c: -votes[same(c)])
    return NodeRun("ok", tuple(winners or job.candidates)[: job.node.keep])
