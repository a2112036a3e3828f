"""Merges candidates into one text; it does not know which of them is right."""

from __future__ import annotations

from apportion.envs.roles.job import Job
from apportion.envs.rollout import NodeRun


async def fuse(job: Job) -> NodeRun:
    """Draw `samples` merged texts, at a cool temperature."""
    return job.answered(await job.ask(job.dressed(job.candidates), job.cool))
