"""Does a program pass the tests of its example? The sandbox makes their calls, and what they give is compared here.

No test and no expected value enters the sandbox, so that the program finds nothing there that it could obey or forge.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from functools import lru_cache
from typing import Final

from apportion.asserts import Assertion, read_check
from apportion.envs.sandbox import Sandbox
from apportion.envs.stage import Example

DEADLINE_S: Final = 5.0
"""For loading the program and all the calls of its tests; HumanEval's own script allows 3 s for them."""

INDENT: Final = "    "

PROGRAM: Final = """\
import ast, sys, types
WAYS, ENTRY = {ways!r}, {entry!r}
def load():
    module = types.ModuleType("solution")
    sys.modules["solution"] = module
    for way in WAYS:
        try:
            parts = [compile(part, "solution.py", "exec") for part in way]
        except (SyntaxError, ValueError):
            continue
        for part in parts:
            exec(part, module.__dict__)
        return getattr(module, ENTRY)
    raise SyntaxError("no way of reading the answer is Python")
function = load()
def call(arguments):
    return function(*ast.literal_eval(arguments))
"""
"""What the sandbox loads: it takes the first way of reading the answer that is Python."""


def unit_tests(
    field: str, entry: str = "entry_point", prompt: str = "prompt"
) -> Callable[[str, Example], Awaitable[float]]:
    """1 where all asserts of a test as HumanEval has them (arXiv 2107.03374) are right about a program, else 0.

    The answer defines the function, or goes on where the prompt ends.

    Args:
        field: with the test, as `apportion.asserts` reads it.
        entry: field with the name of the function.
        prompt: field with the beginning of the program: imports and helpers, the function's head, its docstring.
    """
    sandbox = Sandbox()
    read = lru_cache(maxsize=1024)(read_check)

    async def measure(answer: str, example: Example) -> float:
        asserts = read(str(example.fields[field]))
        beginning, function = str(example.fields[prompt]), str(example.fields[entry])
        code = PROGRAM.format(ways=ways(answer, beginning, function), entry=function)
        cases = [[call] for one in asserts for call in one.calls]
        run = await sandbox.run(code, "call", cases, deadline_s=DEADLINE_S)
        if any(result.status != "value" for result in run.results):
            return 0.0
        return float(all_hold(asserts, [result.value for result in run.results]))

    return measure


def ways(answer: str, prompt: str, function: str) -> list[tuple[str, ...]]:
    """How an answer may be read as a program, each as texts that are run one after the other.

    A whole program comes after the prompt, whose imports and helpers it may need. A text that goes on where the prompt
    ends may have lost the blanks before its first line, or before all of them.
    """
    if re.search(rf"^(?:(?:async\s+)?def|class)\s+{re.escape(function)}\b|^{re.escape(function)}\s*[:=]", answer, re.M):
        return [(prompt, answer), (answer,)]
    joint = "" if prompt.endswith("\n") else "\n"
    indented = "\n".join(INDENT + line for line in answer.splitlines())
    first = answer if answer[:1] in (" ", "\t") else INDENT + answer
    return [(prompt + joint + first,), (prompt + joint + indented,)]


def all_hold(asserts: tuple[Assertion, ...], values: list[object]) -> bool:
    """Whether every assert is right about its share of the values, which come in the order of the calls."""
    given = iter(values)
    return all([one.holds([next(given) for _ in one.calls]) for one in asserts])
