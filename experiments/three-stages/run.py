"""Answers a few questions with a graph of three stages that was wired by hand, and prints every text in it.

.venv/bin/python experiments/three-stages/run.py
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import apportion
from apportion import Graph, Node
from apportion.answering import Answerer, parts_of
from apportion.build import space_of
from apportion.envs.rollout import Rollout

TASK = Path(__file__).parent / "task.yaml"
QUESTIONS = 3
GRAPH = Graph(
    (
        Node("capital.1", "capital", "generator", "small", samples=3),
        Node("capital.2", "capital", "generator", "large"),
        Node("capital.final", "capital", "fuser", "large", inputs=("capital.1", "capital.2")),
        Node("read.1", "read", "generator", "small", inputs=("capital.final",)),
        Node("read.2", "read", "generator", "large", samples=2, inputs=("capital.final",)),
        Node("read.final", "read", "verifier", "large", inputs=("read.1", "read.2")),
        Node("reply.1", "reply", "generator", "small", inputs=("capital.final", "read.final")),
        Node("reply.2", "reply", "critic", "large", inputs=("reply.1",)),
        Node("reply.final", "reply", "decider", "large", inputs=("reply.2",)),
    )
)


def show(rollout: Rollout) -> None:
    """Print what each node gave: its texts, with comments and scores."""
    for node in GRAPH.nodes:
        run = rollout.nodes[node.id]
        print(f"  {node.id:<14}{node}" + ("" if run.candidates else "  (no text)"))
        for candidate in run.candidates:
            score = "" if candidate.score is None else f"  [{candidate.score:.2f}]"
            print(f"      {candidate.text.strip()}{score}")
            print(*(f"          {' '.join(comment.split())}\n" for comment in candidate.comments), sep="", end="")
    print(f"  => {rollout.answer}")


async def main() -> None:
    """Answer the first questions of the search split."""
    task = apportion.load(TASK).loaded
    space_of(task.spec).parse(GRAPH.to_dict())  # refuses what the search could not find
    print(GRAPH)
    async with Answerer(parts_of(task.spec, GRAPH), GRAPH) as answerer:
        for row in task.rows.search[:QUESTIONS]:
            print(f"\n{row['person']}, {row['country']}: {row['day']}")
            show(await answerer.answer({name: row[name] for name in answerer.needs}))


if __name__ == "__main__":
    asyncio.run(main())
