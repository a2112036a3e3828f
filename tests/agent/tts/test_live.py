"""Allocations of a space of templates: what is offered, what is fitted, what stands for what, and what it costs."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apportion.agent.tts import prompting
from apportion.agent.tts.allocation import Choice, StageChoices
from apportion.agent.tts.live import TemplateAllocations
from apportion.errors import GraphError
from apportion.graphs.graph import Graph
from apportion.graphs.slots import SlotStage
from apportion.graphs.space import SearchSpace
from apportion.graphs.templates import TEMPLATES, TemplateStage

SIZES = {"tiny": 1e8, "small": 1e9, "large": 7e10}


def calls(graph: Graph) -> float:
    return float(graph.calls)


def allocations(*stages: TemplateStage, budget: float | None = None) -> TemplateAllocations:
    return TemplateAllocations(SearchSpace(stages), SIZES, calls, "calls", budget)


@st.composite
def spaces(draw: st.DrawFn) -> TemplateAllocations:
    def stage(name: str) -> TemplateStage:
        models = draw(st.lists(st.sampled_from(list(SIZES)), min_size=1, unique=True))
        templates = draw(st.lists(st.sampled_from(list(TEMPLATES)), min_size=1, unique=True))
        least = draw(st.integers(1, 5))
        most = draw(st.integers(max(2, least), 9))
        return TemplateStage(name, tuple(models), tuple(templates), (least, most), reads=("a",) if name == "b" else ())

    return allocations(*(stage(name) for name in ("a", "b")[: draw(st.integers(1, 2))]))


def choices(draw: st.DrawFn, stage: StageChoices) -> Choice:
    how = draw(st.sampled_from(["", *stage.hows]))
    return Choice(draw(st.sampled_from(stage.models)), draw(st.integers(-5, 50)), how)


@given(spaces(), st.data())
def test_what_is_fitted_is_offered_and_comes_back_from_its_parameters(space: TemplateAllocations, data: Any) -> None:
    wanted = {stage.name: choices(data.draw, stage) for stage in space.stages}
    fitted = space.fit(wanted)
    assert space.fit(fitted) == fitted
    params = space.params(fitted)
    assert space.allocation(params) == fitted
    assert space.cost(wanted) == space.cost(fitted) == calls(space.space.build(params))
    for stage in space.stages:
        choice = fitted[stage.name]
        assert choice.model == wanted[stage.name].model and stage.least <= choice.samples <= stage.most
        assert choice.how in (stage.hows or ("",))


@given(spaces(), st.data())
def test_every_point_of_the_space_is_an_allocation(space: TemplateAllocations, data: Any) -> None:
    point = space.space.point(data.draw(st.integers(0, space.space.size - 1)))
    allocation = space.allocation(point)
    assert space.space.build(space.params(allocation)).key == space.space.build(point).key
    assert space.fit(allocation) == allocation


def test_models_by_size_and_the_operator_of_agenttts_first() -> None:
    (stage,) = allocations(
        TemplateStage("a", ("large", "tiny", "small"), ("vote", "single", "refine", "fuse"), (1, 8))
    ).stages
    assert stage == StageChoices("a", ("tiny", "small", "large"), ("fuse", "vote", "refine"), 1, 8)
    (one_way,) = allocations(TemplateStage("a", ("small",), ("vote", "single"), (4, 8))).stages
    assert one_way.hows == () and (one_way.least, one_way.most) == (1, 8)


@pytest.mark.parametrize(("samples", "fitted"), [(1, 1), (2, 1), (3, 1), (4, 5), (5, 5), (9, 8), (10**9, 8), (-3, 1)])
def test_between_one_sample_and_the_fewest_that_are_merged_the_nearest_counts(samples: int, fitted: int) -> None:
    space = allocations(TemplateStage("a", ("small",), ("single", "fuse"), (5, 8)))
    assert space.fit({"a": Choice("small", samples)})["a"].samples == fitted


@pytest.mark.parametrize(
    "wrong",
    [{}, {"b": Choice("small", 1)}, {"a": Choice("gpt-9", 1)}, {"a": Choice("small", 2, "refine")}],
)
def test_what_the_space_does_not_have_is_refused(wrong: dict[str, Choice]) -> None:
    with pytest.raises(GraphError, match=r"must .+, got .+; (mend|choose)"):
        allocations(TemplateStage("a", ("small",), ("single", "fuse", "vote"), (1, 8))).fit(wrong)


def test_a_stage_of_slots_is_refused() -> None:
    with pytest.raises(GraphError, match="chooses among `templates`, but stage 'free' has `slots`"):
        TemplateAllocations(SearchSpace((SlotStage("free", ("small",), 2, (), ("voter",)),)), SIZES, calls, "calls")


def test_what_merging_costs_by_itself_is_no_price_of_a_sample() -> None:
    """A vote costs nothing, a fuser one call more."""
    space = allocations(TemplateStage("answer", ("small", "large"), ("single", "fuse", "vote"), (2, 9)))
    text = prompting.task(space, "", [])
    assert "small: adds 0; the next sample by fuse 2, each further 1; the next sample by vote 1, each further 1" in text
    plain = allocations(TemplateStage("answer", ("small",), ("single", "vote"), (2, 9)))
    assert "small: adds 0, and 1 a further sample" in prompting.task(plain, "", [])
    two = allocations(TemplateStage("answer", ("small",), ("single", "fuse"), (2, 2)))
    assert "small: adds 0; the next sample 2\n" in prompting.task(two, "", [])
