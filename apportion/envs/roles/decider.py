"""Gives the final answer: the best of the candidates, or a better one made of them. It does not score them."""

from __future__ import annotations

from apportion.envs.roles.job import Job
from apportion.envs.rollout import NodeRun


async def decide(job: Job) -> NodeRun:
    """Draw `samples` decisions, at a cool temperature."""
    return job.answered(await job.ask(job.dressed(job.candidates), job.cool))
