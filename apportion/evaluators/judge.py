"""Asks a judging process, which is ended and replaced where it hangs, dies or takes too much memory.

It knows processes and their deaths, and not what is judged; what the child does is `judge_child`'s, and what it sees
of the machine `judge_walls`'. No such process outlives this one: the child reads its pipe to the end, Linux kills it
with the thread that started it, and each question has a bound on its time.
"""

from __future__ import annotations

import asyncio
import json
import os
import select
import subprocess
import threading
import time
import warnings
import weakref
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any, Final, Literal

from apportion.errors import ApportionError
from apportion.evaluators.judge_walls import Way, ways

Library = Literal["math", "reasoning"]
"""Of a child; also the name of its extra."""

CPU_S: Final = 5.0
"""Seconds of processor time for one answer; 0.01 are usual. Not of the clock, so that a busy machine judges alike."""

WALL_FACTOR: Final = 6.0
"""So many times as long by the clock, against what waits without computing."""

START_S: Final = 60.0
"""Seconds to load the libraries, one or two usually."""

MOST_BYTES: Final = 1 << 24
"""Of one line from the child."""

PROGRAM: Final = files("apportion.evaluators") / "judge_child.py"


class JudgeError(ApportionError):
    """No judging process can be had, or it cannot judge a row."""


class Judge:
    """A process that judges one answer after the other; it is started by the first."""

    def __init__(self, library: Library) -> None:
        self._child = _Child(library)
        self._thread = ThreadPoolExecutor(1, "judge")  # one question at a time, and no loop of the caller's waits
        weakref.finalize(self, _end, self._child, self._thread)

    async def ask(self, question: Mapping[str, object], cpu_s: float = CPU_S) -> Any:
        """What the child says; None where it took too long or too much memory, or raised.

        Args:
            question: of JSON's types, as `judge_child` reads it.
            cpu_s: seconds of processor time that it may take.

        Raises:
            JudgeError: there is no such process, or it refuses the question.
        """
        line = json.dumps({**question, "cpu_s": cpu_s}).encode() + b"\n"
        asked = self._thread.submit(self._child.ask, line, cpu_s * WALL_FACTOR)
        try:
            said = await asyncio.wrap_future(asked)
        except asyncio.CancelledError:
            if not asked.cancel():
                self._child.kill(line)
            raise
        if said is not None and "refused" in said:
            raise JudgeError(said["refused"])
        return None if said is None else said["value"]


class _Child:
    """The process. All but `kill` is called from one thread, or when that has ended."""

    def __init__(self, library: Library) -> None:
        self._library = library
        self._process: subprocess.Popen[bytes] | None = None
        self._way = Way(None)  # by which it was started
        self._heard = b""
        self._asked: bytes | None = None  # the line that is being judged
        self._killed = False
        self._turn = threading.RLock()  # the end of a judge may come amid anything

    def ask(self, line: bytes, deadline_s: float) -> dict[str, Any] | None:
        """The answer to a line, None where there is none; the process is ended then."""
        if self._process is None or self._process.poll() is not None:
            self._start()
        with self._turn:
            self._asked = line
        try:
            self._feed(line)
            said: dict[str, Any] = self._read(deadline_s)
        except (OSError, ValueError, TimeoutError):  # it is dead, or talks nonsense, or talks not
            self.end()
            return None
        finally:
            with self._turn:
                self._asked = None
            if self._killed:  # before the next line is sent to the dying
                self.end()
        return said

    @property
    def busy(self) -> bool:
        """Whether a line is being judged."""
        with self._turn:
            return self._asked is not None

    def kill(self, line: bytes | None = None) -> None:
        """Have the process end, from any thread.

        Args:
            line: only if it is the one that is being judged, this very object.
        """
        with self._turn:
            if self._process is not None and (line is None or self._asked is line):
                self._killed = True
                self._way.kill(self._process)

    def end(self) -> None:
        """End the process and bury it. May be called twice."""
        with self._turn:
            process, self._process, self._killed = self._process, None, False
        if process is not None:
            self._way.kill(process)
            process.communicate()  # reaps it and closes its pipes

    def _start(self) -> None:
        """Start the process in the strongest walls in which it finds its libraries.

        Raises:
            JudgeError: it does not even without walls.
        """
        said: object = None
        with as_file(PROGRAM) as program:
            for way in ways():
                said = self._started(way, program)
                if said == "ready":
                    return _tell(way, self._library)
                killed = self._killed  # then it was not for its walls
                self.end()
                if killed:
                    break
        raise JudgeError(f"judging needs its libraries, but there is {said}; pip install 'apportion[{self._library}]'.")

    def _started(self, way: Way, program: Path) -> object:
        """What a new process says of itself, or why it says nothing."""
        self.end()
        self._heard, self._way = b"", way
        try:
            with way.starting(program, self._library) as self._process:
                return self._read(START_S)
        except (OSError, ValueError, TimeoutError) as error:
            return f"no word from it ({type(error).__name__})"

    def _feed(self, line: bytes) -> None:
        assert self._process is not None and self._process.stdin is not None
        self._process.stdin.write(line)  # the child does nothing but read now
        self._process.stdin.flush()

    def _read(self, deadline_s: float) -> Any:
        """The next line of the child.

        Raises:
            TimeoutError: it did not come.
            ValueError: it is none of JSON, or the child has ended.
        """
        assert self._process is not None and self._process.stdout is not None
        pipe, ready = self._process.stdout.fileno(), select.poll()
        ready.register(pipe, select.POLLIN)
        until = time.monotonic() + deadline_s
        while b"\n" not in self._heard:
            left = until - time.monotonic()
            if left <= 0 or not ready.poll(1000 * left):
                raise TimeoutError
            chunk = os.read(pipe, 1 << 16)
            self._heard += chunk
            if not chunk or len(self._heard) > MOST_BYTES:
                raise ValueError("no line")
        line, _, self._heard = self._heard.partition(b"\n")
        return json.loads(line)


def _tell(way: Way, library: Library) -> None:
    """Warn where there could be walls and are none."""
    if way.bwrap is None and len(ways()) > 1:
        law = f"answers are judged inside bubblewrap where it is installed, but judging {library} did not start in it"
        warnings.warn(f"{law}; have bubblewrap 0.8 or later, and the libraries in site-packages.", stacklevel=2)


def _end(child: _Child, thread: ThreadPoolExecutor) -> None:
    """When nobody can ask any more, or the program ends.

    It may be called amid anything in any thread, within the locks of another pool too: nothing is handed to a thread.
    """
    child.kill()
    if not child.busy:  # else its thread finds it dead, and buries it
        child.end()
    thread.shutdown(wait=False)
