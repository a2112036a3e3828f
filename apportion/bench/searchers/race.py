"""Runs searchers on tasks, seed by seed, over processes; a run that was written is not run again.

It knows how a run is made and written, not what the figures are.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

from apportion.bench.searchers.registry import SPENDS_BY_THE_DRAW, searcher
from apportion.bench.searchers.task_file import digest, load
from apportion.envs.replay.market import Currency, Market, Spent
from apportion.envs.replay.task import Task
from apportion.errors import ApportionError, RecordedError


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
        digest: of the task file and its tables.
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
    digest: str = ""


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
        median, seconds, digest(Path(job.task)),
    )  # fmt: skip


def read(path: Path) -> list[Run]:
    """Runs that were written. A last line that was cut short, as by a full disk, is no run.

    Raises:
        RecordedError: it is no file of runs.
    """
    try:
        if not path.is_file():
            raise RecordedError(f"{path} must be a file of runs, but it is none; name another.")
        lines = path.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise RecordedError(f"{path} must be a readable file of runs, but {error}; name another.") from None
    runs = []
    for number, line in enumerate(lines[:-1], 1):
        try:
            record = json.loads(line)
            leads = [Led(float(at), float(value), sure, int(n)) for at, value, sure, n in record.pop("leads")]
            runs.append(Run(Job(**record.pop("job")), leads=leads, **record))
        except (ValueError, TypeError, KeyError, AttributeError):
            raise RecordedError(f"each line of {path} must be a run, but line {number} is not; name another.") from None
    return runs


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

    Raises:
        RecordedError: a searcher failed, the file cannot be written, or it holds runs of another task or table.
    """
    wanted: dict[Job, list[Job]] = {}
    for job in (Job(t, name, seed, currency, bank) for t in tasks for seed in range(seeds) for name, bank in samplers):
        # Who spends by the draw keeps every draw, so that the bank changes nothing: one run serves both.
        wanted.setdefault(replace(job, bank=job.bank and job.sampler not in SPENDS_BY_THE_DRAW), []).append(job)
    known = {} if out is None else _known(out, tasks)
    for job in wanted.keys() & known.keys():
        yield from (replace(known[job], job=asked) for asked in wanted[job])
    left = [job for job in wanted if job not in known]
    for result in _made(left, workers) if left else ():
        if out is not None:
            _write(out, result)
        yield from (replace(result, job=asked) for asked in wanted[result.job])


def _known(out: Path, tasks: Sequence[str]) -> dict[Job, Run]:
    """Runs of these tasks that were written before; a torn end of the file is cut off."""
    if not out.exists():
        return {}
    runs = read(out)
    with contextlib.suppress(OSError):
        whole = out.read_bytes()
        if whole and not whole.endswith(b"\n"):
            out.write_bytes(whole[: whole.rfind(b"\n") + 1])
    digests = {path: digest(Path(path)) for path in tasks}
    for own in runs:
        if digests.get(own.job.task, own.digest) != own.digest:
            raise RecordedError(f"{out} must hold runs of {own.job.task} as it is, but it changed; name another file.")
    return {own.job: own for own in runs}


def _made(jobs: Sequence[Job], workers: int | None) -> Iterator[Run]:
    """Runs of jobs over processes, in the order in which they end."""
    os.environ["OMP_NUM_THREADS"] = "1"  # of the processes to come: threads on small arrays only wait for each other
    count = min(workers or os.cpu_count() or 1, len(jobs))
    with ProcessPoolExecutor(count, multiprocessing.get_context("spawn"), _begin) as pool:
        of = {pool.submit(run, job): job for job in jobs}
        try:
            for future in as_completed(of):
                job = of[future]
                try:
                    result = future.result()
                except (ApportionError, BrokenProcessPool):
                    raise
                except Exception as error:
                    raise RecordedError(
                        f"a searcher must end by itself or by `Spent`, but {job.sampler!r} raised "
                        f"{type(error).__name__} on {job.task}, seed {job.seed}: {error}; mend it."
                    ) from error
                yield result
        except BrokenProcessPool:
            raise RecordedError("a searcher must not end its process, but one did; run them one by one.") from None
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _begin() -> None:
    """A worker prints to stderr, leaves an interrupt to the command, and ends with it."""
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


def _write(out: Path, result: Run) -> None:
    try:
        with out.open("a", encoding="utf-8") as lines:
            lines.write(json.dumps(asdict(result)) + "\n")
    except OSError as error:
        raise RecordedError(f"runs must be written to {out}, but {error.strerror}; make room.") from None
