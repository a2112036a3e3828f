"""How a search by Agent-REINFORCE goes; and the published ways near it by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from apportion.search.reinforce.settings import Settings as Numeric

Update = Literal["text", "gradient", "both", "alternating"]
Mixing = Literal["agent", "random", "none"]
INSIGHTS = (1, 2, 3)
NUMERIC = Numeric()


@dataclass(frozen=True)
class Settings:
    """How a search goes.

    Attributes:
        update: what moves the distribution: the agent's table, a REINFORCE step, both mixed by who predicts better, or
            one and the other in turn.
        batch: graphs that are measured between two updates.
        insights: what the agent is told beforehand: insights of Agent-REINFORCE by number, and priors in one's own
            words.
        initial_insights: whether it is told them when it names mixes of models.
        mix: who names the mixes of models that the search begins with; `none` begins with an even distribution.
        sweeps: whether the insights are tried on the task first, on few examples.
        roles: whether roles are searched; if not, every slot keeps the first that it may play.
        credit: whether the agent is shown what each node and edge of a graph was worth.
        memory_tokens: that the trials which it is shown may take.
        knowledge: of other studies, in words; empty for none.
        fail_closed: whether a round without a usable answer ends the search; if not, it goes on without.
        numeric: how the gradient moves the distribution, and how graphs are drawn from it.
    """

    update: Update = "both"
    batch: int = 4
    insights: tuple[int | str, ...] = INSIGHTS
    initial_insights: bool = True
    mix: Mixing = "agent"
    sweeps: bool = True
    roles: bool = True
    credit: bool = True
    memory_tokens: int = 1200
    knowledge: str = ""
    fail_closed: bool = False
    numeric: Numeric = NUMERIC


WAYS: Mapping[str, Settings] = {
    "agent_reinforce": Settings(),
    "textgrad": Settings(update="text", insights=(), mix="random", sweeps=False),
    "maao": Settings(update="alternating", insights=(), mix="random", sweeps=False),
}
"""Agent-REINFORCE, and what it was compared with as its public code has it: textual feedback without insights after
TextGrad (arXiv 2406.07496), and steps of gradients and of text in turn (MaaO)."""
