"""The allocator against other samplers at equal spend, and a sweep over budgets with one bank: no model is asked.

    python experiments/quickstart/compare.py

Each search may make so many calls beside those of the baselines, with one bank: a draw is paid once. What it returns is
the best graph that it measured on the whole search split and that is within the budget; its true accuracy is of all
90 recorded examples, of which the search sees 20.
"""

from __future__ import annotations

import asyncio
import dataclasses
import os
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from types import MappingProxyType
from typing import Any

import apportion
from apportion.build import plan_of
from apportion.envs.limits import Allowance, Limits
from apportion.evaluators.benchmark import Benchmark
from apportion.graphs.graph import Graph
from apportion.recording.replaying import benchmark
from apportion.recording.table import Recording, read
from apportion.run import RunFolder
from apportion.search.objectives import Constraint
from apportion.search.study import Study
from apportion.spec import LoadedSpec
from apportion.statistics import bootstrap, paired

HERE = Path(__file__).parent
SAMPLERS = ("allocator", "tpe", "random")
SPENDS = (25, 50, 100, 200)  # calls beside those of the baselines
SEEDS = range(20)
BUDGETS = (6e10, 8e10, 1e11, 1.3e11, 1.6e11)  # FLOPs of one answer, of the sweep


@cache
def loaded() -> LoadedSpec:
    """The task."""
    return apportion.load(HERE / "task.yaml").loaded


@cache
def recording() -> Recording:
    """Everything that its two models may be asked, eight samples each."""
    return read(HERE / "recording.parquet")


class Unheld:
    """A purse that keeps nothing back for a closing, since there is none. The dispatcher's own has the limit."""

    elapsed_s = 0.0
    caps: Mapping[str, float] = MappingProxyType({})

    def hold(self, share: float) -> None:
        """Nothing."""


async def searched(made: Benchmark, sampler: str, seed: int, changes: Mapping[str, Any]) -> Graph:
    """What a search for accuracy returns: the best graph that was measured on all examples and is within the budget."""
    plan = plan_of(loaded().spec, {name: len(split) for name, split in made.splits.items()})
    usual = {"sampler": sampler, "seed": seed, "trials": 10_000, "objectives": plan.objectives[:1]}
    with TemporaryDirectory() as folder:
        run = RunFolder.start(Path(folder), {}, None)
        try:
            study = Study(dataclasses.replace(plan, **{**usual, **changes}), made, run.trials, Unheld())
            await study.search()
        finally:
            run.close()
    within = [trial for trial in study.trials if trial.state == "complete"]
    return max(within, key=lambda trial: trial.mean("accuracy")).graph


def calls(made: Benchmark) -> int:
    """Calls made so far."""
    return made.environment.dispatcher.calls.spent()[0]


async def accuracy(graph: Graph) -> float:
    """On all recorded examples."""
    made = benchmark(loaded(), recording())
    rows = [row for split in made.splits for row in [row async for row in made.measure(graph, split)]]
    return sum(row[3]["accuracy"] or 0.0 for row in rows) / len(rows)


def one(job: tuple[str, int, int]) -> float:
    """True accuracy of what a search of so many calls returns."""
    sampler, seed, most = job
    made = benchmark(loaded(), recording())
    made.environment.dispatcher.allowance = Allowance(Limits(calls=most))
    return asyncio.run(accuracy(asyncio.run(searched(made, sampler, seed, {}))))


def raced(least: int) -> None:
    """Print what samplers return at equal spend."""
    print("| calls beside them | " + " | ".join(SAMPLERS) + " | allocator minus tpe |")
    print("|---" * (len(SAMPLERS) + 2) + "|")
    with ProcessPoolExecutor() as pool:
        for spend in SPENDS:
            rows = [list(pool.map(one, [(name, seed, least + spend) for seed in SEEDS])) for name in SAMPLERS]
            cells = [*map(bootstrap, rows), paired(rows[0], rows[1])]
            print(f"| {spend} | " + " | ".join(f"{c.mean:.3f} [{c.low:.3f}, {c.high:.3f}]" for c in cells) + " |")


def swept() -> None:
    """Print how many draws of a sweep over budgets are served from one bank."""
    together = benchmark(loaded(), recording())
    alone = []
    for budget in BUDGETS:
        changes = {"constraints": (Constraint("flops", budget),), "trials": 30}
        lone = benchmark(loaded(), recording())
        for made in (lone, together):
            asyncio.run(searched(made, "allocator", 0, changes))
        alone.append(calls(lone))
    apart, once = sum(alone), calls(together)
    print(
        f"\n{len(BUDGETS)} budgets: {apart} calls apart {alone}, {once} with one bank: {1.0 - once / apart:.0%} served."
    )


def main() -> None:
    """Print both."""
    os.environ["OMP_NUM_THREADS"] = "1"
    made = benchmark(loaded(), recording())
    asyncio.run(searched(made, "random", 0, {"trials": 0}))
    print(
        f"Baselines: {calls(made)} calls. Means over {len(SEEDS)} seeds of the search, with 95 % intervals over them.\n"
    )
    raced(calls(made))
    swept()


if __name__ == "__main__":
    main()
