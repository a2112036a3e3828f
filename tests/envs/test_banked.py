"""From the bank a graph gives what it gave, or nothing where a draw is lacking, and the books stay as they are."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apportion.envs import parsers
from apportion.envs.banked import Retracer, Unbanked, on_bank
from apportion.envs.dispatch import Dispatcher
from apportion.envs.endpoint import Endpoint
from apportion.envs.environment import Environment
from apportion.envs.limits import Allowance
from apportion.envs.rollout import Rollout
from apportion.envs.stage import Example, Stage
from apportion.envs.worker import Request, Sampling
from apportion.graphs.graph import Graph, Node
from apportion.store import Memory, MemoryCalls
from apportion.store.books import Books
from apportion.testing.fakes import FakeWorker, ScriptedWorker
from tests.envs.kit import failing, saying
from tests.strategies import MODELS, STAGES, graphs
from tests.support import CARD, NO_LIMITS, open_calls

EXAMPLE = Example("x", {"q": "why"})
STEPS = {
    name: Stage(name, "".join(f"{{{earlier}}} " for earlier in STAGES[:i]) + "{q}", parsers.last_line, Sampling(0.7, 9))
    for i, name in enumerate(STAGES)
}
FAN = Graph(
    (
        *(Node(f"g{i}", "find", "generator", "small") for i in range(3)),
        Node("end", "find", "voter", inputs=("g0", "g1", "g2")),
    )
)


def hashed(request: Request) -> str:
    """Few different answers, so that votes differ and judges have something to say."""
    said = "\n".join(message.content for message in request.messages)
    n = hashlib.sha256(f"{request.model} {said} {request.seed}".encode()).digest()[0]
    return f"{n % 11}\n{'abc'[n % 3]}"


def environment(calls: Books, worker: Any) -> Environment:
    endpoints = {name: Endpoint(CARD, worker, name, name, 4, seeds=True) for name in MODELS}
    return Environment(STEPS, Dispatcher(calls, endpoints, Allowance(NO_LIMITS), 0.0))


@contextlib.contextmanager
def in_memory(path: Path) -> Iterator[Books]:
    yield MemoryCalls(Memory(), "run")


@pytest.fixture(params=[open_calls, in_memory], ids=["disk", "memory"])
def books(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Books]:
    opened: Callable[[Path], contextlib.AbstractContextManager[Books]] = request.param
    with opened(tmp_path / "store.sqlite") as calls:
        yield calls


def test_what_was_bought_is_had_again_and_nothing_is_entered(books: Books) -> None:
    worker = FakeWorker(hashed)
    live = environment(books, worker)

    async def main() -> None:
        retracer = Retracer(on_bank(live), EXAMPLE)
        assert await Retracer(on_bank(live), EXAMPLE).run(FAN) is None, "nothing was bought"
        bought = await live.run(FAN, EXAMPLE)
        before, spent, asked = books.ledger(), live.dispatcher.allowance.spent, len(worker.requests)
        assert [await retracer.run(FAN), await retracer.run(FAN)] == [bought, bought]
        less = Graph((*FAN.nodes[:2], Node("end", "find", "voter", inputs=("g0", "g1"))))
        assert await retracer.run(less) is not None
        more = Graph((*FAN.nodes[:3], Node("g3", "find", "refiner", "small", inputs=("g0", "g1", "g2"))))
        assert await retracer.run(more) is None
        after = (books.ledger(), live.dispatcher.allowance.spent, len(worker.requests))
        assert after == (before, spent, asked) and books.spent()[0] == asked == 3

    asyncio.run(main())


@pytest.mark.parametrize(("kind", "times"), [("rejected", 1), ("timeout", 3)])
def test_a_failed_draw_is_in_no_bank(books: Books, kind: str, times: int) -> None:
    """One that timed out for good stands as such in a rollout, yet nothing of it is kept."""
    live = environment(books, ScriptedWorker([failing(kind)] * times))
    lone = Graph((Node("g", "find", "generator", "small"),))

    async def main() -> None:
        assert (await live.run(lone, EXAMPLE)).answer is None
        assert await Retracer(on_bank(live), EXAMPLE).run(lone) is None
        with pytest.raises(Unbanked, match=r"sample 0 of [0-9a-f]{32} must be in the bank, but it is not; buy it"):
            await on_bank(live).run(lone, EXAMPLE)

    asyncio.run(main())


def test_the_environment_it_was_made_of_goes_on_to_buy() -> None:
    live = environment(MemoryCalls(Memory(), "run"), saying("a"))
    on_bank(live)
    assert asyncio.run(live.run(FAN, EXAMPLE)).answer == "a"


@settings(max_examples=60)
@given(st.lists(graphs(), min_size=2, max_size=5))
def test_what_is_shared_between_graphs_is_what_each_does_alone(drawn: list[Graph]) -> None:
    live = environment(MemoryCalls(Memory(), "run"), FakeWorker(hashed))

    async def main() -> tuple[list[Rollout], list[Rollout | None]]:
        retracer = Retracer(on_bank(live), EXAMPLE)
        rollouts = [await live.run(graph, EXAMPLE) for graph in drawn]
        return rollouts, [await retracer.run(graph) for graph in drawn]

    bought, again = asyncio.run(main())
    assert again == bought


def test_a_judge_that_is_weighed_is_another_one() -> None:
    """A verifier of a lone answer is asked only where its score meets another's."""

    def judged(request: Request) -> str:
        return hashed(request) if request.messages[-1].content == "why" else "yes"

    live = environment(MemoryCalls(Memory(), "run"), FakeWorker(judged))
    one = (Node("g0", "find", "generator", "small"), Node("v0", "find", "verifier", "large", inputs=("g0",)))
    two = (Node("g1", "find", "generator", "medium"), Node("v1", "find", "verifier", "large", inputs=("g1",)))
    alone = Graph((*one, Node("end", "find", "weighted_voter", inputs=("v0",))))
    beside = Graph((*one, *two, Node("end", "find", "weighted_voter", inputs=("v0", "v1"))))

    async def main() -> None:
        bought = [await live.run(graph, EXAMPLE) for graph in (alone, beside)]
        retracer = Retracer(on_bank(live), EXAMPLE)
        assert [await retracer.run(graph) for graph in (alone, beside)] == bought
        assert [len(rollout.nodes["v0"].draws) for rollout in bought] == [0, 1]

    asyncio.run(main())


def test_other_sample_indices_are_other_draws() -> None:
    live = environment(MemoryCalls(Memory(), "run"), FakeWorker(lambda request: str(request.seed)))
    lone = Graph((Node("g1", "find", "generator", "small"),))

    async def main() -> tuple[Rollout, Rollout | None, Rollout | None]:
        whole, retracer = await live.run(FAN, EXAMPLE), Retracer(on_bank(live), EXAMPLE)
        return whole, await retracer.run(lone), await retracer.run(lone, {"g1": 1})

    whole, own, kept = asyncio.run(main())
    assert own is not None and kept is not None
    assert [run.nodes["g1"].draws[0].index for run in (whole, own, kept)] == [1, 0, 1]
    assert kept.nodes["g1"] == whole.nodes["g1"] and own.answer == whole.nodes["g0"].candidates[0].value
