"""The parser of the command line: a group of commands a module, in the order of `--help`. It knows no arguments.

A command is a function of the parsed arguments that returns its exit code. It stands in the module of its group, which
says in `add` what arguments it takes; modules import what is heavy inside of functions, so that help stays instant.
"""

from __future__ import annotations

import argparse
from typing import NoReturn

from apportion import __version__
from apportion.cli import bench, data, demo, looking, models, nudging, searching
from apportion.cli.common import MISTAKE, OK

GROUPS = (searching, nudging, looking, models, data, demo, bench)


class _Parser(argparse.ArgumentParser):
    """One line for a wrong call, like every other mistake."""

    def error(self, message: str) -> NoReturn:
        self.exit(MISTAKE, f"{self.prog}: {message}; see {self.prog} --help\n")


def parser() -> argparse.ArgumentParser:
    """The parser of all commands; what it parses holds the `command` to call.

    `unheard` is the exit code when nobody reads on what a command prints.
    """
    whole = _Parser(prog="apportion", description="Find how to spend test-time compute over stages of model calls.")
    whole.add_argument("--version", action="version", version=f"apportion {__version__}")
    whole.set_defaults(unheard=OK)
    commands = whole.add_subparsers(required=True, metavar="COMMAND")
    for group in GROUPS:
        group.add(commands)
    return whole
