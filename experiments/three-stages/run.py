"""Runs a graph of three stages that was wired by hand, on three questions, and prints every text in it. See README.md.

python experiments/three-stages/run.py
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import apportion
from apportion.answering import Answerer, parts_of
from apportion.build import space_of
from apportion.envs.rollout import Rollout
from apportion.graphs.graph import Graph, Node

HERE = Path(__file__).parent
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


async def main() -> None:
    loaded = apportion.load(HERE / "task.yaml").loaded
    space_of(loaded.spec).parse(GRAPH.to_dict())  # the search could have found it
    async with Answerer(parts_of(loaded.spec, GRAPH), GRAPH) as answerer:
        for row in loaded.rows.search[:QUESTIONS]:
            rollout = await answerer.answer(row)
            print(row)
            for node in GRAPH.nodes:
                run = rollout.nodes[node.id]
                print(node.id, node, run.status)
                for d in run.draws: print("     draw", repr(d.text), d.status, d.prompt_tokens)
                for c in run.candidates: print("     cand", repr(c.text), c.value, c.score, c.comments)


if __name__ == "__main__":
    asyncio.run(main())
