"""REINFORCE over a distribution of graphs (torch): how it is moved, how graphs are drawn from it, and the sampler."""

from apportion.search.reinforce.policy import one_thread
from apportion.search.reinforce.sampler import DRAWN, ReinforceSampler
from apportion.search.reinforce.settings import GPTSWARM, MAAS, Settings

__all__ = ["DRAWN", "GPTSWARM", "MAAS", "ReinforceSampler", "Settings", "one_thread"]
