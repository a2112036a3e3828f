"""Ways of choosing while graphs are made: by chance, the most probable, or what is given; with log-probabilities.

Tables have a column a graph.
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid


class Chooser(Protocol):
    """Chooses a value in each column of a table of log-probabilities, and edges."""

    def value(self, log_p: Tensor, given: Tensor | None) -> Tensor:
        """One row a column; a column is normalised, impossible values are minus infinity."""
        ...

    def edges(self, logits: Tensor, n: int, given: Tensor | None) -> Tensor:
        """Which edges are wanted, logits by n."""
        ...

    def some(self, logits: Tensor, first_log_p: Tensor, present: Tensor, given: Tensor | None) -> Tensor:
        """Which edges are wanted, at least one in each column of `present`.

        Args:
            first_log_p: log-probability of each edge's being the first that is there.
        """
        ...


class Chance:
    """Draws."""

    def __init__(self, generator: torch.Generator) -> None:
        self._generator = generator

    def value(self, log_p: Tensor, given: Tensor | None) -> Tensor:
        """The first whose sum of probabilities passes a random one, which an impossible value never does."""
        passed = log_p.detach().exp().cumsum(0)
        lots = torch.rand(log_p.shape[1], generator=self._generator, dtype=log_p.dtype) * passed[-1]
        return (passed <= lots).sum(0)

    def edges(self, logits: Tensor, n: int, given: Tensor | None) -> Tensor:
        """Each for itself, to 31 bits: most of what is random are edges, and these take half of the time."""
        lots = torch.empty(len(logits), n, dtype=torch.int32).random_(generator=self._generator)
        return lots < (logits.detach().sigmoid() * 2.0**31).clamp(max=2.0**31 - 1.0).int()[:, None]

    def some(self, logits: Tensor, first_log_p: Tensor, present: Tensor, given: Tensor | None) -> Tensor:
        """The first of them, then each that comes after it for itself."""
        first = self.value(first_log_p, None)
        after = present & (torch.arange(len(logits))[:, None] > first)
        return (self.edges(logits, len(first), None) & after).scatter(0, first[None], value=True)


class Greedy:
    """Takes the most probable.

    Args:
        threshold: probability above which an edge is wanted.
    """

    def __init__(self, threshold: float) -> None:
        self._threshold = threshold

    def value(self, log_p: Tensor, given: Tensor | None) -> Tensor:
        """The first of the most probable."""
        return log_p.argmax(0)

    def edges(self, logits: Tensor, n: int, given: Tensor | None) -> Tensor:
        """Those above the threshold."""
        return (logits.detach().sigmoid() > self._threshold)[:, None].expand(-1, n)

    def some(self, logits: Tensor, first_log_p: Tensor, present: Tensor, given: Tensor | None) -> Tensor:
        """Those above the threshold, and the most probable one in any case."""
        best = logits.detach()[:, None].where(present, -torch.inf).argmax(0, keepdim=True)
        return (self.edges(logits, present.shape[1], None) & present).scatter(0, best, value=True)


class Given:
    """Takes what was chosen before, to say how probable it is."""

    def value(self, log_p: Tensor, given: Tensor | None) -> Tensor:
        """What is given."""
        assert given is not None
        return given.clamp(min=0)

    def edges(self, logits: Tensor, n: int, given: Tensor | None) -> Tensor:
        """What is given."""
        assert given is not None
        return given

    def some(self, logits: Tensor, first_log_p: Tensor, present: Tensor, given: Tensor | None) -> Tensor:
        """What is given."""
        assert given is not None
        return given


def pick(chooser: Chooser, logits: Tensor, allowed: Tensor, given: Tensor | None) -> tuple[Tensor, Tensor]:
    """Choose one allowed value in each column, all of which allow one.

    Args:
        logits: values by n, or by 1.
        allowed: values by n.

    Returns:
        The row of each column, and its log-probability among the allowed ones: minus infinity if it is not allowed.
    """
    log_p = only(logits, allowed).log_softmax(0)
    chosen = chooser.value(log_p, given)
    return chosen, log_p.gather(0, chosen[None])[0]


def pick_if_any(chooser: Chooser, logits: Tensor, allowed: Tensor, given: Tensor | None) -> tuple[Tensor, Tensor]:
    """The same where columns may allow nothing: those give any value, and log-probability 0."""
    some = has_any(allowed)
    chosen, log_p = pick(chooser, logits, allowed | ~some, given)
    return chosen, log_p.where(some, 0.0)


def only(logits: Tensor, allowed: Tensor) -> Tensor:
    """Logits of what is allowed, minus infinity (1 - 1/0) for the rest: as `where`, in half of the time."""
    return logits + (1.0 - allowed.to(logits.dtype).reciprocal())


def has_any(table: Tensor) -> Tensor:
    """Which columns have a true value: as `any`, in a fifth of the time."""
    return table.sum(0, dtype=torch.int32) > 0


def coins(logits: Tensor, heads: Tensor, thrown: Tensor) -> Tensor:
    """Log-probability of independent edges, summed: n.

    Args:
        heads: edges by n, which are there.
        thrown: edges by n, which could be there; `heads` and more.
    """
    # log sigmoid(x) - log sigmoid(-x) is x.
    return logits @ heads.to(logits.dtype) + logsigmoid(-logits) @ thrown.to(logits.dtype)
