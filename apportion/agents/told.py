"""What a run has told its sampler."""

from __future__ import annotations

from apportion.run import RunFolder
from apportion.search.judging import owed
from apportion.search.trial import Trial


def told_of(folder: RunFolder) -> list[Trial]:
    """Trials of the space that were told, in order: those that its sampler sees."""
    return [trial for trial in folder.told() if trial.params is not None and not owed(trial)]
