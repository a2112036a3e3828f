"""Studies: asking a sampler for graphs, measuring them, and closing honestly. Never sees a prompt."""

from apportion.search.objectives import Constraint, Objective
from apportion.search.study import Study
from apportion.search.trial import Trial

__all__ = ["Constraint", "Objective", "Study", "Trial"]
