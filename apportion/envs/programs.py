"""Runs a whole program in the sandbox, as `python main.py` would: how it ended, and what it printed.

It does not know what the program is for. Nothing that comes back is to be trusted further than "so it said".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from apportion.envs.sandbox import Sandbox

RUN_S: Final = 5.0
"""Seconds by which a program must have ended."""

SHOWN_CHARACTERS: Final = 1000
"""Of the end of what it printed, a traceback included, that later prompts read."""

MAIN: Final = """\
import sys, traceback, types
SOURCE = {source!r}
def main():
    module = types.ModuleType("__main__")
    sys.modules["__main__"] = module
    try:
        exec(compile(SOURCE, "main.py", "exec"), module.__dict__)
    except SystemExit as end:
        if end.code not in (None, 0):
            raise
    except BaseException:
        traceback.print_exc(limit=-3)
        raise
"""


@dataclass(frozen=True, slots=True)
class Run:
    """How a program ran.

    Attributes:
        fault: the exception that ended it, or that it was stopped; None where it ended by itself and well.
        printed: the first of what it printed.
    """

    fault: str | None
    printed: str


async def run(sandbox: Sandbox, program: str) -> Run:
    """Run a program without input, arguments, files or network.

    Raises:
        SandboxError: no sandbox can be had.
    """
    done = await sandbox.run(MAIN.format(source=program), "main", [()], deadline_s=RUN_S)
    (result,) = done.results
    if result.status == "value":
        return Run(None, done.printed)
    faults = {
        "timeout": f"it had not ended after {RUN_S:g} s",
        "crashed": "it ended itself, as by os._exit, or was stopped for too much memory, output or files",
    }
    return Run(faults.get(result.status, result.detail), done.printed)
