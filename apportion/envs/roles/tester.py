"""Has a model write unit tests, runs each candidate's code on them in the sandbox and keeps what passes most.

For stages whose answers are Python functions. Tests are read as literals and nothing of them is evaluated; whether
they are right, nobody knows.
"""

from __future__ import annotations

import ast
import asyncio
import json
import re
import warnings
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Final

from apportion.envs.parsers import code_in
from apportion.envs.roles.job import Job, heard, lacking
from apportion.envs.rollout import NodeRun
from apportion.envs.sandbox import Sandbox

TEST_TOKENS: Final = 384
MOST_CASES: Final = 32
MOST_TEXT: Final = 20_000  # characters of a reply that are read: far more than it may have
MOST_LINE: Final = 400  # characters, also because Python's parser may run out of stack on a long line
BULLET: Final = re.compile(r"^\s*(?:[-*]|\d+[.)])\s+")
DEFINED: Final = re.compile(r"\bdef\s+(\w+)")


@dataclass(frozen=True, slots=True)
class Case:
    """One test: `function(*arguments) == expected`. Arguments are of JSON's types."""

    function: str
    arguments: list[object]
    expected: object


async def unit_test(job: Job) -> NodeRun:
    """Draw `samples` sets of tests; the score is the share of all their cases that the code passes.

    Where no test can be read the first candidates are passed on without a score.

    Raises:
        SandboxError: this machine has no sandbox.
    """
    candidates = [c for c in job.candidates if c.value is not None] or list(job.candidates)
    codes = {c.origin: code_in(c.text) for c in candidates}
    if len(set(codes.values())) < (1 if job.weighed else 2):
        return NodeRun("ok", tuple(candidates[: job.node.keep]))
    await job.sandbox.check()  # before anything is bought
    how = replace(job.sampling, max_tokens=TEST_TOKENS, stop=())  # the stage's own are made for its answers
    draws = tuple(await job.ask(job.dressed(()), how))
    if not heard(draws):
        return NodeRun(lacking(draws), (), draws)
    distinct = list(dict.fromkeys(codes.values()))
    cases = read_tests(heard(draws), defined_in(distinct))
    if cases:
        shares = await asyncio.gather(*(share_passed(job.sandbox, code, cases) for code in distinct))
        scores = dict(zip(distinct, shares, strict=True))
        scored = (replace(c, score=scores[codes[c.origin]]) for c in candidates)
        candidates = sorted(scored, key=lambda c: -scores[codes[c.origin]])
    return NodeRun("ok", tuple(candidates[: job.node.keep]), draws)


async def share_passed(sandbox: Sandbox, code: str, cases: Sequence[Case]) -> float:
    """Which share of the cases, all of one function, a program passes."""
    run = await sandbox.run(code, cases[0].function, [case.arguments for case in cases])
    return sum(result.gave(case.expected) for result, case in zip(run.results, cases, strict=True)) / len(cases)


def defined_in(codes: Sequence[str]) -> set[str]:
    """Names of functions that programs seem to define."""
    return {name for code in codes for name in DEFINED.findall(code)}


def read_tests(replies: Sequence[str], functions: Collection[str]) -> list[Case]:
    """The readable cases of the one of the functions that most of them call, each once."""
    lines = [line for reply in replies for line in reply[:MOST_TEXT].splitlines()]
    stated = dict.fromkeys(BULLET.sub("", line).strip(" \t`") for line in lines)
    cases = [case for line in stated if (case := _case(line)) and case.function in functions]
    called = Counter(case.function for case in cases).most_common(1)
    return [case for case in cases if case.function == called[0][0]][:MOST_CASES]


def _case(line: str) -> Case | None:
    """The case that a line such as `assert name(1, "a") == 3` states; None if it is anything else."""
    if len(line) > MOST_LINE:
        return None
    try:
        with warnings.catch_warnings(action="ignore"):  # of odd escapes in a model's strings
            (statement,) = ast.parse(line).body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    stated = statement.test if isinstance(statement, ast.Assert) else getattr(statement, "value", None)
    match stated:
        case ast.Compare(
            left=ast.Call(func=ast.Name(id=name), args=arguments, keywords=[]),
            ops=[ast.Eq()],
            comparators=[expected],
        ):
            try:
                given = [ast.literal_eval(argument) for argument in arguments]
                if json.loads(json.dumps(given)) == given:  # a tuple would reach the code as a list
                    return Case(name, given, ast.literal_eval(expected))
            except (ValueError, TypeError, RecursionError, MemoryError):
                pass
    return None
