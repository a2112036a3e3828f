"""One distribution that gradients and an agent's table move, each as far as it has foretold what was measured.

It knows graphs, utilities and tables, and no study: what it is told, and in which order, is its whole past.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from apportion.agent.reinforce.reply import first_roles, only
from apportion.agent.reinforce.settings import Settings
from apportion.graphs.parameters import Params, Value
from apportion.graphs.probabilistic import ProbabilisticGraph
from apportion.graphs.probabilistic.batch import Batch
from apportion.graphs.probabilistic.table import Probabilities
from apportion.search.reinforce.policy import Policy, sparse

FLOOR = 0.02  # of a probability that the agent gives: what it takes for impossible may still be drawn
RATE = 1.0  # by which the odds of the text grow with each batch that it foretold better, in correlations


@dataclass(frozen=True)
class Learnt:
    """What was measured of a graph.

    Attributes:
        order: of its slots, empty for the slots' own.
    """

    params: Params
    order: Sequence[int]
    utility: float


class Learner:
    """A distribution and how it came to be.

    Attributes:
        weight: of the agent's table beside the gradient in `both`, from 0 to 1: a half at first, then by Hedge (Freund
            and Schapire 1997) over how each one's change of log-probability went with the utilities of what was
            measured next.
    """

    def __init__(self, distribution: ProbabilisticGraph, settings: Settings) -> None:
        self.distribution = distribution
        self._settings = settings
        self._policy = Policy(distribution, settings.numeric, sparse(distribution.space, settings.numeric))
        space = distribution.space
        self._frozen = {} if settings.roles else only(space, first_roles(space))
        self.start_over({})

    def start_over(self, placed: Probabilities) -> None:
        """Forget every update, and begin with such probabilities where they are given."""
        self._policy.start_over()
        self.distribution.set_probabilities({**placed, **self._frozen})
        self.weight = 0.5
        self._lead = 0.0
        self._foretold: tuple[Tensor, Tensor, Tensor] | None = None
        self._steps = 0

    @property
    def start(self) -> Probabilities:
        """Probabilities that are not even at the start."""
        return self._policy.start

    def learn(self, batch: Sequence[Learnt], table: Probabilities | None) -> None:
        """Move the distribution after a batch.

        Args:
            batch: none may be told, as where all trials of it failed; then only a table moves it.
            table: of the agent; None where it gave none.
        """
        update, self._steps = self._settings.update, self._steps + 1
        batch = self._drawable(batch)
        self._judge(batch)
        before = self._policy.logits
        turn = update if update != "alternating" else "gradient" if self._steps % 2 or not table else "text"
        by_gradient = before if turn == "text" or not batch else self._stepped(batch)
        by_text = None if turn == "gradient" or not table else self._tabled(before, table)
        moved = by_gradient
        if by_text is not None:
            weight = self.weight if update == "both" else 1.0
            moved = before + (1.0 - weight) * (by_gradient - before) + weight * (by_text - before)
            if update == "both" and batch:
                self._foretold = (before, by_gradient, by_text)
        self.distribution.set_logits(moved)
        self.distribution.set_probabilities(self._frozen)

    def _drawable(self, batch: Sequence[Learnt]) -> list[Learnt]:
        """What the distribution could have drawn: an agent's own graph may not be within the nominal budget."""
        if not batch:
            return []
        with torch.no_grad():
            log_p = self.distribution.log_prob(self._realised(batch))
        return [own for own, known in zip(batch, log_p.isfinite().tolist(), strict=True) if known]

    def _realised(self, batch: Sequence[Learnt]) -> Batch:
        orders = [own.order for own in batch] if batch[0].order else None
        return self.distribution.batch([own.params for own in batch], orders)

    def _stepped(self, batch: Sequence[Learnt]) -> Tensor:
        """Logits after one step up the gradient."""
        self._policy.step([b.params for b in batch], [b.order for b in batch], [b.utility for b in batch])
        return self._policy.logits

    def _tabled(self, before: Tensor, table: Probabilities) -> Tensor:
        """Logits as the agent's table has them."""
        self.distribution.set_logits(before)
        self.distribution.set_probabilities({name: floored(own) for name, own in table.items()})
        return self._policy.logits

    def _judge(self, batch: Sequence[Learnt]) -> None:
        """Which of text and gradient made likelier what turned out well."""
        if self._foretold is None or len(batch) < 2:
            return
        now = self._policy.logits
        realised = self._realised(batch)
        with torch.no_grad():
            log_ps = []
            for logits in self._foretold:
                self.distribution.set_logits(logits)
                log_ps.append(self.distribution.used_log_prob(realised))
        self.distribution.set_logits(now)
        before, by_gradient, by_text = log_ps
        u = torch.tensor([own.utility for own in batch], dtype=torch.float64)
        self._lead += RATE * (correlation(by_text - before, u) - correlation(by_gradient - before, u))
        self.weight = 1.0 / (1.0 + math.exp(-self._lead))
        self._foretold = None


def floored(probabilities: Mapping[Value, float]) -> dict[Value, float]:
    """The same with nothing quite impossible, and 1 in all."""
    least = min(FLOOR, 0.5 / len(probabilities))
    raised = {value: max(p, least) for value, p in probabilities.items()}
    total = sum(raised.values())
    return {value: p / total for value, p in raised.items()}


def correlation(one: Tensor, other: Tensor) -> float:
    """Pearson's; 0 where either does not vary, or is not finite."""
    if not bool(one.isfinite().all()):
        return 0.0
    a, b = one - one.mean(), other - other.mean()
    norm = float(a.norm() * b.norm())
    return float(a @ b) / norm if norm > 1e-12 else 0.0
