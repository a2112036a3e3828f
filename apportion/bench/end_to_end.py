"""The makespan of real searching beside what no scheduler can go below.

100 examples of a ten-node graph, a thousand calls, 64 slots, the store durable. Lower bound: the larger of the
critical path and all work divided by the slots.
"""

from __future__ import annotations

import asyncio
import time

from apportion.bench.setup import MODEL, durable_dispatcher, mock_server
from apportion.envs.environment import Environment
from apportion.envs.parsers import text
from apportion.envs.stage import Example, Stage
from apportion.envs.worker import Sampling
from apportion.evaluators.benchmark import Benchmark
from apportion.graphs.graph import Graph, Node

EXAMPLES, SLOTS, ROUNDS = 100, 64, 3
REPLIES_MS = (100.0, 1000.0)


def graph() -> Graph:
    """Ten nodes in four levels: three drafts, five refinements of them, and two levels of fusing."""
    drafts = [Node(f"d{i}", "answer", "generator", MODEL) for i in range(3)]
    refined = [Node(f"r{i}", "answer", "refiner", MODEL, 1, (f"d{i % 3}",)) for i in range(5)]
    fused = Node("f0", "answer", "fuser", MODEL, 1, ("r0", "r1", "r2"))
    last = Node("f1", "answer", "fuser", MODEL, 1, ("f0", "r3", "r4"))
    return Graph((*drafts, *refined, fused, last))


def lower_bound_s(reply_s: float) -> float:
    """Seconds below which no schedule can go."""
    depth = 4
    return max(depth * reply_s, EXAMPLES * graph().calls * reply_s / SLOTS)


def run() -> list[dict[str, object]]:
    """Measure at each reply time.

    Returns:
        A case a reply time: the median of the rounds over the lower bound, and every round's seconds.
    """
    cases: list[dict[str, object]] = []
    for reply_ms in REPLIES_MS:
        with mock_server(reply_ms) as url:
            seconds = sorted(asyncio.run(_makespan_s(url, n)) for n in range(ROUNDS))
        bound = lower_bound_s(reply_ms / 1e3)
        ratio = seconds[ROUNDS // 2] / bound
        cases.append({"reply_ms": reply_ms, "ratio_to_lower_bound": ratio, "bound_s": bound, "seconds": seconds})
    return cases


async def _makespan_s(url: str, round_: int) -> float:
    stage = Stage("answer", "Which is it? {question}", text, Sampling(0.7, 64))
    examples = [Example(str(i), {"question": f"round {round_}, number {i}"}) for i in range(EXAMPLES)]
    async with durable_dispatcher(url, SLOTS) as dispatcher:
        environment = Environment({"answer": stage}, dispatcher)
        benchmark = Benchmark(environment, {"search": examples}, {}, {}, window=2 * SLOTS)
        started = time.perf_counter()
        rows = [row async for row in benchmark.measure(graph(), "search")]
        seconds = time.perf_counter() - started
        calls = dispatcher.calls.ledger()["candidate"]["calls_fresh"]
    assert calls == EXAMPLES * graph().calls, f"every call must be fresh and good, got {calls}"
    assert all(status == "ok" for _, status, _, _ in rows)
    return seconds
