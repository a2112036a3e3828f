"""Hostile and honest code in real sandboxes; real files, servers and processes are what it could harm."""

from __future__ import annotations

import asyncio
import os
import platform
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import pytest

from apportion.envs import sandbox, seccomp
from apportion.envs.cases import CaseResult, CasesRun, results, same
from apportion.envs.sandbox import Sandbox, SandboxError
from tests.envs.attacks import ATTACKS, SPOOFS, Attack

needs_bwrap = pytest.mark.skipif(shutil.which("bwrap") is None, reason="needs bubblewrap: apt install bubblewrap")

DEADLINE_S = 0.7
SLACK_S = 3.0  # to start and to end a sandbox on a busy machine
CORE_PATTERN = Path("/proc/sys/kernel/core_pattern")
UNFILTERED = ("new namespaces and mounts", "become root", "kill others", "read our environment")
DOUBLE = "def double(x): return 2 * x"


@dataclass(frozen=True)
class Host:
    """What there is to harm."""

    secret: str
    files: tuple[Path, ...]
    folder: Path
    tcp: socket.socket
    unix: socket.socket
    victim: subprocess.Popen[bytes]
    mark: str

    def described(self) -> dict[str, object]:
        """For the code: where to look, but not the secret."""
        column = seccomp.MACHINES.index(platform.machine())
        return {
            "secrets": [str(path) for path in self.files],
            "folder": str(self.folder),
            "port": self.tcp.getsockname()[1],
            "address": socket.gethostbyname(socket.gethostname()),
            "socket": self.unix.getsockname()[1:].decode(),
            "pids": [os.getpid(), os.getppid(), self.victim.pid],
            "quota": sandbox.SCRATCH_BYTES,
            "memory": sandbox.MEMORY_BYTES,
            "calls": {name: n for name, row in seccomp.DENIED.items() if (n := row[column]) is not None},
        }

    def assert_unharmed(self, run: CasesRun) -> None:
        assert self.secret not in repr(run)
        assert all(path.read_text() == self.secret for path in self.files)
        assert list(self.folder.iterdir()) == [self.files[0]]
        assert not any(map(accepted, (self.tcp, self.unix)))
        assert self.victim.poll() is None
        assert_none_left(self.mark)


def accepted(server: socket.socket) -> bool:
    try:
        server.accept()[0].close()
    except BlockingIOError:
        return False
    return True


def alive(mark: str) -> list[int]:
    """Processes whose command line has the mark; those of a sandbox have its program with it."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if mark.encode() in path.read_bytes():
                found.append(int(path.parent.name))
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue
    return found


def assert_none_left(mark: str) -> None:
    until = time.monotonic() + 1.0
    while left := alive(mark):
        assert time.monotonic() < until, f"processes {left} still run"
        time.sleep(0.01)


@pytest.fixture
def mark(monkeypatch: pytest.MonkeyPatch) -> str:
    """A word in the command line of every process of this test's sandboxes."""
    mark = f"# mark-{secrets.token_hex(8)}"
    program = sandbox._program()
    monkeypatch.setattr(sandbox, "_program", lambda: f"{program}\n{mark}\n")
    return mark


@pytest.fixture
def folder() -> Iterator[Path]:
    """One that every user may write to; pytest's own belong to one user, and that would be a wall of its own."""
    with tempfile.TemporaryDirectory() as name:
        path = Path(name)
        path.chmod(0o777)
        yield path


@pytest.fixture
def host(folder: Path, mark: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Host]:
    secret = secrets.token_hex(16)
    monkeypatch.setenv("APPORTION_TEST_KEY", secret)
    home = Path.home() / f".apportion-test-{secrets.token_hex(4)}"
    files = (folder / "secret", home)
    user = 65534 if os.geteuid() == 0 else None  # the sandbox's own user, where that is another than ours
    try:
        with (
            socket.create_server(("0.0.0.0", 0)) as tcp,
            socket.socket(socket.AF_UNIX) as unix,
            subprocess.Popen(["sleep", "60"], user=user, cwd="/") as victim,
        ):
            for path in files:
                path.write_text(secret)
                path.chmod(0o666)
            unix.bind(f"\0apportion-{secrets.token_hex(8)}")
            unix.listen()
            for server in (tcp, unix):
                server.setblocking(False)
            yield Host(secret, files, folder, tcp, unix, victim, mark)
            victim.kill()
    finally:
        home.unlink(missing_ok=True)


def ran(code: str, function: str, cases: Sequence[Sequence[object]], deadline_s: float = DEADLINE_S) -> CasesRun:
    return asyncio.run(Sandbox().run(code, function, cases, deadline_s=deadline_s))


def given(code: str, *arguments: object) -> CaseResult:
    """What `f` of the code gives for one case, without the hurry of an attack."""
    return ran(code, "f", [arguments], deadline_s=5.0).results[0]


def hurt(attack: Attack, host: Host) -> CaseResult:
    """Play an attack, see that the host is unharmed and that the next honest code runs."""
    pattern = CORE_PATTERN.read_text()
    deadline_s = DEADLINE_S if "timeout" in attack.ends else 5.0

    async def run() -> tuple[CasesRun, CasesRun, float]:
        box = Sandbox()
        start = time.monotonic()
        attacked = await box.run(attack.program, "attack", [[host.described()]], deadline_s=deadline_s)
        took_s = time.monotonic() - start
        return attacked, await box.run(DOUBLE, "double", [[4]]), took_s

    attacked, honest, took_s = asyncio.run(run())
    host.assert_unharmed(attacked)
    assert pattern == CORE_PATTERN.read_text()
    assert took_s < deadline_s + SLACK_S
    assert honest.results[0].gave(8)
    (result,) = attacked.results
    return result


@needs_bwrap
@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.name)
def test_an_attack_wins_nothing(attack: Attack, host: Host) -> None:
    result = hurt(attack, host)
    assert result.status in attack.ends, result
    assert result.value in (None, []), result


@needs_bwrap
@pytest.mark.parametrize("attack", [a for a in ATTACKS if a.filtered or a.name in UNFILTERED], ids=lambda a: a.name)
def test_bubblewrap_holds_without_the_filter(attack: Attack, host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seccomp, "program", lambda machine: None)
    result = hurt(attack, host)
    assert attack.filtered or result.value in (None, []), result


@needs_bwrap
def test_processes_are_bounded_without_the_filter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seccomp, "program", lambda machine: None)
    code = """
import os, time
def f():
    for n in range(200):
        try:
            if os.fork() == 0:
                time.sleep(60)
        except BlockingIOError:
            return n
"""
    count = given(code).value
    assert isinstance(count, int)
    assert 40 < count < 64


@needs_bwrap
@pytest.mark.skipif(platform.machine() != "x86_64", reason="only x86_64 has a second table of calls")
def test_the_second_table_of_calls_kills() -> None:
    code = "import ctypes\ndef f(): return ctypes.CDLL(None).syscall(0x40000000 | 39)"
    assert given(code).status == "crashed"


@needs_bwrap
@pytest.mark.parametrize("spoof", SPOOFS)
def test_a_spoof_never_passes(spoof: str, folder: Path) -> None:
    expected = [f"EXPECTED-{secrets.token_hex(8)}" for _ in range(3)]
    (folder / "answers").write_text("\n".join(expected))
    code = SPOOFS[spoof].replace("{answers!r}", repr(str(folder / "answers")))
    run = ran(code, "f", [[0], [1], [2]])
    assert len(run.results) == 3
    for right in (*expected, 0, 1.0, False, [], {}, ""):
        assert not any(result.gave(right) for result in run.results), run


@needs_bwrap
def test_honest_code_is_told_right_from_wrong() -> None:
    cases = [[n] for n in range(5)]
    right = ran(DOUBLE, "double", cases).results
    wrong = ran("def double(x): return 2 * x + 1", "double", cases).results
    assert [result.gave(2 * n) for n, result in enumerate(right)] == [True] * 5
    assert [result.gave(2 * n) for n, result in enumerate(wrong)] == [False] * 5


@needs_bwrap
@pytest.mark.parametrize(
    "value",
    [
        None, True, 1, 10**4000, 1.0, float("inf"), "", "\ud800é\0\n", [], (), {}, set(),
        [(1, [2.5, {3}]), {"a": {1: None, (1, True): (), "1": 1.0}}], [[[[[[]]]]]],
    ],
    ids=lambda value: repr(value)[:30],
)  # fmt: skip
def test_plain_values_come_out_as_they_are(value: object) -> None:
    result = given(f"inf = float('inf')\ndef f(): return {value!r}")
    assert result.gave(value), result


@needs_bwrap
@pytest.mark.parametrize(
    ("body", "status", "detail"),
    [
        ("return object()", "not_plain", "TypeError: a object is not a plain value"),
        ("return {1: b''}", "not_plain", "TypeError: a bytes is not a plain value"),
        ("return 10 ** 5000", "not_plain", "ValueError: Exceeds the limit"),
        ("return set(range(5000))", "not_plain", "ValueError: a set of more than 4096 items"),
        ("x = []\n    for _ in range(80): x = [x]\n    return x", "not_plain", "TypeError: nested more than 64 deep"),
        ("return 1 / 0", "raised", "ZeroDivisionError: division by zero"),
        ("raise SystemExit(3)", "raised", "SystemExit: 3"),
        ("return f()", "raised", "RecursionError: maximum recursion depth"),
        ("return input()", "raised", "EOFError"),
        ("return bytearray(1 << 31)", "raised", "MemoryError"),
    ],
)
def test_why_there_is_no_value(body: str, status: str, detail: str) -> None:
    result = given(f"def f():\n    {body}")
    assert (result.status, result.value) == (status, None)
    assert result.detail.startswith(detail)


@needs_bwrap
@pytest.mark.parametrize(
    ("code", "detail"),
    [
        ("def f(:", "SyntaxError"),
        ("import numpy\ndef f(x): return x", "ModuleNotFoundError: No module named 'numpy'"),
        ("def g(x): return x", "AttributeError: module 'solution' has no attribute 'f'"),
        ("raise KeyboardInterrupt", "KeyboardInterrupt"),
    ],
)
def test_code_that_does_not_load_fails_every_case(code: str, detail: str) -> None:
    run = ran(code, "f", [[1], [2]])
    assert [result.status for result in run.results] == ["raised", "raised"]
    assert all(result.detail.startswith(detail) for result in run.results)


@needs_bwrap
def test_ordinary_code_runs() -> None:
    code = """
from __future__ import annotations
import collections, decimal, fractions, heapq, itertools, math, re, sqlite3, tempfile, typing
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
@dataclass
class Point:
    x: int
    kind: typing.ClassVar[str] = "p"
def f(n):
    print("seen", n)
    with tempfile.TemporaryFile("w+") as file, ThreadPoolExecutor(8) as pool:
        file.write("x" * n)
        return [Point(n).x, sum(pool.map(abs, range(-n, 0))), file.tell(), str(fractions.Fraction(1, n))]
"""
    run = ran(code, "f", [[3], [4]], deadline_s=5.0)
    assert [result.value for result in run.results] == [[3, 6, 3, "1/3"], [4, 10, 4, "1/4"]]
    assert run.printed == "seen 3\nseen 4\n"


@needs_bwrap
def test_code_is_compiled_as_it_stands() -> None:
    assert given("def f(x: int = 1): return f.__annotations__['x'] is int").value is True


@needs_bwrap
def test_sets_have_the_same_order_in_every_run() -> None:
    code = "def f(): return list({str(n) for n in range(100)})"
    assert given(code) == given(code)


@needs_bwrap
def test_what_was_answered_before_the_end_is_kept() -> None:
    slow = "import time\ndef f(x):\n    if x == 2: time.sleep(60)\n    return x"
    run = ran(slow, "f", [[0], [1], [2], [3]])
    assert [result.status for result in run.results] == ["value", "value", "timeout", "timeout"]
    fatal = "import os\ndef f(x):\n    if x == 1: os._exit(0)\n    return x"
    run = ran(fatal, "f", [[0], [1], [2]])
    assert [result.status for result in run.results] == ["value", "crashed", "crashed"]


@needs_bwrap
def test_a_cancelled_run_leaves_no_process(mark: str) -> None:
    async def run(after_s: float) -> None:
        task = asyncio.create_task(Sandbox().run("while True: pass", "f", [[]], deadline_s=30))
        await asyncio.sleep(after_s)
        task.cancel()
        await asyncio.wait([task], timeout=5)
        assert task.cancelled()

    for after_ms in (*range(30), 300):  # bubblewrap takes some ten to build the walls
        asyncio.run(run(after_ms / 1000))
        assert_none_left(mark)


@needs_bwrap
def test_an_end_does_not_wait_for_bubblewrap_to_die_with_its_parent(mark: str, monkeypatch: pytest.MonkeyPatch) -> None:
    walls = [word for word in sandbox._walls() if word != "--die-with-parent"]
    monkeypatch.setattr(sandbox, "_walls", lambda: walls)
    assert ran("while True: pass", "f", [[]], deadline_s=0.3).results[0].status == "timeout"
    assert_none_left(mark)


@needs_bwrap
def test_a_sandbox_does_not_outlive_a_killed_parent(mark: str) -> None:
    program = f"""
import asyncio
from apportion.envs import sandbox
text = sandbox._program() + "\\n{mark}\\n"
sandbox._program = lambda: text
asyncio.run(sandbox.Sandbox().run("while True: pass", "f", [[]], deadline_s=30))
"""
    with subprocess.Popen([sys.executable, "-c", program]) as parent:
        until = time.monotonic() + 10
        while len(alive(mark)) < 3:  # the parent, bubblewrap, and the code
            assert time.monotonic() < until
            time.sleep(0.02)
        time.sleep(0.1)
        parent.send_signal(signal.SIGKILL)
    assert_none_left(mark)


@needs_bwrap
def test_no_run_leaves_a_zombie() -> None:
    """Orphans come to the first process of the machine, which in a container may bury nobody; here they come to us."""
    program = """
import asyncio, ctypes, os
from pathlib import Path
from apportion.envs.sandbox import Sandbox

ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER

async def run():
    box = Sandbox()
    for n in range(5):
        for code in ("def f(): pass", "import os\\nos._exit(0)", "print('x' * 10**7)", "while True: pass"):
            await box.run(code, "f", [[]], deadline_s=0.2)

asyncio.run(run())
me = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children")
print("left:", me.read_text().split())
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == ("left: []\n", "")


@needs_bwrap
def test_a_few_thousand_files_may_be_made() -> None:
    code = """
import os, tempfile
def f(n):
    with tempfile.TemporaryDirectory() as folder:
        for i in range(n):
            open(f"{folder}/{i}", "w").close()
        return len(os.listdir(folder))
"""
    assert given(code, 4000).value == 4000


@needs_bwrap
def test_so_many_run_at_a_time_as_there_are_processors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 1)
    code = (
        "import time\ndef f():\n    start = time.monotonic()\n    time.sleep(0.1)\n    return [start, time.monotonic()]"
    )

    async def run() -> list[CasesRun]:
        box = Sandbox()
        return await asyncio.gather(*(box.run(code, "f", [[]]) for _ in range(3)))

    spans = sorted(result.value for run in asyncio.run(run()) for result in run.results)  # type: ignore[type-var]
    assert all(before[1] <= after[0] for before, after in pairwise(spans))  # type: ignore[index]


def open_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@needs_bwrap
def test_nothing_stays_open() -> None:
    async def run() -> tuple[int, int]:
        box = Sandbox()
        await box.check()
        before = open_descriptors()
        for code in ("def f(): pass", "while True: pass", "print('x' * 10**7)"):
            await box.run(code, "f", [[]], deadline_s=0.3)
        return before, open_descriptors()

    before, after = asyncio.run(run())
    assert before == after


def test_without_bubblewrap_nothing_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    law = "model-written code runs only inside bubblewrap 0.8 or later"
    with pytest.raises(SandboxError) as caught:
        asyncio.run(Sandbox().check())
    assert str(caught.value) == f"{law}, but it is not on the PATH; `apt install bubblewrap`"


def test_a_bubblewrap_that_fails_is_named_with_a_remedy(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = folder / "bwrap"
    fake.write_text("#!/bin/sh\necho 'bwrap: setting up uid map: Permission denied' >&2\nexit 1\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    monkeypatch.setattr(sandbox, "_reads", lambda setting, value: "apparmor" in setting)
    with pytest.raises(SandboxError) as caught:
        asyncio.run(Sandbox().run(DOUBLE, "double", [[1]]))
    message = str(caught.value)
    assert "\n" not in message
    assert (
        "bwrap: setting up uid map: Permission denied; `sysctl kernel.apparmor_restrict_unprivileged_userns=0`"
        in message
    )


@needs_bwrap
def test_a_python_that_nobody_may_read_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox, "SYSTEM_PYTHON", folder / "none")
    monkeypatch.setattr(sys, "base_prefix", str(folder / "none"))
    with pytest.raises(SandboxError, match=r"Can't find source path .*; `apt install python3`, since"):
        asyncio.run(Sandbox().check())


@needs_bwrap
@pytest.mark.skipif(not sandbox.SYSTEM_PYTHON.exists(), reason="plays a prefix that everybody may read: /usr")
def test_without_a_system_python_ours_is_taken(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox, "SYSTEM_PYTHON", folder / "none")
    monkeypatch.setattr(sys, "base_prefix", "/usr")
    monkeypatch.setattr(sys, "executable", "/usr/bin/python3")
    assert given("import sys\ndef f(): return sys.executable").value == os.path.realpath("/usr/bin/python3")


@needs_bwrap
def test_a_machine_without_user_namespaces_is_refused() -> None:
    program = "import asyncio; from apportion.envs.sandbox import Sandbox; asyncio.run(Sandbox().check())"
    forbid = f"echo 0 >/proc/sys/user/max_user_namespaces && exec {sys.executable} -c '{program}'"
    inner = ["unshare", "--user", "--map-root-user", "sh", "-c", forbid]
    done = subprocess.run(inner, capture_output=True, text=True, timeout=30)
    if "SandboxError" not in done.stderr:
        pytest.skip(f"no namespace to try it in: {done.stderr}")
    assert "model-written code runs only inside bubblewrap" in done.stderr.splitlines()[-1]
    assert done.returncode == 1


@pytest.mark.parametrize(
    "line",
    [
        b"7", b"[1]", b"{}", b"\xff", b"", b'["value"]', b'["value", 1, 2]', b'["pass", 1]', b'["raised", 3]',
        b'["value", [1]]', b'["value", {}]', b'["value", {"frozenset": []}]', b'["value", {"list": 3}]',
        b'["value", {"set": [{"list": []}]}]', b'["value", {"dict": [[1]]}]', b'["value", {"list": [], "set": []}]',
        b'["value", ' + b"9" * 5000 + b"]", b'["value", ' + b'{"list": [' * 99 + b"]}" * 99 + b"]",
        b"[" * 99999, b'["value", {"set": [' + b"1, " * 5000 + b"1]}]",
    ],
    ids=lambda line: line[:30].decode(errors="replace"),
)  # fmt: skip
def test_a_malformed_answer_voids_the_run(line: bytes) -> None:
    read = results(b'["value", 1]\n' + line + b"\n", 3, "timeout")
    assert [result.status for result in read] == ["crashed"] * 3


def test_more_answers_than_cases_void_the_run() -> None:
    assert [result.status for result in results(b'["value", 1]\n' * 3, 2, "crashed")] == ["crashed"] * 2


def test_an_answer_that_was_cut_off_is_none() -> None:
    read = results(b'["value", 1]\n["value", 12', 2, "timeout")
    assert read == (CaseResult("value", 1), CaseResult("timeout"))


@pytest.mark.parametrize(
    ("value", "expected", "equal"),
    [
        (1, 1, True), (1, True, False), (0, False, False), (1, 1.0, False), ("1", 1, False), (None, False, False),
        (0.1 + 0.2, 0.3, True), (0.1 + 0.2 - 0.3, 0.0, True), (1.0, 1.000001, False), (float("inf"), 1e308, False),
        (float("nan"), float("nan"), False), (float("nan"), 1.0, False), ([1, 2], (1, 2), False), ([1], [1, 1], False),
        ([1, [True]], [1, [1]], False), ((0.1 + 0.2,), (0.3,), True), ({1, "1"}, {"1", 1}, True), ({1}, {True}, False),
        ({1: 2}, {True: 2}, False), ({"a": [1], "b": 2}, {"b": 2, "a": [1]}, True), ({"a": 1}, {"a": 1, "b": 1}, False),
        ({"a": 1}, {"a": True}, False), ({"a": 1}, {"b": 1}, False), ([], set(), False),
    ],
)  # fmt: skip
def test_same(value: object, expected: object, equal: object) -> None:
    assert same(value, expected) is equal
    assert same(expected, value) is equal
