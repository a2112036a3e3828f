"""A graph as a LangGraph application: the same answers on the same draws, whatever the depths at which paths meet."""

from __future__ import annotations

import asyncio
import hashlib
import subprocess
import sys
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given

from apportion.envs import parsers
from apportion.envs.dispatch import Dispatcher
from apportion.envs.endpoint import Endpoint
from apportion.envs.environment import Environment
from apportion.envs.langgraph import to_langgraph
from apportion.envs.limits import Allowance
from apportion.envs.rollout import Rollout
from apportion.envs.stage import Example, Stage
from apportion.envs.worker import Request, Sampling
from apportion.graphs.graph import Graph, Node
from apportion.store import Calls
from apportion.testing.fakes import FakeWorker
from tests.strategies import MODELS, STAGES, graphs
from tests.support import CARD, NO_LIMITS, ROOT, open_calls

EXAMPLE = Example("x1", {"q": "why"})
BEFORE = {"find": "", "think": "{find}", "answer": "{think}"}
STEPS = {name: Stage(name, f"{name} {BEFORE[name]} {{q}}", parsers.number, Sampling(0.7, 16)) for name in STAGES}


def said(request: Request) -> str:
    """A grade and an answer that depend on everything that is asked; now and then neither."""
    digest = int(hashlib.sha256(repr(request).encode()).hexdigest(), 16)
    return "none" if digest % 11 == 0 else str(digest % 10)


@pytest.fixture(scope="module")
def bank(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Calls]:
    with open_calls(tmp_path_factory.mktemp("bank") / "bank.sqlite") as calls:
        yield calls


def both(graph: Graph, bank: Calls) -> tuple[Rollout, dict[str, Any], int]:
    """What the environment and then the application give, and the calls that the second one buys."""

    async def run() -> tuple[Rollout, dict[str, Any], int]:
        worker = FakeWorker(said)
        endpoints = {name: Endpoint(CARD, worker, name, name, 4, seeds=True) for name in MODELS}
        environment = Environment(STEPS, Dispatcher(bank, endpoints, Allowance(NO_LIMITS)))
        rollout = await environment.run(graph, EXAMPLE)
        before = len(worker.requests)
        state = await to_langgraph(graph, environment).ainvoke({"fields": EXAMPLE.fields})
        return rollout, dict(state), len(worker.requests) - before

    return asyncio.run(run())


def check_equal(graph: Graph, bank: Calls) -> None:
    rollout, state, fresh = both(graph, bank)
    assert (state["status"], state["answer"], fresh) == (rollout.status, rollout.answer, 0)
    assert state["runs"] == rollout.nodes


@given(graphs())
def test_an_application_gives_the_same_answer_and_buys_nothing(bank: Calls, graph: Graph) -> None:
    check_equal(graph, bank)


def chain(*ids: str) -> list[Node]:
    """Refiners one after the other."""
    return [Node(b, "find", "refiner", "small", inputs=(a,)) for a, b in pairwise(ids)]


UNEQUAL = {
    "a short and a long path": (
        Node("draft", "find", "generator", "small"),
        *chain("draft", "a", "b", "c"),
        Node("end", "find", "fuser", "large", inputs=("draft", "a", "c")),
    ),
    "two drafts at unequal depths": (
        Node("one", "find", "generator", "small"),
        Node("two", "find", "generator", "large", 2),
        *chain("one", "a", "b"),
        Node("pair", "find", "fuser", "medium", inputs=("two", "a")),
        Node("end", "find", "voter", inputs=("two", "pair", "b", "one")),
    ),
    "a stage that reads the first past the second": (
        Node("draft", "find", "generator", "small", 3),
        Node("vote", "find", "voter", inputs=("draft",)),
        Node("thought", "think", "generator", "small", inputs=("vote",)),
        Node("said", "answer", "generator", "large", inputs=("vote", "thought")),
    ),
    "a chain of forty": (Node("0", "find", "generator", "small"), *chain(*map(str, range(40)))),
    "names that a state has too": (
        Node("fields", "find", "generator", "small", 2),
        Node("answer", "find", "voter", inputs=("fields",)),
    ),
}


@pytest.mark.parametrize("name", UNEQUAL)
def test_a_node_runs_once_when_all_that_it_reads_is_there(bank: Calls, name: str) -> None:
    check_equal(Graph(UNEQUAL[name]), bank)


def test_an_application_has_the_edges_of_the_graph() -> None:
    graph = Graph(UNEQUAL["two drafts at unequal depths"])
    app = to_langgraph(graph, Environment(STEPS, Dispatcher.__new__(Dispatcher)))
    drawn = {(edge.source, edge.target) for edge in app.get_graph().edges}
    inner = {(source, node.id) for node in graph.nodes for source in node.inputs}
    assert drawn == inner | {("__start__", "one"), ("__start__", "two"), ("end", "__end__")}


def test_nothing_is_sent_when_it_is_imported_built_or_run() -> None:
    program = """
import asyncio, socket
from apportion.envs import langgraph, parsers
from apportion.envs.environment import Environment
from apportion.envs.stage import Stage
from apportion.envs.worker import Sampling
from apportion.graphs.graph import Graph, Node
from apportion.store.calls import Draw

def refuse(*arguments):
    raise AssertionError(f"a connection: {arguments}")

class Dispatcher:
    endpoints = {}
    async def draw(self, *asked):
        return Draw("key", 0, "ok", "fine")

async def main():
    socket.socket.connect = socket.socket.connect_ex = socket.getaddrinfo = refuse
    stages = {"s": Stage("s", "{q}", parsers.last_line, Sampling(0.7, 16))}
    environment = Environment(stages, Dispatcher())
    environment.logprobs = lambda node: False
    app = langgraph.to_langgraph(Graph((Node("d", "s", "generator", "m"),)), environment)
    print((await app.ainvoke({"fields": {"q": "?"}}))["answer"])

asyncio.run(main())
"""
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, env={})
    assert (ended.stdout, ended.stderr) == ("fine\n", "")
