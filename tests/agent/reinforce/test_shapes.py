"""Layers of slots: each reads all of the one before, and nothing else is there."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apportion.agent.reinforce.moves import depth
from apportion.agent.reinforce.shapes import layered
from apportion.graphs.slots import SlotStage
from apportion.graphs.space import SearchSpace
from apportion.graphs.templates import TemplateStage
from tests.agent.reinforce.kit import MODELS, one, two

Layers = list[list[str]]
layers = st.lists(st.lists(st.sampled_from(MODELS), min_size=1, max_size=3), min_size=1, max_size=4)


def stage_of(space: SearchSpace, name: str = "solve") -> SlotStage:
    return next(stage for stage in space.stages if isinstance(stage, SlotStage) and stage.name == name)


@given(layers, st.booleans(), st.booleans())
def test_each_layer_reads_all_of_the_one_before(given_: Layers, free_order: bool, fuse: bool) -> None:  # noqa: FBT001
    space = one(12, free_order=free_order)
    fuse = fuse and len(given_) > 1 and len(given_[-2]) > 1
    graph = space.build(layered(space, stage_of(space), given_, "fuser" if fuse else None))
    *slots, last = graph.nodes
    level: dict[str, int] = {}
    for node in slots:
        level[node.id] = 1 + max((level[source] for source in node.inputs), default=0)
    for place, layer in enumerate(given_, 1):
        nodes = [node for node in slots if level[node.id] == place]
        before = {name for name, own in level.items() if own == place - 1}
        assert sorted(str(node.model) for node in nodes) == sorted(layer)
        assert all(set(node.inputs) == before for node in nodes)
        role = "generator" if place == 1 else "fuser" if fuse and place == len(given_) else "refiner"
        assert {node.role for node in nodes} == {role}
    assert set(last.inputs) == {name for name, own in level.items() if own == len(given_)}
    assert depth(graph) == len(given_) + 1 and len(slots) == sum(map(len, given_))


@pytest.mark.parametrize("depth_", [3, 4])
def test_the_last_role_is_that_of_the_last_layer_only_also_where_layers_are_one_object(depth_: int) -> None:
    space = one(9)
    graph = space.build(layered(space, stage_of(space), [["small", "small"]] * depth_, "fuser"))
    roles = [node.role for node in graph.nodes[:-1]]
    assert roles == ["generator"] * 2 + ["refiner"] * 2 * (depth_ - 2) + ["fuser"] * 2


def test_the_other_stages_are_their_first_choices_alone() -> None:
    space = SearchSpace(
        (*two().stages, TemplateStage("check", ("b", "a"), ("vote", "single"), (2, 4), reads=("solve",)))
    )
    graph = space.build(layered(space, stage_of(space), [["large", "small"]]))
    find, check = ([node for node in graph.nodes if node.stage == name] for name in ("find", "check"))
    assert [(node.role, node.model, node.samples, node.temperature) for node in find] == [
        ("generator", "small", 1, 0.0), ("voter", None, 1, None)
    ]  # fmt: skip
    assert [(node.role, node.model, node.samples) for node in check] == [("generator", "b", 2), ("voter", None, 1)]


def test_all_slots_may_be_used_and_a_stage_without_roles_has_one_layer() -> None:
    space = two()
    graph = space.build(layered(space, stage_of(space, "find"), [["large", "large"]]))
    assert [node.model for node in graph.nodes if node.stage == "find"] == ["large", "large", None]
    full = one(3)
    graph = full.build(layered(full, stage_of(full), [["small"], ["large"], ["small"]]))
    assert [node.model for node in graph.nodes] == ["small", "large", "small", "small"]


def test_roles_are_the_first_that_a_slot_may_have() -> None:
    space = SearchSpace((replace(stage_of(one(4)), roles=("fuser", "refiner")),))
    graph = space.build(layered(space, stage_of(space), [["small", "small"], ["large"]]))
    assert [node.role for node in graph.nodes] == ["generator", "generator", "fuser", "decider"]
