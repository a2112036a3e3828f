"""One number for what a trial gave over all objectives and bounds, for samplers that climb one number."""

from __future__ import annotations

from collections.abc import Sequence

from optuna.study import StudyDirection
from optuna.trial import FrozenTrial


def utility(
    trial: FrozenTrial,
    seen: Sequence[FrozenTrial],
    directions: Sequence[StudyDirection],
    penalty: float,
    weight: float,
) -> float:
    """The first objective as it is, the others as shares of their range so far, less what the trial is over bounds.

    Args:
        seen: trials with values, of which the range of an objective is taken; the trial itself where it has any.
        penalty: lost for each whole bound that a graph is over.
        weight: of each objective after the first, beside 1 for the first.
    """
    over = sum(max(0.0, violation) for violation in (trial.constraints or {}).values())
    total = -penalty * over
    for k, (value, direction) in enumerate(zip(trial.values or (), directions, strict=False)):
        sign = 1.0 if direction == StudyDirection.MAXIMIZE else -1.0
        if k == 0:
            total += sign * value
        else:
            known = [other.values[k] for other in seen]
            spread = max(known) - min(known)
            total += sign * weight * ((value - min(known)) / spread if spread else 0.0)
    return total
