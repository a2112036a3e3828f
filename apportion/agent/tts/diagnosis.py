"""How a search stands, in a few lines: for whoever proposes next."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

from apportion.agent.tts.brief import Brief
from apportion.agent.tts.findings import findings
from apportion.agent.tts.history import History, Tried

PATIENCE = 2  # rounds without a better score, after which exploring is advised


def stalled(history: History) -> bool:
    """Whether the last rounds have found nothing better than those before."""
    rounds = sorted({_round(tried) for tried, _ in history.measured if tried.origin is not None})
    if len(rounds) <= PATIENCE:
        return False
    before = [score for tried, score in history.measured if _round(tried) < rounds[-PATIENCE]]
    after = [score for tried, score in history.measured if _round(tried) >= rounds[-PATIENCE]]
    return max(after) <= max(before)


def diagnosis(brief: Brief) -> str:
    """The best, the last batch, what was expected of it, which insights held, and what could not be used."""
    history = brief.history
    lines = [] if history.best is None else [f"The best so far is trial {history.best.number}."]
    last = max((_round(tried) for tried, _ in history.measured), default=-1)
    batch = [(tried, score) for tried, score in history.measured if _round(tried) == last]
    lines += _batch(batch) if last >= 0 else []
    if brief.stalled:
        lines.append(f"The best score has not risen for {PATIENCE} rounds.")
    for found in findings(history, brief.allocations):
        if found.insight in brief.insights and found.held is not None:
            verb = "seems to hold" if found.held else "does not seem to hold"
            lines.append(f"Insight {found.insight} {verb} here. {found.text}")
    if history.rounds and (refused := history.rounds[-1].refused):
        more = f" ({len(refused) - 1} more)" if len(refused) > 1 else ""
        lines.append(f"Of the last round could not be used: {refused[0]}{more}")
    return "\n".join(lines)


def _batch(batch: Sequence[tuple[Tried, float]]) -> list[str]:
    scores = [score for _, score in batch]
    lines = [f"The last {len(batch)} scored {fmean(scores):.4g} on average, {max(scores):.4g} at best."]
    off = [abs(t.origin.expected - s) for t, s in batch if t.origin is not None and t.origin.expected is not None]
    return [*lines, f"What was expected of them was off by {fmean(off):.2g} on average."] if off else lines


def _round(tried: Tried) -> int:
    """Of a trial; -1 of a baseline."""
    return -1 if tried.origin is None else tried.origin.round
