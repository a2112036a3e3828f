"""The allocator against other samplers at equal spend, on the recording of this task: no model is asked.

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

import apportion
from apportion.build import plan_of
from apportion.envs.limits import Allowance, Limits
from apportion.graphs.graph import Graph
from apportion.recording.replaying import benchmark
from apportion.recording.table import Recording, read
from apportion.run import RunFolder
from apportion.search.study import Study
from apportion.spec import LoadedSpec
from apportion.statistics import bootstrap, paired

HERE = Path(__file__).parent
SAMPLERS = ("allocator", "tpe", "random")
SPENDS = (25, 50, 100, 200)  # calls beside those of the baselines
SEEDS = range(20)


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


async def searched(sampler: str, seed: int, calls: int | None) -> tuple[Graph, int]:
    """What a search returns, and how many calls it made."""
    made = benchmark(loaded(), recording())
    dispatcher = made.environment.dispatcher
    dispatcher.allowance = Allowance(Limits(calls=calls))
    plan = plan_of(loaded().spec, {name: len(split) for name, split in made.splits.items()})
    trials = 0 if calls is None else 10_000
    plan = dataclasses.replace(plan, sampler=sampler, seed=seed, trials=trials, objectives=plan.objectives[:1])
    with TemporaryDirectory() as folder:
        run = RunFolder.start(Path(folder), {}, None)
        try:
            study = Study(plan, made, run.trials, Unheld())
            await study.search()
        finally:
            run.close()
    within = [trial for trial in study.trials if trial.state == "complete"]
    return max(within, key=lambda trial: trial.mean("accuracy")).graph, dispatcher.calls.spent()[0]


async def accuracy(graph: Graph) -> float:
    """On all recorded examples."""
    made = benchmark(loaded(), recording())
    rows = [row for split in made.splits for row in [row async for row in made.measure(graph, split)]]
    return sum(row[3]["accuracy"] or 0.0 for row in rows) / len(rows)


def one(job: tuple[str, int, int]) -> tuple[float, int]:
    """True accuracy of what a search returns, and its calls."""
    graph, calls = asyncio.run(searched(*job))
    return asyncio.run(accuracy(graph)), calls


def main() -> None:
    """Print the table."""
    os.environ["OMP_NUM_THREADS"] = "1"
    least = asyncio.run(searched("random", 0, None))[1]
    print(f"Baselines: {least} calls. Means over {len(SEEDS)} seeds of the search, with 95 % intervals over them.\n")
    print("| calls beside them | " + " | ".join(SAMPLERS) + " | allocator minus tpe |")
    print("|---" * (len(SAMPLERS) + 2) + "|")
    with ProcessPoolExecutor() as pool:
        for spend in SPENDS:
            rows = []
            for sampler in SAMPLERS:
                found = list(pool.map(one, [(sampler, seed, least + spend) for seed in SEEDS]))
                rows.append([value for value, _ in found])
            cells = [bootstrap(values) for values in rows] + [paired(rows[0], rows[1])]
            print(f"| {spend} | " + " | ".join(f"{c.mean:.3f} [{c.low:.3f}, {c.high:.3f}]" for c in cells) + " |")


if __name__ == "__main__":
    main()
