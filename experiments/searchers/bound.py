"""How often is right who buys every draw that is on sale and takes the best mean? What the draws themselves can say.

python experiments/searchers/bound.py SEEDS TASK...

For tasks of one stage whose rules go by counts. The mean of a number of draws is over all ways of taking them from
those bought, and so without bias; it knows nothing of how models and questions are alike.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from apportion.bench.searchers.race import task
from apportion.envs.replay.composed import Composed
from apportion.envs.replay.market import Market
from apportion.envs.replay.recorded import Recorded

HERE = Path(__file__).parent
ENOUGH = 1e18  # no cap


@dataclass(frozen=True)
class Bought:
    """Counts of one model's draws, as rules read them: examples x 1."""

    correct: NDArray[np.int64]
    drawn: NDArray[np.int64]
    samples: Any = None


def values(own: Composed, market: Market) -> NDArray[np.float64]:
    """Mean of every configuration over all draws that are on sale."""
    market.cap = ENOUGH
    for number, arm in enumerate(market.arms):
        for _ in range(arm.most):
            market.buy(number, np.arange(market.split.size))
    (stage,) = own.stages
    found = []
    for (number,) in own.configurations:
        option = stage.options[number]
        counts = Bought(market.right[option.arm][:, None], market.drawn[option.arm][:, None])
        found.append(stage.rules[option.rule].expected(cast(Recorded, counts), 0, option.n).mean())
    return np.array(found)


def main(seeds: int, names: list[str]) -> None:
    """Print the share of seeds that are within 1 %, of who bought all and of the oracle."""
    for name in names:
        own = task(str(HERE / "tasks" / f"{name}.yaml"))
        assert isinstance(own, Composed)
        allowed = max(0.01 * own.truth.max(), 1.0 / own.least_questions) + 1e-9
        hits = np.zeros(2)
        for seed in range(seeds):
            market = Market(own, seed)
            for place, found in enumerate((values(own, market), own.value(own.configurations, market.split))):
                hits[place] += own.truth.max() - own.truth[found.argmax()] <= allowed
        bought, oracle = hits / seeds
        on_sale = sum(arm.most for arm in market.arms) * market.split.size
        print(f"{name}: all {on_sale:,} draws bought {bought:.2f}, oracle {oracle:.2f} ({seeds} seeds)")


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
