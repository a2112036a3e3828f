"""Choices that a person pins in a search for allocations that is under way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import starmap
from typing import TYPE_CHECKING

from apportion.agent.nudge import KEYS, Nudge, noted
from apportion.agent.tts.allocation import ROUNDING, Allocation, Allocations, Choice, StageChoices
from apportion.agent.tts.initial import usual
from apportion.errors import GraphError, StoreError
from apportion.graphs.parameters import Value

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution


def nudged(
    before: Nudge,
    allocations: Allocations,
    after: int,
    pin: Sequence[str] = (),
    unpin: Sequence[str] = (),
    notes: Sequence[str] = (),
    drop: Sequence[int] = (),
) -> Nudge:
    """The nudge after another, with what is taken back, pinned and noted now.

    Args:
        pin: `STAGE.KEY=VALUE` each.
        unpin: `STAGE.KEY` each.
        notes: further ones.
        drop: numbers of notes that are taken back, from 1.

    Raises:
        GraphError: there is nothing like it in the space, nothing to take back, a note is empty or too long, or there
            are too many.
    """
    made = noted(before, after, notes, drop)
    pins = dict(before.pins)
    for name in unpin:
        if name not in pins:
            pinned = ", ".join(pins) or "nothing"
            raise GraphError(f"what is unpinned must be pinned, got {name!r:.60}; pinned is {pinned}.")
        del pins[name]
    for text in pin:
        name, value = _pin(text, allocations)
        pins[name] = value
    _check_together(allocations, pins)
    return replace(made, pins=pins)


class Pinned:
    """Allocations that offer only what is pinned. An `Allocations` itself.

    Raises:
        StoreError: when built, if the space has no such choice, as where a pin was edited by hand. It is no GraphError,
            since a search whose sampler raises one is done.
    """

    def __init__(self, allocations: Allocations, pins: Mapping[str, str | int]) -> None:
        self._all = allocations
        self._pins = dict(starmap(partial(_standing, allocations), pins.items()))
        self._stages = tuple(self._narrowed(stage) for stage in allocations.stages)

    @property
    def stages(self) -> Sequence[StageChoices]:
        """In their order, with one value of what is pinned."""
        return self._stages

    @property
    def unit(self) -> str:
        """What costs are counted in, in words."""
        return self._all.unit

    @property
    def budget(self) -> float | None:
        """The most that one answer may cost."""
        return self._all.budget

    def cost(self, allocation: Allocation) -> float | None:
        """Of one answer, of the allocation as it is."""
        return self._all.cost(allocation)

    def fit(self, allocation: Allocation) -> Allocation:
        """The nearest allocation that has what is pinned.

        Raises:
            GraphError: none is near.
        """
        return self._all.fit({name: self._choice(name, choice) for name, choice in allocation.items()})

    def distributions(self) -> dict[str, BaseDistribution]:
        """The parameters in Optuna's terms."""
        return self._all.distributions()

    def params(self, allocation: Allocation) -> dict[str, Value]:
        """The parameters that stand for a fitted allocation."""
        return self._all.params(allocation)

    def allocation(self, params: Mapping[str, Value]) -> Allocation:
        """The allocation that parameters stand for, pinned or not: what was tried before is history.

        Raises:
            GraphError: they stand for none.
        """
        return self._all.allocation(params)

    def _choice(self, stage: str, choice: Choice) -> Choice:
        own = {key: self._pins[f"{stage}.{key}"] for key in KEYS if f"{stage}.{key}" in self._pins}
        return replace(choice, **own)  # type: ignore[arg-type]  # `_pin` has checked them

    def _narrowed(self, stage: StageChoices) -> StageChoices:
        model, samples, how = (self._pins.get(f"{stage.name}.{key}") for key in KEYS)
        return StageChoices(
            stage.name,
            stage.models if model is None else (str(model),),
            stage.hows if how is None else (str(how),),
            stage.least if samples is None else int(samples),
            stage.most if samples is None else int(samples),
        )


def _standing(allocations: Allocations, name: str, value: str | int) -> tuple[str, str | int]:
    """A pin that was taken before.

    Raises:
        StoreError: it cannot have been.
    """
    try:
        return _pin(f"{name}={value}", allocations)
    except GraphError:
        raise StoreError(
            f"a pin that stands must be one that `apportion nudge` takes, got {f'{name}={value}'!r:.80}; take it back "
            f"with --unpin {name!r:.60}."
        ) from None


def _pin(text: str, allocations: Allocations) -> tuple[str, str | int]:
    """The name and the value of a pin.

    Raises:
        GraphError: the space has no such choice.
    """
    name, sign, value = text.partition("=")
    stage_name, _, key = name.rpartition(".")
    stage = next((stage for stage in allocations.stages if stage.name == stage_name), None)
    if not sign or stage is None or key not in KEYS:
        stages = ", ".join(stage.name for stage in allocations.stages)
        raise GraphError(
            f"a pin must be STAGE.model=, STAGE.samples= or STAGE.how= with a stage of {stages}, got {text!r:.80}; "
            "write it so."
        )
    if key == "samples":
        return name, _samples(stage, value, allocations)
    offered = stage.models if key == "model" else stage.hows
    if value not in offered:
        listed = ", ".join(offered) or "nothing: there is one way only"
        raise GraphError(f"`{name}` must be one of {listed}, got {value!r:.60}; choose one.")
    return name, value


def _samples(stage: StageChoices, value: str, allocations: Allocations) -> int:
    law = f"`{stage.name}.samples` must be a whole number from {stage.least} to {stage.most}"
    if not (value.isascii() and value.isdecimal()) or len(value) > 9 or not stage.least <= int(value) <= stage.most:
        raise GraphError(f"{law}, got {value!r:.60}; choose one.")
    lone = {s.name: Choice(s.models[0], s.least, usual(s)) for s in allocations.stages}
    wanted = Choice(stage.models[0], int(value), usual(stage))
    near = allocations.fit({**lone, stage.name: wanted})[stage.name].samples
    if near != int(value):
        raise GraphError(f"{law} that the stage can draw, got {value}; the nearest is {near}.")
    return near


def _check_together(allocations: Allocations, pins: Mapping[str, str | int]) -> None:
    """Refuse pins that contradict each other, or leave nothing within the budget.

    Raises:
        GraphError: a single sample is to be merged, or even the cheapest allocation with these pins is over the budget,
            as far as costs are known.
    """
    for stage in allocations.stages:
        if pins.get(f"{stage.name}.samples") == 1 and f"{stage.name}.how" in pins:
            raise GraphError(
                f"one sample is merged in no way, but `{stage.name}.samples` is pinned to 1 and `{stage.name}.how` to "
                f"{pins[f'{stage.name}.how']}; pin one of them."
            )
    pinned = Pinned(allocations, pins)
    least = {stage.name: Choice(stage.models[0], stage.least, usual(stage)) for stage in pinned.stages}
    for stage in pinned.stages:
        ways = [{**least, stage.name: Choice(model, stage.least, usual(stage))} for model in stage.models]
        least = min(ways, key=lambda way: pinned.cost(way) or 0.0)
    cost, budget = pinned.cost(least), pinned.budget
    if cost is not None and budget is not None and cost > budget * (1 + ROUNDING):
        said = ", ".join(f"{name}={value}" for name, value in pins.items())
        raise GraphError(
            f"what is pinned must leave an answer within {budget:.6g} {pinned.unit}, but with {said} the cheapest "
            f"costs {cost:.6g}; pin less."
        )
