"""Wall time that running a graph takes for each node, beside the same graph as a LangGraph application.

Workers answer at once, so what is measured is the framework. With the dispatcher (limits, ledger and bank in memory)
under both; the same with workers that answer in the next turn of the loop, as any does that waits for something; the
executors alone, on draws that are there; and LangGraph with functions that do nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import operator
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from statistics import median
from typing import Annotated, Any, TypedDict

from apportion.bench.end_to_end import graph
from apportion.bench.setup import CARD, MODEL, memory_dispatcher
from apportion.envs.dispatch import Dispatcher
from apportion.envs.endpoint import Endpoint
from apportion.envs.environment import Environment
from apportion.envs.langgraph import to_langgraph
from apportion.envs.parsers import text
from apportion.envs.stage import Example, Stage
from apportion.envs.worker import Message, Reply, Request, Sampling, Usage
from apportion.evaluators.benchmark import Benchmark
from apportion.store import Draw
from apportion.store.calls import Spender

EXAMPLES, ROUNDS, WAYS = 300, 5, 64
ANSWER = "an answer of six words, really"
STAGE = Stage("answer", "Which is it? {question}", text, Sampling(0.7, 64))

Run = Callable[[Sequence[Example]], Awaitable[None]]


def run(examples: int = EXAMPLES, rounds: int = ROUNDS) -> dict[str, object]:
    """Measure every way, in turns.

    Returns:
        Medians of the rounds in microseconds per node: `ours_us_per_node`, `langgraph_us_per_node` and their `ratio`
        with the same dispatcher and workers that answer at once; those `a_turn_later`, and of the executors `alone`;
        `dispatcher_us_per_draw`, which both have in common.
    """
    questions = [Example(str(i), {"question": f"number {i}"}) for i in range(examples)]
    ways: dict[str, Callable[[], contextlib.AbstractAsyncContextManager[Run]]] = {
        "ours": lambda: _dispatched(_ours),
        "langgraph": lambda: _dispatched(_langgraph),
        "ours_later": lambda: _dispatched(_ours, turns=1),
        "langgraph_later": lambda: _dispatched(_langgraph, turns=1),
        "ours_alone": lambda: contextlib.nullcontext(_ours(_AtOnce())),
        "langgraph_alone": lambda: contextlib.nullcontext(_langgraph(_AtOnce())),
        "langgraph_bare": lambda: contextlib.nullcontext(_bare()),
        "dispatcher": lambda: _dispatched(_draws),
    }
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            taken[name].append(asyncio.run(_us_per_node(way(), questions)))
    us = {name: median(times) for name, times in taken.items()}
    return {
        **_beside(us["ours"], us["langgraph"]),
        "dispatcher_us_per_draw": us["dispatcher"],
        "a_turn_later": _beside(us["ours_later"], us["langgraph_later"]),
        "alone": _beside(us["ours_alone"], us["langgraph_alone"])
        | {"langgraph_bare_us_per_node": us["langgraph_bare"]},
    }


def _beside(ours: float, langgraph: float) -> dict[str, float]:
    return {"ours_us_per_node": ours, "langgraph_us_per_node": langgraph, "ratio": ours / langgraph}


async def _us_per_node(way: contextlib.AbstractAsyncContextManager[Run], questions: Sequence[Example]) -> float:
    async with way as go:
        gc.collect()  # what the turn before has left is not this one's to clear away
        started = time.perf_counter()
        await go(questions)
        return 1e6 * (time.perf_counter() - started) / (len(questions) * len(graph().nodes))


class _OneReply:
    """A worker that gives the same reply to everything: its own time is next to none.

    Args:
        turns: of the loop that it waits before.
    """

    def __init__(self, turns: int) -> None:
        self._turns = turns
        self._reply = Reply(ANSWER, "ok", "stop", Usage(60, 6), None, 0.0)

    async def complete(self, request: Request) -> Reply:
        for _ in range(self._turns):
            await asyncio.sleep(0)
        return self._reply

    async def close(self) -> None:
        """Nothing to release."""


class _AtOnce(Dispatcher):
    """Gives the same draw for everything."""

    def __init__(self) -> None:
        self.endpoints = {MODEL: _endpoint()}
        self._draw = Draw("", 0, "ok", ANSWER)

    async def draw(
        self, model: str, messages: tuple[Message, ...], sampling: Sampling, index: int, spender: Spender
    ) -> Draw:
        return self._draw


@contextlib.asynccontextmanager
async def _dispatched(way: Callable[[Dispatcher], Run], turns: int = 0) -> AsyncIterator[Run]:
    """A way of running over a dispatcher as a search has it, but for the disk."""
    async with memory_dispatcher(_endpoint(turns)) as dispatcher:
        yield way(dispatcher)
        assert dispatcher.calls.ledger()["candidate"]["calls_banked"] == 0, "every call must be fresh"


def _endpoint(turns: int = 0) -> Endpoint:
    return Endpoint(CARD, _OneReply(turns), MODEL, MODEL, WAYS)


def _ours(dispatcher: Dispatcher) -> Run:
    """As a search runs a graph on a split."""
    environment = Environment({STAGE.name: STAGE}, dispatcher)

    async def go(questions: Sequence[Example]) -> None:
        benchmark = Benchmark(environment, {"search": questions}, {}, {}, window=2 * WAYS)
        assert [status async for _, status, _, _ in benchmark.measure(graph(), "search")] == ["ok"] * len(questions)

    return go


def _langgraph(dispatcher: Dispatcher) -> Run:
    app = to_langgraph(graph(), Environment({STAGE.name: STAGE}, dispatcher))

    async def go(questions: Sequence[Example]) -> None:
        ended = await asyncio.gather(*(app.ainvoke({"fields": question.fields}) for question in questions))
        assert all(state["status"] == "ok" for state in ended)

    return go


def _draws(dispatcher: Dispatcher) -> Run:
    """As many draws as there are nodes, without a graph."""
    nodes = graph().nodes

    async def go(questions: Sequence[Example]) -> None:
        prompts = (f"Which is it? {question.id}, {node.id}" for question in questions for node in nodes)
        draws = (dispatcher.draw(MODEL, (Message("user", p),), STAGE.sampling, 0, "candidate") for p in prompts)
        await asyncio.gather(*draws)

    return go


class _State(TypedDict):
    texts: Annotated[dict[str, str], operator.or_]


def _bare() -> Run:
    """LangGraph with functions that give a constant text."""
    from langgraph.graph import END, START, StateGraph

    builder = StateGraph(_State)
    for node in graph().nodes:

        async def step(state: _State, name: str = node.id) -> dict[str, Any]:
            return {"texts": {name: ANSWER}}

        builder.add_node(node.id, step)
        builder.add_edge(list(node.inputs) or START, node.id)
    builder.add_edge(graph().output.id, END)
    app = builder.compile()

    async def go(questions: Sequence[Example]) -> None:
        await asyncio.gather(*(app.ainvoke({"texts": {}}) for _ in questions))

    return go
