"""How a search by an agent goes: batches, insights, memory; and the published ways of it by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Memory = Literal["all", "some", "none"]
INSIGHTS = (1, 2, 3)
MOST_GUIDELINES = 6  # of a round


@dataclass(frozen=True)
class Settings:
    """How a search by an agent goes.

    Attributes:
        batch: proposals of a round.
        insights: what the agent is told beforehand: insights of AgentTTS by number, and priors in one's own words. With
            the first one a search begins with the initial trials of AgentTTS, without it with a random one.
        guidelines: whether the agent is asked for guidelines before it proposes.
        memory: which earlier trials it is shown: all, some that fit `memory_tokens`, or none.
        memory_tokens: that what it is shown of them may take.
        knowledge: of other studies, in words; empty for none.
        fail_closed: whether a round without a usable proposal ends the search; if not, chance fills in.
    """

    batch: int = 10
    insights: tuple[int | str, ...] = INSIGHTS
    guidelines: bool = True
    memory: Memory = "some"
    memory_tokens: int = 700
    knowledge: str = ""
    fail_closed: bool = False


WAYS: Mapping[str, Settings] = {
    "agenttts": Settings(),
    "agenthpo": Settings(insights=()),
    "mlcopilot": Settings(insights=(), guidelines=False),
    "llm_zero_shot": Settings(insights=(), guidelines=False, memory="none"),
}
"""AgentTTS (arXiv 2508.00890) and what it was compared with: AgentHPO writes its own guidelines without insights,
MLCopilot goes by knowledge of other studies, and zero shot by neither."""
