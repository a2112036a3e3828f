"""Ways of choosing while graphs are made: by chance, the most probable, or what is given; with log-probabilities.

Tables have a column a graph. Values are weighed by odds, probabilities up to a factor, as most of what a choice costs
are logarithms. It knows no slots, roles or prices.
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

LEAST = 1e-300  # probability that any possible value has: the least, nearly, that can still be divided
ROWS = 16  # of a table that is made numbers at once


class Chooser(Protocol):
    """Chooses a value in each column of a table of odds, and edges."""

    def value(self, odds: Tensor, given: Tensor | None) -> Tensor:
        """One row a column; an impossible value has odds of 0."""
        ...

    def edges(self, logits: Tensor, n: int, given: Tensor | None) -> Tensor:
        """Which edges are wanted, logits by n."""
        ...

    def some(self, logits: Tensor, none_log_p: Tensor, present: Tensor, given: Tensor | None) -> Tensor:
        """Which edges are wanted, at least one in each column of `present`.

        Args:
            none_log_p: log-probability of no edge's being there, of each and those before it.
        """
        ...


class Chance:
    """Draws. Comparisons are made in place, as those that give truth values take five times as long."""

    def __init__(self, generator: torch.Generator) -> None:
        self._generator = generator

    def value(self, odds: Tensor, given: Tensor | None) -> Tensor:
        """The first whose sum of odds passes a random one, which an impossible value never does."""
        passed = odds.detach().cumsum(0)
        return passed.le_(self._lots(odds) * passed[-1]).sum(0).long()

    def edges(self, logits: Tensor, n: int, given: Tensor | None) -> Tensor:
        """Each for itself, to 31 bits: most of what is random are edges, and these take half of the time."""
        lots = torch.empty(len(logits), n, dtype=torch.int32).random_(generator=self._generator)
        return lots.lt_((logits.detach().sigmoid() * 2.0**31).clamp(max=2.0**31 - 1.0).int()[:, None]).bool()

    def some(self, logits: Tensor, none_log_p: Tensor, present: Tensor, given: Tensor | None) -> Tensor:
        """The first of them, then each that comes after it for itself."""
        least = none_log_p[-1].detach()
        log_lots = (self._lots(none_log_p) * least.expm1()).log1p()
        above = least.nextafter(torch.zeros_like(least))  # `log_lots` is above `least`, but for rounding
        first = (none_log_p >= log_lots.maximum(above)).sum(0)
        after = present & (torch.arange(len(logits))[:, None] > first)
        return (self.edges(logits, len(first), None) & after).scatter(0, first[None], value=True)

    def _lots(self, table: Tensor) -> Tensor:
        """One a column, from 0 to below 1."""
        return torch.rand(table.shape[1], generator=self._generator, dtype=table.dtype)


class Greedy:
    """Takes the most probable.

    Args:
        threshold: probability above which an edge is wanted.
    """

    def __init__(self, threshold: float) -> None:
        self._threshold = threshold

    def value(self, odds: Tensor, given: Tensor | None) -> Tensor:
        """The first of the most probable."""
        return odds.argmax(0)

    def edges(self, logits: Tensor, n: int, given: Tensor | None) -> Tensor:
        """Those above the threshold."""
        return (logits.detach().sigmoid() > self._threshold)[:, None].expand(-1, n)

    def some(self, logits: Tensor, none_log_p: Tensor, present: Tensor, given: Tensor | None) -> Tensor:
        """Those above the threshold, and the most probable one in any case."""
        best = logits.detach()[:, None].where(present, -torch.inf).argmax(0, keepdim=True)
        return (self.edges(logits, present.shape[1], None) & present).scatter(0, best, value=True)


class Given:
    """Takes what was chosen before, to say how probable it is."""

    def value(self, odds: Tensor, given: Tensor | None) -> Tensor:
        """What is given."""
        assert given is not None
        return given.clamp(min=0)

    def edges(self, logits: Tensor, n: int, given: Tensor | None) -> Tensor:
        """What is given."""
        assert given is not None
        return given

    def some(self, logits: Tensor, none_log_p: Tensor, present: Tensor, given: Tensor | None) -> Tensor:
        """What is given."""
        assert given is not None
        return given


def odds_of(logits: Tensor) -> Tensor:
    """Odds of the values in each column; 0 for a logit of minus infinity only."""
    return logits.softmax(0).clamp(min=LEAST) * logits.isfinite()


def pick(chooser: Chooser, odds: Tensor, allowed: Tensor, given: Tensor | None) -> tuple[Tensor, Tensor]:
    """Choose one allowed value in each column, all of which allow one.

    Args:
        odds: values by n, or by 1.
        allowed: values by n.

    Returns:
        The row of each column, and its log-probability among the allowed ones: minus infinity if it is not allowed.
    """
    odds = odds * allowed
    chosen = chooser.value(odds, given)
    p = odds.gather(0, chosen[None])[0] / odds.sum(0)
    return chosen, p.log() if given is None else log(p)


def pick_if_any(chooser: Chooser, odds: Tensor, allowed: Tensor, given: Tensor | None) -> tuple[Tensor, Tensor]:
    """The same where columns may allow nothing: those give any value, and log-probability 0."""
    some = has_any(allowed)
    chosen, log_p = pick(chooser, odds, allowed | ~some, given)
    return chosen, log_p.where(some, 0.0)


def log(p: Tensor) -> Tensor:
    """Logarithms of probabilities, with a gradient of 0 where that is 0."""
    never = p == 0.0
    return p.masked_fill(never, 1.0).log().masked_fill(never, -torch.inf)


def column(table: Tensor, place: Tensor) -> Tensor:
    """The columns of a table that stand at some places: by rows, as `index_select` takes twice the time."""
    return table.gather(1, place.expand(len(table), -1))


def has_any(table: Tensor) -> Tensor:
    """Which columns have a true value: as `any`, in a fifth of the time."""
    if not len(table):
        return torch.zeros(table.shape[1], dtype=torch.bool)
    return table.view(torch.uint8).amax(0).view(torch.bool)


def dot(values: Tensor, table: Tensor) -> Tensor:
    """The sum of a column's values that are true: n. Some rows at a time, which stay in the cache as numbers."""
    numbers = table.view(torch.uint8)
    parts = [values[i : i + ROWS] @ numbers[i : i + ROWS].to(values.dtype) for i in range(0, len(values), ROWS)]
    return sum(parts, values.new_zeros(table.shape[1]))


def coins(logits: Tensor, heads: Tensor, thrown: Tensor) -> Tensor:
    """Log-probability of independent edges, summed: n.

    Args:
        heads: edges by n, which are there.
        thrown: edges by n, which could be there; `heads` and more.
    """
    # log sigmoid(x) - log sigmoid(-x) is x.
    return dot(logits, heads) + dot(logsigmoid(-logits), thrown)
