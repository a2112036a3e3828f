"""Judging processes that hang, die, eat memory or are left behind; and answers that would be run as Python."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from apportion.evaluators import judge
from apportion.evaluators.judge import Judge, JudgeError
from apportion.evaluators.judge_child import careful_eval, digest

OBEDIENT = """\
import importlib.util, os, sys, time
spec = importlib.util.spec_from_file_location("judge_child", {child!r})
child = importlib.util.module_from_spec(spec)
spec.loader.exec_module(child)
def obey(question):
    known = {{"child": child}}
    exec(question["answer"], globals(), known)
    return known.get("value")
child.JUDGES = {{"math": lambda: obey}}
child.main(sys.argv[1])
"""
"""A child that does what an answer says, as if the walls before it had fallen."""

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


@pytest.fixture
def obedient(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    program = tmp_path / "obedient.py"
    program.write_text(OBEDIENT.format(child=str(judge.PROGRAM)))
    monkeypatch.setattr(judge, "PROGRAM", program)
    return program


def asked(*answers: str, cpu_s: float = 5.0) -> list[Any]:
    async def ask() -> list[Any]:
        mine = Judge("math")
        return [await mine.ask({"answer": answer}, cpu_s) for answer in answers]

    return asyncio.run(ask())


def gone(pid: int) -> bool:
    """Whether a process has ended; one that nobody has buried yet has."""
    until = time.monotonic() + 5.0
    while time.monotonic() < until:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except FileNotFoundError:
            return True
        time.sleep(0.01)
    return False


@pytest.mark.parametrize(
    "fatal",
    [
        "while True: pass",
        "time.sleep(60)",
        "b'x' * (2 << 30)",
        "os._exit(0)",
        "os.kill(os.getpid(), 11)",
        "os.write(3, b'{')\nos._exit(0)",
    ],
)
def test_who_hangs_or_dies_is_replaced(obedient: Path, fatal: str) -> None:
    began = time.monotonic()
    first, nothing, second = asked("value = os.getpid()", fatal, "value = os.getpid()", cpu_s=0.5)
    assert nothing is None and second is not None and second != first
    assert gone(first) and gone(second)
    assert time.monotonic() - began < 15


def test_what_raises_is_no_answer_and_the_process_stays(obedient: Path) -> None:
    first, nothing, second = asked("value = os.getpid()", "1 / 0", "value = os.getpid()")
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
    pids = {asyncio.run(mine.ask({"answer": "value = os.getpid()"})) for _ in range(3)}
    assert len(pids) == 1


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
        child = int(parent.stdout.readline())
        time.sleep(0.1)
        assert Path(f"/proc/{child}").exists()
        os.kill(parent.pid, signal.SIGKILL)
        parent.wait()
    assert gone(child)


def test_a_program_that_ends_leaves_no_process_and_says_nothing(obedient: Path) -> None:
    command = [sys.executable, "-W", "error", "-c", PARENT.format(program=str(obedient), then="pass")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    assert gone(int(done.stdout))


@pytest.mark.parametrize("end", ["raise ImportError('no sympy')", "raise SystemExit"])
def test_a_missing_library_is_said_with_its_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, end: str, obedient: Path
) -> None:
    obedient.write_text(obedient.read_text().replace("lambda: obey", "missing") + "")
    obedient.write_text(obedient.read_text().replace("child.JUDGES", f"def missing():\n    {end}\nchild.JUDGES"))
    with pytest.raises(JudgeError, match=r"^judging needs its libraries, but .*pip install 'apportion\[math\]'\.$"):
        asked("value = 1")


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
