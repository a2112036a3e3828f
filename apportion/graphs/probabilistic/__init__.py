"""A distribution over the graphs of a search space: draw, score, decode, read as text. Needs the extra `torch`."""

from apportion.graphs.probabilistic.distribution import ProbabilisticGraph

__all__ = ["ProbabilisticGraph"]
