"""A search on a shipped recording of real models: `apportion demo` asks no model and needs no key.

It knows the allocator, TPE and the recording, and gives back what to say about them.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from apportion.bench.searchers.registry import searcher
from apportion.bench.searchers.task_file import load
from apportion.envs.replay.market import Lead, Market, Spent
from apportion.envs.replay.task import Task
from apportion.errors import RecordedError

TASK = Path(__file__).parent / "task.yaml"
SHOWN = 8  # leaders that are shown on the way


def run(seed: int) -> Iterator[str]:
    """Search, and say line by line what was done.

    Raises:
        RecordedError: the seed is negative, or pyarrow is not installed.
    """
    if seed < 0:
        raise RecordedError(f"`--seed` must be at least 0, got {seed}; raise it.")
    task = load(TASK)
    truth = task.truth
    yield "Three kinds of questions as six hosted models answered them (Reasoning Gym). No model is asked."
    yield f"{len(truth):,} configurations of models, draws and votes cost up to ${task.budget / 1000:g} an answer."
    yield f"Which is best? The search may draw on {task.search} questions of each kind, and pays for every draw.\n"
    started = time.perf_counter()
    own, itself = _searched(task, seed, "allocator", None)
    seconds, end = time.perf_counter() - started, "it stopped by itself" if itself else "its cap stopped it"
    yield f"allocator: {_dollars(own.spent)} for {own.drawn.sum():,} draws, in {seconds:.1f} s; {end}."
    yield "What it would have returned, and how accurate that truly is:"
    yield from _table(task, _some(own.leads))
    last = own.leads[-1]
    yield f"It gives {last.sure:.0%} that no other is better by more than 1 %; the best has {truth.max():.3f}.\n"
    for name, bank in (("tpe", True), ("random", True)):
        other, _ = _searched(task, seed, name, own.spent, bank=bank)
        found = other.leads[-1].configuration if other.leads else None
        value = "no trial" if found is None else f"{truth[found]:.3f} after {other.trials} trials"
        yield f"{name} for the same money, draws shared between trials: {value}."
    yield "\nOne seed of one task. apportion bench searchers races them over many: see experiments/searchers."


def _searched(task: Task, seed: int, name: str, cap: float | None, *, bank: bool = False) -> tuple[Market, bool]:
    """The market after a search, and whether the search stopped by itself."""
    market = Market(task, seed, "cost", bank=bank)
    market.cap = market.cap if cap is None else cap
    try:
        searcher(name)(market, np.random.default_rng(seed))
    except Spent:
        return market, False
    return market, True


def _some(leads: list[Lead]) -> list[Lead]:
    """Where the leader changed, evenly thinned."""
    changes = [lead for k, lead in enumerate(leads) if not k or lead.configuration != leads[k - 1].configuration]
    places = np.unique(np.linspace(0, len(changes) - 1, min(SHOWN, len(changes))).astype(int))
    return [changes[place] for place in places]


def _table(task: Task, leads: list[Lead]) -> Iterator[str]:
    rows = [["spent", "accuracy", *(stage.name for stage in task.stages)]]
    for lead in leads:
        value = f"{task.truth[lead.configuration]:.3f}"
        rows.append([f"{_dollars(lead.spent):>5}", value, *_chosen(task, lead.configuration)])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        yield ("  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))).rstrip()


def _chosen(task: Task, configuration: int) -> Iterator[str]:
    """The model of each stage, and how often it is asked."""
    for stage, number in zip(task.stages, task.configurations[configuration], strict=True):
        option = stage.options[number]
        times = f" x{option.n}" if option.n > 1 else ""
        yield stage.models[option.arm].split("_")[-1].removesuffix("-instruct") + times


def _dollars(thousandths: float) -> str:
    return f"${thousandths / 1000:.2f}"
