"""Improves a draft; of several, all are shown. It does not know whether a draft is right."""

from __future__ import annotations

from apportion.envs.roles.job import Job
from apportion.envs.rollout import NodeRun


async def refine(job: Job) -> NodeRun:
    """Draw `samples` improved texts."""
    return job.answered(await job.ask(job.dressed(job.candidates), job.sampling))
