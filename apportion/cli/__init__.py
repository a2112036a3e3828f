"""The command line: runs one command and says how it ended. It knows no command; `parser` names the modules that do.

Exit codes: 0 done; 2 the user's mistake, in one line; 3 nothing feasible when measured; 4 a limit, or an agent that
does not answer, left validation or test undone; 130 interrupted (143 when terminated).
"""

from __future__ import annotations

import errno
import io
import os
import signal
import sys

from apportion.cli.common import INTERRUPTED, MISTAKE
from apportion.cli.parser import parser
from apportion.errors import ApportionError, SpecError
from apportion.extras import missing


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    if arguments is None:
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(errors="backslashreplace")  # paths need not be UTF-8
        # Outside a search, which has a handler of its own, nothing is open that a sudden end could harm, while an
        # interrupt amid an import may come out as any other error.
        signal.signal(signal.SIGINT, lambda number, frame: os._exit(INTERRUPTED))
    parsed = parser().parse_args(arguments)
    try:
        code: int = parsed.command(parsed)
        print(end="", flush=True)
    except SpecError as error:
        return _mistake(*error.problems)
    except ApportionError as error:
        return _mistake(str(error))
    except ModuleNotFoundError as error:
        return _mistake(missing(error.name or "?"))
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the reader has gone, as after `| head`
        return int(parsed.unheard)
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is left unwritten is not tried again
        return _mistake("what is printed must be written, but no space is left for it; make room or send it elsewhere.")
    except KeyboardInterrupt:
        return INTERRUPTED
    return code


def _mistake(*lines: str) -> int:
    for line in lines:
        print(line, file=sys.stderr)
    return MISTAKE
