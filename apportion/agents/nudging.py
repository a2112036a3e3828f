"""What a person asks of a run whose agent goes on later."""

from __future__ import annotations

from collections.abc import Sequence

from apportion.agent.nudge import Nudge, noted
from apportion.agent.tts.pinning import nudged
from apportion.agents.costs import costs_of
from apportion.agents.told import told_of
from apportion.agents.tts import allocations_of
from apportion.errors import ApportionError
from apportion.graphs.space import SearchSpace
from apportion.run import RunFolder

NUDGES = "nudges"
"""Under which a run keeps what was asked of it meanwhile."""


def nudges_of(folder: RunFolder) -> list[Nudge]:
    """What was asked of a run meanwhile, in order."""
    return [Nudge.from_dict(nudge) for nudge in folder.trials.fact(NUDGES) or ()]


def nudge(
    folder: RunFolder,
    space: SearchSpace,
    pin: Sequence[str] = (),
    unpin: Sequence[str] = (),
    notes: Sequence[str] = (),
    drop: Sequence[int] = (),
) -> Nudge:
    """Ask something of a run that goes on later; every trial that it asks for from then on heeds it.

    Args:
        folder: held by this process.
        pin: `STAGE.KEY=VALUE` each.
        unpin: `STAGE.KEY` each.
        drop: numbers of notes that are taken back, from 1.

    Returns:
        All that stands now.

    Raises:
        ApportionError: the run is done or asks no agent, or the space has no such choice.
    """
    spec, earlier = folder.spec, nudges_of(folder)
    if not spec.search.asks_agent:
        raise ApportionError(
            f"a search that asks an agent can be nudged, but the sampler of {folder.path} is {spec.search.sampler}; "
            "run with agenttts."
        )
    if notes and spec.search.agent.model is None:
        remedy = "name one in search.agent" if spec.search.wires_graphs else "pin instead"
        raise ApportionError(f"a note must have a model that reads it, but code answers in {folder.path}; {remedy}.")
    if folder.outcome is not None and folder.outcome["state"] == "done":
        raise ApportionError(f"a search that goes on can be nudged, but that in {folder.path} is done; run another.")
    before, told = earlier[-1] if earlier else Nudge(), len(told_of(folder))
    if spec.search.wires_graphs:
        if pin or unpin:
            raise ApportionError(
                f"choices are pinned where an agent chooses among templates, but {spec.search.sampler} wires slots in "
                f"{folder.path}; leave a note instead."
            )
        made = noted(before, told, notes, drop)
    else:
        made = nudged(before, allocations_of(spec, space, costs_of(folder)), told, pin, unpin, notes, drop)
    folder.trials.set_fact(NUDGES, [own.to_dict() for own in (*earlier, made)])
    return made
