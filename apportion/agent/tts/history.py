"""What an agent remembers: the allocations that were tried, what each gave, and what was thought of it beforehand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from apportion.agent.stored import Stored
from apportion.agent.tts.allocation import Allocation

Source = Literal["initial", "agent", "repaired", "fallback"]
"""Who proposed: the first trials of AgentTTS, the agent, the agent when it was told what was wrong, or, in its place,
chance."""


Guideline = tuple[str, int | None]
"""In the agent's words, and the number of the insight that it rests on; None for none."""


@dataclass(frozen=True)
class Origin:
    """Where a proposal came from.

    Attributes:
        round: 0 for the initial trials.
        guideline: the one that it follows, in the agent's words; empty for none.
        insight: number of the insight that the guideline rests on; None for none.
        expected: the score that the agent expects.
    """

    round: int
    source: Source
    guideline: str = ""
    insight: int | None = None
    expected: float | None = None


@dataclass(frozen=True)
class Proposal(Stored):
    """An allocation that is to be tried, and why."""

    allocation: Allocation
    origin: Origin


@dataclass(frozen=True)
class Tried:
    """An allocation that was measured, or could not be.

    Attributes:
        cost: of one answer, in the unit of the space; None where it is not known.
        score: the first objective, larger is better; None where it was not measured.
        origin: None of baselines.
    """

    number: int
    allocation: Allocation
    cost: float | None
    score: float | None
    origin: Origin | None = None


@dataclass(frozen=True)
class Round(Stored):
    """One round of the loop.

    Attributes:
        number: from 1.
        proposals: to be tried.
        asked: questions to the agent.
        refused: what was wrong with proposals, a line each.
    """

    number: int
    guidelines: Sequence[Guideline]
    proposals: Sequence[Proposal]
    asked: int = 0
    refused: Sequence[str] = ()


@dataclass(frozen=True)
class History:
    """All that happened so far.

    Attributes:
        tried: in order, baselines of the space included.
        rounds: in order; of the initial trials there is none.
    """

    tried: Sequence[Tried]
    rounds: Sequence[Round]

    @property
    def measured(self) -> list[tuple[Tried, float]]:
        """What has a score, with it."""
        return [(tried, tried.score) for tried in self.tried if tried.score is not None]

    @property
    def best(self) -> Tried | None:
        """The highest score, of equals the cheapest, then the first."""
        found = [tried for tried, _ in self.measured]
        cheap = [float("inf") if tried.cost is None else tried.cost for tried in found]
        order = sorted(range(len(found)), key=lambda i: (-(found[i].score or 0.0), cheap[i], i))
        return found[order[0]] if order else None
