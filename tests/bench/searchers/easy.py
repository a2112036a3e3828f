"""Easy tasks for tests of searchers: four draws of the good model are clearly the best option of each stage."""

from __future__ import annotations

import numpy as np

from apportion.bench.searchers.by_trial import Searcher
from apportion.envs.replay.composed import Composed
from apportion.envs.replay.market import Market, Spent
from apportion.envs.replay.recorded import Recorded
from apportion.envs.replay.rules import RULES
from apportion.envs.replay.task import stage

QUESTIONS, SAMPLES = 40, 8
RIGHT = {"fair": 1, "good": 4, "poor": 0}  # of 8 samples, on every question


def recorded() -> Recorded:
    shape = QUESTIONS, len(RIGHT)
    pairs = tuple(("", model) for model in RIGHT)
    correct = np.broadcast_to(np.array(list(RIGHT.values())), shape)
    return Recorded("easy", tuple(f"{q:02}" for q in range(QUESTIONS)), pairs, np.full(shape, SAMPLES), correct, None)


def easy(stages: int = 1, trials: int = 60, shares: tuple[float, ...] = (0.25, 0.5, 1.0)) -> Composed:
    """1, 2 or 4 draws of one of three models at each stage, for 30 examples.

    Four draws of the good model are right with a probability of 0.99, two with 0.79; four of the fair one with 0.5.
    """
    prices = dict.fromkeys(RIGHT, 1.0)
    made = [stage(f"s{s}", recorded(), "", prices, [RULES["any_correct"]], 4.0, shares) for s in range(stages)]
    return Composed("easy", tuple(made), budget=4.0 * stages, search=30, trials=trials)


def mixture(trials: int = 60) -> Composed:
    """The three models on the same 30 examples, none to four draws of each, four in all: of these, any suffices."""
    table = recorded()
    shares = (0.25, 0.5, 1.0)
    made = [stage(m, table, "", {m: 1.0}, [RULES["any_correct"]], 4.0, shares, optional=True) for m in RIGHT]
    return Composed("mixture", tuple(made), budget=4.0, search=30, trials=trials, combine="any")


def searched(search: Searcher, market: Market, seed: int = 0) -> bool:
    """Whether the search ended by itself rather than by the cap."""
    try:
        search(market, np.random.default_rng(seed))
    except Spent:
        return False
    return True


def best(market: Market) -> int:
    return int(market.task.truth.argmax())


def assert_a_seed_decides(search: Searcher, task: Composed) -> None:
    """One seed gives one search on the same market, and another seed another."""
    runs = []
    for seed in (3, 3, 4):
        market = Market(task, 0)
        searched(search, market, seed)
        runs.append(([lead[:2] for lead in market.leads], market.drawn.tolist()))
    assert runs[0] == runs[1] != runs[2]
