"""The command that steers a search by an agent while it rests: nudge. It buys nothing."""

from __future__ import annotations

import argparse
import contextlib
from pathlib import Path
from typing import TYPE_CHECKING

from apportion.cli.common import OK, aside

if TYPE_CHECKING:
    from apportion.agent.nudge import Nudge
    from apportion.cli.common import Commands


def add(commands: Commands) -> None:
    """Add the command and its arguments."""
    nudge = commands.add_parser("nudge", help="pin choices of a search by an agent, or tell the agent something")
    nudge.add_argument("run", metavar="RUN", help="run folder, of a search that is interrupted")
    again = "; may be repeated"
    pin = "choose nothing else from now on, as answer.model=small, answer.samples=4 or answer.how=vote" + again
    nudge.add_argument("--pin", metavar="STAGE.KEY=VALUE", action="append", default=[], help=pin)
    nudge.add_argument("--unpin", metavar="STAGE.KEY", action="append", default=[], help="choose freely again" + again)
    note = "a guideline in your words, for all later rounds" + again
    nudge.add_argument("--note", metavar="TEXT", action="append", default=[], help=note)
    drop = "take back the note of that number, as --list says it" + again
    nudge.add_argument("--drop-note", metavar="N", type=_number, action="append", default=[], help=drop)
    nudge.add_argument("--list", action="store_true", help="say what stands, and change nothing")
    nudge.set_defaults(command=_nudge)


def _nudge(arguments: argparse.Namespace) -> int:
    from apportion import agents
    from apportion.agent.nudge import Nudge
    from apportion.build import space_of
    from apportion.run import RunFolder

    path = Path(arguments.run)
    asked = (arguments.pin, arguments.unpin, arguments.note, arguments.drop_note)
    if arguments.list or not any(asked):
        with aside(), contextlib.closing(RunFolder.view(path)) as folder:
            stands = (agents.nudges_of(folder) or [Nudge()])[-1]
    else:
        with aside(), contextlib.closing(RunFolder.hold(path)) as folder:
            stands = agents.nudge(folder, space_of(folder.spec), *asked)
    for line in said(stands):
        print(line)
    return OK


def said(nudge: Nudge) -> list[str]:
    """What stands, a line each; notes with the number by which they are taken back."""
    from apportion.agent.reading import plain

    pins = [f"pinned: {name}={value}" for name, value in nudge.pins.items()]
    notes = [f"note {number}: {plain(note)}" for number, note in enumerate(nudge.notes, 1)]
    return [*pins, *notes] or ["Nothing is pinned or noted."]


def _number(text: str) -> int:
    if not (text.isascii() and text.isdecimal()) or len(text) > 9 or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be the number of a note, from 1, got {text!r:.60}; see --list")
    return int(text)
