"""What an agent is shown of earlier trials, within a number of tokens: graphs, scores and costs."""

from __future__ import annotations

from collections.abc import Sequence

from apportion.agent.reinforce.history import History, Tried
from apportion.graphs.notation import to_lines
from apportion.graphs.space import SearchSpace

BYTES_PER_TOKEN = 1.6  # of short names and digits, of which tokens cover fewer than of prose
FIRST = 3  # of the best that are shown in any case


def remembered(history: History, space: SearchSpace, unit: str, tokens: int) -> str:
    """A trial a line, the newest batch and the best first to be kept, in the order of their numbers.

    Args:
        tokens: that the lines may take, by a rule of thumb.

    Returns:
        The lines below a heading, and how many trials are left out; empty where nothing was tried.
    """
    if not history.tried:
        return ""
    best = sorted(history.tried, key=lambda own: (own.utility is None, -(own.utility or 0.0)))
    rows = {own.number: _row(own, space, len(history.objectives)) for own in history.tried}
    kept: dict[int, str] = {}
    room = tokens * BYTES_PER_TOKEN
    for own in _once([*best[:FIRST], *history.batch, *best]):
        room -= len(rows[own.number].encode()) + 1
        if room < 0 and kept:
            break
        kept[own.number] = rows[own.number]
    left = len(rows) - len(kept)
    lines = [
        f"trial | {' | '.join(history.objectives)} | cost in {unit} | graph",
        *(kept[number] for number in sorted(kept)),
    ]
    return "\n".join([*lines, f"({left} more are left out)"] if left else lines)


def _once(tried: Sequence[Tried]) -> list[Tried]:
    return list({own.number: own for own in tried}.values())


def _row(tried: Tried, space: SearchSpace, objectives: int) -> str:
    values = [f"{value:.4g}" for value in tried.values] or ["not measured"] * objectives
    cost = "?" if tried.cost is None else f"{tried.cost:.4g}"
    return f"{tried.number} | {' | '.join(values)} | {cost} | {' / '.join(to_lines(space, tried.params))}"
