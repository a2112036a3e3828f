"""Which sampler a task's agent is asked by."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from apportion.agents import tts
from apportion.agents.nudging import nudges_of
from apportion.evaluators.benchmark import Benchmark
from apportion.graphs.space import SearchSpace
from apportion.run import RunFolder
from apportion.search.objectives import Objective
from apportion.search.samplers import Prices
from apportion.spec import TaskSpec

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler


def asking(
    spec: TaskSpec,
    space: SearchSpace,
    objectives: Sequence[Objective],
    benchmark: Benchmark,
    folder: RunFolder,
    knowledge: str,
) -> Callable[[Prices, float | None], BaseSampler]:
    """What makes the sampler of a run that asks an agent; to be called on the event loop of the run.

    It takes prices of calls by stage and model, and a bound on their sum; None where there is none.

    Args:
        knowledge: of other runs, in words.

    Raises:
        ModuleNotFoundError: torch is needed, and is not installed.
    """
    nudges = nudges_of(folder)
    if not spec.search.wires_graphs:
        dispatcher = benchmark.environment.dispatcher
        return lambda prices, budget: tts.sampler(spec, space, benchmark.on_paper, dispatcher, nudges, knowledge)
    from apportion.agents import reinforce  # needs torch: missed before anything is bought

    return lambda prices, budget: reinforce.sampler(
        spec, space, objectives, benchmark, prices, budget, nudges, knowledge
    )
