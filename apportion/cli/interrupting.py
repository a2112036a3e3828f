"""Work of a search that a signal stops in good order, and how to go on with it. It does not know what the work is."""

from __future__ import annotations

import argparse
import asyncio
import shlex
import signal
from collections.abc import Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Any

from apportion.cli.common import INTERRUPTED, OK, TERMINATED

if TYPE_CHECKING:
    from apportion.build import Search
    from apportion.report.terminal import Output


async def until_signal(search: Search, work: Coroutine[Any, Any, object]) -> int:
    """Do some work of a search; at the first SIGINT or SIGTERM stop it in good order.

    Returns:
        The exit code.
    """
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


def say_how_to_go_on(arguments: argparse.Namespace, words: list[str], out: Path, console: Output) -> None:
    """Say how to go on with what a signal has stopped: with the words of the command, here and on these overrides."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second Ctrl-C must not spoil an end in good order
    again = ["apportion", *words, "--out", str(out)]
    again += [word for override in arguments.set for word in ("--set", override)]
    console.say(f"Interrupted. What was bought is kept; go on with: {shlex.join(again)}")
