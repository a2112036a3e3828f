"""Evaluations that samplers need to find the best graph of six synthetic problems. See README.md.

python experiments/reinforce/race.py --out experiments/reinforce/results.jsonl    # goes on where it stopped
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import time
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path

import optuna
from optuna.samplers import BaseSampler, NSGAIISampler, RandomSampler, TPESampler
from optuna.trial import TrialState

from apportion.errors import GraphError
from apportion.search.reinforce.sampler import ReinforceSampler
from apportion.search.reinforce.settings import GPTSWARM, Settings
from apportion.testing.landscape import Case, cases

ASKS_PER_EVALUATION = 4  # proposals that are no graph, are over the budget or were measured before cost no evaluation
KEY = ("case", "sampler", "seed", "most")
REPEATS_IN_A_ROW = 200  # then a sampler has nothing new to say; as in a study

SAMPLERS: Mapping[str, Callable[[Case, int], BaseSampler]] = {
    "reinforce": lambda case, seed: ReinforceSampler(case.space, seed, Settings(), *nominal(case)),
    "unlearnt": lambda case, seed: ReinforceSampler(case.space, seed, Settings(lr=0.0), *nominal(case)),
    "unscreened": lambda case, seed: ReinforceSampler(case.space, seed, Settings(screened=1), *nominal(case)),
    "gptswarm": lambda case, seed: ReinforceSampler(case.space, seed, GPTSWARM, *nominal(case)),
    "tpe": lambda case, seed: TPESampler(seed=seed, multivariate=True),
    "nsga2": lambda case, seed: NSGAIISampler(seed=seed, population_size=10),
    "random": lambda case, seed: RandomSampler(seed=seed),
}


def nominal(case: Case) -> tuple[dict[tuple[str, str], float], float | None]:
    """Prices and budget for the samplers that draw within a budget."""
    models = case.problem.models
    return {(s.name, m): models[m].flops for s in case.space.stages for m in s.models}, case.budget


def evaluations(case: Case, sampler: BaseSampler, most: int) -> tuple[int | None, list[float]]:
    """Graphs measured until the best one was, None if it was not within `most`; and the best after each."""
    study = optuna.create_study(direction="maximize", sampler=sampler)
    distributions = case.space.distributions()
    measured: dict[str, float] = {}
    curve: list[float] = []
    repeats = 0
    for _ in range(ASKS_PER_EVALUATION * most):
        trial = study.ask(distributions)
        try:
            graph = case.space.build(trial.params)
        except GraphError:
            trial.set_constraint("graph", 1.0)
            study.tell(trial, state=TrialState.PRUNED)
            continue
        over = case.problem.costs(graph)["flops"] / case.budget - 1.0 if case.budget else -1.0
        trial.set_constraint("graph", over)
        if over > 0:
            study.tell(trial, state=TrialState.PRUNED)
            continue
        if graph.key not in measured:
            measured[graph.key] = case.problem.strength(graph)
            curve.append(max(measured[graph.key], curve[-1] if curve else 0.0))
            repeats = 0
        else:
            repeats += 1
        study.tell(trial, measured[graph.key])
        if measured[graph.key] >= case.problem.best - 1e-9:
            return len(measured), curve
        if len(measured) >= most or repeats >= REPEATS_IN_A_ROW:
            break
    return None, curve


def run(job: tuple[str, str, int, int]) -> dict[str, object]:
    """One sampler on one problem with one seed."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.simplefilter("ignore")
    name, sampler, seed, most = job
    case = next(case for case in cases() if case.name == name)
    started = time.perf_counter()
    found, curve = evaluations(case, SAMPLERS[sampler](case, seed), most)
    best = curve[-1] if curve else 0.0
    seconds = time.perf_counter() - started
    return {"case": name, "sampler": sampler, "seed": seed, "most": most, "found": found, "best": best, "s": seconds}


def main() -> None:
    """Run what is left to run and append the results, a line each."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", type=int, default=30)
    parser.add_argument("--most", type=int, default=150)
    parser.add_argument("--samplers", nargs="*", default=list(SAMPLERS))
    parser.add_argument("--cases", nargs="*", default=[case.name for case in cases()])
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    given.out.touch()
    ended = {tuple(json.loads(line)[k] for k in KEY) for line in given.out.read_text().splitlines()}
    jobs = [(c, s, seed, given.most) for seed in range(given.seeds) for c in given.cases for s in given.samplers]
    left = [job for job in jobs if job not in ended]
    with multiprocessing.get_context("spawn").Pool(given.workers) as pool, given.out.open("a") as out:
        for result in pool.imap_unordered(run, left):
            out.write(json.dumps(result) + "\n")
            out.flush()


if __name__ == "__main__":
    main()
