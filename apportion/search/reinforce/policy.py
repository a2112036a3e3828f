"""A distribution over graphs that Adam moves up the score-function gradient.

It knows graphs and their utilities, and no study: what it is told, and in which order, is its whole past.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from apportion.graphs.parameters import Params, Value
from apportion.graphs.probabilistic import ProbabilisticGraph
from apportion.graphs.probabilistic.table import Probabilities
from apportion.graphs.slots import ABSENT, NO, YES
from apportion.graphs.space import SearchSpace
from apportion.search.reinforce.settings import Settings

LEAST_SPREAD = 1e-9  # of utilities, so that a batch of equal ones moves nothing
MOVING = 0.9  # share of the old value in the moving average of utilities


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """One torch thread for a while: on tensors as small as these, more of them only wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def sparse(space: SearchSpace, settings: Settings) -> dict[str, dict[Value, float]]:
    """Probabilities that are not even at the start: of edges, and of slots that are absent by choice."""
    edge, absent = settings.edge, settings.absent
    start: dict[str, dict[Value, float]] = {}
    for name, parameter in space.parameters.items():
        values = parameter.values
        if edge is not None and values == (NO, YES):
            start[name] = {NO: 1.0 - edge, YES: edge}
        elif absent is not None and values[-1] == ABSENT:
            start[name] = dict.fromkeys(values, (1.0 - absent) / (len(values) - 1)) | {ABSENT: absent}
    return start


class Policy:
    """A distribution with what its updates need to remember.

    Args:
        start: probabilities that are not even at the start.
    """

    def __init__(self, distribution: ProbabilisticGraph, settings: Settings, start: Probabilities) -> None:
        self.distribution = distribution
        self.settings = settings
        self.start = start
        self.start_over()

    def start_over(self) -> None:
        """Forget every update."""
        self._average: float | None = None
        self.distribution.set_logits(torch.zeros_like(self.distribution.logits))
        self.distribution.set_probabilities(self.start)
        self._adam = torch.optim.Adam(self.distribution.parameters(), lr=self.settings.lr, maximize=True)

    @property
    def logits(self) -> Tensor:
        """A copy of the logits as they are."""
        return self.distribution.logits.detach().clone()

    def step(self, params: Sequence[Params], orders: Sequence[Sequence[int]], utilities: Sequence[float]) -> None:
        """One step of Adam up the mean of advantage times log-probability, and up the entropy.

        Args:
            params: of graphs, at least one.
            orders: of their slots, each empty for the slots' own.
        """
        settings, n = self.settings, len(params)
        u = torch.tensor(utilities, dtype=torch.float64)
        if settings.baseline == "leave_one_out" and n > 1:
            advantage = (u - u.mean()) * n / (n - 1)
        elif settings.baseline == "moving" and self._average is not None:
            advantage = u - self._average
        else:
            advantage = u
        if settings.scaled and n > 1:
            advantage = advantage / (u.std() + LEAST_SPREAD)
        mean = float(u.mean())
        self._average = mean if self._average is None else MOVING * self._average + (1.0 - MOVING) * mean
        realised = self.distribution.batch(params, orders if orders[0] else None)
        log_p = self.distribution.used_log_prob(realised) if settings.used else self.distribution.log_prob(realised)
        gain = (advantage * log_p).mean() + settings.entropy * self.distribution.entropy()
        self._adam.zero_grad()
        gain.backward()  # type: ignore[no-untyped-call]
        self._adam.step()
