"""Which sampler a task's agent is asked by."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import TYPE_CHECKING

from apportion.agents import tts
from apportion.agents.nudging import nudges_of
from apportion.evaluators.benchmark import Benchmark
from apportion.graphs.space import SearchSpace
from apportion.run import RunFolder
from apportion.search.samplers import Prices
from apportion.spec import TaskSpec

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler

WIRED = "apportion.agents.reinforce"


def asking(
    spec: TaskSpec, space: SearchSpace, benchmark: Benchmark, folder: RunFolder, knowledge: str
) -> Callable[[Prices, float | None], BaseSampler]:
    """What makes the sampler of a run that asks an agent; to be called on the event loop of the run.

    It takes prices of calls by stage and model, and a bound on their sum; None where there is none.

    Args:
        knowledge: of other runs, in words.
    """
    nudges = nudges_of(folder)
    if spec.search.wires_graphs:
        importlib.import_module(WIRED)  # which needs torch: said before anything is bought

    def make(prices: Prices, budget: float | None) -> BaseSampler:
        if not spec.search.wires_graphs:
            dispatcher = benchmark.environment.dispatcher
            return tts.sampler(spec, space, benchmark.on_paper, dispatcher, nudges, knowledge)
        from apportion.agents import reinforce

        return reinforce.sampler(spec, space, benchmark, prices, budget, nudges, knowledge)

    return make
