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
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import optuna
from optuna.samplers import BaseSampler, NSGAIISampler, RandomSampler, TPESampler
from optuna.trial import Trial, TrialState

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
        self.charge(graph, range(EXAMPLES)[part])
        return asyncio.run(self._rows(graph, part))

    def credit(self, graph: Graph) -> Credit | None:
        return None

    @property
    def evaluations(self) -> float:
        """Of graphs, those of a probe in parts."""
        return sum(map(len, self.spent.values())) / EXAMPLES

    def charge(self, graph: Graph, examples: Iterable[int]) -> None:
        """Count examples on which a graph is measured."""
        seen = self.spent.setdefault(graph.key, set())
        new = set(examples) - seen
        self.flops += self.case.problem.costs(graph)["flops"] * len(new)
        seen |= new

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
    "textgrad": agent(WAYS["textgrad"]),
    "textgrad, unscreened": agent(replace(WAYS["textgrad"], numeric=UNSCREENED)),
    "maao": agent(WAYS["maao"]),
    "maao, unscreened": agent(replace(WAYS["maao"], numeric=UNSCREENED)),
    "reinforce": numeric(Numeric()),
    "gptswarm": numeric(GPTSWARM),
    "maas": numeric(MAAS),
    "tpe": lambda case, seed, lab: TPESampler(seed=seed, multivariate=True),
    "nsga2": lambda case, seed, lab: NSGAIISampler(seed=seed, population_size=10),
    "random": lambda case, seed, lab: RandomSampler(seed=seed),
}
FEW = ("no roles", "no insights at initialisation", "no insights", "random mix", "no mix", "textgrad", "maao")
FEWER_SEEDS = 13  # of these searchers; 30 of the others


@dataclass(frozen=True)
class Ran:
    """How a search went.

    Attributes:
        found: evaluations until the best graph was measured, None if it was not; those by a probe count in parts.
        flops: spent by then, in units of one example.
        best: that was measured.
        last: what the last proposed graph gave.
    """

    found: float | None
    flops: float
    best: float
    last: float


def proposals(study: optuna.Study, case: Case, lab: Lab, most: int) -> Iterator[tuple[Trial, Graph]]:
    """Graphs within the budget that a study proposes, to be told; it ends with `most` evaluations or nothing new."""
    distributions = case.space.distributions()
    known: set[str] = set()
    repeats = 0
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
        repeats = repeats + 1 if graph.key in known else 0
        known.add(graph.key)
        lab.charge(graph, range(EXAMPLES))
        yield trial, graph
        if lab.evaluations >= most or repeats >= REPEATS_IN_A_ROW:
            return


def search(case: Case, sampler: BaseSampler, lab: Lab, most: int) -> Ran:
    """A search for the best graph."""
    study = optuna.create_study(direction="maximize", sampler=sampler)
    best = last = 0.0
    for trial, graph in proposals(study, case, lab, most):
        last = case.problem.strength(graph)
        best = max(best, last)
        study.tell(trial, last)
        if last >= case.problem.best - 1e-9:
            return Ran(lab.evaluations, lab.flops / EXAMPLES, best, last)
    return Ran(None, lab.flops / EXAMPLES, best, last)


def run(job: tuple[str, str, int, int]) -> dict[str, object]:
    """One searcher on one problem with one seed."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.simplefilter("ignore")
    name, searcher, seed, most = job
    case = next(case for case in pairs() if case.name == name)
    lab = Lab(case)
    started = time.perf_counter()
    ran = search(case, SEARCHERS[searcher](case, seed, lab), lab, most)
    return {
        "case": name,
        "searcher": searcher,
        "seed": seed,
        "most": most,
        "found": ran.found,
        "flops": ran.flops,
        "best": ran.best,
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
            lines.write(json.dumps(rounded(result), separators=(",", ":")) + "\n")
            lines.flush()


def rounded(value: Any) -> Any:
    """JSON values with floats of six digits: more would be noise, and megabytes."""
    match value:
        case dict():
            return {key: rounded(own) for key, own in value.items()}
        case list():
            return [rounded(own) for own in value]
        case float():
            return float(f"{value:.6g}")
    return value


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
    jobs = [
        (c, s, seed, given.most)
        for seed in seeds
        for c in given.cases
        for s in given.searchers
        if seed < FEWER_SEEDS or s not in FEW
    ]
    finish(jobs, run, KEY, given.out, given.workers)


if __name__ == "__main__":
    main()
