"""Small recordings for tests, written as the draws of each question by each model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from apportion.envs.replay.recorded import Recorded, Samples

Draw = tuple[int, bool]  # its answer, -1 for none, and whether it is right
Cell = Sequence[Draw]
Scored = tuple[int, bool, float]


def recorded(cells: Sequence[Sequence[Cell]]) -> Recorded:
    """Questions x models; the models are m0, m1 and so on."""
    flat = [draw for row in cells for cell in row for draw in cell]
    drawn = np.array([[len(cell) for cell in row] for row in cells])
    correct = np.array([[sum(right for _, right in cell) for cell in row] for row in cells])
    start = (np.cumsum(drawn) - drawn.ravel()).reshape(drawn.shape)
    samples = Samples(start, np.array([right for _, right in flat]), np.array([answer for answer, _ in flat]), {})
    pairs = tuple(("", f"m{i}") for i in range(drawn.shape[1]))
    return Recorded("d", tuple(f"q{i}" for i in range(len(cells))), pairs, drawn, correct, samples)


def scored(cells: Sequence[Sequence[Sequence[Scored]]]) -> Recorded:
    """As `recorded`, with scores; NaN for none."""
    made = recorded([[[(answer, right) for answer, right, _ in cell] for cell in row] for row in cells])
    assert made.samples is not None
    scores = np.array([score for row in cells for cell in row for _, _, score in cell])
    return replace(made, samples=replace(made.samples, scores=scores))


def some(seed: int, questions: int, models: int, draws: int) -> Recorded:
    """A random table: answer 0 is right, 1 and 2 are wrong, and some draws have none; later models are better."""
    rng = np.random.default_rng(seed)
    answers = rng.choice([0, 1, 2, -1], p=[0.4, 0.3, 0.2, 0.1], size=(questions, models, draws))
    answers = np.where(rng.random(answers.shape) < np.arange(models)[:, None] / (2 * models), 0, answers)
    return recorded([[[(a, a == 0) for a in cell] for cell in row] for row in answers.tolist()])
