"""Is the answer a whole program, does it run, and does it pass its tests?"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from apportion.envs import programs
from apportion.envs.sandbox import Sandbox
from apportion.envs.stage import Example
from apportion.evaluators.answers import Evaluator
from apportion.evaluators.unit_tests import unit_tests

TO_DO = re.compile(r"\btodo\b", re.IGNORECASE)
HOLLOW = re.compile(r"(?:^|:)\s*(?:pass|\.\.\.)$")


def complete() -> Evaluator:
    """1 where no line of the program is `pass` or `...`, alone or after a colon, or says TODO.

    After ChatDev's completeness (arXiv 2307.07924), whose code takes any line with "pass" in it for a placeholder.
    """

    def measure(answer: str, example: Example) -> float:
        lines = answer.splitlines()
        return float(not any(TO_DO.search(line) or HOLLOW.search(line.partition("#")[0].strip()) for line in lines))

    return measure


def executable() -> Evaluator:
    """1 where the program, run in the sandbox, ends in time, without an exception and with exit code 0.

    After ChatDev's executability (arXiv 2307.07924), which runs three seconds and takes a program that goes on for
    good; there is no screen, input or network here.
    """
    sandbox = Sandbox()

    async def measure(answer: str, example: Example) -> float:
        return float((await programs.run(sandbox, answer)).fault is None)

    return measure


PROGRAMS: Mapping[str, Callable[..., Evaluator]] = {
    "complete": complete,
    "executable": executable,
    "unit_tests": unit_tests,
}
"""Evaluators of programs, by kind."""
