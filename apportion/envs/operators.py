"""What each role does with the candidates that reach it. An operator does not know the graph it stands in.

Texts that are cut off, refused or failed are not candidates. A node that gets none ends with the status of what it
lacks, and nothing after it is run.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from apportion.envs import parsers
from apportion.envs.rollout import Candidate, NodeRun
from apportion.envs.stage import Stage
from apportion.envs.worker import Message, Sampling
from apportion.graphs.graph import Node
from apportion.store.calls import Draw, DrawStatus
from apportion.template import render

# AgentTTS's code fuses at temperature 0.3 (arXiv 2508.00890); a grade should not depend on chance at all.
FUSER_TEMPERATURE = 0.3
SCORER_SAMPLING = Sampling(temperature=0.0, max_tokens=8)

Buy = Callable[[str, tuple[Message, ...], Sampling, int], Awaitable[Draw]]
"""Model, messages, sampling and sample index to a draw."""


@dataclass(frozen=True, slots=True)
class Job:
    """One node to run on one example.

    Attributes:
        values: data fields and the answers of earlier stages, by name.
        start: the node's first sample index.
        candidates: texts of the nodes of its own stage that it reads.
        buy: how a completion is had.
    """

    node: Node
    stage: Stage
    values: Mapping[str, object]
    start: int
    candidates: tuple[Candidate, ...]
    buy: Buy

    async def ask(self, messages: tuple[Message, ...], sampling: Sampling, offset: int, samples: int) -> list[Draw]:
        """Draw several completions of one prompt at once."""
        assert self.node.model is not None
        first = self.start + offset
        if samples == 1:  # the common case: no task for a single call
            return [await self.buy(self.node.model, messages, sampling, first)]
        return await asyncio.gather(*(self.buy(self.node.model, messages, sampling, first + i) for i in range(samples)))

    def dressed(self, candidates: Sequence[Candidate]) -> tuple[Message, ...]:
        """The role's own prompt around the stage's prompt and some candidates."""
        texts = [c.text.strip() for c in candidates]
        listed = texts[0] if len(texts) == 1 else "\n".join(f"[{i}] {text}" for i, text in enumerate(texts, 1))
        task = render(self.stage.prompt, self.values)
        prompt = render(role_prompt(self.node.role), {"task": task, "candidates": listed})
        return self.stage.dressed(prompt, self.values)


async def generate(job: Job) -> NodeRun:
    """Answer the stage's prompt afresh, `samples` times."""
    return await _answer(job, job.stage.messages(job.values), job.stage.sampling)


async def refine(job: Job) -> NodeRun:
    """Improve the given draft; of several, all are shown."""
    return await _answer(job, job.dressed(job.candidates), job.stage.sampling)


async def fuse(job: Job) -> NodeRun:
    """Merge the given candidates into one text."""
    how = job.stage.sampling
    cool = Sampling(min(FUSER_TEMPERATURE, how.temperature), how.max_tokens, how.top_p, how.stop)
    return await _answer(job, job.dressed(job.candidates), cool)


async def vote(job: Job) -> NodeRun:
    """The most frequent value; of equally frequent ones the first drawn. Candidates without a value do not vote."""
    votes = Counter(_same(c.value) for c in job.candidates if c.value is not None)
    if not votes:
        return NodeRun("ok", job.candidates[:1])
    most = max(votes.values())
    winner = next(c for c in job.candidates if c.value is not None and votes[_same(c.value)] == most)
    return NodeRun("ok", (winner,))


async def score(job: Job) -> NodeRun:
    """The candidate that a model grades highest, each distinct value graded once.

    Ties go to the most frequent value, then to the first drawn.
    """
    votes = Counter(_same(c.value) for c in job.candidates if c.value is not None)
    first: dict[str, Candidate] = {}
    for candidate in job.candidates:
        if candidate.value is not None:
            first.setdefault(_same(candidate.value), candidate)
    distinct = list(first.values())
    if len(distinct) < 2:
        return NodeRun("ok", tuple(distinct) or job.candidates[:1])
    n = job.node.samples
    rounds = await asyncio.gather(
        *(job.ask(job.dressed([c]), SCORER_SAMPLING, i * n, n) for i, c in enumerate(distinct))
    )
    draws = tuple(draw for grades in rounds for draw in grades)
    if not any(draw.status in ("ok", "truncated") for draw in draws):
        return NodeRun(_worst(draws), (), draws)
    grades = [_mean_grade(drawn) for drawn in rounds]
    best = max(
        range(len(distinct)),
        key=lambda i: (-1.0 if (g := grades[i]) is None else g, votes[_same(distinct[i].value)], -i),
    )
    return NodeRun("ok", (distinct[best],), draws)


OPERATORS: Mapping[str, Callable[[Job], Awaitable[NodeRun]]] = {
    "generator": generate,
    "refiner": refine,
    "fuser": fuse,
    "voter": vote,
    "scorer": score,
}


@cache
def role_prompt(role: str) -> str:
    """The built-in template of a role that works on candidates: `fuser`, `refiner` or `scorer`."""
    return (files("apportion.envs") / "roles" / f"{role}.txt").read_text(encoding="utf-8").strip()


async def _answer(job: Job, messages: tuple[Message, ...], sampling: Sampling) -> NodeRun:
    draws = tuple(await job.ask(messages, sampling, 0, job.node.samples))
    candidates = tuple(Candidate(d.text, job.stage.parse(d.text)) for d in draws if d.status == "ok")
    return NodeRun("ok" if candidates else _worst(draws), candidates, draws)


def _mean_grade(draws: Sequence[Draw]) -> float | None:
    """Mean of the grades that were given, clipped to 0..10; None if none was."""
    read = (parsers.NUMBER.search(draw.text) for draw in draws if draw.status in ("ok", "truncated"))
    # The first number, not the last: models like to write 8/10.
    grades = [min(10.0, max(0.0, float(grade[0].replace(",", "")))) for grade in read if grade is not None]
    return sum(grades) / len(grades) if grades else None


def _same(value: str | None) -> str:
    """Votes are equal if the values are, but for case and white space."""
    return " ".join((value or "").split()).casefold()


def _worst(draws: Sequence[Draw]) -> DrawStatus:
    """Why there is no candidate: a failure tells nothing about the model, so any other reason goes first."""
    order: tuple[DrawStatus, ...] = ("truncated", "refused", "timeout")
    return next((status for status in order if any(draw.status == status for draw in draws)), "failed")
