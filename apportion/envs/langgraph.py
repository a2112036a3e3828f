"""A graph as a LangGraph application, whose nodes run the same operators on the same draws.

It knows LangGraph's graphs and states, and nothing of LangChain's messages and models. LangGraph goes step by step: a
node waits for the slowest one of the step before, where `Environment.run` waits for a node's own inputs only.
"""

from __future__ import annotations

import operator
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Protocol, TypedDict

from apportion.envs.environment import Environment
from apportion.envs.rollout import NodeRun, value_of
from apportion.envs.stage import Example
from apportion.graphs.graph import Graph, Node
from apportion.store.calls import DrawStatus

if TYPE_CHECKING:
    from langgraph.graph.state import CompiledStateGraph


class Question(TypedDict):
    """What an application is asked.

    Attributes:
        fields: named texts that prompts may use.
    """

    fields: Mapping[str, object]


class State(Question):
    """What passes through an application, and what it ends with.

    Attributes:
        runs: what each node that has ended did, by node id.
        status: how the last node ended.
        answer: its value, None when it has none.
    """

    runs: Annotated[dict[str, NodeRun], operator.or_]
    status: DrawStatus
    answer: str | None


def to_langgraph(graph: Graph, environment: Environment) -> CompiledStateGraph[State, None, Question, State]:
    """The graph, compiled: `(await app.ainvoke({"fields": {...}}))["answer"]`.

    Raises:
        ValueError: a node's id has a `:` or a `|`, which LangGraph keeps for itself.
    """
    from langgraph.graph import END, START, StateGraph

    builder = StateGraph(State, input_schema=Question)
    for node in graph.nodes:
        builder.add_node(node.id, _step(graph, node, environment))
        # An edge from a list waits for all of them, however many steps each takes; single edges would start it twice.
        builder.add_edge(list(node.inputs) or START, node.id)
    builder.add_edge(graph.output.id, END)
    return builder.compile(name="apportion")


class _Step(Protocol):
    async def __call__(self, state: State) -> dict[str, Any]: ...


def _step(graph: Graph, node: Node, environment: Environment) -> _Step:
    async def step(state: State) -> dict[str, Any]:
        run = await environment.run_node(graph, node, Example("", state["fields"]), state.get("runs", {}))
        ended: dict[str, Any] = {"runs": {node.id: run}}
        return {**ended, "status": run.status, "answer": value_of(run)} if node is graph.output else ended

    return step
