"""Votes on each id by itself where candidates are lists of ids, such as numbers of chunks; it asks nobody."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from apportion.envs.parsers import ids
from apportion.envs.roles.job import Job
from apportion.envs.rollout import Candidate, NodeRun


async def vote_ids(job: Job) -> NodeRun:
    """One list of the k ids that most candidates list, k being the most common length of their lists.

    This is how AgentTTS's code merges retrievals (arXiv 2508.00890). Of equally common lengths that of the first
    drawn counts, of equally frequent ids the one in the first drawn. Candidates without a value do not vote; where
    none has one, the first text is passed on.
    """
    lists = [listed.split(", ") for c in job.candidates if c.value is not None and (listed := ids(c.value))]
    origin = (job.node.id, 0)
    if not lists:
        return NodeRun("ok", (replace(job.candidates[0], origin=origin, score=None, comments=()),))
    votes = Counter(number for listed in lists for number in listed)
    (length, _), *_ = Counter(map(len, lists)).most_common(1)
    text = ", ".join(sorted((number for number, _ in votes.most_common(length)), key=int))
    return NodeRun("ok", (Candidate(text, job.stage.parse(text), origin),))
