"""What a finished study teaches another one, in words that an agent is given before it has tried anything.

The transfer of MLCopilot, where knowledge is drawn from the trials of similar tasks. Numbers and names only.
"""

from __future__ import annotations

from apportion.agent.tts.allocation import Allocation, Allocations, shown
from apportion.agent.tts.findings import findings
from apportion.agent.tts.history import History

BEST = 3  # allocations that are told


def distilled(history: History, allocations: Allocations) -> str:
    """The best allocations of a study and what was seen of the insights, a line each; empty if nothing was measured."""
    leaders = best(history)
    if not leaders:
        return ""
    lines = []
    for allocation, score in leaders:
        cost = allocations.cost(allocation)
        price = "" if cost is None else f" at {cost:.4g} {allocations.unit}"
        lines.append(f"- {shown(allocation)} scored {score:.3g}{price}")
    held = [own for own in findings(history, allocations) if own.held is not None]
    told = [f"- Seen there: {own.text}" for own in held]
    return "\n".join([f"Of {len(history.measured)} trials of a similar task the best were:", *lines, *told])


def best(history: History, count: int = BEST) -> list[tuple[Allocation, float]]:
    """The allocations with the highest scores, each once, the best first."""
    found: list[tuple[Allocation, float]] = []
    for tried, score in sorted(history.measured, key=lambda own: -own[1]):
        if all(tried.allocation != known for known, _ in found):
            found.append((tried.allocation, score))
    return found[:count]
