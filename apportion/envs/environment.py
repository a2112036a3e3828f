"""Running one graph on one example as a dataflow: a node starts when its own inputs are done, and waits for no other.

The environment knows stages and how to get a draw; it knows no trial, no objective and no other example.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import replace

from apportion.envs.dispatch import Dispatcher
from apportion.envs.roles import OPERATORS, Buy, Job
from apportion.envs.rollout import Candidate, NodeRun, Rollout, merged, value_of
from apportion.envs.sandbox import Sandbox
from apportion.envs.stage import Example, Stage
from apportion.errors import ApportionError, RoleError
from apportion.graphs.graph import Graph, Node
from apportion.graphs.roles import ROLES
from apportion.store.calls import DrawStatus, Spender


class Environment:
    """Runs graphs over the given stages.

    Args:
        stages: every stage that a graph may name.
        dispatcher: where draws come from.
    """

    def __init__(self, stages: Mapping[str, Stage], dispatcher: Dispatcher) -> None:
        self.stages = stages
        self.dispatcher = dispatcher
        self.sandbox = Sandbox()

    async def run(self, graph: Graph, example: Example, spender: Spender = "candidate") -> Rollout:
        """Run `graph` on `example`, buying the draws that the bank lacks.

        Raises:
            LimitReached: a draw may not be bought.
            StoreError: the store cannot be written.
            SandboxError: a tester plays, and this machine has no sandbox.
        """
        return await _Run(self, graph, example, spender).finish()

    async def run_node(
        self, graph: Graph, node: Node, example: Example, ended: Mapping[str, NodeRun], start: int | None = None
    ) -> NodeRun:
        """Run one node of `graph` for whoever has an order of his own.

        Args:
            ended: what the nodes before it did, by node id: its inputs, and those that its inputs rest on.
            start: its first sample index; None is the one that the graph gives it.

        Raises:
            LimitReached: a draw may not be bought.
            StoreError: the store cannot be written.
            SandboxError: a tester plays, and this machine has no sandbox.
        """
        return await _Run(self, graph, example, "candidate").node(node, ended, start)

    async def retold(self, stage: str, answer: str, example: Example) -> str:
        """What later prompts read of a stage's answer.

        Raises:
            SandboxError: the answer is a program to be run, and this machine has no sandbox.
        """
        retell = self.stages[stage].retell
        return answer if retell is None else await retell(answer, example.fields, self.sandbox)

    def logprobs(self, node: Node) -> bool:
        """Whether the node's model gives log-probabilities."""
        return node.model is not None and self.dispatcher.endpoints[node.model].logprobs


def weighed(graph: Graph) -> frozenset[str]:
    """Stages in which scores of several nodes meet."""
    met = (n.stage for n in graph.nodes if ROLES[n.role].scores == "reads" and len(graph.candidates(n)) > 1)
    return frozenset(met)


class _Run:
    """One graph on one example, while it runs."""

    def __init__(self, environment: Environment, graph: Graph, example: Example, spender: Spender) -> None:
        draw = environment.dispatcher.draw
        self._environment = environment
        self._graph = graph
        self._example = example
        self._buy: Buy = lambda model, messages, sampling, index: draw(model, messages, sampling, index, spender)
        self._ended: dict[str, NodeRun] = {}
        self._lacking = {node.id: len(node.inputs) for node in graph.nodes}
        self._tasks: list[asyncio.Task[None]] = []
        self._all_ended: asyncio.Future[None]
        self._weighed = weighed(graph)

    async def finish(self) -> Rollout:
        graph = self._graph
        self._all_ended = asyncio.get_running_loop().create_future()
        try:
            self._start([node for node in graph.nodes if not node.inputs])
            await self._all_ended
        finally:
            left = [task for task in self._tasks if not task.done()]
            if left:
                for task in left:
                    task.cancel()
                await asyncio.gather(*left, return_exceptions=True)
        runs = {node.id: self._ended[node.id] for node in graph.nodes}
        last = runs[graph.output.id]
        return Rollout(graph, self._example.id, last.status, value_of(last), runs)

    def _start(self, nodes: Iterable[Node]) -> None:
        self._tasks += [asyncio.create_task(self._from(node)) for node in nodes]

    async def _from(self, node: Node) -> None:
        """Run a node, then those for which it was the last input: the first of them in the same task."""
        ready = [node]
        try:
            while ready and not self._all_ended.done():  # an operator may hold out against being cancelled
                node, *others = ready
                if others:
                    self._start(others)
                self._ended[node.id] = await self.node(node, self._ended)
                ready = self._readied_by(node)
            if len(self._ended) == len(self._graph.nodes):
                self._all_ended.set_result(None)
        except BaseException as error:  # noqa: BLE001 - handed to the one who waits for all
            if not self._all_ended.done():
                self._all_ended.set_exception(error)

    def _readied_by(self, node: Node) -> list[Node]:
        """The nodes that lack no input any more, now that this one has ended."""
        readers = self._graph.readers[node.id]
        for reader in readers:
            self._lacking[reader.id] -= 1
        return [reader for reader in readers if not self._lacking[reader.id]]

    async def node(self, node: Node, ended: Mapping[str, NodeRun], start: int | None = None) -> NodeRun:
        """Run a node whose inputs have ended."""
        candidates: list[Candidate] = []
        lacking: DrawStatus | None = None
        for source in node.inputs:
            run = ended[source]
            if self._graph.by_id[source].stage != node.stage:
                if value_of(run) is None:
                    return NodeRun(run.status)  # without what it reads, a stage has nothing to answer
            elif run.candidates:
                candidates.extend(run.candidates)
            elif lacking is None:
                lacking = run.status
        if not candidates and lacking is not None:
            return NodeRun(lacking)
        job = Job(
            node,
            self._environment.stages[node.stage],
            self._values(ended),
            self._graph.draw_starts[node.id] if start is None else start,
            merged(candidates),
            self._buy,
            self._environment.sandbox,
            self._environment.logprobs(node),
            node.stage in self._weighed,
        )
        return await self._retold(job, await _operated(job))

    async def _retold(self, job: Job, run: NodeRun) -> NodeRun:
        """What a node did, and where it ends a stage that is retold, what later prompts read."""
        stage, answer = job.node.stage, value_of(run)
        if job.stage.retell is None or answer is None or job.node is not self._graph.stage_outputs[stage]:
            return run
        return replace(run, retold=await self._environment.retold(stage, answer, self._example))

    def _values(self, ended: Mapping[str, NodeRun]) -> dict[str, object]:
        """What prompts may name: the fields, and the answers of the stages that have ended."""
        values = dict(self._example.fields)
        for stage, last in self._graph.stage_outputs.items():
            if last.id in ended and (value := value_of(ended[last.id])) is not None:
                retold = ended[last.id].retold
                values[stage] = value if retold is None else retold
        return values


async def _operated(job: Job) -> NodeRun:
    """What a role does. Whatever an operator of the user's raises is the user's mistake, and ends the search as one.

    So does an operator that would exit: `SystemExit` is no `Exception`, and would end the process without a word.
    """
    try:
        run = await OPERATORS[job.node.role](job)
        if not isinstance(run, NodeRun):
            raise TypeError(f"it gave {type(run).__name__}, not a NodeRun")
        return run
    except ApportionError:
        raise
    except (Exception, SystemExit) as error:
        said = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        raise RoleError(f"a role must not raise, but {job.node.role!r} does: {said}; mend it.") from error
