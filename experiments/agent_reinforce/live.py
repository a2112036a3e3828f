"""After a live search: the winner beside the classic graphs at equal spend on held-out questions, and its pictures.

    apportion run experiments/agent_reinforce/live.yaml --out runs/agent-reinforce
    python experiments/agent_reinforce/live.py runs/agent-reinforce

The classics are as large as the budget of one answer allows, by the lengths of answers that the run has seen, and are
asked now, with the bank of the run.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean

import apportion
from apportion.build import build
from apportion.graphs.classics import classics
from apportion.graphs.graph import Graph
from apportion.run import RunFolder
from apportion.statistics import paired, summary

HERE = Path(__file__).parent


async def measured(task: Path, run: Path, split: str) -> list[tuple[str, list[float], float]]:
    """What the winner and each classic graph gave by example, and the mean FLOPs of an answer, of the budget."""
    loaded = apportion.load(task, [f"bank={(run / 'run.sqlite').resolve()}"]).loaded
    search = build(loaded, run.with_name(f"{run.name}-classics"))
    budget = loaded.spec.budget.bounds(len(loaded.spec.stages))["flops"]
    best = apportion.open_run(run).best
    assert best is not None
    with contextlib.closing(RunFolder.view(run)) as folder:
        search.benchmark.recall(folder.trials.fact("learnt") or {})
    found: list[tuple[str, list[float], float]] = []
    try:
        async with search.session():
            stage = search.study.plan.space.stages[0].name

            def cost(graph: Graph) -> float:
                return search.benchmark.on_paper(graph)["flops"] or 0.0

            graphs = {"the winner": best.graph, **classics(search.study.plan.space, stage, cost, budget)}
            for label, graph in graphs.items():
                rows = [row async for row in search.benchmark.measure(graph, split)]
                right = [row[3]["accuracy"] or 0.0 for row in rows]
                found.append((label, right, fmean(row[3]["flops"] or 0.0 for row in rows) / budget))
    finally:
        await search.close()
    return found


def table(found: Sequence[tuple[str, list[float], float]]) -> None:
    """Accuracy with its interval, the winner's lead, and what an answer costs."""
    (_, winner, _), *_ = found
    print("| graph | accuracy [95 %] | winner minus it, paired [95 %] | FLOPs of an answer, of the budget |")
    print("|---|---|---|---|")
    for label, right, flops in found:
        own, lead = summary(right), paired(winner, right)
        ahead = "" if right is winner else f"{lead.mean:+.3f} [{lead.low:+.3f}, {lead.high:+.3f}]"
        print(f"| {label} | {own.mean:.3f} [{own.low:.3f}, {own.high:.3f}] | {ahead} | {flops:.2f} |")


def main() -> None:
    """Print the table and write the pictures."""
    parser = argparse.ArgumentParser()
    parser.add_argument("run", type=Path)
    parser.add_argument("--task", type=Path, default=HERE / "live.yaml")
    parser.add_argument("--split", default="test")
    given = parser.parse_args()
    result = apportion.open_run(given.run)
    result.plot_evolution().savefig(HERE / "evolution.png", dpi=80)
    (HERE / "winner.svg").write_text(result.picture().svg())
    table(asyncio.run(measured(given.task, given.run, given.split)))


if __name__ == "__main__":
    main()
