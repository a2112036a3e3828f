"""Grades each candidate from 0 to 10 and keeps the best; it writes no text of its own.

A reply in another form than was asked for is no grade. A candidate without any comes after those that have one.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from apportion.envs.roles.job import Job, heard
from apportion.envs.roles.judging import judge_each, plain_lines
from apportion.envs.rollout import NodeRun
from apportion.store.calls import Draw

GRADE_TOKENS: Final = 8
GRADE: Final = re.compile(
    r"(?:[^\d:]{0,40}:\s*)?(10(?:\.0+)?|\d(?:\.\d+)?)(?:\s*/\s*10|\s+out\s+of\s+10)?\s*\.?", re.IGNORECASE
)
"""A line that is a number from 0 to 10: `7`, `7.5/10`, `Grade: 7.`, but neither `I give 7` nor `70`."""


async def score(job: Job) -> NodeRun:
    """Grade each distinct value `samples` times; the score is the mean grade / 10."""
    return await judge_each(job, job.judging(GRADE_TOKENS), mean_grade)


def mean_grade(draws: Sequence[Draw]) -> float | None:
    """Mean of the grades that were given, as a share of 10; None if none was."""
    grades = [grade for text in heard(draws) if (grade := read_grade(text)) is not None]
    return sum(grades) / len(grades) / 10 if grades else None


def read_grade(reply: str) -> float | None:
    """The last line that is a grade, None if none is."""
    found = (GRADE.fullmatch(line) for line in reversed(plain_lines(reply)))
    return next((float(grade[1]) for grade in found if grade), None)
