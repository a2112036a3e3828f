"""Which of some graphs is best, on as few examples as that takes: halves of them go on to twice as many examples.

Sequential halving (Karnin et al. 2013). It knows graphs and a probe, not what they stand for.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean

from apportion.agent.reinforce.probe import Probe
from apportion.graphs.graph import Graph

FIRST = 4  # examples of the first round


@dataclass(frozen=True)
class Pretested:
    """What a graph gave.

    Attributes:
        mean: of the first `examples` of the split; None where no answer was had.
    """

    place: int
    mean: float | None
    examples: int


def raced(graphs: Sequence[Graph], probe: Probe, cost: Callable[[Graph], float | None]) -> list[Pretested]:
    """What each graph gave, the best first: those that went further before those that went out earlier.

    Of equal means the cheaper graph is better, then the earlier one. All that are compared have the same examples.

    Raises:
        LimitReached: a needed draw may not be bought.
    """
    scores: dict[int, list[float]] = {place: [] for place in range(len(graphs))}
    left, ended = list(scores), list[tuple[int, int]]()
    seen, until = 0, min(FIRST, probe.examples)
    while True:
        for place in left:
            scores[place] += [own for own in probe.scores(graphs[place], slice(seen, until)) if own is not None]
        left.sort(key=lambda place: (-_mean(scores[place]), _known(cost(graphs[place])), place))
        if len(left) <= 2 or until == probe.examples:  # of two the better one is known
            break
        half = (len(left) + 1) // 2
        ended = [*((place, until) for place in left[half:]), *ended]
        left, seen, until = left[:half], until, min(2 * until, probe.examples)
    order = [*((place, until) for place in left), *ended]
    return [Pretested(place, fmean(scores[place]) if scores[place] else None, n) for place, n in order]


def _mean(scores: Sequence[float]) -> float:
    return fmean(scores) if scores else float("-inf")


def _known(cost: float | None) -> float:
    return float("inf") if cost is None else cost
