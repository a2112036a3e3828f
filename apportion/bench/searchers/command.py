"""`apportion bench searchers`: races searchers on task files, and shows what their runs came to as tables.

It knows what the user may say and how figures are laid out, not how they are reckoned.
"""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.markup import escape
from rich.table import Table

from apportion.bench.searchers.figures import Field, entries, report
from apportion.bench.searchers.race import Run, race, task
from apportion.bench.searchers.registry import searcher
from apportion.envs.replay.market import Currency
from apportion.errors import RecordedError
from apportion.graphs.graph import escaped

TOLD = 20  # times that progress is said
COLUMNS = (
    "sampler", "hit 95", "hit 99", "{}\nto 95", "{}\nto 99", "value\nratio", "regret\nat S", "of S\nto TPE",
    "oracle\nhit 99", "stopped", "right\nwhen sure",
)  # fmt: skip


def run(
    tasks: Sequence[str],
    samplers: str,
    seeds: int,
    currency: Currency,
    out: Path | None = None,
    workers: int | None = None,
    plots: Path | None = None,
) -> dict[str, Any]:
    """Race, and return the report of `figures.report`.

    Args:
        tasks: task files.
        samplers: names with commas between; `+bank` after a name offers it the bank.
        out: file of runs, which are not made again.
        plots: folder for a plot of each task.

    Raises:
        RecordedError: a task file or name is wrong, a number is too low, or a file cannot be written.
    """
    paths, racers = list(dict.fromkeys(tasks)), _racers(samplers)
    _at_least_one("--seeds", seeds)
    if workers is not None:
        _at_least_one("--workers", workers)
    _check_names(paths)
    if plots is not None:
        import matplotlib  # noqa: F401  # whoever lacks it hears so before the race

        _prepare(plots, folder=True)
    if out is not None:
        _prepare(out, folder=False)
    runs = race(paths, racers, seeds, currency, out, workers)
    field = entries(_told(runs, len(paths) * len(racers) * seeds))
    ordered = _ordered(field, [task(path).name for path in paths], racers)
    if plots is not None:
        _plot(ordered, plots)
    return {"currency": currency, "seeds": seeds, **report(ordered)}


def tables(figures: Mapping[str, Any]) -> Iterator[Table]:
    """The report as tables: one a task, one for the tasks of one stage and one for those of several, and the ranks."""
    currency = figures["currency"]
    for own in figures["tasks"]:
        yield _task_table(own, currency)
    for group, stages in (("single", "one stage"), ("multi", "several stages")):
        if figures["summary"][group]:
            yield _summary_table(stages, figures["summary"][group], currency)
    yield _ranks_table(figures["ranks"], figures["calibration"])


def _task_table(own: Mapping[str, Any], currency: str) -> Table:
    title = f"{own['task']}: optimum {_cell(own['optimum'])}, S = {_cell(own['cap'])} {currency}"
    table = _table(title, *(column.format(currency) for column in COLUMNS))
    for name, found in own["samplers"].items():
        to_tpe = "never" if found["reached"] is False else _cell(found["spend_to_tpe"])
        table.add_row(
            escape(name),
            _cell(found["hit_95"]),
            _within(found["hit_99"], found["hit_99_interval"]),
            _cell(found[f"{currency}_to_95"]),
            _within(found[f"{currency}_to_99"], found["to_99_interval"]),
            _cell(found["final_value_ratio"]),
            _cell(found["regret_at"]["1.0"]),
            to_tpe,
            _cell(found["oracle_hit_99"]),
            _cell(found["stopped"]),
            _sure(found["calibration"]),
        )
    return table


def _summary_table(stages: str, of: Mapping[str, Any], currency: str) -> Table:
    count = next(iter(of.values()))["tasks"]
    title = f"Over the tasks of {stages} ({count}): geometric means of spends, means of shares"
    columns = "of S to TPE", "tasks that reach it", f"{currency} to 99", "hit 99", "oracle hit 99"
    table = _table(title, "sampler", *columns)
    for name, own in of.items():
        table.add_row(
            escape(name),
            _within(own["spend_to_tpe_geomean"], own["spend_to_tpe_interval"]),
            _cell(own["tasks_reached"]),
            _cell(own[f"{currency}_to_99_geomean"]),
            _cell(own["hit_99"]),
            _cell(own["oracle_hit_99"]),
        )
    return table


def _ranks_table(ranks: Mapping[str, Any], calibration: Mapping[str, Any]) -> Table:
    apart = _cell(ranks["critical_difference"])
    table = _table(
        f"Mean ranks by regret at S (tasks: {ranks['tasks']}); Nemenyi's critical difference at 5 % is {apart}",
        "sampler", "mean rank", "right when sure",
    )  # fmt: skip
    for name, mean in sorted(ranks["mean_rank"].items(), key=lambda item: float(item[1])):
        table.add_row(escape(name), _cell(mean), _sure(calibration[name]))
    return table


def _table(title: str, first: str, *others: str) -> Table:
    table = Table(title=escape(escaped(title)), title_justify="left", show_edge=False, pad_edge=False)
    table.add_column(first, no_wrap=True, min_width=9)
    for other in others:
        table.add_column(other, justify="right")
    return table


def _cell(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def _within(value: float | None, interval: Sequence[float] | None) -> str:
    """A number and its 95 % interval."""
    return "-" if value is None or interval is None else f"{_cell(value)} [{', '.join(map(_cell, interval))}]"


def _sure(calibration: Mapping[str, float] | None) -> str:
    """Runs that were within the tolerance, of those that said so with a probability of 0.9 or more."""
    if calibration is None:
        return "-"
    interval = calibration["low"], calibration["high"]
    return f"{calibration['right']}/{calibration['n']} [{', '.join(map(_cell, interval))}]"


def _racers(samplers: str) -> list[tuple[str, bool]]:
    """Names, each with whether the bank is offered."""
    asked = dict.fromkeys(name.strip() for name in samplers.split(","))
    racers = [(name.removesuffix("+bank"), name.endswith("+bank")) for name in asked]
    for name, _ in racers:
        searcher(name)  # raises where there is none, before anything is run
    return racers


def _check_names(paths: Sequence[str]) -> None:
    """Raise where a task file is wrong, or two tasks have one name."""
    names = [task(path).name for path in paths]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise RecordedError(f"each task must have a name of its own, but two are named {twice!r}; rename one.")


def _at_least_one(option: str, value: int) -> None:
    if value < 1:
        raise RecordedError(f"`{option}` must be at least 1, got {value}; raise it.")


def _prepare(path: Path, *, folder: bool) -> None:
    """Make a folder or an empty file, so that a race is not lost for want of one."""
    try:
        (path if folder else path.parent).mkdir(parents=True, exist_ok=True)
        if not folder:
            path.open("a").close()
    except OSError as error:
        raise RecordedError(f"{path} must be writable, but {error.strerror}; name another.") from None


def _told(runs: Iterable[Run], total: int) -> Iterator[Run]:
    """The runs; progress is said on stderr."""
    started = time.monotonic()
    for done, own in enumerate(runs, 1):
        if done * TOLD // total > (done - 1) * TOLD // total:
            print(f"{done}/{total} runs  {time.monotonic() - started:.0f} s", file=sys.stderr, flush=True)
        yield own


def _ordered(field: Field, tasks: Sequence[str], racers: Sequence[tuple[str, bool]]) -> Field:
    """Entries in the order in which the user named them, whichever run ended first."""
    names = [f"{name}+bank" if bank else name for name, bank in racers]
    return {own: {name: field[own][name] for name in names} for own in tasks}


def _plot(field: Field, folder: Path) -> None:
    from apportion.bench.searchers.plots import plot_regret

    for name, by in field.items():
        path = folder / f"{re.sub(r'[^A-Za-z0-9._-]+', '-', name)}.png"
        plot_regret(name, by).savefig(path, dpi=150)
        print(f"plot written to {path}", file=sys.stderr)
