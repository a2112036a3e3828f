"""Requests per second of the path a search uses, beside a bare aiohttp loop and the `openai` client.

Every client asks the same server for the same streamed replies, with the same number of requests in flight. `aiohttp`
posts and reads the bytes and does nothing else: it is the measure of what this machine can do. `apportion` does all
that a search does for a call, and as in a search more draws are wanted than there are slots.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from statistics import quantiles

import aiohttp

from apportion.bench.setup import MODEL, durable_dispatcher, mock_server
from apportion.envs.worker import Message, Sampling

Call = Callable[[int], Awaitable[float]]
"""The number of a request to the seconds that it was in flight."""
Client = Callable[[str, int], contextlib.AbstractAsyncContextManager[Call]]

SAMPLING = Sampling(temperature=0.7, max_tokens=64)
REPLIES_MS = (100.0, 0.0)
BACKLOG = 2  # draws wanted for each slot, as `Benchmark` keeps them


def run(ways: int = 64, requests: int = 1000) -> list[dict[str, object]]:
    """Measure every client at every reply time.

    Returns:
        A case a client and reply time: `rps` requests per second of wall time, `cpu_ms_per_request` of this process,
        `p99_ms` of single requests, `errors`.
    """
    clients: dict[str, Client] = {"aiohttp": _aiohttp, "apportion": _apportion}
    if importlib.util.find_spec("openai"):
        clients["openai"] = _openai
    cases: list[dict[str, object]] = []
    for reply_ms in REPLIES_MS:
        with mock_server(reply_ms) as url:
            for name, client in clients.items():
                cases.append({"client": name, **asyncio.run(_measure(client, url, ways, requests, reply_ms))})
    return cases


async def _measure(client: Client, url: str, ways: int, requests: int, reply_ms: float) -> dict[str, object]:
    seconds: list[float] = []
    errors = 0
    numbers = iter(range(ways + requests))

    async with client(url, ways) as call:
        await asyncio.gather(*(call(next(numbers)) for _ in range(ways)))  # opens the connections

        async def lane() -> None:
            nonlocal errors
            for number in numbers:
                try:
                    seconds.append(await call(number))
                except Exception:  # noqa: BLE001 - whatever a foreign client raises, it is counted
                    errors += 1

        cpu, wall = time.process_time(), time.perf_counter()
        await asyncio.gather(*(lane() for _ in range(ways * (BACKLOG if client is _apportion else 1))))
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    return {
        "ways": ways,
        "reply_ms": reply_ms,
        "stream": True,
        "rps": requests / wall,
        "cpu_ms_per_request": 1e3 * cpu / requests,
        "p99_ms": 1e3 * quantiles(seconds, n=100)[98],
        "errors": errors,
    }


def _prompt(number: int) -> str:
    return f"Question {number}: which of the facts above answers it? Answer in six words."


@contextlib.asynccontextmanager
async def _apportion(url: str, ways: int) -> AsyncIterator[Call]:
    async with durable_dispatcher(url, ways) as dispatcher:

        async def call(number: int) -> float:
            draw = await dispatcher.draw(MODEL, (Message("user", _prompt(number)),), SAMPLING, 0, "candidate")
            if draw.status != "ok":
                raise ValueError(draw.finish_reason)
            return draw.latency_s

        yield call


@contextlib.asynccontextmanager
async def _aiohttp(url: str, ways: int) -> AsyncIterator[Call]:
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

        async def call(number: int) -> float:
            started = time.perf_counter()
            body = {
                "model": MODEL,
                "messages": [{"role": "user", "content": _prompt(number)}],
                "temperature": SAMPLING.temperature,
                "max_tokens": SAMPLING.max_tokens,
                "stream": True,
                "stream_options": {"include_usage": True},
            }
            headers = {"Content-Type": "application/json"}
            async with session.post(f"{url}/chat/completions", data=json.dumps(body), headers=headers) as response:
                await response.read()
            return time.perf_counter() - started

        yield call


@contextlib.asynccontextmanager
async def _openai(url: str, ways: int) -> AsyncIterator[Call]:
    from openai import AsyncOpenAI

    async with AsyncOpenAI(base_url=url, api_key="none", max_retries=0) as client:

        async def call(number: int) -> float:
            started = time.perf_counter()
            stream = await client.chat.completions.create(
                model=MODEL,
                messages=[{"role": "user", "content": _prompt(number)}],
                temperature=SAMPLING.temperature,
                max_tokens=SAMPLING.max_tokens,
                stream=True,
                stream_options={"include_usage": True},
            )
            async for _ in stream:
                continue
            return time.perf_counter() - started

        yield call
