"""Accuracy against seconds or USD on the synthetic problems: hypervolume after so many graphs. See README.md.

python experiments/agent_reinforce/fronts.py --out experiments/agent_reinforce/fronts.jsonl  # goes on where it stopped

Hypervolume of what was measured, from no accuracy at the cost of the dearest graph that any searcher measured on that
problem, as a share of that of all graphs that all searchers with all seeds measured there: `table.py` computes it.
"""

from __future__ import annotations

import argparse
import warnings
from pathlib import Path

import optuna
from optuna.trial import TrialState
from race import ASKS_PER_EVALUATION, EXAMPLES, REPEATS_IN_A_ROW, SEARCHERS, Lab, finish

from apportion.errors import GraphError
from apportion.testing.pairs import pairs

KEY = ("case", "searcher", "seed", "most", "cost")
RACED = ("both", "text only", "gradient only", "textgrad", "maao", "reinforce", "gptswarm", "tpe", "nsga2", "random")


def run(job: tuple[str, str, int, int, str]) -> dict[str, object]:
    """One searcher for two objectives; probes count in parts, as in race.py."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.simplefilter("ignore")
    name, searcher, seed, most, cost = job
    case = next(case for case in pairs() if case.name == name)
    lab = Lab(case)
    study = optuna.create_study(directions=["maximize", "minimize"], sampler=SEARCHERS[searcher](case, seed, lab))
    distributions = case.space.distributions()
    measured: dict[str, tuple[float, float]] = {}
    repeats = 0
    for _ in range(ASKS_PER_EVALUATION * most):
        trial = study.ask(distributions)
        try:
            graph = case.space.build(trial.params)
        except GraphError:
            trial.set_constraint("graph", 1.0)
            study.tell(trial, state=TrialState.PRUNED)
            continue
        costs = case.problem.costs(graph)
        over = costs["flops"] / case.budget - 1.0 if case.budget else -1.0
        trial.set_constraint("graph", over)
        if over > 1e-9:
            study.tell(trial, state=TrialState.PRUNED)
            continue
        repeats = repeats + 1 if graph.key in measured else 0
        measured[graph.key] = (case.problem.strength(graph), costs[cost])
        lab.spent[graph.key] = set(range(EXAMPLES))
        study.tell(trial, measured[graph.key])
        if sum(map(len, lab.spent.values())) / EXAMPLES >= most or repeats >= REPEATS_IN_A_ROW:
            break
    keys = dict(zip(KEY, job, strict=True))
    return {**keys, "measured": [list(own) for own in dict.fromkeys(measured.values())]}


def main() -> None:
    """Run what is left to run and append the results, a line each."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", type=int, default=30)
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
