"""Graphs that searchers must measure to find the best one of twelve synthetic problems. See README.md.

python experiments/agent_reinforce/race.py --out experiments/agent_reinforce/results.jsonl    # goes on where it stopped
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import optuna
from optuna.samplers import BaseSampler, NSGAIISampler, RandomSampler, TPESampler
from optuna.trial import TrialState

from apportion.agent.reinforce.brief import Terms
from apportion.agent.reinforce.mixes import Purse
from apportion.agent.reinforce.sampler import AgentReinforceSampler
from apportion.agent.reinforce.scripted import ScriptedAgent
from apportion.agent.reinforce.settings import WAYS, Settings
from apportion.errors import GraphError
from apportion.graphs.credit import Credit
from apportion.graphs.graph import Graph
from apportion.search.reinforce.sampler import ReinforceSampler
from apportion.search.reinforce.settings import GPTSWARM, MAAS
from apportion.search.reinforce.settings import Settings as Numeric
from apportion.testing.landscape import Case
from apportion.testing.pairs import pairs

ASKS_PER_EVALUATION = 30  # proposals that are no graph, are over the budget or were measured before cost no evaluation
REPEATS_IN_A_ROW = 200  # then a sampler has nothing new to say; as in a study
EXAMPLES = 50  # of the search split, of which a probe sees some
KEY = ("case", "searcher", "seed", "most")
UNSCREENED = Numeric(screened=1)


@dataclass
class Lab:
    """A probe of a synthetic problem, which counts what it measures.

    Attributes:
        spent: examples that were measured, each once.
        flops: of them.
    """

    case: Case
    spent: dict[str, set[int]] = field(default_factory=dict)
    flops: float = 0.0

    @property
    def examples(self) -> int:
        return EXAMPLES

    def scores(self, graph: Graph, part: slice) -> Sequence[float | None]:
        rows = asyncio.run(self._rows(graph, part))
        places = range(EXAMPLES)[part]
        seen = self.spent.setdefault(graph.key, set())
        self.flops += self.case.problem.costs(graph)["flops"] * len(set(places) - seen)
        seen.update(places)
        return rows

    def credit(self, graph: Graph) -> Credit | None:
        return None

    async def _rows(self, graph: Graph, part: slice) -> list[float | None]:
        return [row[3]["accuracy"] async for row in self.case.problem.measure(graph, "search", part)]


def terms(case: Case) -> Terms:
    models = case.problem.models
    prices = {(s.name, m): models[m].flops for s in case.space.stages for m in s.models}
    return Terms(Purse(prices, case.budget), lambda graph: case.problem.costs(graph)["flops"], case.budget, "units")


def agent(settings: Settings) -> Callable[[Case, int, Lab], BaseSampler]:
    return lambda case, seed, lab: AgentReinforceSampler(case.space, ScriptedAgent(), terms(case), seed, settings, lab)


def numeric(settings: Numeric) -> Callable[[Case, int, Lab], BaseSampler]:
    def made(case: Case, seed: int, lab: Lab) -> BaseSampler:
        own = terms(case)
        return ReinforceSampler(case.space, seed, settings, own.purse.prices, own.purse.budget)

    return made


OURS = WAYS["agent_reinforce"]
SEARCHERS: Mapping[str, Callable[[Case, int, Lab], BaseSampler]] = {
    "both": agent(OURS),
    "text only": agent(replace(OURS, update="text")),
    "gradient only": agent(replace(OURS, update="gradient")),
    "both, unscreened": agent(replace(OURS, numeric=UNSCREENED)),
    "text only, unscreened": agent(replace(OURS, update="text", numeric=UNSCREENED)),
    "gradient only, unscreened": agent(replace(OURS, update="gradient", numeric=UNSCREENED)),
    "no roles": agent(replace(OURS, roles=False)),
    "no insights at initialisation": agent(replace(OURS, initial_insights=False)),
    "no insights": agent(replace(OURS, insights=(), sweeps=False)),
    "random mix": agent(replace(OURS, mix="random")),
    "no mix": agent(replace(OURS, mix="none", sweeps=False)),
    "textgrad": agent(replace(WAYS["textgrad"], numeric=UNSCREENED)),
    "maao": agent(replace(WAYS["maao"], numeric=UNSCREENED)),
    "reinforce": numeric(Numeric()),
    "gptswarm": numeric(GPTSWARM),
    "maas": numeric(MAAS),
    "tpe": lambda case, seed, lab: TPESampler(seed=seed, multivariate=True),
    "nsga2": lambda case, seed, lab: NSGAIISampler(seed=seed, population_size=10),
    "random": lambda case, seed, lab: RandomSampler(seed=seed),
}


@dataclass(frozen=True)
class Ran:
    """How a search went.

    Attributes:
        found: evaluations until the best graph was measured, None if it was not; those by a probe count in parts.
        flops: spent by then, in units of one example.
        curve: the best after each evaluation.
        last: what the last proposed graph gave.
    """

    found: float | None
    flops: float
    curve: Sequence[float]
    last: float


def evaluations(case: Case, sampler: BaseSampler, lab: Lab, most: int) -> Ran:
    study = optuna.create_study(direction="maximize", sampler=sampler)
    distributions = case.space.distributions()
    measured: dict[str, float] = {}
    curve: list[float] = []
    repeats, last = 0, 0.0
    everything = set(range(EXAMPLES))

    def spent() -> float:
        return sum(map(len, lab.spent.values())) / EXAMPLES

    for _ in range(ASKS_PER_EVALUATION * most):
        trial = study.ask(distributions)
        try:
            graph = case.space.build(trial.params)
        except GraphError:
            trial.set_constraint("graph", 1.0)
            study.tell(trial, state=TrialState.PRUNED)
            continue
        cost = case.problem.costs(graph)["flops"]
        over = cost / case.budget - 1.0 if case.budget else -1.0
        trial.set_constraint("graph", over)
        if over > 1e-9:
            study.tell(trial, state=TrialState.PRUNED)
            continue
        repeats = repeats + 1 if graph.key in measured else 0
        if graph.key not in measured:
            measured[graph.key] = case.problem.strength(graph)
            lab.flops += cost * len(everything - lab.spent.get(graph.key, set()))
            lab.spent[graph.key] = everything
            curve.append(max(measured[graph.key], curve[-1] if curve else 0.0))
        last = measured[graph.key]
        study.tell(trial, last)
        if last >= case.problem.best - 1e-9:
            return Ran(spent(), lab.flops / EXAMPLES, curve, last)
        if spent() >= most or repeats >= REPEATS_IN_A_ROW:
            break
    return Ran(None, lab.flops / EXAMPLES, curve, last)


def run(job: tuple[str, str, int, int]) -> dict[str, object]:
    """One searcher on one problem with one seed."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.simplefilter("ignore")
    name, searcher, seed, most = job
    case = next(case for case in pairs() if case.name == name)
    lab = Lab(case)
    started = time.perf_counter()
    ran = evaluations(case, SEARCHERS[searcher](case, seed, lab), lab, most)
    return {
        "case": name,
        "searcher": searcher,
        "seed": seed,
        "most": most,
        "found": ran.found,
        "flops": ran.flops,
        "best": ran.curve[-1] if ran.curve else 0.0,
        "last": ran.last,
        "s": time.perf_counter() - started,
    }


def finish(
    jobs: Sequence[tuple[object, ...]],
    run: Callable[[Any], dict[str, object]],
    key: Sequence[str],
    out: Path,
    workers: int,
) -> None:
    """Run what of some jobs is not among the results yet, and append theirs, a line each."""
    out.touch()
    ended = {tuple(json.loads(line)[k] for k in key) for line in out.read_text().splitlines()}
    with multiprocessing.get_context("spawn").Pool(workers) as pool, out.open("a") as lines:
        for result in pool.imap_unordered(run, [job for job in jobs if job not in ended]):
            lines.write(json.dumps(result) + "\n")
            lines.flush()


def main() -> None:
    """Run what is left to run and append the results, a line each."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", type=int, default=30)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--most", type=int, default=60)
    parser.add_argument("--searchers", nargs="*", default=list(SEARCHERS))
    parser.add_argument("--cases", nargs="*", default=[case.name for case in pairs()])
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    seeds = range(given.first, given.first + given.seeds)
    jobs = [(c, s, seed, given.most) for seed in seeds for c in given.cases for s in given.searchers]
    finish(jobs, run, KEY, given.out, given.workers)


if __name__ == "__main__":
    main()
