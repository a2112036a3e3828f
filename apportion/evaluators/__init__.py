"""Numbers from rollouts: answers, costs, and a benchmark over the examples of a split."""

from apportion.evaluators.answers import ANSWERS, Evaluator
from apportion.evaluators.benchmark import Benchmark

__all__ = ["ANSWERS", "Benchmark", "Evaluator"]
