"""Numbers from rollouts: answers, costs, and a benchmark over the examples of a split."""

from collections.abc import Callable, Mapping

from apportion.evaluators.answers import ANSWERS, Evaluator
from apportion.evaluators.benchmark import Benchmark
from apportion.evaluators.judged import JUDGED
from apportion.evaluators.overlap import OVERLAPS
from apportion.evaluators.programs import PROGRAMS

__all__ = ["ANSWERS", "EVALUATORS", "Benchmark", "Evaluator"]

EVALUATORS: Mapping[str, Callable[..., Evaluator]] = {**ANSWERS, **OVERLAPS, **PROGRAMS, **JUDGED}
"""Every evaluator by its kind in the task file."""
