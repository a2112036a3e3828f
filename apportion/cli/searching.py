"""Commands that buy answers, or take them from a recording: run, sample, record, replay. They show, and judge nothing.

Running, sampling or replaying again goes on where it stopped.
"""

from __future__ import annotations

import argparse
import asyncio
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from apportion.cli.common import EXIT, INTERRUPTED, OK, UNDONE, aside, graphs, load, opened, shown, spec_arguments
from apportion.cli.interrupting import say_how_to_go_on, until_signal

if TYPE_CHECKING:
    from apportion.build import Search
    from apportion.cli.common import Commands
    from apportion.spec import LoadedSpec

MOST_COUNTED = 10_000  # samples of a prompt, or values of a stage


def add(commands: Commands) -> None:
    """Add the commands and their arguments."""
    run = commands.add_parser("run", help="search, or go on with a search")
    spec_arguments(run)
    run.add_argument("--out", metavar="DIR", help="run folder (default runs/<name>)")
    run.set_defaults(command=_run)

    sample = commands.add_parser("sample", help="ask every stage in every way on every example, for a recording")
    spec_arguments(sample)
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
    spec_arguments(replay)
    replay.add_argument("--recording", metavar="FILE", required=True, help="file of `apportion record`")
    replay.add_argument("--out", metavar="DIR", help="run folder (default runs/<name>-replay)")
    replay.set_defaults(command=_replay)

    for command in (run, sample, replay):  # what nobody hears of any more is not gone on with
        command.set_defaults(unheard=INTERRUPTED)


def _run(arguments: argparse.Namespace) -> int:
    from apportion.build import build

    loaded = load(arguments)
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

    loaded = load(arguments)
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
        console.say(f"{search.spec.name}: {graphs(search.study.plan.space)} in the space; run folder {out}")
        with view:
            code = asyncio.run(until_signal(search, search.run()))
    if code != OK:
        say_how_to_go_on(arguments, words, out, console)
        return code
    result = opened(out)
    shown(result, console)
    return EXIT[result.summary.state]


def _sample(arguments: argparse.Namespace) -> int:
    from apportion.build import build
    from apportion.errors import LimitReached
    from apportion.recording.sampling import SPLITS, Extent, sample
    from apportion.recording.view import SamplingView
    from apportion.report.terminal import Output

    loaded = load(arguments)
    out = _out(arguments, loaded, "-samples")
    extent = Extent(arguments.samples, arguments.states, tuple(arguments.split or SPLITS))
    console = Output()
    search = build(loaded, out)
    console.say(f"{loaded.spec.name}: {extent.samples} samples of each model on each prompt; run folder {out}")
    view = SamplingView(search, console)
    try:
        with view:
            code = asyncio.run(until_signal(search, sample(search, extent, view.on_example)))
    except LimitReached as limit:
        console.say(f"{limit} What was bought is kept.")
        return UNDONE
    if code != OK:
        words = ["sample", arguments.spec, "--samples", str(extent.samples), "--states", str(extent.states)]
        words += [word for split in arguments.split for word in ("--split", split)]
        say_how_to_go_on(arguments, words, out, console)
        return code
    had = f"{view.failed:,} draws failed; the same command asks for them again" if view.failed else "All is bought"
    console.say(f"{had}; write what there is to a file with: {shlex.join(['apportion', 'record', str(out)])}")
    return UNDONE if view.failed else OK


def _record(arguments: argparse.Namespace) -> int:
    from apportion.recording.taking import record

    with aside():
        taken = record(Path(arguments.run), Path(arguments.output) if arguments.output else None)
    print(f"{taken.completions:,} completions for {taken.questions:,} examples written to {taken.path}")
    return OK


def _out(arguments: argparse.Namespace, loaded: LoadedSpec, suffix: str) -> Path:
    """The run folder that was named, else the command's own."""
    return Path(arguments.out) if arguments.out else Path("runs") / f"{loaded.spec.name}{suffix}"


def _count(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= MOST_COUNTED:
        raise argparse.ArgumentTypeError(f"must be a whole number from 1 to {MOST_COUNTED}, got {text!r}")
    return int(text)
