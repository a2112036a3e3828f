"""`apportion bench searchers`: races searchers on task files, and shows what their runs came to as tables.

It knows what the user may say and how figures are laid out, not how they are reckoned.
"""

from __future__ import annotations

import contextlib
import re
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from rich import box
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from apportion.bench.searchers.by_agent import Answering
from apportion.bench.searchers.figures import Field, entries, report
from apportion.bench.searchers.race import Courtesy, Run, race, task
from apportion.bench.searchers.ranks import Q_05
from apportion.bench.searchers.registry import asked, searcher
from apportion.envs.replay.market import Currency
from apportion.errors import RecordedError
from apportion.graphs.graph import escaped

TOLD = 20  # times that progress is said
MOST_RUNS = 1_000_000  # of a race, all of which are listed before it starts
MOST_WORKERS = 1000
LONGEST = 100  # characters of the name of a plot
WIDE = 120  # columns of a terminal from which on all figures are shown
NOTES = """\
hit 99: share of runs whose answer at the end is within 1 % of the optimum, or one question, by its true value. \
Oracle: the same for who knows a run's own questions exactly. {currency} to 99: spend after which the answer stays so \
(geometric mean; who is wrong at the end counts S, the cap). Spend to TPE: the share of S from which on the mean \
regret, the optimum less the answer's true value, stays at or below that of TPE at S (`+bank`: of tpe+bank); never \
counts as S in means. Right if sure: of the runs that stopped by themselves and gave their answer 90 % or more, those \
within 1 %. More: --json."""
WIDE_NOTES = """
Value ratio: true value of the answer over the optimum. Hypervolume: the true one, of accuracy and the cost of an \
answer, of all that a search offered at its end, over that of the true front."""


class Column(NamedTuple):
    """A column of a task's table.

    Attributes:
        header: with a place for the currency.
        cell: from the figures of a searcher and the currency.
        wide: whether only wide terminals show it.
    """

    header: str
    cell: Callable[[Mapping[str, Any], str], str]
    wide: bool = False


def run(
    tasks: Sequence[str],
    samplers: str,
    seeds: int,
    currency: Currency,
    out: Path | None = None,
    workers: int | None = None,
    plots: Path | None = None,
    answering: Answering | None = None,
) -> dict[str, Any]:
    """Race, and return the report of `figures.report`.

    Args:
        tasks: task files.
        samplers: names with commas between; `+bank` after a name offers it the bank.
        out: file of runs, which are not made again.
        plots: folder for a plot of each task.
        answering: who answers for searchers by an agent; None for the scripted agent.

    Raises:
        RecordedError: a task file or name is wrong, a number is too low or too high, or a file cannot be written.
    """
    paths, racers = list(dict.fromkeys(tasks)), _racers(samplers, answering)
    count = len(paths) * len(racers) * seeds
    _check_numbers(seeds, count, workers)
    names = _names(paths)
    files = {} if plots is None else _files(names, plots)
    if out is not None:
        _prepare(out, folder=False)
    with contextlib.closing(race(paths, racers, seeds, currency, out, workers, answering)) as runs:
        field = entries(_told(runs, count))
    ordered = _ordered(field, names, racers)
    _plot(ordered, files)
    return {"currency": currency, "seeds": seeds, **report(ordered)}


def answering(model: str | None, endpoint: str | None, cassette: str | None) -> Answering | None:
    """Who answers, from what the user said; None for the scripted agent.

    Raises:
        RecordedError: a model is named without a server or a file, or one of these without a model.
    """
    if (model is None) != (endpoint is None and cassette is None):
        raise RecordedError(
            "`--agent-model` must stand with `--agent-endpoint` or `--agent-cassette`, but one stands alone; name both."
        )
    return None if model is None else Answering(model, endpoint, Path(cassette) if cassette else None)


def tables(figures: Mapping[str, Any], width: int) -> Iterator[RenderableType]:
    """The report: tables of each task; of several tasks those of one stage and of more, and ranks; what columns mean.

    Args:
        width: columns of the terminal.
    """
    currency = figures["currency"]
    for own in figures["tasks"]:
        yield from _task_table(own, currency, wide=width >= WIDE)
    if len(figures["tasks"]) > 1:  # of a single one they would repeat its own
        for group, stages in (("single", "one stage"), ("multi", "several stages")):
            if figures["summary"][group]:
                yield from _summary_table(stages, figures["summary"][group], currency)
        yield from _ranks_table(figures["ranks"], figures["calibration"])
    yield Text(NOTES.format(currency=currency.capitalize()) + (WIDE_NOTES if width >= WIDE else ""))


def _task_table(own: Mapping[str, Any], currency: str, *, wide: bool) -> Iterator[RenderableType]:
    oracle = next(iter(own["samplers"].values()))["oracle_hit_99"]
    yield _title(
        f"{own['task']}: optimum {_cell(own['optimum'])}, S = {_cell(own['cap'])} {currency}, oracle {oracle:.2f}"
    )
    columns = [column for column in COLUMNS if wide or not column.wide]
    table = _table(*(column.header.format(currency) for column in columns))
    for name, found in own["samplers"].items():
        table.add_row(_name(name), *(column.cell(found, currency) for column in columns))
    yield table
    for name, found in own["samplers"].items():
        if found["led"] < 1:
            missing = round(found["runs"] * (1 - found["led"]))
            yield _title(
                f"{name} led nothing in {missing} of {found['runs']} runs: before a lead, the configuration of median "
                "value stands for it."
            )
    if own["unrecorded"]:
        yield _title(
            f"On up to {own['unrecorded']:.2g} of the questions a configuration meets an answer that its second model "
            "was not recorded on, which counts as wrong."
        )
    yield ""


def _summary_table(stages: str, of: Mapping[str, Any], currency: str) -> Iterator[RenderableType]:
    first = next(iter(of.values()))
    yield _title(
        f"Tasks of {stages} ({first['tasks']}): geometric means of spends, means of shares, "
        f"oracle {first['oracle_hit_99']:.2f}"
    )
    table = _table("spend to TPE [95 %]", "tasks\nreach it", f"{currency}\nto 99", "hit 99")
    for name, own in of.items():
        table.add_row(
            _name(name),
            _spend_to_tpe(own["spend_to_tpe_geomean"], own["spend_to_tpe_interval"]),
            _cell(own["tasks_reached"]),
            _cell(own[f"{currency}_to_99_geomean"]),
            f"{own['hit_99']:.2f}",
        )
    yield table
    yield ""


def _ranks_table(ranks: Mapping[str, Any], calibration: Mapping[str, Any]) -> Iterator[RenderableType]:
    yield _title(f"Mean ranks by regret at S (tasks: {ranks['tasks']}). {_apart(ranks)}")
    table = _table("mean rank", "right if sure")
    for name, mean in sorted(ranks["mean_rank"].items(), key=lambda item: float(item[1])):
        told = calibration[name]
        interval = "" if told is None else f" [{told['low']:.2f}, {told['high']:.2f}]"
        table.add_row(_name(name), f"{mean:.2f}", _sure(told) + interval)
    yield table
    yield ""


def _apart(ranks: Mapping[str, Any]) -> str:
    """Which ranks can be told apart."""
    count = len(ranks["mean_rank"])
    if ranks["critical_difference"] is not None:
        return f"Ranks {ranks['critical_difference']:.2f} or more apart differ at the level of 5 % (Nemenyi's test)."
    if ranks["tasks_needed"] is not None:
        return f"To tell {count} samplers apart, Nemenyi's test needs at least {ranks['tasks_needed']} tasks."
    return f"Nemenyi's test tells 2 to {max(Q_05)} samplers apart, not {count}."


def _title(text: str) -> Text:
    return Text(escaped(text), style="italic")


def _table(*headers: str) -> Table:
    """A table of samplers, whose names are broken rather than cut where there is no room."""
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False, pad_edge=False)
    table.add_column("sampler", overflow="fold", min_width=9)
    for header in headers:
        table.add_column(header, justify="right", no_wrap=True)
    return table


def _name(sampler: str) -> Text:
    return Text(escaped(sampler))


def _cell(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def _hits(found: Mapping[str, Any], currency: str) -> str:
    """Runs that hit and the 95 % interval, or that there is nothing to hit with."""
    if not found["led"]:
        return "led nothing"
    low, high = found["hit_99_interval"]
    return f"{found['hit_99']:.2f} [{low:.2f}, {high:.2f}]"


def _to_tpe(found: Mapping[str, Any], currency: str) -> str:
    return "never" if found["reached"] is False else _spend_to_tpe(found["spend_to_tpe"])


def _spend_to_tpe(share: float | None, interval: Sequence[float] | None = None) -> str:
    """A share of S as `1/40`, with its 95 % interval, the largest share first."""
    if not share:
        return "-" if share is None else "0"
    bounds = "" if interval is None else f" [{_spend_to_tpe(interval[1])}, {_spend_to_tpe(interval[0])}]"
    return f"1/{1 / share:.1f}{bounds}"


def _sure(calibration: Mapping[str, float] | None) -> str:
    """Runs that were within the tolerance, of those that said so with a probability of 0.9 or more."""
    return "-" if calibration is None else f"{calibration['right']}/{calibration['n']}"


COLUMNS = (
    Column("hit 95", lambda found, currency: f"{found['hit_95']:.2f}", wide=True),
    Column("hit 99 [95 %]", _hits),
    Column("{}\nto 95", lambda found, currency: _cell(found[f"{currency}_to_95"]), wide=True),
    Column("{}\nto 99", lambda found, currency: _cell(found[f"{currency}_to_99"])),
    Column("spend\nto TPE", _to_tpe),
    Column("regret\nat S", lambda found, currency: f"{found['regret_at']['1.0']:.4f}"),
    Column("value\nratio", lambda found, currency: _cell(found["final_value_ratio"]), wide=True),
    Column("hyper-\nvolume", lambda found, currency: _cell(found["hypervolume"]), wide=True),
    Column("stopped\nitself", lambda found, currency: f"{found['stopped']:.2f}", wide=True),
    Column("right\nif sure", lambda found, currency: _sure(found["calibration"])),
)


def _racers(samplers: str, answering: Answering | None) -> list[tuple[str, bool]]:
    """Names, each with whether the bank is offered."""
    wanted = dict.fromkeys(name.strip() for name in samplers.split(","))
    racers = [(asked(name.removesuffix("+bank"), answering), name.endswith("+bank")) for name in wanted]
    for name, _ in racers:
        searcher(name, answering)  # raises where there is none, before anything is run
    return racers


def _check_numbers(seeds: int, runs: int, workers: int | None) -> None:
    for option, value in (("--seeds", seeds), ("--workers", 1 if workers is None else workers)):
        if value < 1:
            raise RecordedError(f"`{option}` must be at least 1, got {value}; raise it.")
    if runs > MOST_RUNS:
        raise RecordedError(f"a race must have at most {MOST_RUNS:,} runs, but has {runs:,}; lower `--seeds`.")
    if workers is not None and workers > MOST_WORKERS:
        raise RecordedError(f"`--workers` must be at most {MOST_WORKERS}, got {workers}; lower it.")


def _names(paths: Sequence[str]) -> list[str]:
    """Names of the tasks; raises where a task file is wrong, or two tasks have one name."""
    names = [task(path).name for path in paths]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise RecordedError(f"each task must have a name of its own, but two are named {twice!r}; rename one.")
    return names


def _files(names: Sequence[str], folder: Path) -> dict[str, Path]:
    """File of each task's plot, in a folder that is made."""
    import matplotlib  # noqa: F401  # whoever lacks it hears so before the race

    files: dict[Path, str] = {}
    for name in names:
        path = folder / f"{re.sub(r'[^A-Za-z0-9._-]+', '-', name)[:LONGEST]}.png"
        if path in files:
            raise RecordedError(
                f"each plot must have its own file, but {path} is of {files[path]!r} too; rename {name!r}."
            )
        files[path] = name
    _prepare(folder, folder=True)
    return {name: path for path, name in files.items()}


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
            _say(f"{done}/{total} runs  {time.monotonic() - started:.0f} s")
        yield own


def _say(text: str) -> None:
    print(text, file=Courtesy(sys.stderr))


def _ordered(field: Field, tasks: Sequence[str], racers: Sequence[tuple[str, bool]]) -> Field:
    """Entries in the order in which the user named them, whichever run ended first."""
    names = [f"{name}+bank" if bank else name for name, bank in racers]
    return {own: {name: field[own][name] for name in names} for own in tasks}


def _plot(field: Field, files: Mapping[str, Path]) -> None:
    if not files:
        return
    from apportion.bench.searchers.plots import plot_regret

    for name, path in files.items():
        try:
            plot_regret(name, field[name]).savefig(path, dpi=150)
        except OSError as error:
            raise RecordedError(f"a plot must be written to {path}, but {error.strerror}; make room.") from None
        _say(f"plot written to {path}")
