"""Where each parameter of a space has its logits in one flat vector. It knows no probabilities.

A parameter of n values has n logits; an edge has one, of its being there.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from apportion.graphs.parameters import Value
from apportion.graphs.slots import FINAL, NO, YES, SlotStage
from apportion.graphs.space import SearchSpace, Stage


@dataclass(frozen=True)
class Block:
    """The logits of one parameter.

    Attributes:
        start: place of the first logit in the vector.
        values: what the parameter may be.
    """

    name: str
    start: int
    values: tuple[Value, ...]

    @property
    def edge(self) -> bool:
        """Whether it is an edge, which has one logit."""
        return self.values == (NO, YES)

    @property
    def size(self) -> int:
        """Number of logits."""
        return 1 if self.edge else len(self.values)

    @property
    def where(self) -> slice:
        """Its part of the vector."""
        return slice(self.start, self.start + self.size)


@dataclass
class Layout:
    """All blocks of a space, in the order in which `SlotStage` walks need them: slots of a kind side by side."""

    space: SearchSpace
    blocks: dict[str, Block] = field(init=False)
    size: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        self.blocks = {}
        for stage in self.space.stages:
            for name in _names(stage):
                block = Block(name, self.size, stage.parameters[name].values)
                self.blocks[name] = block
                self.size += block.size

    def run(self, names: list[str]) -> slice:
        """The part of the vector that neighbouring parameters fill together; empty for none."""
        if not names:
            return slice(0, 0)
        return slice(self.blocks[names[0]].start, self.blocks[names[-1]].where.stop)


def slot_names(stage: SlotStage, key: str) -> list[str]:
    """Names of one parameter of every slot; none if slots do not have it."""
    names = [f"{stage.name}.{slot}.{key}" for slot in range(1, stage.slots + 1)]
    return names if names[0] in stage.parameters else []


def edge_names(stage: SlotStage) -> list[str]:
    """Names of the edges between slots, in the order of `stage.pairs`."""
    return [f"{stage.name}.{a}>{b}" for a, b in stage.pairs]


def last_names(stage: SlotStage) -> list[str]:
    """Names of the edges to the final node."""
    return [f"{stage.name}.{slot}>{FINAL}" for slot in range(1, stage.slots + 1)]


def _names(stage: Stage) -> Iterator[str]:
    if not isinstance(stage, SlotStage):
        yield from stage.parameters
        return
    for key in ("model", "samples", "temperature", "role"):
        yield from slot_names(stage, key)
    yield from edge_names(stage)
    yield from last_names(stage)
    yield from (
        f"{stage.name}.{FINAL}.{key}" for key in ("role", "model") if f"{stage.name}.{FINAL}.{key}" in stage.parameters
    )
