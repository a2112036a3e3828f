"""The makespan of a graph over many examples beside an ideal list scheduler, on latencies of real completions.

The worker sleeps, each request a latency of its own. The ideal scheduler is simulated: it takes no time, and whenever a
slot is free, the call starts that has been ready longest, of several the first example's, as in the dispatcher.
"""

from __future__ import annotations

import asyncio
import hashlib
import heapq
import json
import time
from collections.abc import Mapping, Sequence
from importlib.resources import files

from apportion.bench.end_to_end import graph
from apportion.bench.setup import CARD, MODEL, dispatcher_of
from apportion.envs.endpoint import Endpoint
from apportion.envs.environment import Environment
from apportion.envs.parsers import text
from apportion.envs.rollout import Rollout
from apportion.envs.stage import Example, Stage
from apportion.envs.worker import Reply, Request, Sampling, Usage
from apportion.evaluators.benchmark import Benchmark
from apportion.graphs.graph import Graph

EXAMPLES, SLOTS = 200, 256
LATENCIES = "latencies.json"

Latencies = Mapping[str, float]
"""Seconds of each node's call, for one example."""


def run(examples: int = EXAMPLES, slots: int = SLOTS, scale: float = 1.0) -> dict[str, float]:
    """Measure once.

    Args:
        scale: of the recorded latencies.

    Returns:
        The ratios, and the seconds that they are of.
    """
    seconds = json.loads(files("apportion.bench").joinpath(LATENCIES).read_text(encoding="utf-8"))["seconds"]
    makespan_s, taken = asyncio.run(_measure([scale * s for s in seconds], examples, slots))
    listed_s, bound_s = list_schedule_s(graph(), taken, slots), lower_bound_s(graph(), taken, slots)
    return {
        "ratio_to_list_scheduler": makespan_s / listed_s,
        "ratio_to_lower_bound": makespan_s / bound_s,
        "makespan_s": makespan_s,
        "list_scheduler_s": listed_s,
        "lower_bound_s": bound_s,
        "examples": examples,
        "slots": slots,
        "latencies_times": scale,
    }


def list_schedule_s(graph: Graph, latencies: Sequence[Latencies], slots: int) -> float:
    """The makespan of the ideal scheduler, event by event."""
    lacking = [{node.id: len(node.inputs) for node in graph.nodes} for _ in latencies]
    # When a call became ready, its example, its node.
    ready = [(0.0, i, node.id) for i in range(len(latencies)) for node in graph.nodes if not node.inputs]
    under_way: list[tuple[float, int, str]] = []
    now_s = 0.0
    while ready or under_way:
        while ready and len(under_way) < slots:
            _, i, name = heapq.heappop(ready)
            heapq.heappush(under_way, (now_s + latencies[i][name], i, name))
        now_s, i, name = heapq.heappop(under_way)
        for reader in graph.readers[name]:
            lacking[i][reader.id] -= 1
            if not lacking[i][reader.id]:
                heapq.heappush(ready, (now_s, i, reader.id))
    return now_s


def lower_bound_s(graph: Graph, latencies: Sequence[Latencies], slots: int) -> float:
    """What no scheduler can go below: the larger of the longest path and all work over the slots."""
    longest_s = 0.0
    for own in latencies:
        ends_s: dict[str, float] = {}
        for node in graph.nodes:
            ends_s[node.id] = own[node.id] + max((ends_s[source] for source in node.inputs), default=0.0)
        longest_s = max(longest_s, *ends_s.values())
    return max(longest_s, sum(sum(own.values()) for own in latencies) / slots)


class _Sleeper:
    """Answers after a latency that depends on the request only."""

    def __init__(self, seconds: Sequence[float]) -> None:
        self._seconds = seconds

    async def complete(self, request: Request) -> Reply:
        digest = hashlib.sha256(repr((request.messages, request.seed)).encode()).digest()
        latency_s = self._seconds[int.from_bytes(digest[:8]) % len(self._seconds)]
        await asyncio.sleep(latency_s)
        return Reply("an answer", "ok", "stop", Usage(8, 2), None, latency_s)

    async def close(self) -> None:
        """Nothing to release."""


async def _measure(seconds: Sequence[float], examples: int, slots: int) -> tuple[float, list[Latencies]]:
    """The makespan, and the latency of every call."""
    stage = Stage("answer", "Which is it? {question}", text, Sampling(0.7, 64))
    questions = [Example(str(i), {"question": f"number {i}"}) for i in range(examples)]
    taken: dict[str, Latencies] = {}

    def note(rollout: Rollout) -> None:
        taken[rollout.example_id] = {name: run.draws[0].latency_s for name, run in rollout.nodes.items()}

    endpoint = Endpoint(CARD, _Sleeper(seconds), MODEL, MODEL, slots, seeds=True)  # seeds tell samples apart
    async with dispatcher_of(endpoint) as dispatcher:
        environment = Environment({stage.name: stage}, dispatcher)
        benchmark = Benchmark(environment, {"search": questions}, {}, {"latencies": note}, window=2 * slots)
        started = time.perf_counter()
        rows = [row async for row in benchmark.measure(graph(), "search")]
        makespan_s = time.perf_counter() - started
    assert all(status == "ok" for _, status, _, _ in rows)
    return makespan_s, [taken[question.id] for question in questions]
