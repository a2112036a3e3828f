"""The fakes keep the worker's contract."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from apportion.envs.worker import Message, Reply, Request, Sampling, Usage, Worker
from apportion.errors import WorkerError
from apportion.testing.fakes import FakeWorker, ScriptedWorker

REQUEST = Request("m", (Message("user", "one two three"),), Sampling(0.0, 8))
REPLY = Reply("yes", "ok", "stop", Usage(1, 1), None, 0.0)


def test_a_fake_answers_by_its_function() -> None:
    worker = FakeWorker(lambda request: f"to {request.messages[-1].content}", latency_s=0.01)
    checked: Worker = worker
    reply = asyncio.run(checked.complete(REQUEST))
    assert reply == Reply("to one two three", "ok", "stop", Usage(3, 4), None, 0.01)
    assert worker.requests == [REQUEST]


def test_the_first_word_of_a_fake_is_certain() -> None:
    asked = replace(REQUEST, sampling=Sampling(0.0, 8, top_logprobs=5))
    assert asyncio.run(FakeWorker(lambda request: "yes it is").complete(asked)).first_token == {"yes": 0.0}


def test_a_script_is_played_once() -> None:
    worker = ScriptedWorker([WorkerError("server", "down"), REPLY])

    async def run() -> None:
        checked: Worker = worker
        with pytest.raises(WorkerError, match="down"):
            await checked.complete(REQUEST)
        assert await checked.complete(REQUEST) is REPLY
        with pytest.raises(AssertionError, match="script has 2 outcomes"):
            await checked.complete(REQUEST)

    asyncio.run(run())
