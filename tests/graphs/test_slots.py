"""A stage of slots builds what it offers, takes it back, and refuses anything else in one line."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from apportion.errors import GraphError
from apportion.graphs.graph import Graph, Node
from apportion.graphs.parameters import Choice, Count, Value
from apportion.graphs.slots import ABSENT, YES, SlotStage
from apportion.graphs.space import SearchSpace
from apportion.graphs.templates import TemplateStage
from tests.strategies import mixed_spaces, params, running_params

STAGE = SlotStage("s", ("small", "large"), 2, ("refiner", "fuser"), ("voter", "decider"), (1, 2), (0.0, 0.7))
FREE = SlotStage("s", ("small",), 3, ("refiner",), ("decider",), free_order=True)
SPACE = SearchSpace((STAGE,))
CHAIN: dict[str, Value] = {
    "s.1.model": "small",
    "s.1.samples": 2,
    "s.1.temperature": 0.7,
    "s.1>2": "yes",
    "s.2.model": "large",
    "s.2.samples": 1,
    "s.2.temperature": 0.0,
    "s.2.role": "fuser",
    "s.2>final": "yes",
    "s.final.role": "voter",
}
slow = settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow])


def said(*, by: Any, of: object) -> str:
    """The message with which something is refused: one line, law; value; remedy."""
    with pytest.raises(GraphError) as error:
        by(of)
    text = str(error.value)
    assert "\n" not in text and "; " in text and text.endswith(".") and len(text) < 1000
    return text


# What a stage offers


@slow
@given(st.data(), mixed_spaces())
def test_build_params_and_parse_are_a_round_trip(data: st.DataObject, space: SearchSpace) -> None:
    chosen = data.draw(running_params(space))
    graph = space.build(chosen)
    assert space.build(space.params(graph)).key == graph.key
    assert space.build(space.parse(graph.to_json())).key == graph.key
    used = {name: chosen[name] for stage in space.stages for name in stage.used(chosen)}
    assert space.build(space.parse(json.dumps(used))).key == graph.key
    assert space.build(space.parse({**used, **chosen})).key == graph.key


@slow
@given(st.data(), mixed_spaces())
def test_every_used_parameter_is_asked_for_and_no_other(data: st.DataObject, space: SearchSpace) -> None:
    chosen = data.draw(running_params(space))
    used = [name for stage in space.stages for name in stage.used(chosen)]
    assert len(set(used)) == len(used)
    key = space.build(chosen).key
    for name in used:
        rest = {other: chosen[other] for other in used if other != name}
        if ">" not in name:
            assert said(by=space.parse, of=rest) == (
                f"what a proposal uses must be chosen in full, but `{name}` is absent; add it."
            )
    for name in chosen.keys() - set(used):
        if ">" not in name:
            there = f"{name.rpartition('.')[0]}.role" in used  # a slot that asks no model may still be absent
            values = [value for value in space.parameters[name].values if value != ABSENT or not there]
            assert {space.build({**chosen, name: value}).key for value in values} == {key}


@slow
@given(st.data(), mixed_spaces())
def test_any_parameters_build_a_graph_or_are_refused_in_one_line(data: st.DataObject, space: SearchSpace) -> None:
    chosen = data.draw(params(space))
    try:
        graph = space.build(chosen)
    except GraphError as error:
        assert "\n" not in str(error) and ";" in str(error)
    else:
        assert space.build(space.params(graph)).key == graph.key


def test_parameters() -> None:
    assert SPACE.parameters == {
        "s.1.model": Choice(("small", "large")),
        "s.1.samples": Count(1, 2),
        "s.1.temperature": Choice((0.0, 0.7)),
        "s.1.role": Choice(("refiner", "fuser")),
        "s.2.model": Choice(("small", "large", "absent")),
        "s.2.samples": Count(1, 2),
        "s.2.temperature": Choice((0.0, 0.7)),
        "s.2.role": Choice(("refiner", "fuser")),
        "s.1>2": Choice(("no", "yes")),
        "s.1>final": Choice(("no", "yes")),
        "s.2>final": Choice(("no", "yes")),
        "s.final.role": Choice(("voter", "decider")),
        "s.final.model": Choice(("small", "large")),
    }
    assert SPACE.settings == 2**12 * 3


def test_a_chain() -> None:
    graph = SPACE.build(SPACE.parse(CHAIN))
    assert graph.nodes == (
        Node("s.1", "s", "generator", "small", 2, (), 0.7),
        Node("s.2", "s", "fuser", "large", 1, ("s.1",), 0.0),
        Node("s.final", "s", "voter", None, 1, ("s.2",)),
    )
    assert STAGE.used(SPACE.parse(CHAIN)) == [
        "s.1.model",
        "s.1.samples",
        "s.1.temperature",
        "s.1>2",
        "s.2.role",
        "s.2.model",
        "s.2.samples",
        "s.2.temperature",
        "s.2>final",
        "s.final.role",
    ]


def test_temperatures_may_be_whole_numbers() -> None:
    space = SearchSpace((SlotStage("s", ("m",), 1, (), ("voter",), temperatures=(0, 1)),))
    graph = space.build(
        space.parse({"s.1.model": "m", "s.1.temperature": 1.0, "s.1>final": "yes", "s.final.role": "voter"})
    )
    assert space.params(graph)["s.1.temperature"] == 1.0


def test_a_stage_without_roles_is_drafts_side_by_side() -> None:
    space = SearchSpace((SlotStage("s", ("m",), 3, (), ("voter",)),))
    assert not any(">" in name and "final" not in name for name in space.parameters)
    assert sorted(space.build(point).calls for point in space.grid()) == [1, 2, 3]


def test_choosing_slots_keep_and_final_nodes_do_not() -> None:
    stage = SlotStage("s", ("m",), 2, ("ranker", "refiner"), ("ranker", "voter"), (2, 2), keep=2)
    space = SearchSpace((stage,))
    graph = space.build({n: p.values[0] for n, p in space.parameters.items()} | {"s.1>2": "yes", "s.2>final": "yes"})
    assert [(node.role, node.keep) for node in graph.nodes] == [("generator", 1), ("ranker", 2), ("ranker", 1)]


def test_stages_read_the_end_of_earlier_ones() -> None:
    space = SearchSpace(
        (
            TemplateStage("t", ("m",), ("vote",), (2, 2)),
            SlotStage("s", ("m",), 2, ("refiner",), ("voter",), reads=("t",)),
        )
    )
    chosen = {n: p.values[0] for n, p in space.parameters.items()} | {"s.1>2": "yes", "s.2>final": "yes"}
    assert [(node.id, node.inputs) for node in space.build(chosen).nodes[2:]] == [
        ("s.1", ("t.vote",)),
        ("s.2", ("s.1",)),
        ("s.final", ("s.2",)),
    ]


def test_a_graph_may_be_written_in_any_order() -> None:
    written = [
        Node("x", "s", "generator", "small", temperature=0.7),
        Node("y", "s", "generator", "large", temperature=0.0),
        Node("end", "s", "voter", inputs=("y", "x")),
    ]
    keys = set()
    for first, second, inputs in ((0, 1, ("x", "y")), (1, 0, ("x", "y")), (0, 1, ("y", "x"))):
        graph = Graph((written[first], written[second], replace(written[2], inputs=inputs)))
        keys.add(SPACE.build(SPACE.parse(graph.to_json())).key)
    assert len(keys) == 1


def test_code_has_no_samples_that_a_space_would_miss() -> None:
    space = SearchSpace((SlotStage("s", ("m",), 2, ("voter", "refiner"), ("voter",), (2, 3)),))
    chosen = {name: parameter.values[0] for name, parameter in space.parameters.items()}
    graph = space.build(chosen | {"s.1>2": "yes", "s.2>final": "yes"})
    assert space.build(space.params(graph)) == graph


# How much there is


@pytest.mark.parametrize(
    "stage",
    [
        SlotStage("s", ("a", "b"), 2, ("refiner", "fuser"), ("voter", "decider"), (1, 2)),
        SlotStage("s", ("a",), 3, ("refiner", "critic", "ranker"), ("decider",)),
        SlotStage("s", ("a", "b"), 3, (), ("voter",), temperatures=(0.5, 1.0)),
        FREE,
    ],
)
def test_sizes_are_those_of_brute_force(stage: SlotStage) -> None:
    space = SearchSpace((stage,))
    names, values = zip(*((n, p.values) for n, p in space.parameters.items()), strict=True)
    keys: set[str] = set()
    for row in itertools.product(*values):
        try:
            keys.add(space.build(dict(zip(names, row, strict=True))).key)
        except GraphError:
            continue
    assert space.settings == math.prod(map(len, values))
    assert space.listable and space.size == len(keys)
    assert {space.build(point).key for point in space.grid()} == keys


def test_free_order_loses_nothing_and_gains_nothing() -> None:
    fixed = SearchSpace((SlotStage("s", ("small",), 3, ("refiner",), ("decider",)),))
    free = SearchSpace((FREE,))
    assert {fixed.build(p).key for p in fixed.grid()} == {free.build(p).key for p in free.grid()}


def test_an_absent_slot_has_no_edges() -> None:
    chain = SPACE.parse(CHAIN)
    graph = SPACE.build({**chain, "s.2.model": ABSENT, "s.1>final": YES})
    assert [node.id for node in graph.nodes] == ["s.1", "s.final"]
    assert SPACE.params(graph)["s.2.model"] == ABSENT
    with pytest.raises(GraphError, match="the final node must read a slot"):
        SPACE.build({**chain, "s.2.model": ABSENT})
    said_of_first = said(by=SPACE.parse, of={**chain, "s.1.model": ABSENT})
    assert said_of_first.startswith("`s.1.model` must be one of small, large, got 'absent'")


def test_no_model_is_named_as_what_is_absent() -> None:
    with pytest.raises(GraphError, match="a model must not be named 'absent', but one of 's' is; give it another name"):
        replace(STAGE, models=("small", "absent"))


def test_a_large_space_is_not_listed() -> None:
    space = SearchSpace((SlotStage("s", ("a", "b"), 9, ("refiner", "fuser"), ("decider",)),))
    assert not space.listable and space.size == space.settings == 2 ** (1 + 9 + 36 + 9 + 1) * 3**8
    assert said(by=space.point, of=0).startswith("a stage's graphs are listed up to 20000 settings, and this space has")


# What is refused


BROKEN_STAGES: dict[str, tuple[dict[str, Any], str]] = {
    "no slots": ({"slots": 0}, "a stage needs a slot, a model and a final role, but 's' lacks one; add it."),
    "no models": ({"models": ()}, "a stage needs a slot, a model and a final role, but 's' lacks one; add it."),
    "no end": ({"final": ()}, "a stage needs a slot, a model and a final role, but 's' lacks one; add it."),
    "no samples": ({"samples": (0, 2)}, "`samples` must be from 1 upwards, got [0, 2] in 's'; mend it."),
    "samples that fall": ({"samples": (3, 2)}, "`samples` must be from 1 upwards, got [3, 2] in 's'; mend it."),
    "nothing kept": ({"keep": 0}, "`keep` must be at least 1, got 0 in 's'; raise it."),
    "temperatures that fall": (
        {"temperatures": (0.7, 0.2)},
        "`temperatures` must be from 0 to 2 and rise, got [0.7, 0.2] in 's'; mend them.",
    ),
    "a temperature beyond reason": (
        {"temperatures": (5.0,)},
        "`temperatures` must be from 0 to 2 and rise, got [5.0] in 's'; mend them.",
    ),
    "a temperature that is no number": (
        {"temperatures": (float("nan"),)},
        "`temperatures` must be from 0 to 2 and rise, got [nan] in 's'; mend them.",
    ),
    "a generator that reads": (
        {"roles": ("refiner", "generator")},
        "a slot that reads others must be one of refiner, fuser, decider, critic, ranker, scorer, verifier, tester, "
        "voter, id_voter, weighted_voter, got 'generator'; choose these.",
    ),
    "an unknown role": (
        {"final": ("oracle",)},
        "a slot that reads others must be one of refiner, fuser, decider, critic, ranker, scorer, verifier, tester, "
        "voter, id_voter, weighted_voter, got 'oracle'; choose these.",
    ),
    "critics at the end": (
        {"final": ("voter", "critic")},
        "a final node must give one text, but a critic gives all it reads; choose another role.",
    ),
    "only fusers": (
        {"roles": ("fuser", "ranker")},
        "a slot that reads one draft must have a role to play, but fuser, ranker need more; add refiner.",
    ),
    "only critics": (
        {"roles": ("critic",)},
        "a slot that reads one draft, and its comments, must have a role to play, but critic need more; add refiner.",
    ),
    "critics and deaf slots": (
        {"roles": ("critic", "voter")},
        "a slot that reads one draft, and its comments, must have a role to play, but critic, voter need more; "
        "add refiner.",
    ),
    "an end that needs two": (
        {"final": ("fuser",)},
        "a final node that reads one draft must have a role to play, but fuser need more; add decider.",
    ),
    "an end that needs scores": (
        {"final": ("weighted_voter",)},
        "a final node that reads one draft must have a role to play, but weighted_voter need more; add decider.",
    ),
}


@pytest.mark.parametrize("name", BROKEN_STAGES)
def test_a_stage_that_could_not_always_run_is_refused(name: str) -> None:
    change, expected = BROKEN_STAGES[name]
    stage: dict[str, Any] = {"name": "s", "models": ("m",), "slots": 2, "roles": ("refiner",), "final": ("voter",)}
    assert said(by=lambda changed: SlotStage(**{**stage, **changed}), of=change) == expected


def _graph(*nodes: Mapping[str, Any]) -> dict[str, Any]:
    return {"nodes": list(nodes)}


DRAFT = {"id": "a", "stage": "s", "role": "generator", "model": "small", "temperature": 0.7}
VOTE = {"id": "v", "stage": "s", "role": "voter", "inputs": ["a"]}
REFUSED: dict[str, tuple[object, str]] = {
    "no object": ("[1, 2]", "a proposal must be a JSON object, got list; write one."),
    "no JSON": ("{'a': 1}", "a proposal must be a JSON object, but Expecting property name"),
    "nothing": ("", "a proposal must be a JSON object, but Expecting value"),
    "ten megabytes": ("x" * 10_000_000, "a proposal must have at most 100000 characters, got 10000000; shorten it."),
    "a deep nest": ("[" * 50_000 + "]" * 50_000, "a proposal must be a JSON object, but maximum recursion depth"),
    "a deep object": ('{"a":' * 16_000 + "1" + "}" * 16_000, "a proposal must be a JSON object, but maximum recursion"),
    "a long number": ('{"s.1.samples": ' + "1" * 5000 + "}", "a proposal must be a JSON object, but Exceeds the limit"),
    "a large number": ('{"s.1.samples": ' + "1" * 4000 + "}", "`s.1.samples` must be a whole number from 1 to 2"),
    "a long value": ({**CHAIN, "s.1.model": "x\n" * 9999}, "`s.1.model` must be one of small, large, got 'x\\nx\\n"),
    "a long name": ({**CHAIN, "x\n" * 9999: 1}, "parameters must be s.1.model, s.1.samples"),
    "no edges": ({}, "what a proposal uses must be chosen in full, but `s.final.role` is absent; add it."),
    "no way to the end": (
        {"s.final.role": "voter", "s.1>2": "yes"},
        "the final node must read a slot, but no edge of 's' leads to it; set `s.1>final`.",
    ),
    "an unknown model": ({**CHAIN, "s.1.model": "huge"}, "`s.1.model` must be one of small, large, got 'huge'"),
    "a number for a word": ({**CHAIN, "s.1>2": True}, "`s.1>2` must be one of no, yes, got True; choose one."),
    "a word for a number": ({**CHAIN, "s.1.samples": "2"}, "`s.1.samples` must be a whole number from 1 to 2, got '2'"),
    "true for one": ({**CHAIN, "s.1.samples": True}, "`s.1.samples` must be a whole number from 1 to 2, got True"),
    "a list": ({**CHAIN, "s.1.model": ["small"]}, "`s.1.model` must be one of small, large, got ['small']"),
    "not a number": (
        json.dumps({**CHAIN, "s.1.temperature": math.nan}),
        "`s.1.temperature` must be one of 0.0, 0.7, got nan; choose one.",
    ),
    "endless": (
        json.dumps({**CHAIN, "s.1.temperature": math.inf}),
        "`s.1.temperature` must be one of 0.0, 0.7, got inf; choose one.",
    ),
    "a missing model": (
        {name: value for name, value in CHAIN.items() if name != "s.2.model"},
        "what a proposal uses must be chosen in full, but `s.2.model` is absent; add it.",
    ),
    "a fuser of one": ({**CHAIN, "s.1.samples": 1}, "a fuser needs 2 or more candidates, but 's.2' reads 1"),
    "an end of two texts": (
        _graph({**DRAFT, "samples": 2}),
        "a stage must end in one text, but 'a' ends 's' with 2; add a voter.",
    ),
    "a lone draft": (
        _graph(DRAFT),
        "`s.final.role` must be one of voter, decider, got 'generator'; choose one.",
    ),
    "a graph and more": (
        {**_graph(DRAFT, VOTE), "s.1.model": "small"},
        "a graph has `nodes` and `apportion_graph`, got 's.1.model'; leave it out.",
    ),
    "a node and more": (_graph({**DRAFT, "prompt": "hi"}, VOTE), "a node has id, stage, role, model, samples, inputs"),
    "a graph of another model": (
        _graph({**DRAFT, "model": "huge"}, VOTE),
        "`s.1.model` must be one of small, large, got 'huge'; choose one.",
    ),
    "a graph of another stage": (
        _graph({**DRAFT, "stage": "t"}, {**VOTE, "stage": "t"}),
        "the final node must read a slot, but no edge of 's' leads to it; set `s.1>final`.",
    ),
    "a graph that sets no temperature": (
        _graph({**DRAFT, "temperature": None}, VOTE),
        "a graph must be one that the space can build, but this differs: 'a' 'generator small' reads []",
    ),
    "too many slots": (
        _graph(DRAFT, {**DRAFT, "id": "b"}, {**DRAFT, "id": "c"}, {**VOTE, "inputs": ["a", "b", "c"]}),
        "'s' has 2 slots, but the graph has 3; leave some out.",
    ),
    "a cycle of nodes": (
        _graph({**DRAFT, "role": "refiner", "inputs": ["v"]}, VOTE),
        "`inputs` must follow the node order, but 'v' -> 'a' runs against it; list it first.",
    ),
    "no nodes": (_graph(), "`nodes` must name at least one node, got none; add a generator."),
    "nodes that are none": ({"nodes": 5}, "`nodes` must be a list, got 5; mend it."),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_of_the_space_is_refused_in_one_line(name: str) -> None:
    proposal, expected = REFUSED[name]
    assert said(by=SPACE.parse, of=proposal).startswith(expected)


def test_cycles_are_refused_in_free_order() -> None:
    space = SearchSpace((FREE,))
    chosen = {name: parameter.values[0] for name, parameter in space.parameters.items()}
    chosen |= {"s.1>2": "yes", "s.2>3": "yes", "s.3>1": "yes", "s.3>final": "yes"}
    law, cycle, remedy = said(by=space.build, of=chosen).replace(" does; ", ", but ").split(", but ")
    assert (law, remedy) == ("edges must not form a cycle", "remove one of these edges.")
    ends = cycle.split(" -> ")
    assert ends[0] == ends[-1] and len(ends) == 4
    assert all(chosen[f"{a}>{b.removeprefix('s.')}"] == "yes" for a, b in itertools.pairwise(ends))
    assert said(by=space.parse, of=json.dumps(chosen)).startswith("edges must not form a cycle")


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*CHAIN, "nodes", "x"]), inner, max_size=4)
        ),
        max_leaves=8,
    )
)
def test_no_proposal_does_more_than_be_refused(proposal: object) -> None:
    assert said(by=SPACE.parse, of=json.dumps(proposal))


@given(
    st.data(),
    st.sampled_from(["id", "stage", "role", "model", "samples", "inputs", "temperature", "keep", "x"]),
    st.none() | st.integers() | st.text(max_size=3) | st.floats() | st.lists(st.text(max_size=2), max_size=2),
)
def test_a_graph_that_somebody_changed_is_of_the_space_or_refused(data: st.DataObject, key: str, value: object) -> None:
    record = SPACE.build(SPACE.parse(CHAIN)).to_dict()
    data.draw(st.sampled_from(record["nodes"]))[key] = value
    try:
        chosen = SPACE.parse(json.dumps(record))
    except GraphError as error:
        assert "\n" not in str(error) and ";" in str(error)
    else:
        assert SPACE.build(chosen).key == Graph.from_dict(record).key
