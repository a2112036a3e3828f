"""What a round of AgentTTS knows.

Of its questions `guide` asks for `{"guidelines": [{"text": ..., "insight": 1}]}`; `propose` for `{"candidates":
[{"stages": {STAGE: {"model": ..., "samples": 1, "how": ...}}, "guideline": 1, "expected": 0.5}]}`, where `guideline`
counts from 1 and both may be null; `repair` for such candidates again, after what was wrong.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from apportion.agent.tts.allocation import Allocations
from apportion.agent.tts.history import Guideline, History


@dataclass(frozen=True)
class Brief:
    """What a round knows.

    Attributes:
        insights: numbers of those that the agent is told.
        guidelines: of this round, each with the number of its insight; empty when they are asked for.
        batch: proposals wanted.
        stalled: whether scores have stopped to rise, so that exploring is advised.
        round: from 1.
        seed: of the round; whatever draws at random draws from it.
    """

    allocations: Allocations
    history: History
    insights: Sequence[int]
    guidelines: Sequence[Guideline]
    batch: int
    stalled: bool
    round: int
    seed: int

    @property
    def rules(self) -> list[Guideline]:
        """Guidelines that proposals may follow: of the first round and of the last two, as AgentTTS's code."""
        rounds = [round_.guidelines for round_ in self.history.rounds]
        return list(dict.fromkeys(rule for own in [*rounds[:1], *rounds[-1:], self.guidelines] for rule in own))
