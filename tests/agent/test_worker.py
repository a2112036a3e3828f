"""Answers of a model as draws: banked, counted for the searcher, with a schema where its server keeps to one."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from apportion.agent.question import Question
from apportion.agent.tts.brief import Brief
from apportion.agent.tts.history import History
from apportion.agent.worker import WorkerAgent
from apportion.envs.dispatch import Dispatcher
from apportion.envs.endpoint import Endpoint, canonical_sampling
from apportion.envs.limits import Allowance, Limits
from apportion.envs.openai import OpenAIWorker
from apportion.envs.worker import Message, Sampling
from apportion.errors import AgentError, LimitReached
from apportion.store.books import Books
from apportion.testing.server import FaultRule, MockServer
from tests.agent.tts.kit import Subtask, Units
from tests.support import CARD, open_calls

SCHEMA = {"type": "object", "properties": {"z": {"type": "null"}, "a": {"type": "null"}}}
SPACE = Units([Subtask("a", {"small": 1e9}, 10, 10)], None)


def question(round_: int = 1, text: str = "Propose.") -> Question[Brief]:
    brief = Brief(SPACE, History((), ()), (), (), 1, stalled=False, round=round_, seed=0)
    return Question("propose", (Message("user", text),), SCHEMA, brief)


async def asked(books: Books, server: MockServer, *questions: Question[Brief], **changes: Any) -> list[str]:
    """The answers, each asked for in a thread, as a search does."""
    limits = changes.pop("limits", Limits())
    endpoint = replace(Endpoint(CARD, OpenAIWorker(server.url, timeout_s=0.2), "m", "m", 4, seeds=True), **changes)
    dispatcher = Dispatcher(books, {"planner": endpoint}, Allowance(limits), 0.001)
    loop = asyncio.get_running_loop()
    agent = WorkerAgent(dispatcher, "planner", loop, temperature=0.5, max_tokens=64)
    try:
        return [await asyncio.to_thread(agent.answer, question) for question in questions]
    finally:
        await dispatcher.close()


def test_a_question_is_bought_once_a_round_for_the_searcher(tmp_path: Path) -> None:
    async def work() -> None:
        with open_calls(tmp_path / "run.sqlite") as calls:
            async with MockServer(keep_bodies=True) as server:
                first, again, other = await asked(calls, server, question(1), question(1), question(2))
                assert first == again != other
                assert await asked(calls, server, question(2)) == [other]
                assert server.requests == 2
                assert not any("response_format" in body for body in server.bodies)
            ledger = calls.ledger()
            assert (ledger["searcher"]["calls_fresh"], ledger["searcher"]["calls_banked"]) == (2, 2)
            assert ledger["candidate"]["attempts"] == 0

    asyncio.run(work())


def test_the_schema_is_sent_to_servers_that_keep_to_one_its_keys_in_their_order(tmp_path: Path) -> None:
    async def work() -> None:
        with open_calls(tmp_path / "run.sqlite") as calls:
            async with MockServer(keep_bodies=True) as server:
                await asked(calls, server, question())
                await asked(calls, server, question(), schemas=True)
                (form,) = [body["response_format"] for body in server.bodies if "response_format" in body]
            assert server.requests == 2  # another draw, as another thing is asked
            assert form["type"] == "json_schema" and form["json_schema"]["schema"] == SCHEMA
            assert list(form["json_schema"]["schema"]["properties"]) == ["z", "a"]

    asyncio.run(work())


@pytest.mark.parametrize(("fault", "why"), [("hang", "timeout"), ("500", "server"), ("400", "rejected")])
def test_a_failed_draw_is_an_agent_error(tmp_path: Path, fault: str, why: str) -> None:
    async def work() -> None:
        with open_calls(tmp_path / "run.sqlite") as calls:
            async with MockServer(faults=[FaultRule(fault)]) as server:
                with pytest.raises(AgentError, match=rf"'planner' did not \({why}\)"):
                    await asked(calls, server, question())

    asyncio.run(work())


def test_a_limit_of_the_search_holds_for_its_agent_too(tmp_path: Path) -> None:
    async def work() -> None:
        with open_calls(tmp_path / "run.sqlite") as calls:
            async with MockServer() as server:
                with pytest.raises(LimitReached, match=r"limits\.calls"):
                    await asked(calls, server, question(1), question(2), limits=Limits(calls=1))

    asyncio.run(work())


@pytest.mark.parametrize(
    ("sampling", "key"),
    [
        (Sampling(0.7, 16), "[0.7,16,1.0,[]]"),
        (Sampling(0.7, 16, 0.9, ("#",), 5), '[0.7,16,0.9,["#"],5]'),
        (Sampling(0.7, 16, schema="{}"), '[0.7,16,1.0,[],0,"{}"]'),
    ],
)
def test_a_schema_is_part_of_a_draw_only_where_there_is_one(sampling: Sampling, key: str) -> None:
    assert canonical_sampling(sampling) == key


def test_a_question_that_was_in_flight_at_a_kill_is_written_off(tmp_path: Path) -> None:
    async def work() -> None:
        with open_calls(tmp_path / "run.sqlite") as calls:
            endpoint = Endpoint(CARD, OpenAIWorker("http://127.0.0.1:9/v1"), "m", "m", 1, schemas=True)
            dispatcher = Dispatcher(calls, {"planner": endpoint}, Allowance(Limits()))
            sampling = Sampling(0.5, 64, schema=json.dumps(SCHEMA))
            prompt = dispatcher._prompt("planner", question().messages, sampling)
            await calls.book("searcher", "planner", prompt.key, prompt.record, 0)
        with open_calls(tmp_path / "run.sqlite") as calls:
            dispatcher = Dispatcher(calls, {"planner": endpoint}, Allowance(Limits()))
            assert dispatcher.write_off() == 1
            assert calls.ledger()["searcher"]["calls_lost"] == 1
            await dispatcher.close()

    asyncio.run(work())
