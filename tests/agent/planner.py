"""A chat server whose model `planner` plans searches of the small task, and that task; also as a process of its own.

python -m tests.agent.planner --log billed.jsonl --reply-ms 100
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

from apportion.testing.server import MockServer, hashed_reply
from tests.support import Task, server_process, write_task

PLANNER = (
    "  planner: {{endpoint: {url}, model: planner, parameters: 1e12, price: {{prompt: 1, completion: 4}}, seeds: true,"
    " timeout_s: {timeout_s}, json_schema: true}}\n"
)


def planned(body: dict[str, Any], **changes: object) -> str:
    """Guidelines, or four allocations that depend on the question only.

    Args:
        changes: of the choice for the stage `answer`.
    """
    said = [message["content"] for message in body["messages"]]
    if '"guidelines": [{' in said[-1]:
        return json.dumps({"guidelines": [{"text": "Small models suffice.", "insight": None}]})
    rng = random.Random(json.dumps([said, body.get("seed")]))
    one = {"model": rng.choice(["small", "large"]), "samples": rng.randint(1, 3), "how": rng.choice(["vote", "fuse"])}
    candidates = [
        {
            "stages": {
                "hint": {"model": rng.choice(["small", "large"]), "samples": rng.randint(1, 3)},
                "answer": {**one, "samples": rng.randint(1, 3), **changes},
            },
            "guideline": 1,
            "expected": 0.5,
        }
        for _ in range(4)
    ]
    return json.dumps({"candidates": candidates})


def reply(body: dict[str, Any]) -> str:
    """What the planner says, at first with a candidate that must be repaired, or six words of the other models."""
    if body["model"] != "planner":
        return hashed_reply(body)
    said = json.loads(planned(body))
    if "candidates" in said and len(body["messages"]) == 2:
        said["candidates"][0]["stages"]["answer"]["samples"] = 0
    return json.dumps(said)


def write(
    folder: Path, url: str, planner: str, agent: str = "", trials: int = 8, timeout_s: float = 5.0, more: str = ""
) -> Path:
    """Write the small task with a planner that an agent's search asks.

    Args:
        planner: URL of its server.
        agent: further keys of `search.agent`.
        more: further lines of the task.
    """
    path = write_task(folder, url, Task(trials=trials, sampler="agenttts"))
    text = path.read_text().replace("data: {path", PLANNER.format(url=planner, timeout_s=timeout_s) + "data: {path")
    text = text.replace("finalists: 2}", f"finalists: 2, agent: {{model: planner, batch: 3{agent}}}}}")
    path.write_text(text + more)
    return path


def planner_process(log: Path, reply_ms: float = 0.0, module: str = __name__) -> contextlib.AbstractContextManager[str]:
    """The URL of a planner's server in a process of its own, which logs what it was asked."""
    return server_process("--reply-ms", str(reply_ms), log=log, module=module)


def serve(reply: Callable[[dict[str, Any]], str]) -> None:
    """Serve for good, as the command line says; the URL is printed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--log", type=Path)
    parser.add_argument("--reply-ms", type=float)
    given = parser.parse_args()

    async def work() -> None:
        async with MockServer(reply=reply, reply_ms=given.reply_ms, log=given.log) as server:
            print(server.url, flush=True)
            await asyncio.get_running_loop().create_future()

    asyncio.run(work())


if __name__ == "__main__":
    serve(reply)
