"""A stage, candidates and bought draws that a test writes, for the tests of the roles."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from apportion.envs import parsers
from apportion.envs.roles import OPERATORS, Job
from apportion.envs.rollout import Candidate, NodeRun
from apportion.envs.sandbox import Sandbox
from apportion.envs.stage import Stage
from apportion.envs.worker import Message, Sampling
from apportion.graphs.graph import Node
from apportion.graphs.roles import ROLES
from apportion.store.calls import Draw, DrawStatus

HOW = Sampling(0.7, 64, 0.9, ("#",))
STAGE = Stage("s", "Hint: {hint}\nWhat is {question}?", parsers.number, HOW, "Be brief, {name}.")
VALUES: Mapping[str, object] = {"hint": "none", "question": "2 + {2}", "name": "{hint}", "unused": 1}
SYSTEM = Message("system", "Be brief, {hint}.")
TASK = "Hint: none\nWhat is 2 + {2}?"
Answer = str | tuple[DrawStatus, str] | Mapping[str, float]
Sell = Callable[[str, int], Answer]
"""Prompt and index to a text, an ending with its text, or log-probabilities of the first token."""


class Shop:
    """Sells what the test says, and keeps the orders."""

    def __init__(self, sell: Sell) -> None:
        self.orders: list[tuple[str, tuple[Message, ...], Sampling, int]] = []
        self._sell = sell

    async def buy(self, model: str, messages: tuple[Message, ...], sampling: Sampling, index: int) -> Draw:
        self.orders.append((model, messages, sampling, index))
        await asyncio.sleep(0.001 * (3 - index % 4))  # what is asked first comes last
        key, answer = messages[-1].content, self._sell(messages[-1].content, index)
        if isinstance(answer, str):
            return Draw(key, index, "ok", answer)
        if isinstance(answer, tuple):
            return Draw(key, index, *answer)
        return Draw(key, index, "truncated", next(iter(answer)), first_token=answer)

    @property
    def prompts(self) -> list[str]:
        """What was asked, in the order of the sample index."""
        return [messages[-1].content for _, messages, _, _ in sorted(self.orders, key=lambda order: order[3])]


def cards(*texts: str, node: str = "d") -> tuple[Candidate, ...]:
    """Candidates as a node gives them that has just written them."""
    return tuple(Candidate(text, parsers.number(text), (node, i)) for i, text in enumerate(texts))


def play(
    role: str, sell: Sell, *given: str | Candidate, samples: int = 1, start: int = 0, **more: Any
) -> tuple[NodeRun, Shop]:
    """Run a role over candidates; `more` are fields of its node, of the job, or the `stage`."""
    shop = Shop(sell)
    fields = {name: more.pop(name) for name in ("temperature", "keep") if name in more}
    node = Node("n", "s", role, "m" if ROLES[role].calls_model else None, samples, **fields)
    candidates = tuple(
        c if isinstance(c, Candidate) else replace(cards(c)[0], origin=("d", i)) for i, c in enumerate(given)
    )
    stage, sandbox = more.pop("stage", STAGE), more.pop("sandbox", Sandbox())
    job = Job(node, stage, VALUES, start, candidates, shop.buy, sandbox, **more)
    return asyncio.run(_finish(job)), shop


async def _finish(job: Job) -> NodeRun:
    return await OPERATORS[job.node.role](job)


def nothing(prompt: str, index: int) -> Answer:
    """For a role that must not ask."""
    raise AssertionError("nothing should be bought")


def about(given: Mapping[str, Answer]) -> Sell:
    """A judge's replies by the text that it judges."""
    return lambda prompt, index: next(said for text, said in given.items() if f"Answer:\n{text}\n" in prompt)


def texts(run: NodeRun) -> list[str]:
    """Of its candidates."""
    return [candidate.text for candidate in run.candidates]


def scores(run: NodeRun) -> Sequence[float | None]:
    """Of its candidates."""
    return [candidate.score for candidate in run.candidates]
