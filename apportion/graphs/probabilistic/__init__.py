"""A distribution over the graphs of a search space: draw, score, decode, read as text. Needs the extra `torch`."""

from apportion.graphs.probabilistic.distribution import ProbabilisticGraph
from apportion.graphs.probabilistic.projection import Trimmed, trim
from apportion.graphs.probabilistic.table import from_table, moved, to_table
from apportion.graphs.pruning import Change

__all__ = ["Change", "ProbabilisticGraph", "Trimmed", "from_table", "moved", "to_table", "trim"]
