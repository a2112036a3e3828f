"""What the benchmarks share: the mock server in a process of its own, and a dispatcher over a durable store."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

from apportion.envs.dispatch import Dispatcher
from apportion.envs.endpoint import Endpoint
from apportion.envs.limits import Allowance, Limits
from apportion.envs.openai import OpenAIWorker
from apportion.graphs.cost import ModelCard
from apportion.store import Calls, Database, Memory, MemoryCalls
from apportion.store.books import Books
from apportion.store.calls import SCHEMA

MODEL = "mock"
CARD = ModelCard(MODEL, 1e9, 16, 2048, 0.1, 0.2)
NO_CAP = Limits(usd=1e6, calls=10**9, tokens=1e12, wall_s=1e9)  # every check is made, none strikes


@contextlib.contextmanager
def mock_server(reply_ms: float) -> Iterator[str]:
    """The URL of a mock server that answers after `reply_ms`."""
    command = [sys.executable, "-m", "apportion.testing.server", "--port", "0", "--reply-ms", str(reply_ms)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield process.stdout.readline().strip()
        finally:
            process.terminate()


@contextlib.asynccontextmanager
async def durable_dispatcher(url: str, ways: int) -> AsyncIterator[Dispatcher]:
    """A dispatcher as a search has it: streaming, checks, limits, booking and bank on a store that syncs to disk."""
    async with dispatcher_of(Endpoint(CARD, OpenAIWorker(url), MODEL, MODEL, ways)) as dispatcher:
        yield dispatcher


@contextlib.asynccontextmanager
async def dispatcher_of(endpoint: Endpoint) -> AsyncIterator[Dispatcher]:
    """Limits, booking and bank over an endpoint, on a store that is there as long as it is open."""
    with tempfile.TemporaryDirectory(prefix="apportion-bench-") as folder:
        database = Database(Path(folder) / "run.sqlite", SCHEMA)
        try:
            async with _over(Calls(database, "bench"), endpoint) as dispatcher:
                yield dispatcher
        finally:
            database.close()


def memory_dispatcher(endpoint: Endpoint) -> contextlib.AbstractAsyncContextManager[Dispatcher]:
    """The same, on a bank and a ledger in memory."""
    return _over(MemoryCalls(Memory(), "bench"), endpoint)


@contextlib.asynccontextmanager
async def _over(calls: Books, endpoint: Endpoint) -> AsyncIterator[Dispatcher]:
    dispatcher = Dispatcher(calls, {MODEL: endpoint}, Allowance(NO_CAP))
    try:
        yield dispatcher
    finally:
        await dispatcher.close()
