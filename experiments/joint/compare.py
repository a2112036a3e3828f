"""The runs of `make joint` beside each other at equal spend: front, hypervolume, share of spend per stage, drawing.

python experiments/joint/compare.py runs/joint

Everything is computed again from the banks; nothing is bought. A run's spend is the FLOPs of the draws that its trials
used, each counted once; runs are cut where the one that spent least ended.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from apportion.build import build
from apportion.envs.limits import Allowance, Limits
from apportion.envs.rollout import Rollout
from apportion.evaluators.costs import costs
from apportion.graphs.cost import Rates
from apportion.graphs.drawing import to_png
from apportion.graphs.graph import Graph
from apportion.run import RunFolder
from apportion.search.objectives import hypervolume
from apportion.spec import load_spec

HERE = Path(__file__).parent
SAMPLERS = ("reinforce", "tpe", "nsga2", "random")
METRICS = ("accuracy", "flops", "latency_s")
RESAMPLES, SEED = 2000, 0


@dataclass
class Told:
    """A measured graph of a run.

    Attributes:
        values: examples by metrics.
        spent: FLOPs of the draws that the run had used when it was told.
        stages: of these, by stage.
    """

    number: int
    label: str
    graph: Graph
    values: np.ndarray
    spent: float
    stages: dict[str, float] = field(default_factory=dict)


async def read(runs: Path, sampler: str, rates: dict[str, Rates]) -> list[Told]:
    """Every measured trial of a run, in order."""
    loaded = load_spec(HERE / "task.yaml", [f"search.sampler={sampler}"])
    search = build(loaded, runs / sampler)
    search.dispatcher.allowance = Allowance(Limits(calls=0))  # what the bank lacks is an error
    search.dispatcher.calls.run = "compare"  # and what is read here is no use of the run's own
    cards = {name: endpoint.card for name, endpoint in search.dispatcher.endpoints.items()}
    measure = costs(cards, rates)
    told: list[Told] = []
    used: set[tuple[str, int]] = set()
    stages: dict[str, float] = defaultdict(float)
    try:
        for trial in search.folder.told():
            if trial.state not in ("complete", "infeasible") or not trial.metrics:
                continue
            rows = []
            for example in search.benchmark.splits["search"]:
                rollout = await search.benchmark.environment.run(trial.graph, example)
                right = search.benchmark.score(rollout, example)["accuracy"]
                rows.append([float(right or 0.0), *(float(measure[m](rollout) or 0.0) for m in METRICS[1:])])
                _count(rollout, used, stages)
            if trial.state == "complete":
                told.append(
                    Told(trial.number, trial.label, trial.graph, np.array(rows), sum(stages.values()), dict(stages))
                )
    finally:
        await search.close()
    return told


def _count(rollout: Rollout, used: set[tuple[str, int]], stages: dict[str, float]) -> None:
    """Add the FLOPs of draws that were not used before."""
    for name, run in rollout.nodes.items():
        for draw in run.draws:
            if (draw.key, draw.index) not in used:
                used.add((draw.key, draw.index))
                stages[rollout.graph.by_id[name].stage] += draw.flops


def volumes(told: list[Told], reference: tuple[float, ...], rows: np.ndarray) -> float:
    """Hypervolume of the means over some examples, as a share of the box between the reference and the ideal point."""
    means = [trial.values[rows].mean(axis=0) for trial in told]
    box = reference[1] * reference[2]
    return hypervolume([(m[0], -m[1], -m[2]) for m in means], (0.0, -reference[1], -reference[2])) / box


async def main(runs: Path) -> None:
    """Compare and print a JSON of everything that the README shows."""
    first = RunFolder.view(runs / SAMPLERS[0])  # each run has probed for itself; seconds compare at one speed only
    rates = {name: Rates(*speeds, 4) for name, speeds in first.trials.fact("rates").items()}
    first.close()
    found = {sampler: await read(runs, sampler, rates) for sampler in SAMPLERS}
    spend = min(told[-1].spent for told in found.values())
    equal = {sampler: [trial for trial in told if trial.spent <= spend] for sampler, told in found.items()}
    n = len(next(iter(found.values()))[0].values)
    means = [trial.values.mean(axis=0) for told in equal.values() for trial in told]
    reference = (0.0, *(1.05 * max(m[k] for m in means) for k in (1, 2)))
    rng = np.random.default_rng(SEED)
    draws = [rng.integers(0, n, n) for _ in range(RESAMPLES)]
    report: dict[str, object] = {"spend_flops": spend, "examples": n, "reference": reference, "samplers": {}}
    resampled = {s: np.array([volumes(told, reference, rows) for rows in draws]) for s, told in equal.items()}
    for sampler, told in equal.items():
        low, high = np.quantile(resampled[sampler], [0.025, 0.975])
        above = resampled[sampler] - resampled["random"]
        found_here = [trial for trial in told if trial.label == sampler]
        best = max(found_here, key=lambda trial: (trial.values[:, 0].mean(), -trial.values[:, 1].mean()))
        total = sum(told[-1].stages.values())
        report["samplers"][sampler] = {  # type: ignore[index]
            "trials": len(told),
            "hypervolume": [volumes(told, reference, np.arange(n)), low, high],
            "minus_random": [above.mean(), *np.quantile(above, [0.025, 0.975])],
            "share_of_spend": {stage: flops / total for stage, flops in told[-1].stages.items()},
            "front": [_shown(trial) for trial in _front(told)],
            "most_accurate_found": _shown(best),
        }
        to_png(best.graph, HERE / f"{sampler}.png")
    (HERE / "results.json").write_text(json.dumps(report, indent=1) + "\n")
    print(json.dumps(report, indent=1))


def _front(told: list[Told]) -> list[Told]:
    gains = {t.number: (t.values.mean(axis=0) * (1, -1, -1)) for t in told}
    kept = [
        t
        for t in told
        if not any(
            (gains[o.number] >= gains[t.number]).all() and (gains[o.number] > gains[t.number]).any() for o in told
        )
    ]
    return sorted(kept, key=lambda t: -t.values[:, 0].mean())


def _shown(trial: Told) -> dict[str, object]:
    means = dict(zip(METRICS, trial.values.mean(axis=0).tolist(), strict=True))
    return {"trial": trial.number, "label": trial.label, **means, "graph": str(trial.graph).splitlines()}


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
