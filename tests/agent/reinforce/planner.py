"""A chat server whose model `planner` wires slots of the small task, and that task; also as a process of its own.

python -m tests.agent.reinforce.planner --log billed.jsonl --reply-ms 100
"""

from __future__ import annotations

import contextlib
import json
import random
from pathlib import Path
from typing import Any

from apportion.testing.server import hashed_reply
from tests.agent import planner as agent
from tests.support import Task, write_task

TEMPLATES = "    templates: [single, vote, fuse]\n    samples: [1, 3]\n    max_tokens: 16\nevaluators"
SLOTS = "    slots: 3\n    roles: [refiner, fuser]\n    final: [voter, decider]\n    max_tokens: 16\nevaluators"
BUDGET = "budget: {{flops: {flops}}}\nlimits:"


def planned(body: dict[str, Any]) -> dict[str, Any]:
    """Two mixes, or a table and a graph, that depend on the question only."""
    said = [message["content"] for message in body["messages"]]
    rng = random.Random(json.dumps([said, body.get("seed")]))
    if '{"mixes": [' in said[1]:
        return {"mixes": [{"answer": {"small": rng.randint(1, 2), "large": rng.randint(0, 1)}} for _ in range(2)]}
    model, other, to = rng.choice(["small", "large"]), rng.choice(["small", "large"]), rng.randint(5, 95) / 100
    return {
        "table": [f"answer.1: to 2={to:.2f}, final={1 - to:.2f}", f"answer.2: model {model}=0.6, absent=0.4"],
        "graph": [
            f"answer.1: model {model}; to {rng.choice(['2', '2, final'])}",
            f"answer.2: model {other}; role refiner; to final",
            f"answer.final: role {rng.choice(['voter', 'decider'])}; model small",
            f"hint: template vote; model {model}; samples {rng.randint(2, 3)}",
        ],
        "expected": 0.5,
    }


def reply(body: dict[str, Any]) -> str:
    """What the planner says, at first with something that must be repaired, or six words of the other models."""
    if body["model"] != "planner":
        return hashed_reply(body)
    said = planned(body)
    if len(body["messages"]) == 2:
        said = {"mixes": [{"answer": {"huge": 1}}]} if "mixes" in said else {**said, "graph": ["answer.9: model small"]}
    return json.dumps(said)


def write(
    folder: Path, url: str, planner: str, keys: str = "", trials: int = 7, timeout_s: float = 5.0, flops: str = "4e12"
) -> Path:
    """Write the small task, its last stage of slots, with a planner that an agent's search asks.

    Args:
        planner: URL of its server.
        keys: further ones of `search.agent`.
    """
    path = write_task(folder, url, Task(trials=trials, sampler="agent_reinforce"))
    text = path.read_text().replace(
        "data: {path", agent.PLANNER.format(url=planner, timeout_s=timeout_s) + "data: {path"
    )
    text = text.replace(TEMPLATES, SLOTS).replace("limits:", BUDGET.format(flops=flops))
    text = text.replace("finalists: 2}", f"finalists: 2, agent: {{model: planner, batch: 2{keys}}}}}")
    path.write_text(text)
    return path


def planner_process(log: Path, reply_ms: float = 0.0) -> contextlib.AbstractContextManager[str]:
    """The URL of the server in a process of its own."""
    return agent.planner_process(log, reply_ms, __name__)


if __name__ == "__main__":
    agent.serve(reply)
