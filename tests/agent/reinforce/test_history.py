"""What is kept with trials comes back through JSON as it was, types of values too; what was edited is refused."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apportion.agent.finding import Finding
from apportion.agent.reinforce.history import Asked, History, Proposal
from apportion.errors import StoreError
from apportion.graphs.parameters import Value
from tests.agent.reinforce.kit import one, tried, two, wide
from tests.strategies import running_params

SPACE, TWO = one(), two()
ASKED = Asked(
    {"find": {"small": 2}, "solve": {"small": 1, "large": 2}},
    pretested=(("solve: 3 small", 0.5, 8), ("solve: 1 large", None, 4)),
    swept=(Finding(1, True, "solve: 3 small 0.50.", {"small": 0.5, "large": 0.25}), Finding(None, None, "Seen.")),
    table=(
        ("find.1.samples", ((1, 0.5), (2, 0.0), (3, 0.5))),
        ("find.1.temperature", ((0.0, 0.25), (1.0, 0.75))),
        ("solve.1>2", (("no", 0.5), ("yes", 0.5))),
    ),
    graph=(("find.1.samples", 3), ("find.1.temperature", 1.0), ("solve.1.model", "small")),
    cut="without solve.3",
    source="repaired",
    expected=0.7,
    questions=2,
    refused=("table, line 2: \x1b[2J", ""),
)
PROPOSAL = Proposal(3, "agent", (1, 0, 2), 0.5)
VALUES = st.text(max_size=4) | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False)


def again(asked: Asked) -> Asked:
    return Asked.from_dict(json.loads(json.dumps(asked.to_dict())))


def typed(values: dict[str, Any]) -> list[tuple[str, type, Any]]:
    return [(name, type(value), value) for name, value in values.items()]


def test_what_was_asked_comes_back() -> None:
    found = again(ASKED)
    assert json.dumps(found.to_dict()) == json.dumps(ASKED.to_dict())
    assert typed(found.params) == typed(ASKED.params)
    assert [(type(value), value) for own in found.probabilities.values() for value in own] == [
        (int, 1), (int, 2), (int, 3), (float, 0.0), (float, 1.0), (str, "no"), (str, "yes"),
    ]  # fmt: skip
    assert found.probabilities == ASKED.probabilities
    assert [own == was for own, was in zip(found.swept, ASKED.swept, strict=True)] == [True, True]
    assert again(Asked({})).probabilities == {} == again(Asked({})).params


def test_a_proposal_comes_back() -> None:
    for proposal in (PROPOSAL, Proposal(0, "drawn"), Proposal(1, "pretest", expected=-1.5)):
        found = Proposal.from_dict(json.loads(json.dumps(proposal.to_dict())))
        assert replace(found, order=tuple(found.order)) == proposal


@given(running_params(TWO), st.dictionaries(st.text(max_size=6), st.lists(st.tuples(VALUES, st.floats(0, 1)))))
def test_any_graph_and_table_come_back_with_their_types(
    params: dict[str, Value], table: dict[str, list[tuple[Value, float]]]
) -> None:
    asked = Asked({}, table=tuple((name, tuple(own)) for name, own in table.items()), graph=tuple(params.items()))
    found = again(asked)
    assert typed(found.params) == typed(params)
    assert TWO.build(found.params).key == TWO.build(params).key
    kept = [[(type(value), value, p) for value, p in values] for _, values in found.table]
    assert kept == [[(type(value), value, p) for value, p in values] for _, values in asked.table]
    assert found.probabilities == asked.probabilities


@pytest.mark.parametrize(
    ("change", "place"),
    [
        ({"mix": None}, "mix"),
        ({"mix": []}, "mix"),
        ({"mix": {"solve": {"small": "3"}}}, "mix.solve.small"),
        ({"mix": {"solve": {"small": 3.5}}}, "mix.solve.small"),
        ({"mix": {"\x1b[2J\n" * 99: 1}}, r"mix.\x1b[2J\n"),
        ({"pretested": [["x", 0.5]]}, "pretested.0.2"),
        ({"pretested": [["x", 0.5, True]]}, "pretested.0.2"),
        ({"swept": [{"insight": "1", "held": None, "text": ""}]}, "swept.0.insight"),
        ({"swept": [{"insight": 1, "held": 1, "text": ""}]}, "swept.0.held"),
        ({"swept": [{"insight": 1, "held": None}]}, "swept.0.text"),
        ({"table": {"solve.1>2": [["no", 0.5]]}}, "table"),
        ({"table": [["solve.1>2", [["no", "0.5"]]]]}, "table.0.1.0.1"),
        ({"table": [["solve.1>2", [["no", float("nan")]]]]}, "table.0.1.0.1"),
        ({"table": [["solve.1>2", [["no", 7.0]]]]}, "table.0.1.0.1"),
        ({"table": [["solve.1>2", [["no", -0.1]]]]}, "table.0.1.0.1"),
        ({"weight": 1.5}, "weight"),
        ({"table": [["solve.1>2", [[None, 0.5]]]]}, "table.0.1.0.0"),
        ({"table": [["solve.1>2", [[True, 0.5]]]]}, "table.0.1.0.0"),
        ({"table": [[3, []]]}, "table.0.0"),
        ({"graph": [["solve.1.model", ["small"]]]}, "graph.0.1"),
        ({"graph": [["solve.1.model", True]]}, "graph.0.1"),
        ({"graph": [["solve.1.model"]]}, "graph.0.1"),
        ({"cut": None}, "cut"),
        ({"source": "chance"}, "source"),
        ({"expected": "0.7"}, "expected"),
        ({"expected": float("inf")}, "expected"),
        ({"questions": 1.0}, "questions"),
        ({"questions": True}, "questions"),
        ({"refused": "abc"}, "refused"),
        ({"refused": [1]}, "refused.0"),
        ({"grpah": []}, "grpah"),
        ({"\x1b[2J": 1}, r"\x1b[2J"),
    ],
)
def test_what_was_edited_is_refused_in_one_line(change: dict[str, Any], place: str) -> None:
    refused({**ASKED.to_dict(), **change}, Asked, place)


@pytest.mark.parametrize(
    ("change", "place"),
    [
        ({"round": "3"}, "round"),
        ({"round": True}, "round"),
        ({"source": "gpt-9"}, "source"),
        ({"order": {"0": 1}}, "order"),
        ({"order": [1.5]}, "order.0"),
        ({"expected": [0.5]}, "expected"),
        ({"expected": float("nan")}, "expected"),
        ({"expect": 0.5}, "expect"),
    ],
)
def test_an_edited_proposal_is_refused_in_one_line(change: dict[str, Any], place: str) -> None:
    refused({**PROPOSAL.to_dict(), **change}, Proposal, place)


@pytest.mark.parametrize("data", [None, [], 3, "x", {}, [["mix", {}]]])
def test_what_is_no_object_of_ours_is_refused(data: Any) -> None:
    for of in (Asked, Proposal):
        refused(data, of, "")


def refused(data: Any, of: type[Asked] | type[Proposal], place: str) -> None:
    with pytest.raises(StoreError) as error:
        of.from_dict(data)
    said = str(error.value)
    assert said.isprintable() and len(said) < 300
    assert said.startswith(f"what an agent proposed must be as it was written, but of a {of.__name__.lower()} '{place}")
    assert said.endswith("; bring the run's store back from a copy.")


def test_every_field_is_looked_at() -> None:
    """A field that is added later must be one that is checked as well."""
    for of, kept in ((Asked, ASKED.to_dict()), (Proposal, PROPOSAL.to_dict())):
        assert set(kept) == {own.name for own in dataclasses.fields(of)}
        for name in kept:
            refused({**kept, name: {"?": [None]}}, of, name)


# History


def test_the_best_is_the_highest_then_the_cheapest_then_the_first() -> None:
    trials = [
        tried(SPACE, 0, wide(SPACE, 3), 0.5),
        tried(SPACE, 1, wide(SPACE, 2), 0.5),
        tried(SPACE, 2, wide(SPACE, 2), 0.5),
        tried(SPACE, 3, wide(SPACE, 1), 0.4),
        tried(SPACE, 4, wide(SPACE, 1), None),
    ]

    def best(own: list[Any]) -> int | None:
        found = History(own, []).best
        return None if found is None else found.number

    assert best(trials) == 1 and best(trials[:1]) == 0 and best(trials[3:]) == 3
    assert best([replace(trials[1], cost=None), trials[0]]) == 0, "what has no known cost is not cheap"
    assert best(trials[4:]) is None and best([]) is None
    assert [own.number for own, _ in History(trials, []).measured] == [0, 1, 2, 3]


def test_the_batch_is_what_was_tried_of_the_newest_round() -> None:
    trials = [
        tried(SPACE, 0, wide(SPACE, 1), 0.5, round_=None),
        tried(SPACE, 1, wide(SPACE, 1), 0.5, round_=0),
        tried(SPACE, 2, wide(SPACE, 1), None, round_=1),
        tried(SPACE, 3, wide(SPACE, 1), 0.5, round_=1),
        tried(SPACE, 4, wide(SPACE, 1), 0.5, round_=None),
    ]
    assert [own.number for own in History(trials, []).batch] == [2, 3]
    assert [own.number for own in History(trials[:2], []).batch] == [1]
    assert History(trials[:1], []).batch == [] == History([], []).batch
