"""Tables of what programs passed: a row a recorded program and test sample. Needs the extra `data`.

It knows which samples of two stages a table is about (docs/recorded-outcomes.md), not what is selected by it.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from apportion.envs.replay.columns import Columns, again, load
from apportion.envs.replay.rule import Named
from apportion.envs.replay.task import Stage
from apportion.errors import RecordedError
from apportion.graphs.graph import escaped

Ints = NDArray[np.int64]

WANTED = ("question_id", "code_sample", "test_sample", "passed", "total")


def read(path: Path, code: Stage[Named], test: Stage[Named]) -> Ints:
    """Read how many asserts of each test sample each program passes; 0 for test samples that have no row.

    Returns:
        Questions x programs x test samples.

    Raises:
        RecordedError: the stages do not fit, pyarrow is not installed, the file is no such table, a row is wrong, or a
            program lacks one.
    """
    _check(code, test)
    table = load(path)
    column = Columns(path, table, np.arange(table.num_rows) + 1)
    column.require(WANTED, "a matrix")
    names, number = column.codes("question_id")
    place = {name: i for i, name in enumerate(code.recorded.questions)}
    question = np.array([place.get(name, -1) for name in names])[number]
    column.refuse(question < 0, f"`question_id` must be one of {code.recorded.dataset!r}", None)
    programs, tests = (own.recorded.drawn[:, own.columns[0]] for own in (code, test))
    samples = []
    for name, known in (("code_sample", programs), ("test_sample", tests)):
        samples.append(column.whole(name))
        column.refuse(samples[-1] >= known[question], f"`{name}` must be a recorded sample, from 0", samples[-1])
    passed, total = column.whole("passed"), column.whole("total")
    column.refuse(passed > total, "`passed` must not be above `total`", passed)
    shape = len(programs), int(programs.max()), int(tests.max())
    cell = np.ravel_multi_index((question, *samples), shape)
    column.refuse(again(cell), "a program and test sample of a question must stand once", None)
    found, given = np.zeros(shape, dtype=np.int64), np.zeros(shape, dtype=bool)
    found.flat[cell], given.flat[cell] = passed, True
    absent = given.any(axis=1, keepdims=True) & ~given & (np.arange(shape[1])[:, None] < programs[:, None, None])
    if absent.any():
        own, program, sample = np.argwhere(absent)[0]
        raise RecordedError(
            f"every program must be run on a test sample that has rows, but {column.file} lacks code_sample {program} "
            f"with test_sample {sample} of {code.recorded.questions[own]!r}; add it."
        )
    return found


def _check(code: Stage[Named], test: Stage[Named]) -> None:
    for own in (code, test):
        if len(own.models) != 1 or own.recorded.samples is None:
            raise RecordedError(
                f"with a matrix, stage {own.name!r} must have one model, recorded sample by sample, got "
                f"{escaped(', '.join(own.models))}; name one in `models`."
            )
    if code.recorded.questions != test.recorded.questions:
        raise RecordedError(
            f"{code.name!r} and {test.name!r} must have the same questions, but have not; mend a table."
        )
