"""What a finished study of graphs teaches another one, in words that an agent is given before it has tried anything."""

from __future__ import annotations

from apportion.agent.reinforce.history import History
from apportion.graphs.notation import to_lines
from apportion.graphs.space import SearchSpace

BEST = 3  # graphs that are told


def distilled(history: History, space: SearchSpace, unit: str) -> str:
    """The best graphs of a study and what was seen of the insights, a line each; empty where nothing was measured."""
    measured = sorted(history.measured, key=lambda own: -own[1])
    if not measured:
        return ""
    seen: dict[str, str] = {}
    for tried, _ in measured:
        cost = "" if tried.cost is None else f" at {tried.cost:.4g} {unit}"
        told = f"- {' / '.join(to_lines(space, tried.params))} scored {abs(tried.values[0]):.3g}{cost}"
        seen.setdefault(tried.graph.key, told)
    swept = [own for asked in history.asked[:1] for own in asked.swept if own.held is not None]
    lines = [f"- Seen there: {own.text}" for own in swept]
    return "\n".join(
        [f"Of {len(measured)} trials of a similar task the best were:", *list(seen.values())[:BEST], *lines]
    )
