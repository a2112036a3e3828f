"""Running graphs on completions that were bought before: nothing is asked, booked or charged, nor entered as used.

What a graph would have given, for nothing, wherever the bank holds all that it asks for. It does not know why that is
asked, nor how a completion came to be in the bank.
"""

from __future__ import annotations

import copy
from collections.abc import Hashable, Mapping

from apportion.envs.dispatch import Dispatcher
from apportion.envs.environment import Environment, weighed
from apportion.envs.limits import Allowance, Limits
from apportion.envs.rollout import NodeRun, Rollout, value_of
from apportion.envs.stage import Example
from apportion.envs.worker import Message, Sampling
from apportion.errors import ApportionError
from apportion.graphs.graph import Graph, Node
from apportion.store.calls import Draw, Spender


class Unbanked(ApportionError):
    """A draw is not in the bank: it was never bought, or it failed."""


class _Bank(Dispatcher):
    """Gives draws from the books of another dispatcher, which it leaves as they are."""

    def __init__(self, other: Dispatcher) -> None:
        super().__init__(other.calls, other.endpoints, Allowance(Limits()))

    async def draw(
        self, model: str, messages: tuple[Message, ...], sampling: Sampling, index: int, spender: Spender
    ) -> Draw:
        """The banked completion.

        Raises:
            Unbanked: there is none.
        """
        prompt = self._prompt(model, messages, sampling)
        banked = self.calls.find(prompt.key, index)
        if banked is None:
            raise Unbanked(f"sample {index} of {prompt.key} must be in the bank, but it is not; buy it first.")
        return banked


def on_bank(environment: Environment) -> Environment:
    """The environment, with draws from its bank only: a run that lacks one raises `Unbanked`."""
    other = copy.copy(environment)
    other.dispatcher = _Bank(environment.dispatcher)
    return other


class Retracer:
    """Runs graphs on one example from the bank. What a node did in one graph stands for it in all that ask the same.

    Args:
        environment: one that `on_bank` made.
    """

    def __init__(self, environment: Environment, example: Example) -> None:
        self._environment = environment
        self._example = example
        self._done: dict[Hashable, NodeRun | None] = {}

    async def run(self, graph: Graph, starts: Mapping[str, int] | None = None) -> Rollout | None:
        """What the graph gives, as `Environment.run` has it; None where a draw that it asks for is not in the bank.

        A failed draw is in no bank, however often it was bought.

        Args:
            starts: first sample index of each node; None are those that the graph gives them.

        Raises:
            StoreError: the store cannot be read.
            RoleError: the operator of a role raised.
            SandboxError: a tester plays, and this machine has no sandbox.
        """
        ended: dict[str, NodeRun] = {}
        met, starts = weighed(graph), graph.draw_starts if starts is None else starts
        for node in graph.nodes:
            run = await self._node(graph, node, ended, starts[node.id], weighs=node.stage in met)
            if run is None:
                return None
            ended[node.id] = run
        last = ended[graph.output.id]
        return Rollout(graph, self._example.id, last.status, value_of(last), ended)

    async def _node(
        self, graph: Graph, node: Node, ended: Mapping[str, NodeRun], start: int, *, weighs: bool
    ) -> NodeRun | None:
        ends = graph.stage_outputs
        asked = (  # all that a run hangs on; a run that is kept has an id of its own
            (node.id, node.stage, node.role, node.model, node.samples, node.temperature, node.keep),
            start,
            weighs,
            node is ends[node.stage],
            tuple((graph.by_id[source].stage, id(ended[source])) for source in node.inputs),
            tuple((stage, id(ended[last.id])) for stage, last in ends.items() if last.id in ended),
        )
        if asked not in self._done:
            try:
                self._done[asked] = await self._environment.run_node(graph, node, self._example, ended, start)
            except Unbanked:
                self._done[asked] = None
        return self._done[asked]
