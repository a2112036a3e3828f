"""Makes the two *synthetic* tables of this folder: no model has answered anything here. See README.md.

python experiments/searchers/data/make_synthetic.py [FOLDER]

`synthetic_peaks`: a vote betters with more draws and then worsens. Most questions are such that the right answer is
the commonest, which few draws show; of the others a wrong answer is a little commoner, which only many draws show.

`synthetic_chain`: what a first stage found (all of what is needed, a part, or nothing) is read by a second, whose best
number of draws depends on it. With all of it, few draws show the right answer, and many a rival of the kind above; with
nothing, the right answer is a little commoner than any of many wrong ones, which only many draws show.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet
from numpy.typing import NDArray

HERE = Path(__file__).parent
SEED = 20261123
RIGHT, RIVAL, OTHERS = 0, 1, 8  # answers: the right one, the commonest wrong one, and so many rare ones
Floats = NDArray[np.float64]


class Skill(NamedTuple):
    """What a model does with questions that it cannot be misled on, and with the others.

    Attributes:
        plain: chance of the right answer on a plain question; what is left is spread over the rare answers.
        misled: share of questions with a rival.
        ahead: by how much the rival's chance is above that of the right answer there, which together are `taken`.
    """

    plain: float
    misled: float
    ahead: float
    taken: float


PEAKS = {
    "small": Skill(0.45, 0.50, 0.14, 0.90),
    "medium": Skill(0.58, 0.45, 0.16, 0.92),
    "large": Skill(0.72, 0.40, 0.18, 0.95),
}
PEAK_QUESTIONS, PEAK_SAMPLES = 120, 40

FOUND = ("all", "part", "nothing")
FINDS = {"small": (0.30, 0.35, 0.35), "large": (0.65, 0.22, 0.13)}  # chances of what a search finds
ANSWERS = {
    ("small", "all"): Skill(0.55, 0.40, 0.25, 0.90),
    ("small", "part"): Skill(0.30, 0.40, 0.18, 0.75),
    ("small", "nothing"): Skill(0.17, 0.00, 0.00, 0.00),
    ("large", "all"): Skill(0.75, 0.35, 0.25, 0.95),
    ("large", "part"): Skill(0.45, 0.35, 0.18, 0.80),
    ("large", "nothing"): Skill(0.19, 0.00, 0.00, 0.00),
}
CHAIN_QUESTIONS, CHAIN_SAMPLES, FOUND_SAMPLES = 80, 48, 12


def main(folder: Path) -> None:
    write(folder / "synthetic_peaks.parquet", peaks(np.random.default_rng([SEED, 0])))
    write(folder / "synthetic_chain.parquet", chain(np.random.default_rng([SEED, 1])))


def peaks(rng: np.random.Generator) -> Iterator[dict[str, object]]:
    ease, luck = rng.normal(0.0, 0.25, PEAK_QUESTIONS), rng.random(PEAK_QUESTIONS)
    for model, skill in PEAKS.items():
        for question in range(PEAK_QUESTIONS):
            answers = drawn(skill, ease[question], luck[question], PEAK_SAMPLES, rng)
            for index, answer in enumerate(answers.tolist()):
                yield row("synthetic-peaks", question, "", model, index, str(answer), right=answer == RIGHT, read=None)


def chain(rng: np.random.Generator) -> Iterator[dict[str, object]]:
    ease, luck = rng.normal(0.0, 0.25, CHAIN_QUESTIONS), rng.random(CHAIN_QUESTIONS)
    dataset = "synthetic-chain"
    for question in range(CHAIN_QUESTIONS):
        for model, chances in FINDS.items():
            odds = np.array(chances) * np.exp(ease[question] * np.array([2.0, 0.0, -2.0]))
            found = rng.choice(len(FOUND), p=odds / odds.sum(), size=FOUND_SAMPLES)
            for index, number in enumerate(found.tolist()):
                yield row(dataset, question, "find", model, index, FOUND[number], right=None, read="{}")
        for (model, text), skill in ANSWERS.items():
            answers = drawn(skill, ease[question], luck[question], CHAIN_SAMPLES, rng)
            read = json.dumps({"find": text})
            for index, answer in enumerate(answers.tolist()):
                yield row(dataset, question, "answer", model, index, str(answer), right=answer == RIGHT, read=read)


def drawn(skill: Skill, ease: float, luck: float, n: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Answers to a question, of which those with little luck mislead."""
    rival = 0.0
    right = skill.plain * np.exp(ease)
    if luck < skill.misled:
        right, rival = (skill.taken - skill.ahead) / 2, (skill.taken + skill.ahead) / 2
    right = min(right, 0.95)
    chances = np.array([right, rival, *[(1.0 - right - rival) / OTHERS] * OTHERS])
    return rng.choice(len(chances), p=chances, size=n)


def row(
    dataset: str,
    question: int,
    stage: str,
    model: str,
    index: int,
    answer: str,
    *,
    right: bool | None,
    read: str | None,
) -> dict[str, object]:
    return {
        "dataset": dataset, "question_id": f"{question:03}", "stage": stage, "model": f"synthetic-{model}",
        "sample_index": index, "answer": answer, "correct": right, "read": read,
    }  # fmt: skip


def write(path: Path, rows: Iterator[dict[str, object]]) -> None:
    table = pa.Table.from_pylist(list(rows))
    empty = [name for name in table.column_names if table.column(name).null_count == table.num_rows]
    pyarrow.parquet.write_table(table.drop_columns(empty), path, compression="zstd")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else HERE)
