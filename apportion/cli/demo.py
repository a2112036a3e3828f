"""The command that shows a search where there is no model and no key: demo. It does not know what is searched."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from apportion.cli.common import OK

if TYPE_CHECKING:
    from apportion.cli.common import Commands


def add(commands: Commands) -> None:
    """Add the command and its argument."""
    demo = commands.add_parser("demo", help="search a shipped recording of real models: no model, no key, seconds")
    demo.add_argument("--seed", type=int, default=0, help="of the questions and of the search (default 0)")
    demo.set_defaults(command=_demo)


def _demo(arguments: argparse.Namespace) -> int:
    from apportion.demo import run

    for line in run(arguments.seed):
        print(line)
    return OK
