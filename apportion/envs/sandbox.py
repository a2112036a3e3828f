"""Runs model-written Python in a sandbox: code and cases in, plain values out. It does not know what is right.

Expected values never enter: the caller compares with `CaseResult.gave`, so that the code has nothing to find and
nothing to forge. The wall is bubblewrap; where it does not stand there is an error, and never less of a wall. Inside
are the standard library, no network, no process but one, and a scratch folder in memory. The kernel is shared.

bubblewrap bounds the bytes of the scratch folder, but not the number of its files, which take one or two kilobytes of
kernel memory each. They are counted from outside every `WATCH_S`, and who has more than `MOST_FILES` is killed. Until
the next count, or while the event loop is busy, a program may make some 200,000 a second, at most until its deadline.
"""

from __future__ import annotations

import asyncio
import json
import math
import os
import platform
import shutil
import signal
import socket
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Final

from apportion.envs import seccomp
from apportion.envs.cases import CasesRun, CaseStatus, results
from apportion.errors import ApportionError

START_S: Final = 20.0
"""Seconds by which a sandbox must stand; 0.06 are usual."""

MEMORY_BYTES: Final = 1 << 30
SCRATCH_BYTES: Final = 16 << 20
MOST_BYTES: Final = 1 << 20
"""Of answers, and of printed text: who writes more is killed."""

KEPT_BYTES: Final = 1 << 16
"""Of printed text."""

MOST_FILES: Final = 4096
"""In the scratch folder, folders and links too."""

WATCH_S: Final = 0.02

NOBODY: Final = 65534
SYSTEM_PYTHON: Final = Path("/usr/bin/python3")
READY: Final = b"ready\n"  # of sandbox_child, before it reads the code


class SandboxError(ApportionError):
    """No sandbox can be had on this machine."""


class Sandbox:
    """Runs code, so many programs at a time as there are processors. For one event loop."""

    def __init__(self) -> None:
        self._slots = asyncio.Semaphore(os.cpu_count() or 1)
        self._stands = False

    async def check(self) -> None:
        """See once that a sandbox can be had.

        Raises:
            SandboxError: it cannot.
        """
        if not self._stands:
            await self.run("def nothing(): pass", "nothing", ())
        self._stands = True

    async def run(
        self, code: str, function: str, cases: Sequence[Sequence[object]], *, deadline_s: float = 5.0
    ) -> CasesRun:
        """Load `code` in a fresh process and call its function once for each case.

        Args:
            cases: positional arguments of each call, of JSON's types.
            deadline_s: for loading the code and all the calls together.

        Raises:
            SandboxError: no sandbox could be had, which says nothing about the code.
        """
        job = json.dumps({"code": code, "function": function, "cases": cases}).encode()
        async with self._slots:
            process, scratch = await _started(deadline_s)
            answers, printed = bytearray(), bytearray()
            talk = asyncio.gather(
                _feed(process, job),
                _drain(process, process.stdout, answers),
                _drain(process, process.stderr, printed),
                process.wait(),
            )
            watch = asyncio.create_task(_watch(process, scratch))
            try:
                in_time, _ = await asyncio.wait([talk], timeout=deadline_s)
            finally:
                watch.cancel()
                os.close(scratch)
                _kill(process)
                await talk  # to the end of the pipes, which the dead have let go of
        ended: CaseStatus = "crashed" if in_time else "timeout"
        return CasesRun(results(bytes(answers), len(cases), ended), printed[:KEPT_BYTES].decode(errors="replace"))


async def _started(deadline_s: float) -> tuple[Process, int]:
    """A sandbox in which no code of a model has run yet, as it waits for its job; and a view of its scratch folder."""
    bwrap = shutil.which("bwrap")
    if bwrap is None:
        raise _refused("it is not on the PATH; `apt install bubblewrap`")
    ours, theirs = socket.socketpair()
    with ours, theirs:
        spawning = asyncio.create_task(_spawned(bwrap, deadline_s, theirs.fileno()))
        try:
            process = await asyncio.shield(spawning)
        except OSError as error:
            raise _refused(f"starting it failed: {error}; {_remedy(str(error))}") from None
        except asyncio.CancelledError:  # asyncio would kill one process of two, and the other would wait for ever
            with suppress(OSError):
                await _end(await spawning)
            raise
        assert process.stdout is not None
        announced = said = b""
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(START_S):
                    announced = await process.stdout.readline()
        finally:
            if announced != READY:
                said = await _end(process)
        if announced != READY:
            heard = " | ".join(said.decode(errors="replace").splitlines())[:500]
            raise _refused(f"it said {heard or f'nothing in {START_S:g} s'}; {_remedy(heard)}")
        return process, socket.recv_fds(ours, 1, 1, socket.MSG_CMSG_CLOEXEC)[1][0]


async def _end(process: Process) -> bytes:
    """Kill a sandbox that has no job, and read what it said of its troubles."""
    _kill(process)
    _, said = await process.communicate(b"")
    return said


async def _spawned(bwrap: str, deadline_s: float, link: int) -> Process:
    """Start bubblewrap; `link` is the descriptor of a socket for what the child has to hand out."""
    limits = (MEMORY_BYTES, SCRATCH_BYTES, math.ceil(deadline_s) + 1)
    # Root must become somebody else outside already: the kernel does not limit the processes of root.
    nobody = NOBODY if os.geteuid() == 0 else None
    program = (_python(), "-u", "-s", "-S", "-c", _program(), *map(str, (*limits, link)))
    with call_filter() as (filtered, descriptors):
        return await asyncio.create_subprocess_exec(
            *(bwrap, *_walls(), *filtered, "--", *program),
            stdin=PIPE,
            stdout=PIPE,
            stderr=PIPE,
            pass_fds=(*descriptors, link),
            cwd="/",
            env={},  # bubblewrap clears the child's, but its own would stay in memory
            process_group=0,
            user=nobody,
            group=nobody,
            extra_groups=None if nobody is None else [],
        )


@contextmanager
def call_filter() -> Iterator[tuple[list[str], list[int]]]:
    """Bubblewrap's words for the system call filter, and the descriptor that it reads the filter from.

    Both are empty on a machine whose calls are not known.
    """
    program = seccomp.program(platform.machine())
    if program is None:
        yield [], []
        return
    read, write = os.pipe()
    os.write(write, program)  # at once, since a pipe holds more
    os.close(write)
    try:
        yield ["--seccomp", str(read)], [read]
    finally:
        os.close(read)


def walls(environment: Mapping[str, str], shown: Sequence[str]) -> list[str]:
    """Bubblewrap's words for what it is to deny and to show. Neither /proc nor /dev/shm, and of /dev only null.

    Args:
        environment: all of the child's.
        shown: what it sees beside the system's libraries, in words such as `--ro-bind`.
    """
    options = "--unshare-all --unshare-user --disable-userns --uid 65534 --gid 65534 --new-session --die-with-parent"
    words = [*options.split(), "--as-pid-1"]  # else bubblewrap ends before its child, and leaves it a zombie to others
    words += ["--cap-drop", "ALL", "--clearenv"]
    for name, value in environment.items():
        words += ["--setenv", name, value]
    for folder in ("/lib", "/lib64", "/usr/lib", "/usr/lib64"):
        words += ["--ro-bind-try", folder, folder]
    return [*words, "--dev-bind", "/dev/null", "/dev/null", *shown, "--remount-ro", "/"]


def _walls() -> list[str]:
    """Those of a program, which may write to its scratch folder."""
    python = str(SYSTEM_PYTHON if SYSTEM_PYTHON.exists() else sys.base_prefix)
    shown = ["--ro-bind", python, python, "--size", str(SCRATCH_BYTES), "--tmpfs", "/tmp", "--chdir", "/tmp"]
    return walls({"PYTHONHASHSEED": "0", "PYTHONSAFEPATH": "1"}, shown)  # sets have an order that repeats


def _python() -> str:
    """The system's Python, which every user may run; else ours without its virtual environment."""
    return str(SYSTEM_PYTHON) if SYSTEM_PYTHON.exists() else os.path.realpath(sys.executable)


@cache
def _program() -> str:
    return (files("apportion.envs") / "sandbox_child.py").read_text(encoding="utf-8")


async def _feed(process: Process, job: bytes) -> None:
    assert process.stdin is not None
    with suppress(ConnectionError):  # the process may be dead by now
        process.stdin.write(job)
        await process.stdin.drain()
    process.stdin.close()


async def _drain(process: Process, stream: asyncio.StreamReader | None, kept: bytearray) -> None:
    """Read to the end, keep what may be kept, and kill who writes more."""
    assert stream is not None
    while chunk := await stream.read(1 << 16):
        kept += chunk[: MOST_BYTES - len(kept)]
        if len(kept) == MOST_BYTES:
            _kill(process)


async def _watch(process: Process, scratch: int) -> None:
    """Kill who has too many files."""
    while process.returncode is None:
        folder = os.statvfs(scratch)
        if folder.f_files - folder.f_ffree > MOST_FILES:
            _kill(process)
        await asyncio.sleep(WATCH_S)


def _kill(process: Process) -> None:
    if process.returncode is None:
        kill(process.pid)


def kill(pid: int) -> None:
    """End a sandbox: the first process of its namespace, which takes all others with it.

    Bubblewrap waits for it outside, and ends when it has buried it. While there is none, bubblewrap itself is killed:
    `--die-with-parent` alone is not enough, for there are moments in which it is not yet in force.

    Args:
        pid: of bubblewrap, the leader of a process group of its own, which has not been waited for.
    """
    children = ""
    with suppress(OSError):
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii")
        for child in children.split():
            os.kill(int(child), signal.SIGKILL)
    if not children:
        with suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)  # with a child that was not there a moment ago


def _refused(found: str) -> SandboxError:
    return SandboxError(f"model-written code runs only inside bubblewrap 0.8 or later, but {found}")


def _remedy(heard: str) -> str:
    """Against what most likely keeps bubblewrap from standing here."""
    if "source path" in heard:
        return "`apt install python3`, since the user nobody may not read the Python that runs this"
    if _reads("/proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1"):
        return "`sysctl kernel.apparmor_restrict_unprivileged_userns=0`, or an AppArmor profile for bwrap with userns"
    if _reads("/proc/sys/user/max_user_namespaces", "0"):
        return "`sysctl user.max_user_namespaces=10000`"
    if _reads("/proc/sys/kernel/unprivileged_userns_clone", "0"):
        return "`sysctl kernel.unprivileged_userns_clone=1`"
    docker = "`--security-opt seccomp=unconfined --security-opt apparmor=unconfined`"
    return f"in Docker give the container {docker}, elsewhere `apt install bubblewrap python3`"


def _reads(setting: str, value: str) -> bool:
    try:
        return Path(setting).read_text(encoding="ascii").strip() == value
    except OSError:
        return False
