"""A benchmark yields rows in the order of the split, whatever ends first, and leaves nothing running behind."""

from __future__ import annotations

import asyncio
import gc
import math
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from apportion.envs.environment import Environment
from apportion.envs.rollout import Candidate, NodeRun, Rollout
from apportion.envs.stage import Example
from apportion.errors import EvaluatorError, LimitReached
from apportion.evaluators.answers import exact
from apportion.evaluators.benchmark import Benchmark
from apportion.evaluators.costs import calls
from apportion.graphs.graph import Graph, Node
from apportion.store.calls import Draw, DrawStatus

GRAPH = Graph((Node("d", "s", "generator", "m"),))
EXAMPLES = [Example(str(i), {"target": str(i)}) for i in range(6)]
Run = Callable[[Example], Awaitable[Rollout]]


class Staged(Environment):
    """Runs an example as the test says."""

    def __init__(self, run: Run) -> None:
        self._staged = run

    async def run(self, graph: Graph, example: Example, spender: Any = "candidate") -> Rollout:
        return await self._staged(example)


def ended(example: Example, answer: str | None = None, status: DrawStatus = "ok") -> Rollout:
    return Rollout(GRAPH, example.id, status, answer, {"d": NodeRun(status, (), (Draw("k", 0, status),))})


def benchmark(run: Run, window: int = 3, **changes: Any) -> Benchmark:
    kit: dict[str, Any] = {"answers": {"accuracy": exact("target")}, "costs": {"calls": calls}, **changes}
    return Benchmark(Staged(run), {"search": EXAMPLES}, kit["answers"], kit["costs"], window, of=kit.get("of", {}))


def test_rows_come_in_the_order_of_the_split() -> None:
    finished: list[str] = []

    async def last_first(example: Example) -> Rollout:
        await asyncio.sleep(0.03 - 0.005 * int(example.id))
        finished.append(example.id)
        return ended(example, example.id if int(example.id) % 2 else "wrong")

    async def main() -> list[Any]:
        return [row async for row in benchmark(last_first, window=6).measure(GRAPH, "search")]

    rows = asyncio.run(main())
    assert [row[0] for row in rows] == [example.id for example in EXAMPLES] != finished
    assert [row[3]["accuracy"] for row in rows] == [0.0, 1.0] * 3
    assert rows[1] == ("1", "ok", "1", {"accuracy": 1.0, "calls": 1.0})


def test_no_more_examples_are_under_way_than_the_window_holds() -> None:
    under_way, most = 0, 0

    async def counted(example: Example) -> Rollout:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        await asyncio.sleep(0.001)
        under_way -= 1
        return ended(example)

    async def main() -> None:
        assert len([row async for row in benchmark(counted, window=2).measure(GRAPH, "search")]) == len(EXAMPLES)

    asyncio.run(main())
    assert most == 2


def test_leaving_early_cancels_the_rest() -> None:
    cancelled: list[str] = []

    async def hanging(example: Example) -> Rollout:
        if example.id == "0":
            return ended(example)
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.append(example.id)
            raise
        raise AssertionError("unreachable")

    async def main() -> None:
        rows = benchmark(hanging, window=3).measure(GRAPH, "search")
        assert (await anext(rows))[0] == "0"
        await asyncio.sleep(0)
        await rows.aclose()  # type: ignore[attr-defined]
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(main())
    assert cancelled == ["1", "2", "3"]


def test_a_limit_ends_the_measuring_without_a_trace() -> None:
    complaints: list[dict[str, Any]] = []

    async def poor(example: Example) -> Rollout:
        await asyncio.sleep(0)
        if example.id != "0":
            raise LimitReached("usd", f"no more money at {example.id}")
        return ended(example)

    async def main() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: complaints.append(context))
        rows = []
        with pytest.raises(LimitReached, match="no more money at 1"):
            async for row in benchmark(poor).measure(GRAPH, "search"):
                rows.append(row)
        assert len(rows) == 1 and asyncio.all_tasks() == {asyncio.current_task()}
        gc.collect()

    asyncio.run(main())
    assert complaints == []


def score(rollout: Rollout, **changes: Any) -> dict[str, float | None]:
    async def never(example: Example) -> Rollout:
        raise AssertionError("not run")

    return asyncio.run(benchmark(never, **changes).score(rollout, EXAMPLES[0]))


def test_a_metric_may_look_at_an_earlier_stage_and_may_take_time() -> None:
    graph = Graph((Node("d", "s", "generator", "m"), Node("e", "t", "generator", "m", inputs=("d",))))
    runs = {"d": NodeRun("ok", (Candidate("said", "0", ("d", 0)),)), "e": NodeRun("ok")}

    async def slow(answer: str, example: Example) -> float:
        await asyncio.sleep(0)
        return float(answer == "0") / 2

    kit = {"answers": {"last": exact("target"), "first": exact("target"), "half": slow}, "of": {"first": "s"}}
    assert score(Rollout(graph, "0", "ok", "1", runs), **kit, costs={}) == {"last": 0.0, "first": 1.0, "half": 0.0}
    kit["of"] = {"half": "s", "first": "t"}
    assert score(Rollout(graph, "0", "ok", None, runs), **kit, costs={}) == {"last": 0.0, "first": 0.0, "half": 0.5}
    del runs["d"]
    assert score(Rollout(graph, "0", "timeout", None, runs), **kit, costs={})["half"] == 0.0


@pytest.mark.parametrize(
    ("status", "answer", "accuracy"),
    [
        ("ok", "0", 1.0),
        ("ok", "1", 0.0),
        ("ok", None, 0.0),
        ("truncated", None, 0.0),
        ("refused", None, 0.0),
        ("timeout", None, 0.0),
        ("failed", None, None),
    ],
)
def test_a_failure_is_not_a_wrong_answer(status: DrawStatus, answer: str | None, accuracy: float | None) -> None:
    assert score(ended(EXAMPLES[0], answer, status)) == {"accuracy": accuracy, "calls": 1.0}


def test_an_unknown_cost_stays_unknown() -> None:
    assert score(ended(EXAMPLES[0]), costs={"usd": lambda rollout: None})["usd"] is None


def test_an_evaluator_that_raises_is_named() -> None:
    def broken(answer: str, example: Example) -> bool:
        raise ZeroDivisionError("oh")

    with pytest.raises(EvaluatorError) as error:
        score(ended(EXAMPLES[0], "x"), answers={"mine": broken})
    assert str(error.value) == "evaluator 'mine' must not raise, but on '0': ZeroDivisionError('oh'); mend it."


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("kind", ["answers", "costs"])
def test_a_metric_is_a_finite_number(kind: str, value: float) -> None:
    metric = {"answers": lambda answer, example: value, "costs": lambda rollout: value}[kind]
    with pytest.raises(EvaluatorError) as error:
        score(ended(EXAMPLES[0], "x"), **{kind: {"mine": metric}})
    assert str(error.value) == f"a metric must be finite, but 'mine' is {value} on '0'; mend it."
