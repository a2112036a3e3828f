"""How far the answers of a model agree, and what every vote makes of it. It knows draws, not how a vote is counted."""

from __future__ import annotations

import numpy as np

from apportion.envs.replay import rates
from apportion.envs.replay.recorded import NONE
from apportion.envs.replay.rule import Drawn, Flags, Floats, Habits, Ints, believed

AGREE = 0.5  # share of the commonest answer of a kind where nothing is known


def agreement(drawn: Drawn, bought: Ints, k: int, rng: np.random.Generator) -> Habits:
    """Samples of the share of the commonest right answer among right draws, and of that of wrong ones: k x examples.

    Of the draws of a kind after the first, which always is the commonest, those that repeat the commonest answer are
    the successes.

    Args:
        drawn: of one model.
        bought: how many of them are known, by example.
    """
    most = int(bought.max(initial=0))
    answers, correct = drawn.answers[:, :most], drawn.correct[:, :most]
    spoken = (np.arange(most) < bought[:, None]) & (answers != NONE)
    same = answers[:, :, None] == answers[:, None, :]

    def agreed(of_kind: Flags) -> tuple[Ints, Ints]:
        top = (same & of_kind[:, :, None] & of_kind[:, None, :]).sum(axis=2).max(axis=1, initial=0)
        return np.maximum(top - 1, 0), np.maximum(of_kind.sum(axis=1) - 1, 0)

    return tuple(believed(*agreed(spoken & (correct == kind)), AGREE, k, rng) for kind in (True, False))


class Vote:
    """What rules have in common that let answers win by their draws."""

    def habits(self, drawn: Drawn, bought: Ints, k: int, rng: np.random.Generator) -> Habits:
        """How far right draws agree with each other, and wrong ones."""
        return agreement(drawn, bought, k, rng)

    def worth(self, p: Floats, n: int | Ints, habits: Habits) -> Floats:
        """As `rates.vote`: what weights add is not known from whether draws were right."""
        return rates.vote(p, n, *habits)
