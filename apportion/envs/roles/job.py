"""What an operator works with: a node, its stage, what it reads, and how completions are had.

An operator is a coroutine from a `Job` to a `NodeRun`. It does not know the graph it stands in, nor who answers.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from apportion.envs.roles.prompts import listed, prompt_of
from apportion.envs.rollout import Candidate, NodeRun
from apportion.envs.sandbox import Sandbox
from apportion.envs.stage import Stage
from apportion.envs.worker import Message, Sampling
from apportion.graphs.graph import Node
from apportion.graphs.roles import ROLES
from apportion.store.calls import Draw, DrawStatus
from apportion.template import render

Buy = Callable[[str, tuple[Message, ...], Sampling, int], Awaitable[Draw]]
"""Model, messages, sampling and sample index to a draw."""

COOL = 0.3
"""Temperature at which several texts are made one, as AgentTTS's code does (arXiv 2508.00890)."""


class Job(NamedTuple):
    """One node to run on one example. A tuple, as that is made in a quarter of a frozen dataclass's time.

    Attributes:
        values: data fields and the answers of earlier stages, by name.
        start: the node's first sample index.
        candidates: texts of the nodes of its own stage that it reads, each once.
        buy: how a completion is had.
        sandbox: where model-written code may run.
        logprobs: whether the model's server gives log-probabilities.
        weighed: whether a vote may weigh its candidates' scores against those of other nodes.
    """

    node: Node
    stage: Stage
    values: Mapping[str, object]
    start: int
    candidates: tuple[Candidate, ...]
    buy: Buy
    sandbox: Sandbox
    logprobs: bool = False
    weighed: bool = False

    @property
    def sampling(self) -> Sampling:
        """How a role that writes draws: as the stage says, at the node's own temperature if it has one."""
        return self.at(self.stage.sampling.temperature)

    @property
    def cool(self) -> Sampling:
        """As `sampling`, but no warmer than `COOL` unless the node says so."""
        return self.at(min(COOL, self.stage.sampling.temperature))

    def at(self, temperature: float) -> Sampling:
        """The stage's sampling at the node's temperature, else at the given one."""
        wanted = temperature if self.node.temperature is None else self.node.temperature
        usual = self.stage.sampling
        return usual if wanted is usual.temperature else replace(usual, temperature=wanted)

    def judging(self, max_tokens: int, top_logprobs: int = 0) -> Sampling:
        """How a role that judges draws: one opinion should not depend on chance, several must differ."""
        warmth = self.at(0.0 if self.node.samples == 1 else self.stage.sampling.temperature).temperature
        return Sampling(warmth, max_tokens, top_logprobs=top_logprobs)

    async def ask(self, messages: tuple[Message, ...], sampling: Sampling, nth: int = 0) -> list[Draw]:
        """The node's `samples` completions of one prompt, drawn at once.

        Args:
            nth: which of the node's prompts it is, for roles that ask once for each candidate.
        """
        assert self.node.model is not None
        samples = self.node.samples
        first = self.start + nth * samples
        if samples == 1:  # the common case: no task for a single call
            return [await self.buy(self.node.model, messages, sampling, first)]
        return await asyncio.gather(*(self.buy(self.node.model, messages, sampling, first + i) for i in range(samples)))

    async def ask_each(self, candidates: Sequence[Candidate], sampling: Sampling) -> list[list[Draw]]:
        """`ask` the role's prompt about each candidate alone."""
        return await asyncio.gather(*(self.ask(self.dressed([c]), sampling, i) for i, c in enumerate(candidates)))

    def dressed(self, candidates: Sequence[Candidate], *, numbered: bool = False) -> tuple[Message, ...]:
        """The role's own prompt around the stage's prompt and some candidates.

        Args:
            numbered: for replies that name candidates; elsewhere small models would copy the number for an answer.
        """
        role = self.node.role
        shown = listed(candidates, numbered=numbered, comments=ROLES[role].comments == "reads")
        task = render(self.stage.prompt, self.values)
        prompt = render(prompt_of(role), {"task": task, "candidates": shown})
        return self.stage.dressed(prompt, self.values)

    def answered(self, draws: Sequence[Draw]) -> NodeRun:
        """What a role gives that writes new texts: those that are whole, each with what the stage's parser reads."""
        whole = [draw.text for draw in draws if draw.status == "ok"]
        candidates = tuple(Candidate(t, self.stage.parse(t), (self.node.id, i)) for i, t in enumerate(whole))
        return NodeRun("ok" if candidates else lacking(draws), candidates, tuple(draws))


Operator = Callable[[Job], Awaitable[NodeRun]]


def heard(draws: Sequence[Draw]) -> list[str]:
    """Texts of a judge: the beginning of one that was cut off tells as much."""
    return [draw.text for draw in draws if draw.status in ("ok", "truncated")]


def lacking(draws: Sequence[Draw]) -> DrawStatus:
    """Why there is no candidate: a failure tells nothing about the model, so any other reason goes first."""
    order: tuple[DrawStatus, ...] = ("truncated", "refused", "timeout")
    return next((status for status in order if any(draw.status == status for draw in draws)), "failed")
