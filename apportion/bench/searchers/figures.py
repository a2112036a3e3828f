"""Figures of raced searchers: how far from the best their answers are against what they spent.

Pure numbers from runs; it does not know how a run is made, nor how figures are shown.

The regret of a run at a spend is the true value of the best configuration of the task less that of the configuration
that the run would return there. Before it names one, the one of median value stands for it; after its end, the last it
named stands. S is the cap on the spend, and spends are shares of it unless a unit is said.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from apportion.bench.searchers.race import Job, Run
from apportion.bench.searchers.ranks import ranked
from apportion.statistics import CHUNK, RESAMPLES, SEED, Interval, bootstrap, wilson

Floats = NDArray[np.float64]

ROUNDING = 1e-9  # regrets this near count as equal: a shortfall of exactly one question is within one question
AT = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)  # spends at which the mean regret is given
SURE = 0.9  # stated probability from which a run is held to its word
LEAST_COST = 1e-4  # spend that counts as the least where prices are not in draws
REFERENCE = "tpe"
GROUPS = {"single": False, "multi": True}  # whether the tasks have several stages


def name(job: Job) -> str:
    """What a searcher is called: `tpe`, or `tpe+bank` where the bank is offered."""
    return f"{job.sampler}+bank" if job.bank else job.sampler


def allowed(run: Run, share: float) -> float:
    """Regret within which a value counts: a share of the optimum, at least the run's own tolerance."""
    return max(share * run.optimum, run.tolerance) + ROUNDING


@dataclass(frozen=True, eq=False)
class Course:
    """The regret of a run against its spend, a step function.

    Attributes:
        spends: where the regret changes, from 0, rising.
        regrets: from each of them on.
    """

    spends: Floats
    regrets: Floats

    def at(self, shares: Floats) -> Floats:
        """Regret at each of some spends."""
        return np.asarray(self.regrets[np.searchsorted(self.spends, shares, side="right") - 1])

    def settled(self, bound: float) -> float:
        """The spend after which the regret stays within a bound until the end; 1 if it is above it at the end."""
        above = np.flatnonzero(self.regrets > bound)
        if not len(above):
            return 0.0
        return 1.0 if above[-1] == len(self.regrets) - 1 else float(self.spends[above[-1] + 1])


def course(run: Run) -> Course:
    """The course of a run; of several leads at one spend the last counts."""
    spends = np.minimum([0.0, *(at / run.cap for at, *_ in run.leads)], 1.0)
    values = np.array([run.median, *(value for _, value, *_ in run.leads)])
    last = np.append(spends[1:] > spends[:-1], True)
    spends, values = spends[last], values[last]
    changed = np.append(True, values[1:] != values[:-1])
    return Course(spends[changed], run.optimum - values[changed])


@dataclass(frozen=True, eq=False)
class Entry:
    """The runs of a searcher on a task, in the order of their seeds."""

    runs: tuple[Run, ...]

    @cached_property
    def courses(self) -> tuple[Course, ...]:
        """The course of each run."""
        return tuple(map(course, self.runs))

    @cached_property
    def final(self) -> Floats:
        """Regret of each run at S."""
        return np.array([own.regrets[-1] for own in self.courses])

    @cached_property
    def least(self) -> float:
        """What a spend counts as at least where logarithms are taken: a draw, or `LEAST_COST`."""
        run = self.runs[0]
        return 1.0 / run.cap if run.job.currency == "draws" else LEAST_COST

    def hits(self, share: float) -> Interval:
        """Share of the runs that end within a share of the optimum."""
        return wilson(sum(r <= allowed(run, share) for r, run in zip(self.final, self.runs, strict=True)), self.size)

    def spend_to(self, share: float) -> Interval:
        """Spend after which a run stays within a share of the optimum: geometric mean, in the currency.

        A run that is not within it at its end counts as S, also if it stopped before.
        """
        spends = [c.settled(allowed(run, share)) for c, run in zip(self.courses, self.runs, strict=True)]
        logs = bootstrap(np.log(np.maximum(spends, self.least)).tolist())
        mean, low, high = np.exp([logs.mean, logs.low, logs.high]) * self.runs[0].cap
        return Interval(float(mean), float(low), float(high), logs.n)

    def regret(self, shares: Sequence[float], weights: Floats) -> Floats:
        """Mean regret at some spends by each weighting of the seeds: weightings x spends."""
        return np.asarray(weights @ np.stack([own.at(np.asarray(shares)) for own in self.courses]))

    def spend_to_regret(self, targets: Floats, weights: Floats) -> Floats:
        """The smallest spend from which on the mean regret stays at or below a target; NaN where there is none.

        Args:
            targets: one a weighting.
            weights: of the seeds, summing to 1: weightings x seeds.
        """
        spends = np.concatenate([own.spends for own in self.courses])
        steps = np.concatenate([np.diff(own.regrets, prepend=0.0) for own in self.courses])
        seeds = np.repeat(np.arange(self.size), [len(own.spends) for own in self.courses])
        order = np.argsort(spends, kind="stable")
        spends, steps, seeds = spends[order], steps[order], seeds[order]
        last = np.append(spends[1:] > spends[:-1], True)
        after = np.append(spends[last], np.nan)[1:]  # the next change, and none after the last
        rows = max(1, CHUNK // len(spends))
        found = []
        for start in range(0, len(weights), rows):
            means = np.cumsum(weights[start : start + rows, seeds] * steps, axis=1)[:, last]
            above = means > targets[start : start + rows, None] + ROUNDING
            latest = above.shape[1] - 1 - above[:, ::-1].argmax(axis=1)
            found.append(np.where(above.any(axis=1), after[latest], 0.0))
        return np.concatenate(found)

    @property
    def size(self) -> int:
        """Number of runs."""
        return len(self.runs)


Field = Mapping[str, Mapping[str, Entry]]
"""Entries by task and searcher."""


def entries(runs: Iterable[Run]) -> Field:
    """The runs sorted into entries.

    Raises:
        ValueError: not every searcher has run on every task with the same seeds, so that they cannot be paired.
    """
    found: dict[str, dict[str, list[Run]]] = {}
    for run in runs:
        found.setdefault(run.name, {}).setdefault(name(run.job), []).append(run)
    field = {
        task: {searcher: Entry(tuple(sorted(own, key=lambda run: run.job.seed))) for searcher, own in by.items()}
        for task, by in found.items()
    }
    seeds = {tuple(run.job.seed for run in entry.runs) for by in field.values() for entry in by.values()}
    searchers = {frozenset(by) for by in field.values()}
    if len(seeds) > 1 or len(searchers) > 1:
        raise ValueError("every searcher must have run on every task with the same seeds, but some lack; run the rest.")
    return field


def weightings(seeds: int, resamples: int = RESAMPLES) -> Floats:
    """Weights of the seeds, each row summing to 1: all alike in the first row, then bootstrap resamples."""
    rng = np.random.default_rng(SEED)
    resampled = rng.multinomial(seeds, np.full(seeds, 1 / seeds), size=resamples)
    return np.vstack([np.full(seeds, 1 / seeds), resampled / seeds])


def spend_to_tpe(by: Mapping[str, Entry], searcher: str, weights: Floats) -> Floats | None:
    """The spend from which on a searcher's mean regret stays at or below TPE's at S, by each weighting.

    A searcher with the bank is compared with TPE with the bank.

    Returns:
        NaN where it never gets there; None if TPE was not run.
    """
    reference = by.get(f"{REFERENCE}+bank" if searcher.endswith("+bank") else REFERENCE)
    return None if reference is None else by[searcher].spend_to_regret(weights @ reference.final, weights)


def calibration(of: Iterable[Entry]) -> dict[str, float] | None:
    """How often runs that stopped by themselves, at least `SURE` of being within tolerance, were; None if none was."""
    right = [
        bool(regret <= allowed(run, 0.01))
        for entry in of
        for regret, run in zip(entry.final, entry.runs, strict=True)
        if run.itself and run.leads and (run.leads[-1][2] or 0.0) >= SURE
    ]
    if not right:
        return None
    share = wilson(sum(right), len(right))
    return {"share": share.mean, "low": share.low, "high": share.high, "right": sum(right), "n": len(right)}


def trials_to_99(entry: Entry) -> float | None:
    """Median of the trials after which runs stay within 1 %; None if half do not, or if no run measures trials."""
    counts = []
    for run in entry.runs:
        wrong = [k for k, led in enumerate(run.leads) if run.optimum - led.value > allowed(run, 0.01)]
        after = wrong[-1] + 1 if wrong else 0
        counts.append(run.leads[after].trials if after < len(run.leads) else math.inf)
    middle = float(np.median(counts))
    return middle if math.isfinite(middle) and any(run.trials for run in entry.runs) else None


def figures(by: Mapping[str, Entry], searcher: str) -> dict[str, Any]:
    """What a searcher came to on a task, as JSON.

    Args:
        by: entries of the task.

    Returns:
        `spend_to_tpe` is None with `reached` False where it never gets there, and both are None if TPE was not run.
    """
    entry = by[searcher]
    first, ones = entry.runs[0], weightings(entry.size, 0)
    hits, to = {p: entry.hits(1 - p / 100) for p in (95, 99)}, {p: entry.spend_to(1 - p / 100) for p in (95, 99)}
    spend = spend_to_tpe(by, searcher, ones)
    oracle = np.array([run.optimum - run.oracle for run in entry.runs])
    return {
        "runs": entry.size,
        **{f"hit_{p}": hits[p].mean for p in hits},
        "hit_99_interval": [hits[99].low, hits[99].high],
        **{f"{c}_to_{p}": to[p].mean if c == first.job.currency else None for c in ("draws", "cost") for p in to},
        "to_99_interval": [to[99].low, to[99].high],
        "trials_to_99": trials_to_99(entry),
        "final_value_ratio": float(1 - entry.final.mean() / first.optimum) if first.optimum > 0 else None,
        "hypervolume": _mean([run.hypervolume for run in entry.runs]),
        "regret_at": dict(zip(map(str, AT), entry.regret(AT, ones)[0].tolist(), strict=True)),
        "regrets": entry.final.round(6).tolist(),
        "spend_to_tpe": float(spend[0]) if spend is not None and np.isfinite(spend[0]) else None,
        "reached": None if spend is None else bool(np.isfinite(spend[0])),
        "oracle_hit_99": float(np.mean([o <= allowed(run, 0.01) for o, run in zip(oracle, entry.runs, strict=True)])),
        "oracle_regret": float(oracle.mean()),
        "calibration": calibration([entry]),
        "led": float(np.mean([bool(run.leads) for run in entry.runs])),
        "stopped": float(np.mean([run.itself for run in entry.runs])),
        "spent": float(np.mean([run.spent / run.cap for run in entry.runs])),
        "trials": float(np.mean([run.trials for run in entry.runs])),
        "seconds": float(np.mean([run.seconds for run in entry.runs])),
        "agent": _counts([run.agent for run in entry.runs]),
    }


def _counts(agents: Sequence[Mapping[str, int | None] | None]) -> dict[str, int | None] | None:
    """Sums of the counts of an agent over runs; None of a searcher without one, and of a count that is not known."""
    known = [counts for counts in agents if counts is not None]
    if not known:
        return None
    every = {name: [counts[name] for counts in known] for name in known[0]}
    return {name: None if None in own else sum(n for n in own if n is not None) for name, own in every.items()}


def summary(tasks: Sequence[Mapping[str, Entry]], of: Sequence[Mapping[str, Any]], searcher: str) -> dict[str, Any]:
    """What a searcher came to over tasks: geometric means of spends, means of shares.

    On a task where it never gets to TPE, its spend to TPE counts as S.

    The interval is the percentile bootstrap over seeds, the same seeds for all tasks and searchers.

    Args:
        tasks: entries of each task.
        of: figures of the searcher on each task.
    """
    shares = [spend_to_tpe(by, searcher, weightings(by[searcher].size)) for by in tasks]
    logs = [
        np.log(np.maximum(np.nan_to_num(share, nan=1.0), by[searcher].least))
        for share, by in zip(shares, tasks, strict=True)
        if share is not None
    ]
    means = np.exp(np.mean(logs, axis=0)) if logs else None
    return {
        "tasks": len(tasks),
        "spend_to_tpe_geomean": None if means is None else float(means[0]),
        "spend_to_tpe_interval": None if means is None else np.percentile(means[1:], [2.5, 97.5]).tolist(),
        "tasks_reached": None if means is None else sum(own["reached"] for own in of),
        **{f"{c}_to_99_geomean": _geometric([own[f"{c}_to_99"] for own in of]) for c in ("draws", "cost")},
        "hit_99": float(np.mean([own["hit_99"] for own in of])),
        "oracle_hit_99": float(np.mean([own["oracle_hit_99"] for own in of])),
    }


def _mean(values: Sequence[float | None]) -> float | None:
    """None if one is unknown."""
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if len(known) == len(values) else None


def _geometric(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.exp(np.mean(np.log(known)))) if known else None


def report(field: Field) -> dict[str, Any]:
    """All figures as JSON: each task, a summary of the tasks of one stage and of several, calibration and ranks."""
    searchers = list(next(iter(field.values())))
    tasks = {task: {searcher: figures(by, searcher) for searcher in searchers} for task, by in field.items()}
    first = {task: by[searchers[0]].runs[0] for task, by in field.items()}
    groups = {group: [t for t in field if (first[t].stages > 1) == several] for group, several in GROUPS.items()}
    return {
        "tasks": [
            {"task": task, "stages": first[task].stages, "optimum": first[task].optimum, "cap": first[task].cap}
            | {"unrecorded": first[task].unrecorded, "samplers": own}
            for task, own in tasks.items()
        ],
        "summary": {
            group: {s: summary([field[t] for t in own], [tasks[t][s] for t in own], s) for s in searchers if own}
            for group, own in groups.items()
        },
        "calibration": {s: calibration(by[s] for by in field.values()) for s in searchers},
        "ranks": ranked({s: [float(by[s].final.mean()) for by in field.values()] for s in searchers}),
    }
