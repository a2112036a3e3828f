"""Grades each candidate from 0 to 10 and keeps the best; it writes no text of its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from apportion.envs import parsers
from apportion.envs.roles.job import Job, heard
from apportion.envs.roles.judging import judge_each
from apportion.envs.rollout import NodeRun
from apportion.store.calls import Draw

GRADE_TOKENS: Final = 8


async def score(job: Job) -> NodeRun:
    """Grade each distinct value `samples` times; the score is the mean grade / 10."""
    return await judge_each(job, job.judging(GRADE_TOKENS), mean_grade)


def mean_grade(draws: Sequence[Draw]) -> float | None:
    """Mean of the grades that were given, clipped to 0..10, as a share of 10; None if none was."""
    # The first number, not the last: models like to write 8/10.
    found = (parsers.NUMBER.search(text) for text in heard(draws))
    grades = [min(10.0, max(0.0, float(number[0].replace(",", "")))) for number in found if number]
    return sum(grades) / len(grades) / 10 if grades else None
