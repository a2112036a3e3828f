"""Answers the stage's prompt afresh; it reads no candidates."""

from __future__ import annotations

from apportion.envs.roles.job import Job
from apportion.envs.rollout import NodeRun


async def generate(job: Job) -> NodeRun:
    """Draw `samples` answers."""
    return job.answered(await job.ask(job.stage.messages(job.values), job.sampling))
