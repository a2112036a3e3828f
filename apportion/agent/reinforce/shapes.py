"""Simple graphs of a space: layers of models side by side, one layer reading all of the one before.

It knows slots and edges, not what they cost.
"""

from __future__ import annotations

from collections.abc import Sequence

from apportion.graphs.parameters import Value
from apportion.graphs.slots import ABSENT, FINAL, YES, SlotStage
from apportion.graphs.space import SearchSpace


def layered(
    space: SearchSpace, stage: SlotStage, layers: Sequence[Sequence[str]], last_role: str | None = None
) -> dict[str, Value]:
    """Parameters of a graph whose stage has such layers of models, the other stages their first choices alone.

    Args:
        layers: from the first; slots in all at most those of the stage.
        last_role: of the last layer's slots; None for the first role that a slot may have.
    """
    params: dict[str, Value] = {name: parameter.values[0] for name, parameter in space.parameters.items()}
    for other in space.stages:
        if isinstance(other, SlotStage):
            own = layers if other is stage else [[other.models[0]]]
            params |= _slots(other, own, last_role if other is stage else None)
    return params


def _slots(stage: SlotStage, layers: Sequence[Sequence[str]], last_role: str | None) -> dict[str, Value]:
    params: dict[str, Value] = {f"{stage.name}.{slot}.model": ABSENT for slot in range(2, stage.slots + 1)}
    before: list[int] = []
    slot = 0
    for place, layer in enumerate(layers, 1):
        here = []
        for model in layer:
            slot += 1
            here.append(slot)
            params[f"{stage.name}.{slot}.model"] = model
            params |= {f"{stage.name}.{source}>{slot}": YES for source in before}
            if last_role is not None and place == len(layers) and stage.roles:
                params[f"{stage.name}.{slot}.role"] = last_role
        before = here
    return params | {f"{stage.name}.{source}>{FINAL}": YES for source in before}
