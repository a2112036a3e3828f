"""What other runs teach an agent."""

from __future__ import annotations

from collections.abc import Sequence

from apportion.agents import tts
from apportion.graphs.slots import SlotStage
from apportion.graphs.space import SearchSpace
from apportion.run import RunFolder
from apportion.search.objectives import Objective


def learnt(folder: RunFolder, space: SearchSpace, objectives: Sequence[Objective]) -> str:
    """What a run has found by now, in words, whatever its sampler is."""
    if any(isinstance(stage, SlotStage) for stage in space.stages):
        from apportion.agents import wired

        return wired.learnt(folder, space, objectives)
    return tts.learnt(folder, space, objectives)
