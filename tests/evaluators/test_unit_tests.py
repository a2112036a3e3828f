"""Programs and completions against tests of their examples, in a real sandbox; and programs that cheat."""

from __future__ import annotations

import asyncio
import inspect

import pytest

from apportion.envs.stage import Example
from apportion.evaluators import EVALUATORS, unit_tests
from tests.envs.attacks import SPOOFS
from tests.envs.test_sandbox import needs_bwrap

PROMPT = '''\
from typing import List

def half(n: int) -> int:
    return n // 2

def total(xs: List[int], least: int = 0) -> int:
    """Add those that are large enough.

    >>> total([1, 2])
    3
    """
'''
TESTS = """\
def check(candidate):
    assert candidate([3, 4]) == 7
    assert candidate((3, 4), 4) == 4, "a tuple"
    assert not candidate([])
"""
EXAMPLE = Example("1", {"tests": TESTS, "entry_point": "total", "prompt": PROMPT})
BODY = "    return sum(x for x in xs if x >= least)\n"
pytestmark = needs_bwrap


def passes(answer: str, example: Example = EXAMPLE) -> float:
    value = EVALUATORS["unit_tests"](field="tests")(answer, example)
    assert inspect.iscoroutine(value)
    return float(asyncio.run(value))


@pytest.mark.parametrize(
    "answer",
    [
        BODY,
        BODY.strip(),
        f"{BODY}\nprint(total([1]))",
        "found = 0\n    for x in xs:\n        found += x if x >= least else 0\n    return found",
        "found = 0\nfor x in xs:\n    found += x if x >= least else 0\nreturn found",
        PROMPT + BODY,
        "def total(xs: List[int], least: int = 0) -> int:\n" + BODY,
        "from __future__ import annotations\ndef total(xs: Unknown, least=half(1)):\n" + BODY,
        "total = lambda xs, least=0: sum(x for x in xs if x >= least)",
        "class total(int):\n    def __new__(cls, xs, least=0):\n        return sum(x for x in xs if x >= least)",
    ],
)
def test_right(answer: str) -> None:
    assert passes(answer) == 1.0


@pytest.mark.parametrize(
    "answer",
    [
        "return 7",
        "def total(xs, least=0): return 7",
        "def total(xs): return sum(xs)",
        "def other(xs): return sum(xs)",
        "def total(xs, least=0):\n  return (",
        "I do not know.",
        "async def total(xs, least=0):\n" + BODY,
        "del total",
    ],
)
def test_wrong(answer: str) -> None:
    assert passes(answer) == 0.0


CHEATS = (
    "import os\nos._exit(0)",
    "import sys\nsys.exit(0)",
    "def total(*a):\n    class Same:\n        def __eq__(self, other): return True\n    return Same()",
    "def total(*a):\n    class Same(int):\n        def __eq__(self, other): return True\n    return Same()",
    "def check(candidate): pass\ndef total(*a): return None",
    "import builtins\nbuiltins.AssertionError = Exception\ndef total(*a): raise Exception",
    "def total(*a):\n    import inspect\n    return [f.frame.f_locals for f in inspect.stack()]",
    "def total(*a):\n    for n in range(2, 64):\n        try: __import__('os').write(n, b'[\"value\", 7]\\n' * 3)\n"
    "        except OSError: pass",
    "def total(*a): raise SystemExit(0)",
)


@pytest.mark.parametrize("cheat", CHEATS)
def test_no_cheat_passes(cheat: str) -> None:
    assert passes(cheat) == 0.0


@pytest.mark.parametrize("spoof", SPOOFS)
def test_no_spoof_passes(spoof: str) -> None:
    tests = "def check(candidate):\n    assert candidate(1) == 'EXPECTED-1'\n    assert candidate(2) == 'EXPECTED-2'\n"
    example = Example("1", {"tests": tests, "entry_point": "f", "prompt": "def f(x):\n    pass\n"})
    assert passes(SPOOFS[spoof].replace("{answers!r}", "'/tmp/answers'"), example) == 0.0


def test_one_that_goes_on_for_good_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unit_tests, "DEADLINE_S", 0.5)
    assert passes("def total(*a):\n    while True: pass") == 0.0
