"""Accuracy against seconds or USD on the synthetic problems: hypervolume after so many graphs. See README.md.

python experiments/agent_reinforce/fronts.py --out experiments/agent_reinforce/fronts.jsonl  # goes on where it stopped

Hypervolume of a front, from no accuracy at the cost of the dearest graph on the front of any run on that problem, as a
share of that of the fronts of all searchers and seeds together: `table.py` computes it.
"""

from __future__ import annotations

import argparse
import warnings
from pathlib import Path

import optuna
from race import SEARCHERS, Lab, finish, proposals

from apportion.testing.pairs import pairs

KEY = ("case", "searcher", "seed", "most", "cost")
RACED = (
    "both", "text only", "gradient only", "both, unscreened", "textgrad, unscreened", "maao, unscreened", "reinforce",
    "gptswarm", "tpe", "nsga2", "random",
)  # fmt: skip


def run(job: tuple[str, str, int, int, str]) -> dict[str, object]:
    """One searcher for two objectives: the front of what it measured. Probes count in parts, as in race.py."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.simplefilter("ignore")
    name, searcher, seed, most, cost = job
    case = next(case for case in pairs() if case.name == name)
    lab = Lab(case)
    study = optuna.create_study(directions=["maximize", "minimize"], sampler=SEARCHERS[searcher](case, seed, lab))
    measured: set[tuple[float, float]] = set()
    for trial, graph in proposals(study, case, lab, most):
        values = case.problem.strength(graph), case.problem.costs(graph)[cost]
        measured.add(values)
        study.tell(trial, values)
    front = [own for own in measured if not any(o[0] >= own[0] and o[1] <= own[1] and o != own for o in measured)]
    return {**dict(zip(KEY, job, strict=True)), "front": [list(own) for own in sorted(front)]}


def main() -> None:
    """Run what is left to run and append the results, a line each."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--most", type=int, default=60)
    parser.add_argument("--searchers", nargs="*", default=list(RACED))
    parser.add_argument("--cases", nargs="*", default=["wide", "deep", "mixed"])
    parser.add_argument("--costs", nargs="*", default=["latency_s", "usd"])
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    seeds = range(given.first, given.first + given.seeds)
    jobs = [(c, s, n, given.most, m) for n in seeds for c in given.cases for m in given.costs for s in given.searchers]
    finish(jobs, run, KEY, given.out, given.workers)


if __name__ == "__main__":
    main()
