"""Runs searchers on tasks, seed by seed, over processes; a run that was written is not run again.

It knows how a run is made and written, not what the figures are.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

from apportion.bench.searchers.registry import SPENDS_BY_THE_DRAW, searcher
from apportion.bench.searchers.task_file import load
from apportion.envs.replay.market import Currency, Market, Spent
from apportion.envs.replay.task import Task
from apportion.errors import RecordedError


@dataclass(frozen=True)
class Job:
    """One run to make: a searcher on a task with a seed, paying in a currency, with the bank or without."""

    task: str
    sampler: str
    seed: int
    currency: Currency
    bank: bool


class Led(NamedTuple):
    """What a run would have returned from a spend on.

    Attributes:
        value: its true value.
        sure: the probability stated for it, None if none was.
        trials: configurations measured by then.
    """

    spent: float
    value: float
    sure: float | None
    trials: int


@dataclass(frozen=True)
class Run:
    """What one run came to.

    Attributes:
        cap: on the spend.
        spent: at the end.
        trials: configurations measured.
        itself: whether it stopped before the cap, by itself.
        leads: what it would have returned, from when on.
        optimum: true value of the best configuration.
        tolerance: by which a value may fall short of it and still count as within 1 %.
        oracle: true value of the configuration that is best on the exact values of the search split.
        seconds: of the search.
    """

    job: Job
    name: str
    stages: int
    cap: float
    spent: float
    trials: int
    itself: bool
    leads: list[Led]
    optimum: float
    tolerance: float
    oracle: float
    median: float
    seconds: float


@cache
def task(path: str) -> Task:
    """A task, read once in a process."""
    return load(Path(path))


def run(job: Job) -> Run:
    """Make one run."""
    own = task(job.task)
    market = Market(own, job.seed, job.currency, bank=job.bank)
    search = searcher(job.sampler)
    itself, started = True, time.perf_counter()
    try:
        search(market, np.random.default_rng([job.seed, 10**6]))
    except Spent:
        itself = False
    seconds = time.perf_counter() - started
    truth = own.truth
    leads = [Led(at, float(truth[i]), None if np.isnan(sure) else sure, n) for at, i, sure, n in market.leads]
    best = float(truth.max())
    oracle = float(truth[int(own.value(own.configurations, market.split).argmax())])
    tolerance = max(0.01 * best, 1.0 / own.least_questions)
    median = float(np.median(truth))
    return Run(
        job, own.name, len(own.stages), market.cap, market.spent, market.trials, itself, leads, best, tolerance, oracle,
        median, seconds,
    )  # fmt: skip


def read(path: Path) -> list[Run]:
    """Runs that were written.

    Raises:
        RecordedError: a line is no run.
    """
    runs = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        try:
            record = json.loads(line)
            leads = [Led(float(at), float(value), sure, int(n)) for at, value, sure, n in record.pop("leads")]
            runs.append(Run(Job(**record.pop("job")), leads=leads, **record))
        except (ValueError, TypeError, KeyError):
            raise RecordedError(f"each line of {path} must be a run, but line {number} is not; delete it.") from None
    return runs


def _quiet() -> None:
    """What a searcher prints must not get into what the command prints."""
    sys.stdout = sys.stderr


def race(
    tasks: Sequence[str],
    samplers: Sequence[tuple[str, bool]],
    seeds: int,
    currency: Currency,
    out: Path | None = None,
    workers: int | None = None,
) -> Iterator[Run]:
    """All runs, those first that were written before; each new one is written as soon as it ends.

    Args:
        samplers: names, each with whether the bank is offered.
        out: where runs are kept, a line each; None for nowhere.
    """
    wanted: dict[Job, list[Job]] = {}
    for job in (Job(t, name, seed, currency, bank) for t in tasks for seed in range(seeds) for name, bank in samplers):
        # Who spends by the draw keeps every draw, so that the bank changes nothing: one run serves both.
        wanted.setdefault(replace(job, bank=job.bank and job.sampler not in SPENDS_BY_THE_DRAW), []).append(job)
    known = {r.job: r for r in read(out)} if out is not None and out.exists() else {}
    for job in wanted.keys() & known.keys():
        yield from (replace(known[job], job=asked) for asked in wanted[job])
    left = [job for job in wanted if job not in known]
    if not left:
        return
    os.environ["OMP_NUM_THREADS"] = "1"  # of the processes to come: threads on small arrays only wait for each other
    with multiprocessing.get_context("spawn").Pool(workers, _quiet) as pool:
        for result in pool.imap_unordered(run, left, chunksize=4):
            if out is not None:
                with out.open("a", encoding="utf-8") as lines:
                    lines.write(json.dumps(asdict(result)) + "\n")
            yield from (replace(result, job=asked) for asked in wanted[result.job])
