"""What several commands share: exit codes, how a task file and a run are opened and told of. It knows no command."""

from __future__ import annotations

import argparse
import contextlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from apportion.api import Result
    from apportion.graphs.space import SearchSpace
    from apportion.report.terminal import Output
    from apportion.spec import LoadedSpec

    Commands = argparse._SubParsersAction[argparse.ArgumentParser]

OK, MISTAKE, INFEASIBLE, UNDONE, INTERRUPTED, TERMINATED = 0, 2, 3, 4, 130, 143
EXIT = {"done": OK, "infeasible": INFEASIBLE, "undone": UNDONE}  # by the state of a run


def spec_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of a command that takes a task file, as `load` reads them."""
    parser.add_argument("spec", metavar="FILE", help="task file (YAML)")
    parser.add_argument("--set", metavar="A.B=C", action="append", default=[], help="override a value; may be repeated")


def load(arguments: argparse.Namespace) -> LoadedSpec:
    """The task file that was named, with its overrides.

    Raises:
        SpecError: something is wrong with it.
    """
    from apportion.spec import load_spec

    with aside():
        return load_spec(Path(arguments.spec), arguments.set)


def opened(folder: Path) -> Result:
    """A run as it stands.

    Raises:
        ApportionError: the folder is none of a run.
    """
    from apportion.api import open_run

    with aside():
        return open_run(folder)


def aside() -> contextlib.redirect_stdout[TextIO]:
    """Where plugins are loaded: what they print goes to stderr, as stdout is for the command alone."""
    return contextlib.redirect_stdout(sys.stderr)


def shown(result: Result, console: Output) -> None:
    """Print a run; of a replay what it is before, and what it lacked after."""
    from apportion.report.terminal import show

    for line in result.replayed.origin if result.replayed else ():
        console.say(line)
    show(result.summary, console)
    if result.replayed:
        console.say(result.replayed.lack)


def graphs(space: SearchSpace) -> str:
    """How many graphs a space holds, in words."""
    if space.listable:
        return f"{space.size} graphs"
    return f"at most {space.settings} graphs" if space.settings < 10**15 else "more graphs than can be counted"
