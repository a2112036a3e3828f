"""Running one graph on one example as a dataflow: a node starts when its own inputs are done, and waits for no other.

The environment knows stages and how to get a draw; it knows no trial, no objective and no other example.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Mapping

from apportion.envs.dispatch import Dispatcher
from apportion.envs.operators import OPERATORS, Buy, Job
from apportion.envs.rollout import Candidate, NodeRun, Rollout
from apportion.envs.stage import Example, Stage
from apportion.envs.worker import Message, Sampling
from apportion.graphs.graph import Graph, Node
from apportion.store.calls import Draw, DrawStatus, Spender


class Environment:
    """Runs graphs over the given stages.

    Args:
        stages: every stage that a graph may name.
        dispatcher: where draws come from.
    """

    def __init__(self, stages: Mapping[str, Stage], dispatcher: Dispatcher) -> None:
        self.stages = stages
        self.dispatcher = dispatcher

    async def run(self, graph: Graph, example: Example, spender: Spender = "candidate") -> Rollout:
        """Run `graph` on `example`, buying the draws that the bank lacks.

        Raises:
            LimitReached: a draw may not be bought.
            StoreError: the store cannot be written.
        """
        run = _Run(self, graph, example, functools.partial(_buy, self.dispatcher, spender))
        return await run.finish()


async def _buy(
    dispatcher: Dispatcher, spender: Spender, model: str, messages: tuple[Message, ...], sampling: Sampling, index: int
) -> Draw:
    return await dispatcher.draw(model, messages, sampling, index, spender)


class _Run:
    """One graph on one example, while it runs."""

    def __init__(self, environment: Environment, graph: Graph, example: Example, buy: Buy) -> None:
        self._stages = environment.stages
        self._graph = graph
        self._example = example
        self._buy = buy
        self._values = dict(example.fields)
        self._tasks: dict[str, asyncio.Task[NodeRun]] = {}

    async def finish(self) -> Rollout:
        graph = self._graph
        try:
            for node in graph.nodes:
                self._tasks[node.id] = asyncio.create_task(self._node(node))
            await asyncio.gather(*self._tasks.values())
        finally:
            for task in self._tasks.values():
                task.cancel()
            await asyncio.gather(*self._tasks.values(), return_exceptions=True)
        runs = {name: task.result() for name, task in self._tasks.items()}
        last = runs[graph.output.id]
        answer = last.candidates[0].value if last.candidates else None
        return Rollout(graph, self._example.id, last.status, answer, runs)

    async def _node(self, node: Node) -> NodeRun:
        candidates: list[Candidate] = []
        lacking: list[DrawStatus] = []
        for source in node.inputs:
            run = await asyncio.shield(self._tasks[source])
            other = self._graph.by_id[source]
            if other.stage == node.stage:
                candidates.extend(run.candidates)
                if not run.candidates:
                    lacking.append(run.status)
            elif run.candidates and (value := run.candidates[0].value) is not None:
                self._values[other.stage] = value
            else:
                return NodeRun(run.status)  # without what it reads, a stage has nothing to answer
        if not candidates and lacking:
            return NodeRun(lacking[0])
        start = self._graph.draw_starts[node.id]
        job = Job(node, self._stages[node.stage], self._values, start, tuple(candidates), self._buy)
        return await OPERATORS[node.role](job)
