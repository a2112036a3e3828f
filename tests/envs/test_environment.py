"""A graph on one example: nodes start when their own inputs are done, ends are passed on, nothing is left behind."""

from __future__ import annotations

import asyncio
import gc
import random
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apportion.envs import parsers
from apportion.envs.dispatch import Dispatcher
from apportion.envs.endpoint import Endpoint
from apportion.envs.environment import Environment
from apportion.envs.roles import OPERATORS, Job, NodeRun
from apportion.envs.rollout import Rollout
from apportion.envs.stage import Example, Stage
from apportion.envs.worker import Message, Sampling
from apportion.errors import LimitReached, RoleError
from apportion.graphs.graph import Graph, Node
from apportion.store.calls import Draw, DrawStatus, Spender
from tests.envs.kit import saying
from tests.strategies import STAGES, graphs
from tests.support import CARD

HOW = Sampling(0.7, 16)
EXAMPLE = Example("x1", {"q": "why"})
TWO = {
    "s": Stage("s", "Hint for {q}?", parsers.last_line, HOW),
    "t": Stage("t", "With {s}: {q}?", parsers.last_line, HOW, system="Mind {s}."),
}
PAIR = Graph((Node("d", "s", "generator", "m"), Node("a", "t", "generator", "m", inputs=("d",))))
Answer = Callable[[str, str, int], Awaitable[tuple[DrawStatus, str]]]
"""Model, prompt and index to how the draw ends and its text."""


class Scripted(Dispatcher):
    """Draws as the test says; keeps what was asked."""

    def __init__(self, answer: Answer) -> None:
        self.endpoints: Mapping[str, Endpoint] = defaultdict(lambda: Endpoint(CARD, saying(), "m", "m", 1))
        self.samplings: list[Sampling] = []
        self.asked: list[tuple[str, str, int]] = []
        self.spenders: set[Spender] = set()
        self._answer = answer

    async def draw(
        self, model: str, messages: tuple[Message, ...], sampling: Sampling, index: int, spender: Spender
    ) -> Draw:
        prompt = "\n".join(message.content for message in messages)
        self.asked.append((model, prompt, index))
        self.samplings.append(sampling)
        self.spenders.add(spender)
        status, text = await self._answer(model, prompt, index)
        return Draw(f"{model}:{prompt}", index, status, text)


def run(graph: Graph, answer: Answer, stages: dict[str, Stage] = TWO) -> tuple[Rollout, Scripted]:
    dispatcher = Scripted(answer)
    return asyncio.run(Environment(stages, dispatcher).run(graph, EXAMPLE)), dispatcher


async def plain(model: str, prompt: str, index: int) -> tuple[DrawStatus, str]:
    return "ok", f"thinking\n{model}{index}"


def test_a_stage_reads_the_value_of_the_one_before() -> None:
    rollout, dispatcher = run(PAIR, plain)
    assert dispatcher.asked == [("m", "Hint for why?", 0), ("m", "Mind m0.\nWith m0: why?", 0)]
    assert (rollout.status, rollout.answer, rollout.example_id) == ("ok", "m0", "x1")
    assert [draw.text for draw in rollout.draws] == ["thinking\nm0"] * 2
    assert dispatcher.spenders == {"candidate"}


def test_an_example_is_not_changed() -> None:
    run(PAIR, plain)
    assert EXAMPLE.fields == {"q": "why"}


def test_three_generators_of_one_model_give_three_draws() -> None:
    drafts = tuple(Node(f"d{i}", "s", "generator", "m") for i in range(3))
    rollout, dispatcher = run(Graph((*drafts, Node("v", "s", "voter", inputs=("d0", "d1", "d2")))), plain)
    assert sorted(index for _, _, index in dispatcher.asked) == [0, 1, 2]
    assert rollout.answer == "m0"


def test_a_node_waits_for_its_own_inputs_only() -> None:
    graph = Graph(
        (
            Node("slow", "s", "generator", "slow"),
            Node("fast", "s", "generator", "fast"),
            Node("better", "s", "refiner", "fast", inputs=("fast",)),
            Node("best", "s", "refiner", "fast", inputs=("better",)),
            Node("vote", "s", "voter", inputs=("slow", "best")),
        )
    )
    dispatcher: Scripted

    async def answer(model: str, prompt: str, index: int) -> tuple[DrawStatus, str]:
        if model == "slow":  # ends only when everything that does not read it has ended
            while sum(model == "fast" for model, _, _ in dispatcher.asked) < 3:
                await asyncio.sleep(0)
        return "ok", model

    async def main() -> Rollout:
        async with asyncio.timeout(5):
            return await Environment(TWO, dispatcher).run(graph, EXAMPLE)

    dispatcher = Scripted(answer)
    assert asyncio.run(main()).answer == "slow"


@pytest.mark.parametrize("status", ["truncated", "refused", "timeout", "failed"])
def test_an_end_is_passed_on_and_nothing_after_it_is_bought(status: DrawStatus) -> None:
    async def lost(model: str, prompt: str, index: int) -> tuple[DrawStatus, str]:
        return status, ""

    refined = Node("r", "s", "refiner", "m", inputs=("d",))
    graph = Graph((PAIR.nodes[0], refined, Node("a", "t", "generator", "m", inputs=("r",))))
    rollout, dispatcher = run(graph, lost)
    assert (rollout.status, rollout.answer, len(dispatcher.asked)) == (status, None, 1)
    assert {name: (run.status, len(run.draws)) for name, run in rollout.nodes.items()} == {
        "d": (status, 1),
        "r": (status, 0),
        "a": (status, 0),
    }


def test_a_stage_without_a_value_leaves_nothing_to_answer() -> None:
    stages = {**TWO, "s": Stage("s", "{q}", parsers.number, HOW)}

    async def words(model: str, prompt: str, index: int) -> tuple[DrawStatus, str]:
        return "ok", "no number"

    rollout, dispatcher = run(PAIR, words, stages)
    assert (rollout.status, rollout.answer, len(dispatcher.asked)) == ("ok", None, 1)  # a wrong answer, not a failure


def test_what_is_left_of_the_drafts_goes_on() -> None:
    drafts = (Node("d", "s", "generator", "bad", 2), Node("e", "s", "generator", "good"))
    graph = Graph((*drafts, Node("f", "s", "fuser", "good", inputs=("d", "e"))))

    async def half(model: str, prompt: str, index: int) -> tuple[DrawStatus, str]:
        return ("ok" if model == "good" else "failed"), "fine"

    rollout, dispatcher = run(graph, half)
    assert (rollout.status, rollout.answer, len(dispatcher.asked)) == ("ok", "fine", 4)
    assert "\n\nfine\n\n" in dispatcher.asked[-1][1]


FAN = Graph(
    (
        *(Node(name, "s", "generator", name) for name in ("bad", "hangs", "idle")),
        Node("r", "s", "refiner", "idle", inputs=("hangs",)),
        Node("b", "s", "refiner", "idle", inputs=("bad",)),
        Node("v", "s", "voter", inputs=("b", "r", "idle")),
        Node("a", "t", "generator", "idle", inputs=("v",)),
    )
)


def test_an_error_in_one_node_cancels_the_rest_in_silence() -> None:
    complaints: list[dict[str, Any]] = []
    cancelled: list[str] = []

    async def answer(model: str, prompt: str, index: int) -> tuple[DrawStatus, str]:
        if model == "bad":
            await asyncio.sleep(0.001)
            raise LimitReached("usd", "no more money")
        if model == "hangs":
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                cancelled.append(model)
                raise
        return "ok", "fine"

    async def main() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: complaints.append(context))
        with pytest.raises(LimitReached, match="no more money"):
            await Environment(TWO, Scripted(answer)).run(FAN, EXAMPLE)
        assert asyncio.all_tasks() == {asyncio.current_task()}
        gc.collect()

    asyncio.run(main())
    gc.collect()
    assert (cancelled, complaints) == (["hangs"], [])


async def leave(job: Job) -> NodeRun:
    raise SystemExit("two\nlines")


async def interrupt(job: Job) -> NodeRun:
    raise asyncio.CancelledError


def test_a_role_that_would_exit_is_told_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a plugin ends the process without a word."""
    monkeypatch.setitem(OPERATORS, "generator", leave)
    with pytest.raises(RoleError) as error:
        run(PAIR, plain)
    assert str(error.value) == "a role must not raise, but 'generator' does: SystemExit: two lines; mend it."


def test_a_role_that_is_cancelled_is_no_mistake(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(OPERATORS, "generator", interrupt)
    with pytest.raises(asyncio.CancelledError):
        run(PAIR, plain)


def test_two_errors_at_once_are_one() -> None:
    complaints: list[dict[str, Any]] = []

    async def answer(model: str, prompt: str, index: int) -> tuple[DrawStatus, str]:
        raise LimitReached("calls", f"no more calls for {model}")

    async def main() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: complaints.append(context))
        with pytest.raises(LimitReached, match="no more calls for bad"):
            await Environment(TWO, Scripted(answer)).run(FAN, EXAMPLE)
        gc.collect()

    asyncio.run(main())
    gc.collect()
    assert complaints == []


def test_cancelling_a_run_cancels_its_nodes() -> None:
    async def answer(model: str, prompt: str, index: int) -> tuple[DrawStatus, str]:
        await asyncio.Event().wait()
        raise AssertionError("unreachable")

    async def main() -> None:
        running = asyncio.create_task(Environment(TWO, Scripted(answer)).run(FAN, EXAMPLE))
        await asyncio.sleep(0.001)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(main())


CHAIN = {  # each stage asks in its own words, and reads the one before
    name: Stage(name, f"{name}: {{q}}" if i == 0 else f"{name} {{{STAGES[i - 1]}}}: {{q}}", parsers.text, HOW)
    for i, name in enumerate(STAGES)
}


def hurried(seed: int, share_lost: float) -> Answer:
    """Replies that depend on the request alone, after pauses that do not."""
    pauses = random.Random(seed)

    async def answer(model: str, prompt: str, index: int) -> tuple[DrawStatus, str]:
        for _ in range(pauses.randrange(4)):
            await asyncio.sleep(0)
        word = random.Random(f"{model} {prompt} {index}")
        lost = word.random() < share_lost
        return ("ok", str(word.randrange(5))) if not lost else (word.choice(("failed", "truncated")), "")

    return answer


@given(graphs(), st.sampled_from([0.0, 0.3]), st.integers(0, 2**32))
def test_the_order_in_which_draws_end_changes_nothing(graph: Graph, share_lost: float, seed: int) -> None:
    rollout, dispatcher = run(graph, hurried(seed, share_lost), CHAIN)
    other, _ = run(graph, hurried(seed + 1, share_lost), CHAIN)
    assert other == rollout
    assert list(rollout.nodes) == [node.id for node in graph.nodes]
    assert (rollout.status == "ok") == (rollout.answer is not None)
    assert Counter(draw.index for draw in rollout.draws) == Counter(index for _, _, index in dispatcher.asked)
    bought = [(draw.key, draw.index) for draw in rollout.draws]
    assert len(set(bought)) == len(bought) <= graph.calls  # no draw is used twice in one graph
    if share_lost == 0.0:
        assert rollout.status == "ok"


JUDGED = (
    Node("d", "s", "generator", "m", 2),
    Node("e", "s", "generator", "m"),
    Node("x", "s", "verifier", "m", inputs=("d",), keep=2),
)


@pytest.mark.parametrize("given", [True, False])
def test_a_judge_is_told_whether_the_server_gives_log_probabilities(*, given: bool) -> None:
    dispatcher = Scripted(plain)
    dispatcher.endpoints = {"m": Endpoint(CARD, saying(), "m", "m", 1, logprobs=given)}
    graph = Graph((JUDGED[0], JUDGED[2], Node("v", "s", "weighted_voter", inputs=("x",))))
    asyncio.run(Environment(TWO, dispatcher).run(graph, EXAMPLE))
    assert {sampling.top_logprobs for sampling in dispatcher.samplings[2:]} == {10 if given else 0}


def test_one_value_is_judged_only_where_its_score_meets_others() -> None:
    async def same(model: str, prompt: str, index: int) -> tuple[DrawStatus, str]:
        return "ok", "yes"

    alone = Graph((JUDGED[0], JUDGED[2], Node("v", "s", "weighted_voter", inputs=("x",))))
    two = (*JUDGED, Node("y", "s", "scorer", "m", inputs=("e",)), Node("v", "s", "weighted_voter", inputs=("x", "y")))
    assert len(run(alone, same)[1].asked) == 2
    assert len(run(Graph(two), same)[1].asked) == 5
