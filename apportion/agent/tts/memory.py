"""What an agent is shown of earlier trials, within a number of tokens: numbers and names, and no text of an example."""

from __future__ import annotations

from collections.abc import Sequence

from apportion.agent.tts.allocation import chosen
from apportion.agent.tts.history import History, Tried
from apportion.agent.tts.settings import Memory

BYTES_PER_TOKEN = 1.6  # of short names and digits, of which tokens cover fewer than of prose
FIRST = 3  # of the best that are shown in any case


def remembered(history: History, unit: str, memory: Memory, tokens: int) -> str:
    """A table, a row a trial: the best and the newest first to be kept, in the order of their numbers.

    Args:
        tokens: that the rows may take, by a rule of thumb; of `some` only.

    Returns:
        The table, and how many trials are left out; empty where nothing is to be shown.
    """
    if memory == "none" or not history.tried:
        return ""
    kept = list(history.tried) if memory == "all" else _fitting(history, tokens)
    names = " | ".join(history.tried[0].allocation)
    lines = [f"trial | {names} | score | cost in {unit}"]
    lines += [_row(tried) for tried in sorted(kept, key=lambda tried: tried.number)]
    left = len(history.tried) - len(kept)
    return "\n".join([*lines, f"({left} more are left out)"] if left else lines)


def _fitting(history: History, tokens: int) -> list[Tried]:
    """As many as fit: some of the best, then the newest, then the others by their scores."""
    best = sorted(history.tried, key=lambda tried: (tried.score is None, -(tried.score or 0.0)))
    newest = [tried for tried in reversed(history.tried) if _newest(tried, history)]
    kept: list[Tried] = []
    room = tokens * BYTES_PER_TOKEN
    for tried in _once([*best[:FIRST], *newest, *best]):
        room -= len(_row(tried).encode()) + 1
        if room < 0:
            break
        kept.append(tried)
    return kept


def _newest(tried: Tried, history: History) -> bool:
    last = max((other.origin.round for other in history.tried if other.origin is not None), default=-1)
    return tried.origin is not None and tried.origin.round == last


def _once(tried: Sequence[Tried]) -> list[Tried]:
    return list({own.number: own for own in tried}.values())


def _row(tried: Tried) -> str:
    choices = (chosen(choice) for choice in tried.allocation.values())
    score = "not measured" if tried.score is None else f"{tried.score:.4g}"
    return " | ".join([str(tried.number), *choices, score, *([] if tried.cost is None else [f"{tried.cost:.4g}"])])
