"""Metrics of whole programs: nothing is left to be done in them, and they run in a real sandbox."""

from __future__ import annotations

import asyncio
import inspect

import pytest

from apportion.envs import programs
from apportion.envs.stage import Example
from apportion.evaluators.programs import complete, executable
from tests.envs.test_sandbox import needs_bwrap

EXAMPLE = Example("1")


@pytest.mark.parametrize(
    ("program", "whole"),
    [
        ("print(1)", True),
        ("def f():\n    pass", False),
        ("def f(): pass", False),
        ("class A: ...  # later", False),
        ("x = 1  # TODO: more", False),
        ("password = 'todos'\npassenger = compass(passed)", True),
        ("x[...] = 1", True),
        ("print('pass')", True),
    ],
)
def test_complete(program: str, whole: bool) -> None:  # noqa: FBT001
    assert complete()(program, EXAMPLE) == float(whole)


@needs_bwrap
@pytest.mark.parametrize(
    ("program", "runs"),
    [
        ("print('well')", True),
        ("if __name__ == '__main__':\n    raise SystemExit(0)", True),
        ("from dataclasses import dataclass\n@dataclass\nclass A:\n    x: 'int' = 1\nprint(A())", True),
        ("import sys\nsys.exit(3)", False),
        ("if __name__ == '__main__':\n    1 / 0", False),
        ("print(", False),
        ("input()", False),
        ("while True: pass", False),
        ("import os\nos._exit(1)", False),
        ("SOURCE = '''{}'''\nprint(SOURCE)", True),
    ],
)
def test_executable(monkeypatch: pytest.MonkeyPatch, program: str, runs: bool) -> None:  # noqa: FBT001
    monkeypatch.setattr(programs, "RUN_S", 1.0)
    value = executable()(program, EXAMPLE)
    assert inspect.iscoroutine(value)
    assert asyncio.run(value) == float(runs)
