"""Many realised graphs side by side, as tensors of choices with graphs last; what is not there is -1."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor

from apportion.graphs.probabilistic.purchases import Bought


@dataclass
class StageBatch:
    """What was chosen for one stage of slots. n graphs, K slots.

    Attributes:
        temperatures: K x n, places among the values.
        edges: K x K x n, from and to.
        last: K x n, whether the final node reads the slot.
        roles: K x n, -1 for a slot that reads no other or that nothing leads from.
        final_role: n.
    """

    temperatures: Tensor
    edges: Tensor
    last: Tensor
    roles: Tensor
    final_role: Tensor


@dataclass
class Batch:
    """Realised graphs.

    Attributes:
        log_prob: n, of everything that was chosen, in the order in which it was chosen.
        order: n x slots, the order in which slots were bought and edges tried; None for the slots' own.
        bought: models and samples.
        slots: the rest of each stage of slots.
    """

    log_prob: Tensor
    order: Tensor | None
    bought: Bought
    slots: dict[str, StageBatch] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.log_prob)
