"""Ways of choosing while a graph is made: by chance, the most probable, or what is given; with log-probabilities."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid


class Chooser(Protocol):
    """Chooses a value of each row of a table of log-probabilities, and edges."""

    def value(self, log_p: Tensor, given: Tensor | None) -> Tensor:
        """One column a row; a row is normalised, impossible values are minus infinity."""
        ...

    def edges(self, logits: Tensor, given: Tensor | None) -> Tensor:
        """Which edges are wanted, shaped as `logits`."""
        ...

    def some(self, logits: Tensor, first_log_p: Tensor, present: Tensor, given: Tensor | None) -> Tensor:
        """Which edges are wanted, at least one in each row of `present`.

        Args:
            first_log_p: log-probability of each edge's being the first that is there.
        """
        ...


class Chance:
    """Draws."""

    def __init__(self, generator: torch.Generator) -> None:
        self._generator = generator

    def value(self, log_p: Tensor, given: Tensor | None) -> Tensor:
        """By an exponential race, in which an impossible value never wins."""
        race = torch.empty_like(log_p).exponential_(generator=self._generator)
        return (log_p.detach().exp() / race).argmax(-1)

    def edges(self, logits: Tensor, given: Tensor | None) -> Tensor:
        """Each for itself."""
        return torch.rand(logits.shape, generator=self._generator, dtype=logits.dtype) < logits.detach().sigmoid()

    def some(self, logits: Tensor, first_log_p: Tensor, present: Tensor, given: Tensor | None) -> Tensor:
        """The first of them, then each that comes after it for itself."""
        first = self.value(first_log_p, None)[:, None]
        after = present & (torch.arange(logits.shape[1]) > first)
        return (self.edges(logits, None) & after).scatter(1, first, value=True)


class Greedy:
    """Takes the most probable.

    Args:
        threshold: probability above which an edge is wanted.
    """

    def __init__(self, threshold: float) -> None:
        self._threshold = threshold

    def value(self, log_p: Tensor, given: Tensor | None) -> Tensor:
        """The first of the most probable."""
        return log_p.argmax(-1)

    def edges(self, logits: Tensor, given: Tensor | None) -> Tensor:
        """Those above the threshold."""
        return logits.detach().sigmoid() > self._threshold

    def some(self, logits: Tensor, first_log_p: Tensor, present: Tensor, given: Tensor | None) -> Tensor:
        """Those above the threshold, and the most probable one in any case."""
        best = logits.detach().masked_fill(~present, -torch.inf).argmax(1, keepdim=True)
        return (self.edges(logits, None) & present).scatter(1, best, value=True)


class Given:
    """Takes what was chosen before, to say how probable it is."""

    def value(self, log_p: Tensor, given: Tensor | None) -> Tensor:
        """What is given."""
        assert given is not None
        return given.clamp(min=0)

    def edges(self, logits: Tensor, given: Tensor | None) -> Tensor:
        """What is given."""
        assert given is not None
        return given

    def some(self, logits: Tensor, first_log_p: Tensor, present: Tensor, given: Tensor | None) -> Tensor:
        """What is given."""
        assert given is not None
        return given


def pick(chooser: Chooser, logits: Tensor, allowed: Tensor, given: Tensor | None) -> tuple[Tensor, Tensor]:
    """Choose one allowed value in each row.

    Args:
        logits: rows by values.
        allowed: rows by values; a row that allows nothing gives value 0 and log-probability 0.

    Returns:
        The column of each row, and its log-probability among the allowed ones: minus infinity if it is not allowed.
    """
    some = allowed.any(-1, keepdim=True)
    log_p = logits.masked_fill(~allowed & some, -torch.inf).log_softmax(-1)
    chosen = chooser.value(log_p, given)
    return chosen, log_p.gather(-1, chosen[:, None])[:, 0].where(some[:, 0], 0.0)


def coins(logits: Tensor, heads: Tensor, thrown: Tensor) -> Tensor:
    """Log-probability of independent edges, summed over all but the first dimension.

    Args:
        heads: which are there.
        thrown: which could be there; one that is there though it could not be makes it minus infinity.
    """
    log_p = torch.where(heads, logsigmoid(logits), logsigmoid(-logits)).where(thrown, 0.0)
    impossible = (heads & ~thrown).flatten(1).any(-1)
    return log_p.flatten(1).sum(-1).masked_fill(impossible, -torch.inf)
