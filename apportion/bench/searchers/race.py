"""Runs searchers on tasks, seed by seed, over processes; a run that was written is not run again.

It knows how a run is made and written, not what the figures are.
"""

from __future__ import annotations

import contextlib
import io
import json
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass, replace
from functools import cache, partial
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple, NoReturn, TextIO

import numpy as np

from apportion.bench.searchers.by_agent import Answering, ByAgent
from apportion.bench.searchers.fronts import relative_hypervolume
from apportion.bench.searchers.registry import SPENDS_BY_THE_DRAW, code, raised, searcher
from apportion.bench.searchers.task_file import digest, load
from apportion.envs.replay.chained import Chained
from apportion.envs.replay.market import Currency, Market, Spent
from apportion.envs.replay.task import Task
from apportion.errors import ApportionError, RecordedError

BEGINNING = b'{"job": '  # of every line that `_write` writes
SIGNALS = (signal.SIGINT, signal.SIGTERM)


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
        hypervolume: true one of accuracy and the cost of an answer of what it offered at its end, as a share of that of
            the true front; None if it offered no front, or was written before there was this figure.
        digest: of the task file and its tables as the race found them; empty in a run that no race made.
        unrecorded: of a chain, the largest share of the questions on which a configuration meets an answer that its
            second model was not recorded on; 0 of other tasks.
        agent: counts of a searcher by an agent (`ByAgent.counts`); None of others.
        code: digest of the module of a user's own searcher; empty for those of the package.
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
    hypervolume: float | None = None
    unrecorded: float = 0.0
    agent: dict[str, int | None] | None = None
    code: str = ""


class Courtesy(io.TextIOBase):
    """Writes lines to another stream; what that cannot take, as on a full disk, is lost."""

    def __init__(self, stream: TextIO | None) -> None:
        self._stream, self._kept = stream, ""

    def write(self, text: str) -> int:
        """Write text; what is no whole line yet waits for the rest of it."""
        self._kept += text
        if "\n" in text:
            self.flush()
        return len(text)

    def flush(self) -> None:
        """Write what waits."""
        kept, self._kept = self._kept, ""
        if self._stream is not None:
            with contextlib.suppress(OSError):
                self._stream.write(kept)
                self._stream.flush()


@cache
def task(path: str) -> Task:
    """A task, read once in a process."""
    return load(Path(path))


def run(job: Job, answering: Answering | None = None) -> Run:
    """Make one run.

    Args:
        answering: who answers for a searcher by a model.

    Raises:
        RecordedError: the searcher raised something of its own.
    """
    own = task(job.task)
    market = Market(own, job.seed, job.currency, bank=job.bank)
    search = searcher(job.sampler, answering)
    itself, started = True, time.perf_counter()
    try:
        search(market, np.random.default_rng([job.seed, 10**6]))
    except Spent:
        itself = False
    except (ApportionError, ModuleNotFoundError):
        raise
    except (Exception, SystemExit) as error:  # here, as no frame reaches another process
        text = raised(job.sampler, error).replace("; mend the searcher", "")  # the remedy stands below
        raise RecordedError(
            f"a searcher must end by itself or by `Spent`, but {job.sampler!r} raised {text}, on {job.task}, "
            f"seed {job.seed}; mend the searcher."
        ) from error
    seconds = time.perf_counter() - started
    truth = own.truth
    leads = [Led(at, float(truth[i]), None if np.isnan(sure) else sure, n) for at, i, sure, n in market.leads]
    best = float(truth.max())
    oracle = float(truth[int(own.value(own.configurations, market.split).argmax())])
    tolerance = max(0.01 * best, 1.0 / own.least_questions)
    median, cost = float(np.median(truth)), own.cost(own.configurations)
    offered = market.fronts[-1].configurations if market.fronts else None
    hypervolume = None if offered is None else relative_hypervolume(truth, cost, own.budget, offered)
    unrecorded = float(own.unrecorded.max()) if isinstance(own, Chained) else 0.0
    return Run(
        job, own.name, len(own.stages), market.cap, market.spent, market.trials, itself, leads, best, tolerance, oracle,
        median, seconds, hypervolume=hypervolume, unrecorded=unrecorded,
        agent=dict(search.counts) if isinstance(search, ByAgent) else None,
    )  # fmt: skip


def read(path: Path) -> list[Run]:
    """Runs that were written. A last line that was cut short, as by a full disk, is no run.

    Raises:
        RecordedError: it is no file of runs.
    """
    try:
        if not path.is_file():
            raise RecordedError(f"{path} must be a file of runs, but it is none; name another.")
        *lines, torn = path.read_bytes().split(b"\n")
    except OSError as error:
        raise RecordedError(f"{path} must be readable, but {error.strerror}; name another.") from None
    if not (torn.startswith(BEGINNING) or BEGINNING.startswith(torn)):
        lines.append(torn)  # not by us, and refused below
    runs = []
    for number, line in enumerate(lines, 1):
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
    answering: Answering | None = None,
) -> Generator[Run, None, None]:
    """All runs, those first that were written before; each new one is written as soon as it ends.

    Until its end, or until it is closed, an interrupt raises KeyboardInterrupt and a termination SystemExit.

    Args:
        samplers: names, each with whether the bank is offered.
        out: where runs are kept, a line each; None for nowhere.
        workers: processes, at most one a run; None for one a core.
        answering: who answers for searchers by a model.

    Raises:
        RecordedError: a task file is wrong, a searcher failed, the file cannot be written, or it holds runs of another
            task, table or searcher.
        ModuleNotFoundError: a searcher needs a module that is not installed.
    """
    wanted: dict[Job, list[Job]] = {}
    for job in (Job(t, name, seed, currency, bank) for t in tasks for seed in range(seeds) for name, bank in samplers):
        # Who spends by the draw keeps every draw, so that the bank changes nothing: one run serves both.
        wanted.setdefault(replace(job, bank=job.bank and job.sampler not in SPENDS_BY_THE_DRAW), []).append(job)
    digests = {path: _digest(path) for path in tasks}
    known = {} if out is None else _known(out, digests)
    codes = {name: code(name) for name, _ in samplers}
    for job in wanted.keys() & known.keys():
        if known[job].code != codes[job.sampler]:
            raise RecordedError(
                f"{out} must hold runs of {job.sampler!r} as it is, but its module changed; name another file."
            )
    for job in wanted.keys() & known.keys():
        yield from (replace(known[job], job=asked) for asked in wanted[job])
    left = [job for job in wanted if job not in known]
    if not left:
        return
    with contextlib.closing(_made(left, workers, answering)) as results:
        for made in results:
            result = replace(made, digest=digests[made.job.task], code=codes[made.job.sampler])
            if out is not None:
                _write(out, result)
            yield from (replace(result, job=asked) for asked in wanted[result.job])


def _digest(path: str) -> str:
    """Digest of a task.

    Raises:
        RecordedError: its file or a table is wrong.
    """
    task(path)  # says what is wrong
    try:
        return digest(Path(path))
    except OSError as error:
        raise RecordedError(f"{path} must name tables that can be read, but {error.strerror}; mend it.") from None


def _known(out: Path, digests: Mapping[str, str]) -> dict[Job, Run]:
    """Runs that were written before; a torn end of the file is cut off.

    Args:
        digests: of the tasks of the race.
    """
    if not out.exists():
        return {}
    runs = read(out)
    _cut(out)
    for own in runs:
        if digests.get(own.job.task, own.digest) != own.digest:
            raise RecordedError(f"{out} must hold runs of {own.job.task} as it is, but it changed; name another file.")
    return {own.job: own for own in runs}


def _cut(out: Path) -> None:
    """Cut off a last line without an end, so that the next run begins a line."""
    try:
        whole = out.read_bytes()
        if whole and not whole.endswith(b"\n"):
            os.truncate(out, whole.rfind(b"\n") + 1)
    except OSError as error:
        raise RecordedError(
            f"{out} must be writable, as its last line is cut short, but {error.strerror}; name another."
        ) from None


def _made(jobs: Sequence[Job], workers: int | None, answering: Answering | None) -> Generator[Run, None, None]:
    """Runs of jobs over processes, in the order in which they end."""
    os.environ["OMP_NUM_THREADS"] = "1"  # of the processes to come: threads on small arrays only wait for each other
    count = min(workers or os.cpu_count() or 1, len(jobs))
    make = run if answering is None else partial(run, answering=answering)
    others = set(multiprocessing.active_children())
    with _Signals() as signals, ProcessPoolExecutor(count, multiprocessing.get_context("spawn"), _begin) as pool:
        try:
            with signals.held():
                made = [pool.submit(make, job) for job in jobs]
            for future in as_completed(made):
                yield future.result()
        except BrokenProcessPool:
            raise RecordedError("a searcher must not end its process, but one did; run them one by one.") from None
        except BaseException:
            for worker in set(multiprocessing.active_children()) - others:
                worker.kill()  # what it is at is not wanted any more
            raise


class _Signals:
    """The first SIGINT or SIGTERM raises, so that the workers are ended, and further ones are ignored meanwhile."""

    def __init__(self) -> None:
        self._held, self._received = False, 0
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> _Signals:
        if threading.current_thread() is threading.main_thread():  # others have no say in signals
            self._before = {number: signal.signal(number, self._stop) for number in SIGNALS}
        return self

    def __exit__(self, *raised: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Signals wait until the end, and processes that are started here never heed an interrupt.

        A terminal sends one to all of them, and a worker that heeded it, or whose start was cut short, would end with a
        traceback. To block it in this thread is for the workers, which inherit that; other threads still receive it.
        """
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        self._held = True
        try:
            yield
        finally:
            self._held = False
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
            if self._received:
                self._raise()

    def _stop(self, number: int, frame: FrameType | None) -> None:
        for own in SIGNALS:
            signal.signal(own, signal.SIG_IGN)
        self._received = number
        if not self._held:
            self._raise()

    def _raise(self) -> NoReturn:
        raise KeyboardInterrupt if self._received == signal.SIGINT else SystemExit(128 + self._received)


def _begin() -> None:
    """A worker prints to stderr, and ends with the command."""
    os.dup2(2, 1)
    sys.stdout = Courtesy(sys.stderr)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _write(out: Path, result: Run) -> None:
    try:
        with out.open("a", encoding="utf-8") as lines:
            lines.write(json.dumps(asdict(result)) + "\n")
    except OSError as error:
        raise RecordedError(f"runs must be written to {out}, but {error.strerror}; make room.") from None
