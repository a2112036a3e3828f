"""Numbers from rollouts: answers, costs, and a benchmark over the examples of a split."""

from apportion.evaluators.answers import ANSWERS, Evaluator
from apportion.evaluators.benchmark import Benchmark
from apportion.evaluators.costs import COSTS

__all__ = ["ANSWERS", "COSTS", "Benchmark", "Evaluator"]
