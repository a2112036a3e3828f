"""Starts a judging process inside bubblewrap, or without: its command line and what it sees. It knows no questions.

Inside are Python and its site-packages, read-only; no network, no other process, no home folder. What libraries write
as they load goes to a folder that is removed then, and in a removed folder nothing can be made. The walls and the
system call filter are those of `apportion.envs.sandbox`.
"""

from __future__ import annotations

import os
import shutil
import site
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from subprocess import DEVNULL, PIPE
from tempfile import TemporaryDirectory
from typing import Final

from apportion.envs import sandbox

FIXED: Final = {"PYTHONHASHSEED": "0", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}

KEPT: Final = ("PATH", "PYTHONPATH", "LD_LIBRARY_PATH", "TMPDIR")
"""Of the environment where there are no walls; keys of providers are none of the child's business."""

SCRATCH: Final = "/scratch"
"""Inside. Not /tmp, where a virtual environment may be: its mount would go with the folder."""


@dataclass(frozen=True)
class Way:
    """How a process may be started."""

    bwrap: str | None
    user: int | None = None
    """Who bubblewrap runs as where that is somebody else."""

    @contextmanager
    def starting(self, program: Path, library: str) -> Iterator[subprocess.Popen[bytes]]:
        """The process while it loads, with pipes to its stdin and stdout. Linux kills it with the thread that calls.

        Raises:
            OSError: it could not be started.
        """
        command = [sys.executable, "-P", str(program), library]
        if self.bwrap is None:
            environment = {name: os.environ[name] for name in KEPT if name in os.environ} | FIXED
            yield subprocess.Popen(command, stdin=PIPE, stdout=PIPE, env=environment, process_group=0)
            return
        with TemporaryDirectory(ignore_cleanup_errors=True) as scratch:
            if self.user is not None:
                os.chown(scratch, self.user, self.user)
            with sandbox.call_filter() as (filtered, descriptors):
                process = subprocess.Popen(
                    [self.bwrap, *sandbox.walls(*inside(program, scratch)), *filtered, "--", *command],
                    stdin=PIPE,
                    stdout=PIPE,
                    stderr=DEVNULL,  # what it complains of is tried another way
                    pass_fds=descriptors,
                    cwd="/",
                    env={},  # bubblewrap clears the child's, but its own would stay in memory
                    process_group=0,  # Ctrl-C is for the search
                    user=self.user,
                    group=self.user,
                    extra_groups=None if self.user is None else [],
                )
            yield process

    def kill(self, process: subprocess.Popen[bytes]) -> None:
        """End the process, and leave nothing of it for others to bury. From any thread."""
        if self.bwrap is None:
            process.kill()
        elif process.poll() is None:
            sandbox.kill(process.pid)


def ways() -> list[Way]:
    """How it may be started, the strongest walls first.

    Root becomes nobody outside too, unless Python is where nobody may not read it, such as in root's home. Inside it
    is nobody anyway, without rights; but to the kernel it owns what root owns.
    """
    bwrap = shutil.which("bwrap")
    walled = [] if bwrap is None else [Way(bwrap)]
    if walled and os.geteuid() == 0:
        walled.insert(0, Way(bwrap, sandbox.NOBODY))
    return [*walled, Way(None)]


def inside(program: Path, scratch: str) -> tuple[Mapping[str, str], list[str]]:
    """The environment inside, and bubblewrap's words for what is seen there."""
    python = os.path.realpath(sys.executable)
    environment = {**FIXED, "TMPDIR": SCRATCH}
    libraries = [f"{sys.base_prefix}/lib", f"{sys.base_prefix}/lib64", *site.getsitepackages()]
    if site.ENABLE_USER_SITE:
        libraries.append(site.getusersitepackages())
        environment["PYTHONUSERBASE"] = site.getuserbase()  # in a home that nobody inside knows of
    words = ["--bind", scratch, SCRATCH]
    words += _read_only([*libraries, f"{sys.prefix}/pyvenv.cfg", python, str(program)])
    if sys.executable != python:  # a virtual environment is known by the name that Python is called by
        words += ["--symlink", python, sys.executable]
    return environment, words


def _read_only(paths: Iterable[str]) -> list[str]:
    """Words to show what is there of the paths, under its real name also: libraries are found by both."""
    names = dict.fromkeys(name for path in paths for name in (os.path.realpath(path), path))
    return [word for name in names for word in ("--ro-bind-try", name, name)]
