"""Twelve synthetic problems in Agent-REINFORCE's setting: three that obey its insights, and what breaks one at a time.

The insights (arXiv 2511.00086): 1, a task prefers a mix of models; 2, width and depth have an optimum each, beyond
which accuracy falls; 3, the deeper a graph, the smaller its best width. Problems of one base differ in one insight
only, so that what a search owes to it is a paired difference. All are landscapes; nothing is measured.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from apportion.graphs.slots import SlotStage
from apportion.graphs.space import SearchSpace
from apportion.testing.landscape import SIZES, Case, Landscape, LandscapeProblem, written
from apportion.testing.synthetic import SyntheticModel

MODELS = {
    "1b": SyntheticModel(0.3, 1.0, 0.5),
    "3b": SyntheticModel(0.45, 3.0, 1.0),
    "8b": SyntheticModel(0.6, 8.0, 2.0),
}
"""FLOPs in Agent-REINFORCE's nominal units, whatever a call reads: 1B is 1."""

SPACE = SearchSpace(
    (SlotStage("answer", tuple(MODELS), 6, ("refiner", "fuser"), ("decider",), final_models=("3b",)),),
)

ACCURACY = 0.8
"""Of the best graph of every problem."""

NARROWING = 0.3
"""By how much a level of depth lowers the logarithm of the best width.

With 0.4 the most that the slots hold would be too wide at some depths where more is to be better.
"""


@dataclass(frozen=True)
class _Base:
    """A problem that obeys the insights, and what it is where nothing but the slots and the budget ends its growth.

    Attributes:
        budget: bound on the FLOPs of one answer; the final node costs 3 of them.
        best: its best graph, as `written`.
        endless: the landscape whose optimum is the most width, or depth, that there can be.
        most: the best graph of that.
    """

    landscape: Landscape
    budget: float
    best: Sequence[str]
    endless: Landscape
    most: Sequence[str]


_BASES = {
    # Many small ones side by side, and one that fuses them.
    "wide": _Base(
        Landscape(2, 4.0, {"1b": 1.0}, 1.0, NARROWING),
        12.0,
        [*(f"{slot} 1b 1 5" for slot in range(1, 5)), "5 1b 1 final fuser"],
        Landscape(2, 5.0, {"1b": 1.0}, 1.0, NARROWING),
        [*(f"{slot} 1b 1 6" for slot in range(1, 6)), "6 1b 1 final fuser"],
    ),
    # A chain of middle ones, which starts from two drafts; without an end it is a chain of all slots.
    "deep": _Base(
        Landscape(4, 2.0, {"3b": 1.0}, 0.0, NARROWING),
        21.0,
        ["1 3b 1 3", *(f"{slot} 3b 1 {slot + 1}" for slot in range(2, 5)), "5 3b 1 final"],
        Landscape(6, 1.0, {"3b": 1.0}, 0.0, NARROWING),
        [*(f"{slot} 3b 1 {slot + 1}" for slot in range(1, 6)), "6 3b 1 final"],
    ),
    # Small drafts, one of which is refined, and a large one that fuses them.
    "mixed": _Base(
        Landscape(3, 3.0, {"1b": 4 / 5, "8b": 1 / 5}, 0.5, NARROWING),
        18.0,
        ["1 1b 1 4", "2 1b 1 5", "3 1b 1 5", "4 1b 1 5", "5 8b 1 final fuser"],
        Landscape(3, 4.0, {"1b": 5 / 6, "8b": 1 / 6}, 0.5, NARROWING),
        ["1 1b 1 5", "2 1b 1 6", "3 1b 1 6", "4 1b 1 6", "5 1b 1 6", "6 8b 1 final fuser"],
    ),
}


def pairs() -> list[Case]:
    """Each base, and it with insight 1, 2 or 3 broken: `wide`, `wide-breaks-1`, …, `mixed-breaks-3`.

    1: no mix is better than another, so that graphs tie at the best accuracy. 2: more width, for `deep` more depth, is
    always better, up to what the slots allow. 3: the deeper a graph, the greater its best width. Where 1 or 3 is broken
    the best graph is that of the base; where 2 is, the width or depth of the optimum and the shares that follow from it
    are the only change.
    """
    found: list[Case] = []
    for name, base in _BASES.items():
        kept = base.landscape
        depth, width, _, fused = kept.steepness
        found += [
            _case(name, None, kept, base.budget, base.best),
            _case(name, 1, replace(kept, steepness=(depth, width, 0.0, fused)), base.budget, base.best),
            _case(name, 2, base.endless, base.budget, base.most),
            _case(name, 3, replace(kept, interaction=-kept.interaction), base.budget, base.best),
        ]
    return found


def _case(base: str, breaks: int | None, landscape: Landscape, budget: float, best: Sequence[str]) -> Case:
    name = f"{base}-breaks-{breaks}" if breaks else base
    problem = LandscapeProblem(MODELS, SIZES, {"answer": landscape}, best=ACCURACY)
    return Case(name, breaks is None, SPACE, problem, budget, written(SPACE, best), base, breaks)
