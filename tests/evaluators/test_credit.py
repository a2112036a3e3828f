"""Credit is what one counts by hand, what a smaller graph truly scores, and costs nothing, wherever the bank is."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from apportion.build import build, space_of
from apportion.envs import parsers
from apportion.envs.dispatch import Dispatcher
from apportion.envs.endpoint import Endpoint
from apportion.envs.environment import Environment
from apportion.envs.limits import Allowance
from apportion.envs.stage import Example, Stage
from apportion.envs.worker import Reply, Request, Sampling
from apportion.errors import EvaluatorError, WorkerError
from apportion.evaluators.answers import exact
from apportion.evaluators.benchmark import Benchmark
from apportion.evaluators.credit import credit
from apportion.evaluators.overlap import squad_f1
from apportion.graphs.credit import Credit, EdgeCredit, NodeCredit, Said, Sample
from apportion.graphs.graph import Graph, Node
from apportion.graphs.pruning import Part
from apportion.graphs.slots import SlotStage
from apportion.graphs.space import SearchSpace
from apportion.graphs.templates import TemplateStage
from apportion.recording.replaying import benchmark as replayed
from apportion.recording.table import read
from apportion.recording.taking import record
from apportion.spec import load_spec
from apportion.store import Memory, MemoryCalls
from apportion.store.books import Books
from apportion.testing.fakes import FakeWorker
from tests.recording.kit import slot_task
from tests.support import CARD, NO_LIMITS, open_calls, quick_retries, server_process

SPACE = SearchSpace((SlotStage("s", ("a", "b", "f"), 3, ("fuser", "refiner"), ("voter",)),))
GRAPH = Graph(
    (
        Node("x", "s", "generator", "a"),
        Node("y", "s", "generator", "b"),
        Node("z", "s", "fuser", "f", inputs=("x", "y")),
        Node("end", "s", "voter", inputs=("x", "y", "z")),
    )
)
SAID = {"a": "rrww", "b": "wrrw", "f": "wrwr"}
"""By model, what it says to each of four questions: right or wrong."""
STAGES = {"s": Stage("s", "{q}?", parsers.last_line, Sampling(0.7, 16))}


@contextlib.contextmanager
def in_memory(path: Path) -> Iterator[Books]:
    yield MemoryCalls(Memory(), "run")


@pytest.fixture(params=[open_calls, in_memory], ids=["disk", "memory"])
def books(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Books]:
    opened: Callable[[Path], contextlib.AbstractContextManager[Books]] = request.param
    with opened(tmp_path / "store.sqlite") as calls:
        yield calls


class Table(FakeWorker):
    """Says what a table has of the question whose number the prompt begins with; `-` fails."""

    def __init__(self, said: Mapping[str, str]) -> None:
        super().__init__(lambda request: said[request.model][self.question(request)])
        self._said = said

    @staticmethod
    def question(request: Request) -> int:
        text = request.messages[-1].content
        return int(next(c for c in text if c.isdigit()))

    async def complete(self, request: Request) -> Reply:
        if self._said[request.model][self.question(request)] == "-":
            raise WorkerError("rejected", "not today")
        return await super().complete(request)


def benchmark(calls: Books, worker: FakeWorker, n: int = 4, **changes: Any) -> Benchmark:
    endpoints = {name: Endpoint(CARD, worker, name, name, 4, seeds=True) for name in "abf"}
    environment = Environment(changes.pop("stages", STAGES), Dispatcher(calls, endpoints, Allowance(NO_LIMITS), 0.0))
    examples = [Example(f"e{i}", {"q": str(i), "target": "r"}) for i in range(n)]
    kit: dict[str, Any] = {"answers": {"accuracy": exact("target")}, "costs": {}, "window": 4, **changes}
    return Benchmark(environment, {"search": examples}, **kit)


async def scores(made: Benchmark, graph: Graph, metric: str = "accuracy") -> list[float]:
    return [float(row[3][metric] or 0.0) async for row in made.measure(graph, "search")]


def credited(made: Benchmark, graph: Graph = GRAPH, space: SearchSpace = SPACE, **how: Any) -> Credit:
    async def main() -> Credit:
        async for _ in made.measure(graph, "search"):
            pass
        return await credit(made, space, graph, **how)

    return asyncio.run(main())


def effects(told: Credit) -> dict[tuple[Part, ...], tuple[float, int]]:
    return {effect.parts: (effect.difference, effect.examples) for effect in told.effects}


def test_counts_are_those_made_by_hand(books: Books) -> None:
    told = credited(benchmark(books, Table(SAID)))
    assert (told.graph, told.metric, told.examples, told.right) == (GRAPH, "accuracy", 4, 1)
    assert told.nodes == (
        NodeCredit("x", 4, 0, 2, 0.5, None, None),
        NodeCredit("y", 4, 0, 2, 0.5, None, None),
        NodeCredit("z", 4, 0, 2, 0.5, 2, 1),
        NodeCredit("end", 4, 0, 1, 0.25, 3, 0),
    )
    assert told.edges == (
        EdgeCredit("x", "z", 1, 1, 1, 1),
        EdgeCredit("y", "z", 1, 1, 1, 1),
        EdgeCredit("x", "end", 1, 1, 0, 2),
        EdgeCredit("y", "end", 1, 1, 0, 2),
        EdgeCredit("z", "end", 1, 1, 0, 2),
    )
    # A vote of two is the first of them where they differ; without a draft the fuser is asked what nobody has asked.
    assert effects(told) == {
        ("z", ("z", "end")): (0.25, 4),
        (("x", "end"),): (0.25, 4),
        (("y", "end"),): (0.25, 4),
    }
    assert all(effect.low <= 0.25 <= effect.high for effect in told.effects)
    said = (Said("x", "r", True), Said("y", "w", False), Said("z", "w", False), Said("end", "w", False))
    assert told.sample == Sample("e0", said)


def test_nothing_is_bought_and_nothing_entered(books: Books) -> None:
    worker = Table(SAID)
    made = benchmark(books, worker)
    assert asyncio.run(credit(made, SPACE, GRAPH)).examples == 0, "it was not measured"
    assert worker.requests == [] and not any(books.ledger()["candidate"].values())
    credited(made)
    ledger, asked = books.ledger(), len(worker.requests)
    asyncio.run(credit(made, SPACE, GRAPH))
    assert (books.ledger(), len(worker.requests)) == (ledger, asked)
    assert made.environment.dispatcher.allowance.spent.calls == asked == 12


def test_a_failed_draw_leaves_its_example_out(books: Books) -> None:
    told = credited(benchmark(books, Table({**SAID, "f": "wrw-"})))
    assert told.examples == 3 and [node.answered for node in told.nodes] == [3] * 4
    assert told.nodes[2] == NodeCredit("z", 3, 0, 1, 1 / 3, 2, 0)
    assert effects(told)["z", ("z", "end")] == (1 / 3, 3)


def test_of_one_example_no_effect_is_told() -> None:
    assert credited(benchmark(MemoryCalls(Memory(), "run"), Table(SAID), 1)).effects == ()


def test_what_another_graph_has_asked_is_known() -> None:
    """The refiner that is left of a fuser, once it was bought for another graph."""
    made = benchmark(MemoryCalls(Memory(), "run"), Table(SAID))
    first = credited(made)
    left = Graph(
        (
            Node("y", "s", "generator", "b"),
            Node("z", "s", "refiner", "f", inputs=("y",)),
            Node("end", "s", "voter", inputs=("y", "z")),
        )
    )
    whole, less = asyncio.run(scores(made, GRAPH)), asyncio.run(scores(made, left))
    told = effects(credited(made))
    assert ("x",) not in effects(first)
    assert told["x",] == (sum(less) / 4 - sum(whole) / 4, 4) == (0.25, 4)


def hashed(request: Request) -> str:
    said = "\n".join(message.content for message in request.messages)
    n = hashlib.sha256(f"{request.model} {said} {request.seed}".encode()).digest()[0]
    return "rvw"[n % 3]


LIKE = Graph(
    (*(Node(f"g{i}", "s", "generator", "a") for i in range(3)), Node("end", "s", "voter", inputs=("g0", "g1", "g2")))
)


def test_what_a_voter_would_say_without_a_draft_is_what_it_says() -> None:
    worker = FakeWorker(hashed)
    made = benchmark(MemoryCalls(Memory(), "run"), worker, 60)
    told = credited(made, LIKE)
    (effect,) = told.effects
    assert effect.parts == ("g0", "g1", "g2", *((f"g{i}", "end") for i in range(3))) and effect.examples == 60
    asked = len(worker.requests)
    less, whole = (asyncio.run(scores(made, graph)) for graph in (effect.graph, LIKE))
    assert len(worker.requests) == asked == 180, "the smaller graph has nothing left to buy"
    assert effect.difference == pytest.approx((sum(less) - sum(whole)) / 60) and less != whole


def test_every_effect_on_all_examples_is_what_the_smaller_graph_scores_by_the_same_draws() -> None:
    """Parts that only a voter reads, of models that differ, so that no draw stands for another."""
    made = benchmark(MemoryCalls(Memory(), "run"), FakeWorker(hashed), 40)
    told = credited(made)
    assert {effect.parts[0] for effect in told.effects if effect.examples == 40} == {"z", ("x", "end"), ("y", "end")}
    whole = asyncio.run(scores(made, GRAPH))
    for effect in told.effects:
        if effect.examples == 40:
            less = asyncio.run(scores(made, effect.graph))
            assert effect.difference == pytest.approx((sum(less) - sum(whole)) / 40)


def test_who_moves_up_keeps_its_draws_where_that_tells_more() -> None:
    """Without the first refiner its draft goes too, and the second draft would be the first one, asked of another."""
    graph = Graph(
        (
            Node("x", "s", "generator", "a"),
            Node("y", "s", "generator", "a"),
            Node("r", "s", "refiner", "b", inputs=("y",)),
            Node("end", "s", "voter", inputs=("x", "r")),
        )
    )
    told = credited(benchmark(MemoryCalls(Memory(), "run"), FakeWorker(hashed), 40), graph)
    assert {effect.parts[0]: effect.examples for effect in told.effects} == {"x": 40, "r": 40}


TWO = {
    "t": Stage("t", "Hint {q}?", parsers.last_line, Sampling(0.7, 16)),
    "s": Stage("s", "{q}? {t}", parsers.last_line, Sampling(0.7, 16)),
}
CHAIN = Graph(
    (
        Node("h", "t", "generator", "a"),
        Node("x", "s", "generator", "b", inputs=("h",)),
        Node("end", "s", "voter", inputs=("x",)),
    )
)
CHAINS = SearchSpace(
    (
        TemplateStage("t", ("a",), ("single",), (2, 2)),
        SlotStage("s", ("b",), 1, ("refiner",), ("voter",), reads=("t",)),
    )
)


def test_a_stage_that_nothing_judges_has_no_right_answers() -> None:
    told = credited(benchmark(MemoryCalls(Memory(), "run"), Table(SAID), stages=TWO), CHAIN, CHAINS)
    assert told.nodes[0] == NodeCredit("h", 4, 0, None, None, None, None)
    assert told.edges == (EdgeCredit("x", "end", 2, 0, 0, 2),), "none across stages"
    assert told.sample is not None and told.sample.said[0] == Said("h", "r", None)
    assert told.effects == ()


def test_a_stage_is_judged_by_the_metric_that_looks_at_it() -> None:
    answers = {"accuracy": exact("target"), "hints": exact("target")}
    made = benchmark(MemoryCalls(Memory(), "run"), Table(SAID), stages=TWO, answers=answers, of={"hints": "t"})
    told = credited(made, CHAIN, CHAINS)
    assert told.nodes[0] == NodeCredit("h", 4, 0, 2, 0.5, None, None)
    hints = credited(made, CHAIN, CHAINS, metric="hints")
    assert (hints.metric, hints.right, hints.nodes) == ("hints", 2, told.nodes)
    assert hints.sample is not None and hints.sample.example == "e2"


def test_several_texts_and_none() -> None:
    """A node has an example right if one of its texts is; what was asked and gave nothing ran all the same."""
    replies = [iter(texts) for texts in (["r", "w"], ["w", "w"], ["r", "r"], ["", ""])]

    class Cut(FakeWorker):
        async def complete(self, request: Request) -> Reply:
            reply = await super().complete(request)
            return reply if reply.text else Reply("", "truncated", "length", reply.usage, None, 0.0)

    worker = Cut(lambda request: next(replies[Table.question(request)]))
    space = SearchSpace((SlotStage("s", ("a",), 1, (), ("voter",), (1, 2)),))
    graph = Graph((Node("x", "s", "generator", "a", 2), Node("end", "s", "voter", inputs=("x",))))
    told = credited(benchmark(MemoryCalls(Memory(), "run"), worker), graph, space)
    assert told.nodes[0] == NodeCredit("x", 4, 1, 2, 0.375, None, None)
    assert told.nodes[1].answered == 3 and told.examples == 4


def test_a_graded_metric_keeps_its_mean() -> None:
    words = {"a": ["r r r", "w", "r w w w w", "r"]}
    worker = FakeWorker(lambda request: words["a"][Table.question(request)])
    graph = Graph((Node("x", "s", "generator", "a"), Node("end", "s", "voter", inputs=("x",))))
    made = benchmark(MemoryCalls(Memory(), "run"), worker, answers={"f1": squad_f1("target")})
    told = credited(made, graph)
    assert told.nodes[0].right == 2 and told.nodes[0].mean == pytest.approx((0.5 + 0.0 + 1 / 3 + 1.0) / 4)


def test_a_graph_of_another_space_has_no_effects() -> None:
    space = SearchSpace((SlotStage("s", ("a",), 3, ("fuser", "refiner"), ("voter",)),))
    told = credited(benchmark(MemoryCalls(Memory(), "run"), Table(SAID)), space=space)
    assert told.examples == 4 and told.effects == ()


@pytest.mark.parametrize("answers", [{}, {"accuracy": exact("target")}])
def test_an_unknown_metric_is_refused(answers: dict[str, Any]) -> None:
    made = benchmark(MemoryCalls(Memory(), "run"), Table(SAID), answers=answers)
    with pytest.raises(EvaluatorError, match=r"`metric` must be one of (none|accuracy), got 'usd'; name one"):
        asyncio.run(credit(made, SPACE, GRAPH, metric="usd"))


def test_of_a_search_and_of_its_replay_the_credit_is_the_same(tmp_path: Path) -> None:
    with quick_retries(), server_process() as url:
        task = slot_task(tmp_path, url, trials=12)
        loaded = load_spec(task)
        space = space_of(loaded.spec)

        async def live() -> tuple[list[Graph], list[Credit]]:
            search = build(loaded, tmp_path / "run")
            try:
                await search.run()
                graphs = list({trial.key: trial.graph for trial in search.study.trials}.values())
                ledger = search.dispatcher.calls.ledger()
                told = [await credit(search.benchmark, space, graph) for graph in graphs]
                assert search.dispatcher.calls.ledger() == ledger
                return graphs, told
            finally:
                await search.close()

        graphs, told = asyncio.run(live())
    recording = read(record(tmp_path / "run").path)

    async def again() -> list[Credit]:
        made = replayed(loaded, recording)
        for graph in graphs:
            assert [row async for row in made.measure(graph, "search")]
        return [await credit(made, space, graph) for graph in graphs]

    assert asyncio.run(again()) == told
    assert sum(len(one.effects) for one in told) > 5 and {one.examples for one in told} == {6}
