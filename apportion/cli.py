"""The command line. Every command is a thin call of the Python interface; heavy modules are imported when used.

Exit codes: 0 done; 2 the user's mistake, in one line; 3 nothing feasible when measured; 4 a limit left validation or
test undone; 130 interrupted (143 when terminated).
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import errno
import io
import json
import os
import shlex
import signal
import sys
from collections.abc import Coroutine, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TextIO

from apportion import __version__
from apportion.errors import ApportionError, SpecError

if TYPE_CHECKING:
    from apportion.api import Result
    from apportion.build import Search
    from apportion.graphs.space import SearchSpace
    from apportion.report.terminal import Output
    from apportion.spec import LoadedSpec

OK, MISTAKE, INFEASIBLE, UNDONE, INTERRUPTED, TERMINATED = 0, 2, 3, 4, 130, 143
MOST_COUNTED = 10_000  # samples of a prompt, or values of a stage
EXIT = {"done": OK, "infeasible": INFEASIBLE, "undone": UNDONE}


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    if arguments is None:
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(errors="backslashreplace")  # paths need not be UTF-8
        # Outside a search, which has a handler of its own, nothing is open that a sudden end could harm, while an
        # interrupt amid an import may come out as any other error.
        signal.signal(signal.SIGINT, lambda number, frame: os._exit(INTERRUPTED))
    parsed = _parser().parse_args(arguments)
    try:
        code: int = parsed.command(parsed)
        print(end="", flush=True)
    except SpecError as error:
        return _mistake(*error.problems)
    except ApportionError as error:
        return _mistake(str(error))
    except ModuleNotFoundError as error:
        return _mistake(f"this needs the module {error.name!r}, which is not installed; {_extra(error.name)}")
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the reader has gone, as after `| head`
        heard = (_run, _replay, _sample)  # what nobody hears of any more is not gone on with
        return INTERRUPTED if parsed.command in heard else OK
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is left unwritten is not tried again
        return _mistake("what is printed must be written, but no space is left for it; make room or send it elsewhere.")
    except KeyboardInterrupt:
        return INTERRUPTED
    return code


def _run(arguments: argparse.Namespace) -> int:
    from apportion.build import build

    loaded = _load(arguments)
    out = _out(arguments, loaded, "")
    done = (
        f"The search in {out} is done: nothing to buy. Its test split is used, so it does not go on, whatever its "
        "limits; search again into another --out, with `bank` for what was bought."
    )
    return _searched(arguments, build(loaded, out), done, ["run", arguments.spec])


def _replay(arguments: argparse.Namespace) -> int:
    from apportion.recording.replaying import FACT, replay
    from apportion.recording.table import read
    from apportion.report.terminal import Output

    loaded = _load(arguments)
    out = _out(arguments, loaded, "-replay")
    search = replay(loaded, read(Path(arguments.recording)), out)
    for remark in search.folder.trials.fact(FACT)["remarks"]:
        Output().say(remark)
    done = f"The replay in {out} is done; name another --out for another one."
    return _searched(arguments, search, done, ["replay", arguments.spec, "--recording", arguments.recording])


def _searched(arguments: argparse.Namespace, search: Search, done: str, words: list[str]) -> int:
    """Search to the end, unless that was done, and show it.

    Args:
        done: what is said of a search that is done.
        words: of the command.
    """
    from apportion.report.terminal import LiveView, Output

    out, console = search.folder.path, Output()
    view = LiveView(search, console)
    search.study.on_trial = view.on_trial
    code = OK
    if search.finished:
        console.say(done)
        asyncio.run(search.close())
    else:
        console.say(f"{search.spec.name}: {_graphs(search.study.plan.space)} in the space; run folder {out}")
        with view:
            code = asyncio.run(_until_signal(search, search.run()))
    if code != OK:
        return _interrupted(arguments, words, out, console, code)
    result = _opened(out)
    _shown(result, console)
    return EXIT[result.summary.state]


def _sample(arguments: argparse.Namespace) -> int:
    from apportion.build import build
    from apportion.errors import LimitReached
    from apportion.recording.sampling import SPLITS, Extent, sample
    from apportion.recording.view import SamplingView
    from apportion.report.terminal import Output

    loaded = _load(arguments)
    out = _out(arguments, loaded, "-samples")
    extent = Extent(arguments.samples, arguments.states, tuple(arguments.split or SPLITS))
    console = Output()
    search = build(loaded, out)
    console.say(f"{loaded.spec.name}: {extent.samples} samples of each model on each prompt; run folder {out}")
    view = SamplingView(search, console)
    try:
        with view:
            code = asyncio.run(_until_signal(search, sample(search, extent, view.on_example)))
    except LimitReached as limit:
        console.say(f"{limit} What was bought is kept.")
        return UNDONE
    if code != OK:
        words = ["sample", arguments.spec, "--samples", str(extent.samples), "--states", str(extent.states)]
        words += [word for split in arguments.split for word in ("--split", split)]
        return _interrupted(arguments, words, out, console, code)
    had = f"{view.failed:,} draws failed; the same command asks for them again" if view.failed else "All is bought"
    console.say(f"{had}; write what there is to a file with: {shlex.join(['apportion', 'record', str(out)])}")
    return UNDONE if view.failed else OK


def _record(arguments: argparse.Namespace) -> int:
    from apportion.recording.taking import record

    with _aside():
        taken = record(Path(arguments.run), Path(arguments.output) if arguments.output else None)
    print(f"{taken.completions:,} completions for {taken.questions:,} examples written to {taken.path}")
    return OK


def _interrupted(arguments: argparse.Namespace, words: list[str], out: Path, console: Output, code: int) -> int:
    """Say how to go on with what a signal has stopped: with the words of the command, here and on these overrides."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second Ctrl-C must not spoil an end in good order
    again = ["apportion", *words, "--out", str(out)]
    again += [word for override in arguments.set for word in ("--set", override)]
    console.say(f"Interrupted. What was bought is kept; go on with: {shlex.join(again)}")
    return code


def _out(arguments: argparse.Namespace, loaded: LoadedSpec, suffix: str) -> Path:
    """The run folder that was named, else the command's own."""
    return Path(arguments.out) if arguments.out else Path("runs") / f"{loaded.spec.name}{suffix}"


async def _until_signal(search: Search, work: Coroutine[Any, Any, object]) -> int:
    """Do some work of a search; at the first SIGINT or SIGTERM stop it in good order."""
    task = asyncio.ensure_future(work)
    received: list[signal.Signals] = []

    def stop(number: signal.Signals) -> None:
        received.append(number)
        task.cancel()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop, number)
    try:
        await task
    except asyncio.CancelledError:
        if not received:
            raise
        return INTERRUPTED if received[0] == signal.SIGINT else TERMINATED
    finally:
        await search.close()
        for number in (signal.SIGINT, signal.SIGTERM):  # a closing loop has no ear for signals any more
            signal.signal(number, signal.SIG_IGN)
        signal.set_wakeup_fd(-1)
    return OK


def _validate(arguments: argparse.Namespace) -> int:
    loaded = _load(arguments)
    from apportion.build import space_of

    space = space_of(loaded.spec)
    if loaded.spec.search.sampler == "grid":
        space.point(0)  # raises where the space cannot be listed, as the run would
    sizes = {name: len(getattr(loaded.rows, name)) for name in ("search", "validation", "test")}
    print(f"{arguments.spec}: valid; {_graphs(space)}; examples {json.dumps(sizes)}")
    return OK


def _show(arguments: argparse.Namespace) -> int:
    result = _opened(Path(arguments.run))
    if arguments.json:
        print(json.dumps(result.to_dict(), indent=2, allow_nan=False))
        return OK
    from apportion.report.terminal import Output

    _shown(result, Output())
    return OK


def _shown(result: Result, console: Output) -> None:
    """Print a run; of a replay what it is before, and what it lacked after."""
    from apportion.report.terminal import show

    for line in result.replayed.origin if result.replayed else ():
        console.say(line)
    show(result.summary, console)
    if result.replayed:
        console.say(result.replayed.lack)


def _schema(arguments: argparse.Namespace) -> int:
    from apportion.spec import json_schema

    print(json.dumps(json_schema(), indent=2))
    return OK


def _export(arguments: argparse.Namespace) -> int:
    from apportion.export import public, to_file, to_optuna
    from apportion.run import RunFolder

    if arguments.to == "optuna" and arguments.trial is not None:
        raise ApportionError("`--trial` names one graph, but a study takes all trials; leave it out.")
    with _aside():
        folder = RunFolder.view(Path(arguments.run))
    try:
        if arguments.to == "optuna":
            print(f"{to_optuna(folder, arguments.target)} trials written to {public(arguments.target)}")
        else:
            trial = to_file(folder, arguments.to, Path(arguments.target), arguments.trial)
            print(f"trial {trial.number} written to {arguments.target}")
    finally:
        folder.close()
    return OK


def _models_list(arguments: argparse.Namespace) -> int:
    from apportion.models import CATALOGUE, cache_folder

    print(f"{'name':<28} {'parameters':>10} {'MB':>6}  {'licence':<12} here")
    for name, entry in CATALOGUE.items():
        here = "yes" if (cache_folder() / f"{name}.gguf").exists() else "no"
        print(f"{name:<28} {entry.parameters:>10.3g} {entry.size / 1e6:>6.0f}  {entry.licence:<12} {here}")
    return OK


def _models_pull(arguments: argparse.Namespace) -> int:
    from apportion.models import CATALOGUE, pull

    for name in arguments.names or CATALOGUE:
        print(pull(name))
    return OK


def _demo(arguments: argparse.Namespace) -> int:
    from apportion.demo import run

    for line in run(arguments.seed):
        print(line)
    return OK


def _bench_worker(arguments: argparse.Namespace) -> int:
    from apportion.bench.worker import run

    return _cases(run(arguments.ways, arguments.requests), as_json=arguments.json)


def _bench_end_to_end(arguments: argparse.Namespace) -> int:
    from apportion.bench.end_to_end import run

    return _cases(run(), as_json=arguments.json)


def _bench_graphs(arguments: argparse.Namespace) -> int:
    from apportion.bench.graphs import run

    measured = run()
    if arguments.json:
        print(json.dumps(measured, indent=2))
        return OK
    return _cases([{"number": name, "value": value} for name, value in _flat(measured)], as_json=False)


def _bench_searchers(arguments: argparse.Namespace) -> int:
    from apportion.bench.searchers.command import run, tables

    out, plots = (Path(name) if name else None for name in (arguments.out, arguments.plot))
    with _aside():
        found = run(
            arguments.tasks, arguments.samplers, arguments.seeds, arguments.currency, out, arguments.workers, plots
        )
    if arguments.json:
        print(json.dumps(found, indent=2, allow_nan=False))
        return OK
    from apportion.report.terminal import Output

    console = Output()
    for shown in tables(found, console.width):
        console.print(shown)
    return OK


def _flat(numbers: Mapping[str, object], above: str = "") -> Iterator[tuple[str, object]]:
    for name, value in numbers.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{above}{name}.")
        else:
            yield above + name, value


def _cases(cases: list[dict[str, object]], *, as_json: bool) -> int:
    if as_json:
        print(json.dumps({"cases": cases}, indent=2))
        return OK
    from rich.table import Table

    from apportion.report.terminal import Output

    table = Table(*cases[0])
    for case in cases:
        table.add_row(*(f"{v:.3g}" if isinstance(v, float) else str(v) for v in case.values()))
    Output().print(table)
    return OK


def _graphs(space: SearchSpace) -> str:
    if space.listable:
        return f"{space.size} graphs"
    return f"at most {space.settings} graphs" if space.settings < 10**15 else "more graphs than can be counted"


def _load(arguments: argparse.Namespace) -> LoadedSpec:
    from apportion.spec import load_spec

    with _aside():
        return load_spec(Path(arguments.spec), arguments.set)


def _opened(folder: Path) -> Result:
    from apportion.api import open_run

    with _aside():
        return open_run(folder)


def _aside() -> contextlib.redirect_stdout[TextIO]:
    """Where plugins are loaded: what they print goes to stderr, as stdout is for the command alone."""
    return contextlib.redirect_stdout(sys.stderr)


def _mistake(*lines: str) -> int:
    for line in lines:
        print(line, file=sys.stderr)
    return MISTAKE


def _extra(module: str | None) -> str:
    extras = {"xllamacpp": "local", "torch": "torch", "matplotlib": "viz", "pandas": "viz", "openai": "dev"}
    extra = extras.get((module or "").split(".")[0])
    return f"install apportion[{extra}]." if extra else "install it."


class _Parser(argparse.ArgumentParser):
    """One line for a wrong call, like every other mistake."""

    def error(self, message: str) -> NoReturn:
        self.exit(MISTAKE, f"{self.prog}: {message}; see {self.prog} --help\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="apportion", description="Find how to spend test-time compute over stages of model calls.")
    parser.add_argument("--version", action="version", version=f"apportion {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND", parser_class=_Parser)

    run = commands.add_parser("run", help="search, or go on with a search")
    _spec_arguments(run)
    run.add_argument("--out", metavar="DIR", help="run folder (default runs/<name>)")
    run.set_defaults(command=_run)

    sample = commands.add_parser("sample", help="ask every stage in every way on every example, for a recording")
    _spec_arguments(sample)
    sample.add_argument("--samples", metavar="N", type=_count, required=True, help="of each model on each prompt")
    states = "values of a stage that later ones are asked on, for each model: the commonest (default 3)"
    sample.add_argument("--states", metavar="K", type=_count, default=3, help=states)
    splits = "only this split; may be repeated (default all)"
    names = ["search", "validation", "test"]
    sample.add_argument("--split", choices=names, action="append", default=[], help=splits)
    sample.add_argument("--out", metavar="DIR", help="run folder (default runs/<name>-samples)")
    sample.set_defaults(command=_sample)

    record = commands.add_parser("record", help="write all completions of a run to one file")
    record.add_argument("run", metavar="RUN", help="run folder, of a run that is under way too")
    record.add_argument("-o", "--output", metavar="FILE", help="parquet file (default RUN/recording.parquet)")
    record.set_defaults(command=_record)

    replay = commands.add_parser("replay", help="search with every model answered from a recording")
    _spec_arguments(replay)
    replay.add_argument("--recording", metavar="FILE", required=True, help="file of `apportion record`")
    replay.add_argument("--out", metavar="DIR", help="run folder (default runs/<name>-replay)")
    replay.set_defaults(command=_replay)

    validate = commands.add_parser("validate", help="say everything that is wrong with a task file")
    _spec_arguments(validate)
    validate.set_defaults(command=_validate)

    show = commands.add_parser("show", help="show a run: front, best graph, test, ledger")
    show.add_argument("run", metavar="RUN", help="run folder")
    show.add_argument("--json", action="store_true", help="print JSON")
    show.set_defaults(command=_show)

    schema = commands.add_parser("schema", help="print the JSON schema of task files, for editors")
    schema.set_defaults(command=_schema)

    export = commands.add_parser("export", help="take a run elsewhere: its best graph as a file, or all its trials")
    export.add_argument("run", metavar="RUN", help="run folder")
    forms = "json, mermaid; python and langgraph, which answer by themselves; optuna, all trials"
    export.add_argument("--to", choices=["json", "langgraph", "mermaid", "optuna", "python"], required=True, help=forms)
    export.add_argument("--trial", metavar="N", type=int, help="another graph than the best")
    export.add_argument("target", metavar="TARGET", help="new file; for optuna a storage such as sqlite:///study.db")
    export.set_defaults(command=_export)

    models = commands.add_parser("models", help="small models for trying things out")
    actions = models.add_subparsers(required=True, metavar="ACTION", parser_class=_Parser)
    actions.add_parser("list", help="names, sizes, licences").set_defaults(command=_models_list)
    pull = actions.add_parser("pull", help="bring models to this machine")
    pull.add_argument("names", metavar="NAME", nargs="*", help="which (default: all)")
    pull.set_defaults(command=_models_pull)

    demo = commands.add_parser("demo", help="search a shipped recording of real models: no model, no key, seconds")
    demo.add_argument("--seed", type=int, default=0, help="of the questions and of the search (default 0)")
    demo.set_defaults(command=_demo)
    bench = commands.add_parser("bench", help="measure the framework itself")
    benches = bench.add_subparsers(required=True, metavar="WHAT", parser_class=_Parser)
    worker = benches.add_parser("worker", help="requests per second of the worker beside other clients")
    worker.add_argument("--ways", type=int, default=64, help="requests in flight (default 64)")
    worker.add_argument("--requests", type=int, default=1000, help="requests of each case (default 1000)")
    worker.set_defaults(command=_bench_worker)
    end_to_end = benches.add_parser("end-to-end", help="makespan of a search beside its lower bound")
    end_to_end.set_defaults(command=_bench_end_to_end)
    graphs = benches.add_parser("graphs", help="drawing graphs, running their nodes and scheduling them, beside others")
    graphs.set_defaults(command=_bench_graphs)
    searchers = benches.add_parser("searchers", help="searchers raced on tables of recorded outcomes")
    _searchers_arguments(searchers)
    searchers.set_defaults(command=_bench_searchers)
    for command in (worker, end_to_end, graphs, searchers):
        command.add_argument("--json", action="store_true", help="print JSON")
    return parser


def _count(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= MOST_COUNTED:
        raise argparse.ArgumentTypeError(f"must be a whole number from 1 to {MOST_COUNTED}, got {text!r}")
    return int(text)


def _spec_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("spec", metavar="FILE", help="task file (YAML)")
    parser.add_argument("--set", metavar="A.B=C", action="append", default=[], help="override a value; may be repeated")


def _searchers_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("tasks", metavar="TASK", nargs="+", help="task file of recorded outcomes (YAML)")
    names = "names with commas between; `+bank` after one offers it the bank (default random,tpe)"
    parser.add_argument("--samplers", metavar="A,B", default="random,tpe", help=names)
    parser.add_argument("--seeds", metavar="N", type=int, default=20, help="runs of each (default 20)")
    unit = "what a search pays in (default draws)"
    parser.add_argument("--currency", choices=["draws", "cost"], default="draws", help=unit)
    parser.add_argument("--out", metavar="FILE", help="keep the runs; those it holds are not made again")
    parser.add_argument("--workers", metavar="W", type=int, help="processes (default: one a core)")
    parser.add_argument("--plot", metavar="DIR", help="write a plot of each task")


if __name__ == "__main__":
    sys.exit(main())
