"""Answers that need a library to be judged: mathematics by math-verify, generated tasks by reasoning-gym's own scores.

The libraries run in a process of their own (`judge`), since what they read was written by a model.
"""

from __future__ import annotations

import math
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from typing import Any, Final

from apportion.envs.stage import Example
from apportion.evaluators.answers import Evaluator, targets
from apportion.evaluators.judge import CPU_S, Judge, JudgeError

TEXT = re.compile(r"\\(?:text|textbf|textrm|mathrm|mbox)\{([^{}]*)\}")

MAKING_S: Final = 60.0
"""Seconds of processor time for one row; all but a few data sets take less than 0.1."""


def math_equal(field: str) -> Callable[[str, Example], Awaitable[bool]]:
    r"""The answer is mathematically equal to the field, or to one of its items, both LaTeX or plain.

    `1/2`, `0.5` and `\frac{1}{2}` are the same. What cannot be compared within `judge.CPU_S` is wrong.
    """
    judge = Judge("math")

    async def right(answer: str, example: Example) -> bool:
        wanted = [str(target) for target in targets(example, field)]
        if bare(answer) in map(bare, wanted):
            return True
        return bool(await judge.ask({"answer": answer, "wanted": wanted}))

    return right


class ReasoningGym:
    """The score from 0 to 1 that reasoning-gym's data set gives to an answer; some give 0.01 to a wrong one.

    Args:
        field: says how the row was made, as `rows` has it under `made`.
    """

    def __init__(self, field: str) -> None:
        self._field = field
        self._judge = Judge("reasoning")

    async def __call__(self, answer: str, example: Example) -> float:
        """Make the row again and score an answer to it.

        Raises:
            JudgeError: it cannot be made, or is made otherwise.
        """
        made = self._made(example)
        question = {**made, "do": "score", "answer": answer}
        try:
            score = await self._judge.ask(question)
        except JudgeError as error:
            raise _refused(error, str(made["dataset"]), example.id) from None
        if not isinstance(score, float | int) or not math.isfinite(score):
            return 0.0
        return min(1.0, max(0.0, float(score)))

    async def check(self, examples: Iterable[Example]) -> None:
        """See that every row is still made as it was.

        Raises:
            JudgeError: one is not.
        """
        for example in examples:
            made = self._made(example)
            try:
                same = await self._judge.ask({**made, "do": "check"})
            except JudgeError as error:
                raise _refused(error, str(made["dataset"]), example.id) from None
            if same is not True:
                law = f"a row must be made again within {CPU_S:g} s and 1 GB to be scored"
                raise JudgeError(f"{law}, but {example.id!r} is not; leave it out with `data.without`.")

    def _made(self, example: Example) -> Mapping[str, object]:
        made = example.fields[self._field]
        assert isinstance(made, Mapping)
        return made


async def rows(dataset: str, size: int, seed: int) -> AsyncIterator[dict[str, Any]]:
    """Rows of a data set of reasoning-gym, the same for the same seed.

    Yields:
        `id`, `question`, `answer` (one that is right, None where the data set names none) and `made`, from which the
        row can be made again to score an answer.

    Raises:
        JudgeError: there is no such data set, it cannot make a row, or reasoning-gym is not installed.
    """
    judge = Judge("reasoning")
    for index in range(size):
        made = {"dataset": dataset, "seed": seed, "size": size, "index": index}
        try:
            row = await judge.ask({**made, "do": "make"}, MAKING_S)
        except JudgeError as error:
            raise _refused(error, dataset, str(index)) from None
        if row is None:
            law = f"{dataset} must make a row by itself within {MAKING_S:g} s and 1 GB, but did not make row {index}"
            raise JudgeError(f"{law}; take another data set.")
        made["sha256"] = row["sha256"]
        yield {"id": f"{dataset}-{seed}-{index}", "question": row["question"], "answer": row["answer"], "made": made}


async def names() -> list[str]:
    """Every data set of reasoning-gym.

    Raises:
        JudgeError: it is not installed.
    """
    found: list[str] = await Judge("reasoning").ask({"do": "names"})
    return found


def bare(text: object) -> str:
    r"""A text for comparison without a library: without `\text`, dollar signs and full stop; single blanks."""
    return " ".join(TEXT.sub(r"\1", str(text)).replace("$", "").split()).rstrip(". ")


def _refused(error: JudgeError, dataset: str, row: str) -> JudgeError:
    """What the child refused, in words."""
    match str(error):
        case "unknown":
            law = f"a data set must be one of reasoning-gym's, but {dataset!r} is none"
            return JudgeError(f"{law}; `apportion data reasoning-gym` lists them.")
        case "other":
            law = f"a row must be made as it was, but this version of reasoning-gym makes {row!r} otherwise"
            return JudgeError(f"{law}; make the file again.")
    return error


JUDGED: Mapping[str, Callable[..., Evaluator]] = {"math_equal": math_equal, "reasoning_gym": ReasoningGym}
"""Evaluators that ask a judging process, by kind."""
