"""From a task spec to the agent that proposes, and from a run's folder back to what it did and is asked to do."""

from apportion.agents.nudging import NUDGES, nudge, nudges_of
from apportion.agents.sampling import asking
from apportion.agents.told import told_of
from apportion.agents.tts import Past, past
from apportion.agents.warm import learnt

__all__ = ["NUDGES", "Past", "asking", "learnt", "nudge", "nudges_of", "past", "told_of"]
