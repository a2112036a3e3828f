"""A space builds a valid graph of everything it offers, and its grid holds each distinct graph once."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from apportion.errors import GraphError
from apportion.graphs.parameters import Choice, Count
from apportion.graphs.space import SearchSpace
from apportion.graphs.templates import TemplateStage
from tests.strategies import params, spaces

PLAIN = TemplateStage("plain", ("small", "large"), ("single",), (1, 1))
RICH = TemplateStage(
    "rich", ("small", "large"), ("single", "vote", "best_of_n"), (1, 3), scorer="large", reads=("plain",)
)
SPACE = SearchSpace((PLAIN, RICH))
CHOICE = {"plain.template": "single", "plain.model": "small", "rich.template": "vote", "rich.model": "large"}
slow = settings(max_examples=25, suppress_health_check=[HealthCheck.too_slow])


@slow
@given(spaces())
def test_the_grid_holds_each_graph_once(space: SearchSpace) -> None:
    points = list(space.grid())
    keys = {space.build(point).key for point in points}
    assert len(keys) == len(points) == space.size
    assert [list(point) for point in points[:1]] == [list(space.parameters)]
    assert points == list(space.grid())


@slow
@given(st.data(), spaces())
def test_the_grid_lacks_nothing(data: st.DataObject, space: SearchSpace) -> None:
    point = data.draw(params(space))
    graph = space.build(point)
    assert graph.key in {space.build(other).key for other in space.grid()}
    assert graph.stages == tuple(stage.name for stage in space.stages)


@given(st.data(), spaces())
def test_stages_read_the_outputs_of_stages(data: st.DataObject, space: SearchSpace) -> None:
    graph = space.build(data.draw(params(space)))
    for stage in space.stages:
        read = {graph.by_id[i].stage for node in graph.nodes if node.stage == stage.name for i in node.inputs}
        assert read - {stage.name} == set(stage.reads)


@given(spaces(), st.sampled_from(["small", "medium", "other"]), st.sampled_from(["single", "vote"]))
def test_a_uniform_graph_is_in_the_space_or_says_that_it_is_not(space: SearchSpace, model: str, template: str) -> None:
    graph, point = space.uniform(model, template)
    offered = [space.parameters[f"{stage.name}.template"].values for stage in space.stages]
    assert (point is not None) == all(template in values for values in offered)
    if point is not None:
        assert space.build(point) == graph
    for stage in space.stages:
        first = next(node for node in graph.nodes if node.stage == stage.name)
        assert first.model == (model if model in stage.models else stage.models[0])
        assert first.samples == (stage.count.most if template == "vote" else 1)


def test_parameters() -> None:
    assert SPACE.parameters == {
        "plain.template": Choice(("single",)),
        "plain.model": Choice(("small", "large")),
        "rich.template": Choice(("single", "vote", "best_of_n")),
        "rich.model": Choice(("small", "large")),
        "rich.samples": Count(2, 3),
    }
    assert SPACE.size == 2 * (2 + 2 * 2 * 2)


def test_parameters_that_a_template_ignores_do_not_make_a_new_graph() -> None:
    single = {**CHOICE, "rich.template": "single"}
    assert SPACE.build({**single, "rich.samples": 2}).key == SPACE.build({**single, "rich.samples": 3}).key


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"rich.samples": True}, "`rich.samples` must be a whole number from 2 to 3, got True; choose one."),
        ({"rich.samples": 2.0}, "`rich.samples` must be a whole number from 2 to 3, got 2.0; choose one."),
        ({"rich.samples": 1}, "`rich.samples` must be a whole number from 2 to 3, got 1; choose one."),
        ({"rich.samples": "2"}, "`rich.samples` must be a whole number from 2 to 3, got '2'; choose one."),
        ({"rich.samples": None}, "`rich.samples` must be a whole number from 2 to 3, got None; choose one."),
        ({"rich.template": "fuse"}, "`rich.template` must be one of single, vote, best_of_n, got 'fuse'; choose one."),
        ({"plain.model": 1}, "`plain.model` must be one of small, large, got 1; choose one."),
        (
            {"plain.samples": 2},
            "parameters must be plain.template, plain.model, rich.template, rich.model, rich.samples, "
            "got 'plain.samples'; leave it out.",
        ),
    ],
)
def test_parameters_of_another_space_are_refused(change: dict[str, Any], said: str) -> None:
    with pytest.raises(GraphError) as error:
        SPACE.build({**CHOICE, "rich.samples": 2, **change})
    assert str(error.value) == said


def test_a_missing_parameter_is_refused() -> None:
    with pytest.raises(GraphError, match=r"`rich\.samples` must be a whole number from 2 to 3, got None"):
        SPACE.build(CHOICE)
