"""Judging processes that hang, die, eat memory, are left behind or look around; and answers that would be run."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import site
import socket
import subprocess
import sys
import time
from importlib.resources import files
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from apportion.envs import sandbox
from apportion.evaluators import judge, judge_walls
from apportion.evaluators.judge import Judge, JudgeError, Library
from apportion.evaluators.judge_child import careful_eval, digest
from tests.envs.test_sandbox import accepted, alive, assert_none_left, needs_bwrap

OBEDIENT = """
BORN = os.urandom(8).hex()
def obey(question):
    known = {}
    exec(question["answer"], globals(), known)
    return known.get("value")
JUDGES = {"math": lambda: obey}
if __name__ == "__main__":
    main(sys.argv[1])
"""
"""The end of a child that does what an answer says, as if the guards before it had fallen."""

PARENT = """\
import asyncio, sys, time
from pathlib import Path
from apportion.evaluators import judge
judge.PROGRAM = Path({program!r})
async def main():
    mine = judge.Judge("math")
    print(await mine.ask({{"answer": "value = os.getpid()"}}), flush=True)
    {then}
    return mine
mine = asyncio.run(main())
"""


@pytest.fixture(params=[pytest.param("walls", marks=needs_bwrap), "no walls"])
def obedient(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Its program, whose path is in the command line of every process that runs it."""
    if request.param == "no walls":
        monkeypatch.setenv("PATH", "")
    program = tmp_path / "obedient.py"
    program.write_text(obedience())
    monkeypatch.setattr(judge, "PROGRAM", program)
    return program


walled = pytest.mark.parametrize("obedient", [pytest.param("walls", marks=needs_bwrap)], indirect=True)


def obedience() -> str:
    return (files("apportion.evaluators") / "judge_child.py").read_text().partition("\nif __name__")[0] + OBEDIENT


def asked(*answers: str, cpu_s: float = 5.0) -> list[Any]:
    async def ask() -> list[Any]:
        mine = Judge("math")
        return [await mine.ask({"answer": answer}, cpu_s) for answer in answers]

    return asyncio.run(ask())


@pytest.mark.parametrize(
    "fatal",
    [
        "while True: pass",
        "import time; time.sleep(60)",
        "b'x' * (2 << 30)",
        "os._exit(0)",
        "ctypes.string_at(0)",
        "os.write(3, b'{')\nos._exit(0)",
    ],
)
def test_who_hangs_or_dies_is_replaced(obedient: Path, fatal: str) -> None:
    began = time.monotonic()
    first, nothing, second = asked("value = BORN", fatal, "value = BORN", cpu_s=0.5)
    assert nothing is None and second is not None and second != first
    assert_none_left(str(obedient))
    assert time.monotonic() - began < 15


def test_processor_time_ends_it_long_before_the_clock_does(obedient: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judge, "WALL_FACTOR", 150.0)
    began = time.monotonic()
    assert asked("while True: pass", "10 ** 10 ** 10", cpu_s=0.2) == [None, None]  # in Python, and in C
    assert time.monotonic() - began < 15


def test_what_raises_is_no_answer_and_the_process_stays(obedient: Path) -> None:
    first, nothing, second = asked("value = BORN", "1 / 0", "value = BORN")
    assert nothing is None and first == second


def test_the_child_knows_no_keys_writes_no_files_and_has_one_order_of_sets(
    obedient: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOME_KEY", "secret")
    wrote = f"open({str(tmp_path / 'x')!r}, 'w').write('x' * 10000)"
    known, nothing, order = asked("value = dict(os.environ)", wrote, "value = hash('a')")
    assert "secret" not in str(known) and nothing is None
    assert order == asked("value = hash('a')")[0]


def test_what_is_printed_is_no_answer(obedient: Path) -> None:
    assert asked("print('1'); os.write(1, b'1\\n'); value = 7") == [7]


def test_questions_of_several_loops_go_to_one_process(obedient: Path) -> None:
    mine = Judge("math")
    assert len({asyncio.run(mine.ask({"answer": "value = BORN"})) for _ in range(3)}) == 1


def test_one_who_waits_no_longer_ends_the_judging_and_nobody_elses(obedient: Path) -> None:
    async def main() -> tuple[float, list[Any]]:
        mine = Judge("math")
        await mine.ask({"answer": "value = 1"})
        began = time.monotonic()
        tasks = [
            asyncio.create_task(mine.ask({"answer": answer}, 60.0))
            for answer in ("while True: pass", "value = 2", "value = 3")
        ]
        await asyncio.sleep(0.1)
        tasks[1].cancel()  # it has not begun
        tasks[0].cancel()
        return began, await asyncio.gather(*tasks, return_exceptions=True)

    began, found = asyncio.run(main())
    assert [type(value) for value in found[:2]] == [asyncio.CancelledError] * 2 and found[2] == 3
    assert time.monotonic() - began < 10


@pytest.mark.parametrize("then", ["time.sleep(600)", "await mine.ask({'answer': 'while True: pass'}, 600.0)"])
def test_a_killed_program_leaves_no_process(obedient: Path, then: str) -> None:
    command = [sys.executable, "-c", PARENT.format(program=str(obedient), then=then)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline()
        time.sleep(0.1)
        assert len(alive(str(obedient))) >= 2  # the parent's command line says it too
        os.kill(parent.pid, signal.SIGKILL)
        parent.wait()
    assert_none_left(str(obedient))


def test_a_program_that_ends_leaves_no_process_and_says_nothing(obedient: Path) -> None:
    command = [sys.executable, "-W", "error", "-c", PARENT.format(program=str(obedient), then="pass")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    assert_none_left(str(obedient))


@pytest.mark.parametrize("end", ["raise ImportError('no sympy')", "raise SystemExit"])
def test_a_missing_library_is_said_with_its_extra(obedient: Path, end: str) -> None:
    missing = f"def missing():\n    {end}\nJUDGES = {{'math': missing}}\nif __name"
    obedient.write_text(obedience().replace("if __name", missing))
    with pytest.raises(JudgeError, match=r"^judging needs its libraries, but .*pip install 'apportion\[math\]'\.$"):
        asked("value = 1")


# --- walls -----------------------------------------------------------------------------------------------------------


def tried(*answers: str) -> list[Any]:
    """What each answer gives, or the error that it meets."""
    caught = "try:\n    {}\nexcept OSError as error:\n    value = type(error).__name__"
    return asked(*map(caught.format, answers))


@walled
def test_no_file_of_the_machine_is_seen_or_made(obedient: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("secret")
    hidden = (secret, Path("/etc/passwd"), Path.home(), Path("/proc/1"), Path("/sys"), Path("/dev/shm"), Path("/var"))
    kept = (obedient, Path(os.__file__))
    assert all(path.exists() for path in (*hidden, *kept))
    seen = asked(*(f"value = os.path.exists({str(path)!r})" for path in (*hidden, *kept)))
    if Path.home() in Path(sys.base_prefix).parents:  # then so much of its name is there, and nothing else in it
        seen[2] = asked(f"value = len(os.listdir({str(Path.home())!r})) > 1")[0]
    assert seen == [False] * len(hidden) + [True] * len(kept)
    folders = ("/", "/tmp", judge_walls.SCRATCH, str(tmp_path), "/usr/lib", *site.getsitepackages())
    made = tried(*(f"value = os.mkdir({folder + '/made'!r})" for folder in folders))
    assert {*made} <= {"OSError", "FileNotFoundError"} and None not in made
    assert not (tmp_path / "made").exists()


@walled
def test_no_server_and_no_process_of_the_machine_is_reached(obedient: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as tcp, socket.socket(socket.AF_UNIX) as unix:
        unix.bind(f"\0apportion-{os.urandom(8).hex()}")
        unix.listen()
        for server in (tcp, unix):
            server.setblocking(False)
        connect = "import socket\n    value = socket.socket({}).connect({!r})"
        refused = tried(
            connect.format("socket.AF_INET", tcp.getsockname()), connect.format("socket.AF_UNIX", unix.getsockname())
        )
        assert refused == ["OSError", "ConnectionRefusedError"] or refused == ["ConnectionRefusedError"] * 2
        assert not any(map(accepted, (tcp, unix)))
    pids = (os.getpid(), os.getppid())
    assert tried("value = os.getpid()", "value = os.getuid()", *(f"value = os.kill({pid}, 0)" for pid in pids)) == [
        *(1, 65534),
        *["ProcessLookupError"] * 2,
    ]
    assert tried("value = os.fork()") == ["PermissionError"]


@walled
def test_the_environment_is_what_python_needs(obedient: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_KEY", "secret")
    known = asked("value = sorted(os.environ)")[0]
    assert {*known} <= {*judge_walls.FIXED, "PYTHONUSERBASE", "TMPDIR", "PWD", "LC_CTYPE"}


@needs_bwrap
@pytest.mark.parametrize(
    ("library", "needed", "question"),
    [("math", "math_verify", {"wanted": ["1/2"], "answer": "0.5"}), ("reasoning", "reasoning_gym", {"do": "names"})],
)
def test_the_libraries_are_found_inside(library: Library, needed: str, question: dict[str, Any]) -> None:
    pytest.importorskip(needed)
    mine = Judge(library)
    assert asyncio.run(mine.ask(question))
    assert mine._child._way.bwrap is not None


EDITABLE = """
import asyncio
from apportion.evaluators.judge import Judge
mine = Judge("math")
print(asyncio.run(mine.ask({"answer": "value = [__file__, os.getpid(), sys.prefix]"})))
"""


@needs_bwrap
def test_an_editable_install_is_judged_inside(tmp_path: Path) -> None:
    checkout, venv = tmp_path / "checkout", tmp_path / "venv"
    shutil.copytree(str(files("apportion")), checkout / "apportion", ignore=shutil.ignore_patterns("__pycache__"))
    program = checkout / "apportion" / "evaluators" / "judge_child.py"
    program.write_text(obedience())
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(venv)], check=True, timeout=60)
    (packages,) = venv.glob("lib/*/site-packages")
    (packages / "checkout.pth").write_text("\n".join([str(checkout), *site.getsitepackages()]))  # and what it imports
    command = [str(venv / "bin" / "python"), "-P", "-W", "error", "-c", EDITABLE]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd="/")
    assert (done.stdout, done.stderr) == (f"{[str(program), 1, str(venv)]}\n", "")


@walled
def test_no_zombie_is_left_to_others(obedient: Path) -> None:
    program = f"""
import asyncio, ctypes, os
from pathlib import Path
from apportion.evaluators import judge
ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER
judge.PROGRAM = Path({str(obedient)!r})
async def main():
    mine = judge.Judge("math")
    for fatal in ("while True: pass", "import time; time.sleep(60)", "os._exit(0)", "ctypes.string_at(0)"):
        await mine.ask({{"answer": fatal}}, 0.1)
    await mine.ask({{"answer": "value = 1"}})
    mine._child.end()
asyncio.run(main())
print("left:", Path(f"/proc/{{os.getpid()}}/task/{{os.getpid()}}/children").read_text().split())
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == ("left: []\n", "")


@needs_bwrap
@pytest.mark.skipif(os.geteuid() != 0, reason="only root becomes somebody else")
def test_root_is_nobody_outside_where_nobody_may_read_python(monkeypatch: pytest.MonkeyPatch) -> None:
    python = str(sandbox.SYSTEM_PYTHON)
    if not sandbox.SYSTEM_PYTHON.exists() or subprocess.run([python, "-P", "-c", ""], capture_output=True).returncode:
        pytest.skip("needs a Python 3.11 that every user may run")
    for name, value in {"executable": python, "prefix": "/usr", "base_prefix": "/usr"}.items():
        monkeypatch.setattr(sys, name, value)
    monkeypatch.setattr(site, "getsitepackages", list)
    with TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        program = Path(folder) / "obedient.py"
        program.write_text(obedience())
        monkeypatch.setattr(judge, "PROGRAM", program)
        mine = Judge("math")
        assert asyncio.run(mine.ask({"answer": "value = os.getpid()"})) == 1
        assert {Path(f"/proc/{pid}").stat().st_uid for pid in alive(str(program))} == {sandbox.NOBODY}
        mine._child.end()


def test_walls_that_do_not_stand_are_said_and_it_judges(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = tmp_path / "bwrap"
    fake.write_text("#!/bin/sh\necho 'bwrap: setting up uid map: Permission denied' >&2\nexit 1\n")
    fake.chmod(0o755)
    program = tmp_path / "obedient.py"
    program.write_text(obedience())
    monkeypatch.setattr(judge, "PROGRAM", program)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with pytest.warns(UserWarning, match=r"^answers are judged inside bubblewrap .* judging math did not start"):
        assert asked("value = 7") == [7]


# --- answers that would be run ---------------------------------------------------------------------------------------

RUN = (
    "__import__('os').mkdir({path!r})",
    'exec("import os; os.mkdir({path!r})")',
    "eval(\"__import__('os').mkdir({path!r})\")",
    "sympify('exec(\"import os; os.mkdir({path!r})\")')",
    "lambdify('x', \"__import__('os').mkdir({path!r})\")(1)",
    "Integral('exec(\"import os; os.mkdir({path!r})\")', 'x')",
    "[x for x in [__import__('os').mkdir({path!r})]]",
    "(lambda: __import__('os').mkdir({path!r}))()",
    "Symbol.__init__.__globals__",
)


@pytest.mark.parametrize("dataset", ["countdown", "string_insertion", "polynomial_multiplication"])
def test_no_answer_to_reasoning_gym_is_run(tmp_path: Path, dataset: str) -> None:
    pytest.importorskip("reasoning_gym")
    made = {"dataset": dataset, "seed": 1, "size": 2, "index": 0}
    target = tmp_path / "run"

    async def main() -> list[float | None]:
        mine = Judge("reasoning")
        row = await mine.ask({**made, "do": "make"})
        question = {**made, "do": "score", "sha256": row["sha256"]}
        hostile = [text.format(path=str(target)) for text in RUN]
        return [await mine.ask({**question, "answer": answer}) for answer in (*hostile, row["answer"])]

    *scores, right = asyncio.run(main())
    assert right == 1.0 and not target.exists()
    assert all(score is None or score < 0.5 for score in scores)


def scope() -> dict[str, object]:
    """What sympy's parser evaluates in."""
    sympy = pytest.importorskip("sympy")
    import builtins

    found: dict[str, object] = {name: getattr(builtins, name) for name in ("eval", "exec", "open", "max", "__import__")}
    found |= {name: getattr(sympy, name) for name in sympy.__all__ if hasattr(sympy, name)}
    return {**found, "x": sympy.Symbol("x")}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("[[1, 'a'], (2.5, -3), {'b': None}]", [[1, "a"], (2.5, -3), {"b": None}]),
        (" 2 ** 3 + 7 // 2", 11),
        ("Integer (2 )*sqrt (Integer (4 ))", 4),
        ("str(Symbol ('y' )+x )", None),
        ("Symbol ('exec(1)' )", "exec(1)"),
    ],
)
def test_what_is_evaluated(text: str, value: object) -> None:
    if value is None:
        with pytest.raises(ValueError, match="only classes of sympy"):
            careful_eval(text, scope())
    else:
        found = careful_eval(text, scope())
        assert found == value or str(found) == value


@pytest.mark.parametrize(
    "text",
    [
        "exec('1')",
        "exec",
        "max(1, 2)",
        "x.func",
        "sin(x).__class__",
        "[1][0]",
        "(lambda: 1)()",
        "[y for y in [1]]",
        "f'{x}'",
        "sin('x')",
        "Symbol('x', real=True)",
        "lambdify('x', 'x')",
        "S('1')",
        "(y := 1)",
        "sin(*[x])",
        "1 if x else 2",
        "unknown",
        "unknown(1)",
    ],
)
def test_what_is_not(text: str) -> None:
    with pytest.raises(ValueError):
        careful_eval(text, scope())


def test_rows_are_known_by_their_question_and_answer() -> None:
    row = {"question": "1 + 1?", "answer": "2", "metadata": object()}
    assert digest(row) == digest({**row, "metadata": 0}) != digest({**row, "answer": "3"})
