"""How a distribution over graphs is moved by gradients, and the published ways of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Settings:
    """How the distribution is moved.

    Attributes:
        edge: probability of every edge at the start; None is the sparse prior of Agent-REINFORCE, 0.119.
        absent: probability at the start that a slot is absent by choice; None is that of one model.
        lr: step of Adam, in logits.
        batch: graphs an update.
        baseline: what is taken from each utility: the mean of the others of its batch, a moving average over earlier
            batches, or nothing.
        scaled: whether what is left is divided by the batch's standard deviation, so that the small differences of late
            batches count as much as the large ones of early batches, which Adam remembers.
        entropy: weight of the distribution's entropy in nats beside the utility.
        used: whether choices that left no trace in the graph are left out of the gradient, to the good of its noise.
        penalty: utility lost for each whole bound that a graph is over.
        weight: of each objective after the first, scaled to the range it had so far, beside 1 for the first.
        cost: utility lost for a graph whose nominal cost is the whole budget, in proportion for others.
        fresh: whether only graphs are proposed that no trial has; where the distribution gives none, a flatter one is
            drawn from, which keeps a distribution that has settled looking around.
        screened: graphs that are drawn for each that is proposed, which is the fresh one of most `promise`: a third
            from the distribution, a third as at the start, a third near the best graph so far. 1 proposes the first
            fresh one of the distribution.
    """

    edge: float | None = 0.35
    absent: float | None = None
    lr: float = 1.0
    batch: int = 8
    baseline: Literal["leave_one_out", "moving", "none"] = "leave_one_out"
    scaled: bool = True
    entropy: float = 0.0
    used: bool = True
    penalty: float = 1.0
    weight: float = 0.2
    cost: float = 0.0
    fresh: bool = True
    screened: int = 128


GPTSWARM = Settings(
    edge=None, absent=0.0, lr=0.1, batch=3, baseline="none", scaled=False, used=False, fresh=False, screened=1
)
"""As the released code of Agent-REINFORCE trains its baseline: vanilla REINFORCE of GPTSwarm, 3 graphs an update."""

MAAS = Settings(
    edge=None, absent=0.5, lr=0.1, batch=4, baseline="none", scaled=False, cost=0.3, fresh=False, screened=1
)
"""After MaAS (arXiv 2502.04180): a policy gradient of the score less a multiple of the cost, with an early exit.

Without its controller that reads each query. Its code takes 3 times the cost in USD; here it is a share of the budget.
"""
