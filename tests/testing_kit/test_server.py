"""The mock server: deterministic, fails by rule only, and keeps a log of what a provider would bill."""

from __future__ import annotations

import asyncio
import hashlib
import json
import math
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from apportion.testing.answers import FAULTS
from apportion.testing.server import FaultRule, MockServer, hashed_reply

BODY = {"model": "m", "messages": [{"role": "user", "content": "Hello there"}], "seed": 1}


async def post(url: str, body: dict[str, Any]) -> tuple[int, bytes]:
    async with aiohttp.ClientSession() as session, session.post(url + "/chat/completions", json=body) as response:
        return response.status, await response.read()


def statuses(rule: FaultRule, seeds: list[int]) -> list[int]:
    async def run() -> list[int]:
        async with MockServer(faults=[rule]) as server:
            return [(await post(server.url, {**BODY, "seed": seed}))[0] for seed in seeds]

    return asyncio.run(run())


def test_a_reply_depends_on_the_request_only() -> None:
    async def run() -> list[bytes]:
        async with MockServer() as one, MockServer() as other:
            return [(await post(url, BODY))[1] for url in (one.url, other.url, one.url)]

    first, second, third = asyncio.run(run())
    assert first == second == third
    assert json.loads(first)["choices"][0]["message"]["content"] == hashed_reply(BODY)
    assert hashed_reply(BODY) == hashed_reply({**BODY, "temperature": 0.3, "stream": True})
    assert hashed_reply(BODY) != hashed_reply({**BODY, "seed": 2})


def test_log_probabilities_are_given_where_they_are_asked_for() -> None:
    async def run(body: dict[str, Any]) -> Any:
        async with MockServer(reply=lambda _: "yes it is") as server:
            return json.loads((await post(server.url, body))[1])["choices"][0]["logprobs"]

    assert asyncio.run(run(BODY)) is None
    tokens = asyncio.run(run({**BODY, "logprobs": True, "top_logprobs": 3}))["content"]
    assert [token["token"] for token in tokens] == ["yes", " it", " is"]
    shares = [math.exp(entry["logprob"]) for entry in tokens[0]["top_logprobs"]]
    assert shares == pytest.approx([0.5, 0.25, 0.125])


def test_faults_strike_by_their_rule() -> None:
    assert statuses(FaultRule("500"), [1, 2]) == [500, 500]
    assert statuses(FaultRule("500", first=1), [1, 1, 2, 2]) == [500, 200, 500, 200]
    assert statuses(FaultRule("500", every=3), [1, 1, 1, 2]) == [200, 200, 500, 200]


def test_an_unknown_fault_is_refused() -> None:
    with pytest.raises(ValueError, match="a fault must be one of"):
        FaultRule("gremlins")
    assert len(FAULTS) >= 22


def test_the_counters() -> None:
    async def run() -> None:
        async with MockServer(
            faults=[FaultRule("429", first=1), FaultRule("html", every=3)], keep_bodies=True
        ) as server:
            for _ in range(3):
                await post(server.url, BODY)
            assert (server.requests, server.billed, server.completed) == (3, 2, 1)
            assert server.bodies == [BODY] * 3

    asyncio.run(run())


def test_anything_but_the_one_path_is_a_404() -> None:
    async def run() -> None:
        async with MockServer() as server, aiohttp.ClientSession() as session:
            async with session.get(server.url + "/models") as response:
                assert response.status == 404
            assert server.requests == 0

    asyncio.run(run())


def test_a_stream_comes_in_pieces_over_the_time_of_the_reply() -> None:
    async def run() -> None:
        async with MockServer(reply_ms=120) as server, aiohttp.ClientSession() as session:
            began = time.monotonic()
            async with session.post(server.url + "/chat/completions", json={**BODY, "stream": True}) as response:
                arrivals = [time.monotonic() - began async for _ in response.content.iter_any()]
        assert len(arrivals) >= 5
        assert arrivals[0] >= 0.06
        assert 0.12 <= arrivals[-1] < 0.5

    asyncio.run(run())


def test_a_reset_is_a_reset_and_not_a_close() -> None:
    async def run() -> None:
        async with MockServer(faults=[FaultRule("reset")]) as server:
            port = int(server.url.split(":")[2].removesuffix("/v1"))
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            body = json.dumps(BODY).encode()
            writer.write(b"POST /v1/chat/completions HTTP/1.1\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
            with pytest.raises(ConnectionResetError):
                await reader.read()
            writer.close()

    asyncio.run(run())


def test_as_a_process_it_prints_its_url_and_logs_what_it_bills(tmp_path: Path) -> None:
    log = tmp_path / "billed.jsonl"
    command = [sys.executable, "-m", "apportion.testing.server", "--fault", "503", "--first", "1", "--log", str(log)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            url = process.stdout.readline().strip()
            answers = [asyncio.run(post(url, BODY))[0] for _ in range(3)]
            lines = [json.loads(line) for line in log.read_text().splitlines()]
        finally:
            process.terminate()
    assert answers == [503, 200, 200]
    assert [line["sha256"] for line in lines] == [hashlib.sha256(json.dumps(BODY).encode()).hexdigest()] * 2
    assert all(abs(time.time() - line["time"]) < 60 for line in lines)
