"""Mixes of models: all that use up the budget and no others, and slots that have one."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from apportion.agent.reinforce import mixes as module
from apportion.agent.reinforce.mixes import (
    MOST_VARIANTS,
    Mix,
    Purse,
    cost,
    fits,
    full_up,
    mixes,
    placed,
    shown,
    spread,
    variants,
)
from apportion.errors import GraphError
from apportion.graphs.probabilistic import ProbabilisticGraph
from apportion.graphs.slots import ABSENT, SlotStage
from apportion.graphs.space import SearchSpace
from apportion.graphs.templates import TemplateStage
from tests.agent.reinforce.kit import one, terms, two
from tests.strategies import MODELS, mixed_spaces

Counts = tuple[tuple[tuple[str, int], ...], ...]
"""By stage of slots, slots that each model has."""


def counts(space: SearchSpace, mix: Mix) -> Counts:
    return tuple(tuple((model, mix[s.name].get(model, 0)) for model in s.models) for s in slotted(space))


def slotted(space: SearchSpace) -> list[SlotStage]:
    return [stage for stage in space.stages if isinstance(stage, SlotStage)]


def spent(space: SearchSpace, prices: Mapping[tuple[str, str], float], own: Counts) -> float:
    return sum(
        prices[stage.name, model] * stage.samples[0] * n
        for stage, listed in zip(slotted(space), own, strict=True)
        for model, n in listed
    )


def brute(space: SearchSpace, prices: Mapping[tuple[str, str], float], room: float) -> set[Counts]:
    """All counts within the room of which none has another one above it."""
    by_stage = []
    for stage in slotted(space):
        every = itertools.product(range(stage.slots + 1), repeat=len(stage.models))
        by_stage.append([tuple(zip(stage.models, n, strict=True)) for n in every if 1 <= sum(n) <= stage.slots])
    within = {own for own in itertools.product(*by_stage) if spent(space, prices, own) <= room}
    return {own for own in within if not any(above(other, own) for other in within)}


def above(one: Counts, other: Counts) -> bool:
    """Whether one has all slots of another and more."""
    pairs = [(a, b) for s, t in zip(one, other, strict=True) for (_, a), (_, b) in zip(s, t, strict=True)]
    return one != other and all(a >= b for a, b in pairs)


PRICE = st.sampled_from([0.0, 0.5, 1.0, 2.5, 3.0, 7.0])


@st.composite
def stages(draw: st.DrawFn, name: str) -> SlotStage:
    models = tuple(MODELS[: draw(st.integers(1, 3))])
    least = draw(st.integers(1, 2))
    return SlotStage(name, models, draw(st.integers(1, 4)), ("refiner",), ("voter",), (least, draw(st.integers(2, 3))))


@given(stages("s"), st.none() | stages("t"), st.data(), st.floats(0.0, 30.0))
def test_they_are_those_of_a_brute_force(
    first: SlotStage, second: SlotStage | None, data: st.DataObject, budget: float
) -> None:
    space = SearchSpace((first,) if second is None else (first, second))
    prices = {(stage.name, model): data.draw(PRICE) for stage in space.stages for model in stage.models}
    purse = Purse(prices, budget)
    found = mixes(space, purse)
    assert {counts(space, mix) for mix in found} == brute(space, prices, budget * (1 + 1e-9))
    assert len({counts(space, mix) for mix in found}) == len(found)
    for mix in found:
        assert fits(space, purse, mix) and full_up(space, purse, mix)
        assert cost(space, purse, mix) == pytest.approx(spent(space, prices, counts(space, mix)))


def test_the_budget_of_agent_reinforce() -> None:
    """Of models at 1, 3 and 8, twelve: what is left is less than any of them."""
    stage = SlotStage("s", ("1b", "3b", "8b"), 12, ("refiner",), ("voter",))
    prices = {("s", "1b"): 1.0, ("s", "3b"): 3.0, ("s", "8b"): 8.0}
    found = {shown(mix) for mix in mixes(SearchSpace((stage,)), Purse(prices, 12.0))}
    assert found == {
        "s: 12 1b", "s: 9 1b, 1 3b", "s: 6 1b, 2 3b", "s: 3 1b, 3 3b", "s: 4 3b", "s: 4 1b, 1 8b", "s: 1 1b, 1 3b, 1 8b"
    }  # fmt: skip


def test_a_sum_that_is_the_budget_but_for_rounding_is_covered() -> None:
    space = one(3)
    purse = Purse({("solve", "small"): 0.1, ("solve", "large"): 10.0}, 0.4)  # three times 0.1 and a final one
    assert [dict(mix) for mix in mixes(space, purse)] == [{"solve": {"small": 3}}]


def template(templates: Sequence[str], samples: tuple[int, int] = (1, 4), scorer: str | None = None) -> TemplateStage:
    return TemplateStage("t", ("a", "b"), tuple(templates), samples, scorer, ("s",))


def slots(final: tuple[str, ...] = ("voter",), final_models: tuple[str, ...] = ()) -> SlotStage:
    return SlotStage("s", ("a",), 9, ("refiner",), final, final_models=final_models)


REST: dict[str, tuple[tuple[SlotStage | TemplateStage, ...], float]] = {
    "a final node that is code": ((slots(),), 0.0),
    "a final node that need not call a model": ((slots(("decider", "voter"), ("b",)),), 0.0),
    "a final node of models of its own": ((slots(("decider",), ("c", "b")),), 3.0),
    "a final node of the slots' models": ((slots(("decider",)),), 1.0),
    "a lone call": ((slots(), template(["vote", "single"])), 2.0),
    "no less than so many votes": ((slots(), template(["vote"], (3, 4))), 6.0),
    "votes are two at least": ((slots(), template(["vote"])), 4.0),
    "a fuser beside its drafts": ((slots(), template(["fuse"])), 6.0),
    "a scorer of another model, once a draft": ((slots(), template(["best_of_n"], scorer="c")), 2 * 2.0 + 2 * 5.0),
    "both": ((slots(("decider",), ("b",)), template(["single"])), 3.0 + 2.0),
}


@pytest.mark.parametrize(("stages", "rest"), REST.values(), ids=REST)
def test_what_all_else_costs_at_least_is_kept_back(stages: tuple[SlotStage | TemplateStage, ...], rest: float) -> None:
    prices = {("s", "a"): 1.0, ("s", "b"): 3.0, ("s", "c"): 5.0, ("t", "a"): 4.0, ("t", "b"): 2.0, ("t", "c"): 5.0}
    space = SearchSpace(stages)
    for free in range(1, 5):
        assert [dict(mix) for mix in mixes(space, Purse(prices, rest + free))] == [{"s": {"a": free}}]
    assert mixes(space, Purse(prices, rest + 0.9)) == []
    with pytest.raises(GraphError, match="the budget must cover one graph"):
        ProbabilisticGraph(space, prices, rest + 0.9)


def test_without_a_budget_every_slot_has_a_model() -> None:
    found = mixes(one(3), Purse({}, None))
    assert sorted(shown(mix) for mix in found) == [
        "solve: 1 small, 2 large", "solve: 2 small, 1 large", "solve: 3 large", "solve: 3 small"
    ]  # fmt: skip


def many(stages: int) -> SearchSpace:
    """A space of more mixes than are gone through."""
    names = [f"s{n}" for n in range(stages)]
    made = tuple(SlotStage(name, ("a", "b", "c"), 4, ("refiner",), ("voter",)) for name in names)
    space = SearchSpace(made)
    assert 35**stages > module.MOST_LISTED
    return space


@pytest.mark.parametrize("budget", [4.0, 5.0, 12.5, 40.0, None])
@pytest.mark.parametrize("dear", [1.0, 9.0])
def test_of_very_many_some_are_grown_at_random(budget: float | None, dear: float) -> None:
    space = many(4)
    own = {"a": 1.0, "b": 1.5, "c": 4.0}
    prices = {(s.name, m): own[m] * (dear if s.name == "s3" else 1.0) for s in space.stages for m in s.models}
    purse = Purse(prices, budget if budget is None else budget + dear - 1.0)
    found = mixes(space, purse, seed=5)
    assert found and len(found) <= module.MOST_DRAWN
    assert all(fits(space, purse, mix) and full_up(space, purse, mix) for mix in found)
    assert len({counts(space, mix) for mix in found}) == len(found)
    assert all(list(mix) == [stage.name for stage in space.stages] for mix in found)
    assert mixes(space, purse, seed=5) == found
    if budget is not None and budget > 5:
        assert mixes(space, purse, seed=6) != found
        assert {counts(space, mix)[0] for mix in found} != {counts(space, found[0])[0]}


def test_of_very_many_none_is_found_where_none_can_be_paid() -> None:
    space = many(4)
    prices = {(stage.name, model): 1.0 for stage in space.stages for model in stage.models}
    assert mixes(space, Purse(prices, 3.9)) == []


def test_a_few_are_as_they_are_and_many_are_spread() -> None:
    found = mixes(one(9), terms(one(9), 30.0).purse)
    assert spread(found, 100) == found
    assert spread(found, 3) == [found[0], found[round((len(found) - 1) / 2)], found[-1]]


def test_variants_lack_one_more_of_the_cheapest_each() -> None:
    space, purse = one(9), terms(one(9), 30.0).purse
    found = [shown(mix) for mix in variants(space, purse, {"solve": {"small": 2, "large": 5}})]
    assert found == [
        f"solve: {own}" for own in ("2 small, 5 large", "1 small, 5 large", "5 large", "4 large", "3 large")
    ]
    assert len(found) == MOST_VARIANTS == 5
    assert [shown(own) for own in variants(space, purse, {"solve": {"large": 2}})] == [
        "solve: 2 large",
        "solve: 1 large",
    ]


def test_variants_leave_each_stage_a_slot() -> None:
    mix = {"find": {"small": 1}, "solve": {"small": 1, "large": 2}}
    found = [shown(own) for own in variants(two(), terms(two(), 60.0).purse, mix)]
    assert found == [
        "find: 1 small; solve: 1 small, 2 large", "find: 1 small; solve: 2 large", "find: 1 small; solve: 1 large"
    ]  # fmt: skip


@given(st.data(), st.floats(0.0, 60.0))
def test_variants_are_within_what_the_mix_is(data: st.DataObject, budget: float) -> None:
    space = two()
    purse = terms(space, budget).purse
    found = mixes(space, purse)
    if not found:
        return
    mix = data.draw(st.sampled_from(found))
    listed = variants(space, purse, mix)
    assert listed[0] == mix and len(listed) <= MOST_VARIANTS
    assert all(fits(space, purse, own) for own in listed)
    sizes = [sum(n for own in one.values() for n in own.values()) for one in listed]
    assert sizes == list(range(sizes[0], sizes[0] - len(sizes), -1))
    costs = [cost(space, purse, own) for own in listed]
    assert costs == sorted(costs, reverse=True)


@dataclass(frozen=True)
class Paid:
    """A space, its prices and a budget that may be too small."""

    space: SearchSpace
    prices: Mapping[tuple[str, str], float]
    budget: float | None


@st.composite
def paid(draw: st.DrawFn) -> Paid:
    space = draw(mixed_spaces(slots=3))
    prices = {(stage.name, model): draw(st.sampled_from([0.0, 1.0, 3.0])) for stage in space.stages for model in MODELS}
    return Paid(space, prices, draw(st.none() | st.floats(0.0, 25.0)))


@settings(max_examples=60)
@given(paid(), st.integers(0, 99), st.data())
def test_what_is_placed_is_drawn(own: Paid, seed: int, data: st.DataObject) -> None:
    """There is a mix where a graph can be drawn within the budget; and with it for sure, just that is drawn."""
    purse = Purse(own.prices, own.budget)
    found = mixes(own.space, purse)
    try:
        distribution = ProbabilisticGraph(own.space, own.prices, own.budget)
    except GraphError:
        assert found == []
        return
    mix = data.draw(st.sampled_from(variants(own.space, purse, data.draw(st.sampled_from(found)))))
    for sure in (1.0, 0.8):
        given = placed(own.space, purse, mix, sure)
        for name, p in given.items():
            assert sum(p.values()) == pytest.approx(1.0) and tuple(p) == own.space.parameters[name].values
        distribution.set_probabilities(given)
        batch = distribution.sample(8, torch.Generator().manual_seed(seed))
        assert bool(distribution.log_prob(batch).isfinite().all())
        for params in distribution.params(batch):
            drawn = [
                [str(params[f"{stage.name}.{slot}.model"]) for slot in range(1, stage.slots + 1)]
                for stage in slotted(own.space)
            ]
            if sure == 1.0:
                assert _counted(own.space, drawn) == counts(own.space, mix)


def _counted(space: SearchSpace, drawn: Sequence[Sequence[str]]) -> Counts:
    return tuple(
        tuple((model, models.count(model)) for model in stage.models)
        for stage, models in zip(slotted(space), drawn, strict=True)
    )


def test_dearer_models_stand_in_later_slots_and_the_last_slots_are_absent() -> None:
    space = one(4)
    given = placed(space, terms(space).purse, {"solve": {"large": 1, "small": 2}}, 0.8)
    likeliest = [max(given[f"solve.{slot}.model"].items(), key=lambda own: own[1]) for slot in range(1, 5)]
    assert likeliest == [("small", 0.8), ("small", 0.8), ("large", 0.8), (ABSENT, 0.8)]
    assert given["solve.1.model"]["large"] == pytest.approx(0.2)
    assert given["solve.4.model"] == pytest.approx({"small": 0.1, "large": 0.1, ABSENT: 0.8})


def test_with_a_budget_slots_have_the_fewest_samples_that_the_mix_was_counted_with() -> None:
    space = two()
    mix = {"find": {"small": 2}, "solve": {"small": 1}}
    assert placed(space, terms(space, 9.0).purse, mix, 1.0)["find.2.samples"] == {1: 1.0, 2: 0.0, 3: 0.0}
    assert "find.2.samples" not in placed(space, terms(space, None).purse, mix, 1.0)
