"""Purchases of one draw, and what they leave in the ledger, for the tests of the dispatcher."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

from apportion.envs.dispatch import Dispatcher
from apportion.envs.limits import Limits
from apportion.envs.worker import Reply, Usage
from apportion.errors import WorkerError
from apportion.store import Draw
from apportion.testing.fakes import FakeWorker, ScriptedWorker
from tests.support import NO_LIMITS, SAMPLING, ask, dispatcher, open_calls, rows

Script = Sequence[Reply | WorkerError]
GOOD = Reply("well said", "ok", "stop", Usage(3, 2), 0.1, 0.2)


def failing(kind: str, retry_after_s: float | None = None) -> WorkerError:
    """An attempt that fails in that way."""
    return WorkerError(cast(Any, kind), f"it was {kind}", status=500, retry_after_s=retry_after_s)


def saying(text: str = "said", latency_s: float = 0.0) -> FakeWorker:
    """A worker that always says the same."""
    return FakeWorker(lambda request: text, latency_s)


async def one(give: Dispatcher, text: str = "q", index: int = 0) -> Draw:
    """One draw of a prompt."""
    return await give.draw("m", ask(text), SAMPLING, index, "candidate")


def bought(path: Path, script: Script, limits: Limits = NO_LIMITS) -> tuple[Draw, ScriptedWorker]:
    """One draw in a session of its own, by a worker that plays `script` and must not be asked for more."""
    worker = ScriptedWorker(script)
    with open_calls(path) as calls:
        return asyncio.run(one(dispatcher(calls, worker, limits))), worker


def entries(path: Path) -> list[tuple[str, str, int]]:
    """Outcome, billed and final of every attempt in the ledger, in order."""
    return rows(path, "SELECT outcome, billed, final FROM attempt ORDER BY call, n")
