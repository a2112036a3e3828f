"""AgentTTS with a small local model as its agent, on the recording of experiments/quickstart, beside other searchers.

    python experiments/agenttts/local/race.py             # replays the model's answers from the cassette
    python experiments/agenttts/local/race.py --record    # asks the model what the cassette lacks, and adds it

Runs are kept in runs/agenttts-local.jsonl, and those it holds are not made again.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

from apportion.bench.searchers.by_agent import Answering
from apportion.bench.searchers.command import run
from apportion.envs.local import LlamaServer
from apportion.models import locate
from apportion.statistics import bootstrap

HERE = Path(__file__).parent
RUNS = Path("runs/agenttts-local.jsonl")
MODEL = "qwen2.5-coder-1.5b-instruct"
CONTEXT = 6144  # tokens; the longest question shows all trials
SEEDS = 3
AGENTTTS = "agenttts/batch=2/memory_tokens=80"
OTHERS = (AGENTTTS, "random", "grid", "tpe", "agenttts-numeric")  # the first answered by a script


async def main(*, record: bool) -> None:
    """Race, and print a table."""
    server = LlamaServer(locate(MODEL, HERE), slots=1, context=CONTEXT) if record else None
    try:
        url = await server.start() if server else None
        answering = Answering(MODEL, url, HERE / f"{MODEL}.jsonl")
        figures = await asyncio.to_thread(_raced, answering)
    finally:
        if server is not None:
            await server.close()
    _print(figures)


def _raced(answering: Answering) -> dict[str, Any]:
    RUNS.parent.mkdir(exist_ok=True)
    tasks = [str(HERE / "chain.yaml")]
    found: dict[str, Any] = run(tasks, ",".join(OTHERS), SEEDS, "draws", RUNS, 1)["tasks"][0]
    asked = run(tasks, AGENTTTS, SEEDS, "draws", RUNS, 1, None, answering)["tasks"][0]
    return {**found, "samplers": {**asked["samplers"], **found["samplers"]}}


def _print(task: dict[str, Any]) -> None:
    runs = [json.loads(line) for line in RUNS.read_text().splitlines()]
    print(f"oracle regret {next(iter(task['samplers'].values()))['oracle_regret']:.3f}, S = {task['cap']:.0f} draws\n")
    print("| searcher | regret at S, each seed | mean | trials | questions | valid, repaired, replaced | tokens |")
    print("|---|---|---|---|---|---|---|")
    for name, own in task["samplers"].items():
        mine = [one for one in runs if one["job"]["sampler"] == name]
        each = ", ".join(f"{regret:.3f}" for regret in own["regrets"])
        counts = {key: sum(one["agent"][key] for one in mine) for key in mine[0]["agent"]} if mine[0]["agent"] else {}
        said = [
            counts.get("asked", ""),
            ", ".join(str(counts[key]) for key in ("valid", "repaired", "replaced") if counts),
            counts.get("tokens") or "",
        ]
        trials = sum(one["trials"] for one in mine)
        print(f"| {name} | {each} | {bootstrap(own['regrets']).mean:.3f} | {trials} | {' | '.join(map(str, said))} |")


if __name__ == "__main__":
    asyncio.run(main(record="--record" in sys.argv[1:]))
