"""What is read out of replies: good ones in any wrapping, and of hostile ones nothing but lines that say why."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apportion.agent.reinforce.brief import Brief
from apportion.agent.reinforce.mixes import Mix, fits
from apportion.agent.reinforce.reply import Answer
from apportion.graphs.notation import to_lines
from apportion.graphs.probabilistic import ProbabilisticGraph
from tests.agent.reinforce.kit import brief, terms, tried
from tests.agent.reinforce.replies import (
    CHAIN,
    KNOWN,
    MIX,
    MIXES,
    MOMENT,
    ONE,
    READ,
    TWO,
    WHOLE,
    built,
    named,
    read,
)  # fmt: skip
from tests.strategies import running_params

WRAPPED = {
    "plain": ("", ""),
    "fenced": ("Sure! Here you are:\n```json\n", "\n```\nI hope it {helps}."),
    "after a thought": ("<think>{not json} {'a': 1} {\"b\": 2}</think>", ""),
    "in a list": ("[", "]"),
    "among strange signs": ("\x1b[2J\u202e\x00", "\ufeff"),
}
UNREADABLE = {  # neither mixes nor a table nor a graph
    "nothing": "",
    "prose": "I cannot help with that.",
    "a list": "[]",
    "a number": "3",
    "null": "null",
    "an empty object": "{}",
    "another object": '{"answer": 3}',
    "inside another object": '{"reply": ' + WHOLE[:-1] + ', "mixes": [' + json.dumps(MIX) + "]}}",
    "NaN": '{"table": NaN, "graph": NaN, "mixes": NaN}',
    "infinity": '{"table": [-Infinity], "graph": null, "mixes": [Infinity]}',
    "cut short": WHOLE[:-5],
    "single quotes": WHOLE.replace('"', "'") + MIXES.replace('"', "'"),
    "a trailing comma": WHOLE[:-1] + ",}",
    "a long number": '{"table": ' + "9" * 5_000 + ', "mixes": ' + "9" * 5_000 + "}",
    "deep lists": '{"table": ' + "[" * 90_000,
    "deep objects": '{"a":' * 15_000,
    "braces": "\x1b[2J\x00" + "{" * 10_000,
    "a megabyte before it": "x" * 1_000_000 + WHOLE + MIXES,
}


# Any wrapping, and none


@pytest.mark.parametrize(("before", "after"), WRAPPED.values(), ids=WRAPPED)
def test_what_is_good_is_found_in_any_wrapping(before: str, after: str) -> None:
    found, wrong = read(before + WHOLE + after)
    assert found == Answer(READ, found.params, "", 0.7) and built(found) == CHAIN and not wrong
    assert named(before + MIXES + after) == ([MIX], [])


@pytest.mark.parametrize("text", UNREADABLE.values(), ids=UNREADABLE)
def test_what_is_no_reply_is_refused_in_one_line(text: str) -> None:
    began = time.monotonic()
    assert read(text) == (
        Answer(),
        ["the reply must be a JSON object with a `table` and a `graph`, but none can be read; write one."],
    )
    assert named(text) == (
        [],
        ["the reply must hold a JSON object with a list of `mixes`, but none can be read; write one."],
    )
    assert time.monotonic() - began < MOMENT


@pytest.mark.parametrize(("start", "end"), [("[", "]"), ('{"a":', "}")])
@pytest.mark.parametrize("key", ["table", "graph", "mixes", "expected"])
def test_however_deep_it_is_something_is_said(start: str, end: str, key: str) -> None:
    """Up to and past the depth that a parser gives up at; what it still parses must still be quoted."""
    for depth in (*range(1, 20), *range(800, 1_010)):
        text = f'{{"{key}":{start * depth}1{end * depth}}}'
        assert not read(text)[0].table and not named(text)[0]


# Mixes


@pytest.mark.parametrize(
    ("text", "mix"),
    [
        (json.dumps([MIX]), MIX),
        (json.dumps(MIX), MIX),
        (json.dumps({"mixes": MIX}), MIX),
        (json.dumps({"mixes": [{"small": 3, "large": 1}]}), MIX),
        (json.dumps({"mixes": [{"solve": {"small": "3", "large": 1.0}}]}), MIX),
        (json.dumps({"mixes": [{"solve": {"small": 4, "large": 0}}]}), {"solve": {"small": 4}}),
        (json.dumps({"mixes": [{**MIX, "why": "it is balanced"}]}), MIX),
    ],
    ids=["a list", "alone", "no list", "no stage", "numbers however written", "none of a model", "with a reason"],
)
def test_a_mix_in_forms_that_leave_no_doubt(text: str, mix: Mix) -> None:
    assert named(text) == ([mix], [])


@pytest.mark.parametrize(
    ("counts", "why"),
    [
        ({"small": -1}, "must count small, large from 0 to 4, got -1 of 'small'"),
        ({"small": 5}, "got 5 of 'small'"),
        ({"small": 10**300}, "of 'small'"),
        ({"small": 2.5}, "got 2.5"),
        ({"small": True}, "got True"),
        ({"small": None}, "got None"),
        ({"small": "many"}, "got 'many'"),
        ({"small": "²"}, "got '²'"),
        ({"small": [3]}, "got [3]"),
        ({"small": {"n": 3}}, "got {'n': 3}"),
        ({"gpt-9": 1}, "must count small, large from 0 to 4, got 1 of 'gpt-9'"),
        ({"\x1b[31msmall\n": 1}, r"of '\x1b[31msmall\n'"),
        ({"x" * 9_999: 1}, "of 'xxx"),
        ([3, 1], "it must count the models of 'solve', got [3, 1]"),
        ("3 small, 1 large", "it must count the models of 'solve', got '3 small, 1 large'"),
        (None, "got None"),
        ({}, "a mix must have a slot for each stage and be within the budget; name one of those that are listed"),
        ({"small": 0}, "a mix must have a slot for each stage"),
        ({"large": 3}, "be within the budget; name one of those that are listed, as solve: 4 small."),
        ({"small": 3, "large": 2}, "a mix must have a slot for each stage"),
    ],
)
def test_what_is_no_mix_is_refused_with_a_reason(counts: object, why: str) -> None:
    found, [line] = named(json.dumps({"mixes": [{"solve": counts}]}))
    assert not found and line.startswith("mix 1: ") and why in line


@pytest.mark.parametrize("item", [3, None, True, "solve: 3 small", [], [MIX], 1e400])
def test_an_item_that_is_no_object_is_refused(item: object) -> None:
    found, [line] = named(json.dumps({"mixes": [item]}).replace("Infinity", "1e400"))
    assert not found and "mix 1: it must be an object of models and counts by stage, got" in line


def test_of_two_stages_each_must_be_there() -> None:
    known = brief(TWO)
    both = {"find": {"small": 2}, "solve": {"small": 1}}
    assert named(json.dumps({"mixes": [both]}), known) == ([both], [])
    for item, why in (
        ({"find": {"small": 2}}, "it must count the models of 'solve', got None"),
        ({"small": 2}, "it must count the models of 'find', got None"),
        ({"find": {"small": 2}, "sovle": {"small": 1}}, "it must count the models of 'solve', got None"),
        ({**both, "find": {"small": 3}}, "'find' must count small, large from 0 to 2, got 3"),
        ({**both, "solve": {"small": 0}}, "a mix must have a slot for each stage"),
        ({"find": {"large": 2}, "solve": {"large": 1}}, "be within the budget; name one of those"),
    ):
        found, [line] = named(json.dumps({"mixes": [item]}), known)
        assert not found and why in line


def test_where_none_is_listed_none_is_named_instead() -> None:
    _, [line] = named(json.dumps({"mixes": [{"solve": {"large": 4}}]}), brief(ONE, listed=()))
    assert line.endswith("within the budget; name fewer slots.")


def test_good_mixes_are_taken_beside_bad_ones_and_none_twice() -> None:
    bad, other = {"solve": {"gpt-9": 1}}, {"solve": {"large": 2}}
    said = {"mixes": [bad, MIX, {"solve": {"large": 1, "small": 3}}, None, other, {"solve": {"small": 1}}]}
    found, wrong = named(json.dumps(said))
    assert found == [MIX, other]
    assert [line.split(":")[0] for line in wrong] == ["mix 1", "mix 4"]
    assert named(json.dumps(said), most=1)[0] == [MIX]


def test_of_a_reply_that_is_cut_short_whole_mixes_are_taken() -> None:
    said = json.dumps({"mixes": [MIX, {"solve": {"large": 2}}]})
    assert named(said[:-4]) == ([MIX], []) and not named(said[:20])[0]


def test_of_very_many_mixes_few_are_looked_at() -> None:
    found, wrong = named(json.dumps({"mixes": [0] * 20_000}))
    assert not found and len(wrong) == 10


# Anything


HEADS = ["solve.1", "solve.2", "solve.3", "solve.final", "find.1", "find.2", "find.final", "solve.9", ""]
GROUPS = [
    "model small", "model large", "model small=0.50, large=0.50", "model absent", "model small=1.00", "role refiner",
    "role fuser", "role voter", "role decider=1.00", "to 2", "to 2, final", "to final", "to 2=1.00, final=0.30",
    "to 3", "to 1", "samples 2", "samples 1=0.50, 3=0.50", "temperature 1.0", "temperature 0.0=1.00", "", "to", "=",
]  # fmt: skip
lines = st.builds(
    lambda head, groups: f"{head}: {'; '.join(groups)}",
    st.sampled_from(HEADS),
    st.lists(st.sampled_from(GROUPS), max_size=4),
)
SAID = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 6) | st.floats() | st.text(max_size=8) | lines,
    lambda inner: (
        st.lists(inner, max_size=6)
        | st.dictionaries(
            st.sampled_from(["mixes", "table", "graph", "expected", "find", "solve", "small", "large", "gpt-9"]),
            inner,
            max_size=5,
        )
    ),
    max_leaves=30,
)


def check_all(text: str, known: Brief) -> None:
    """What is taken is within the space and the budget, and new; what is not, is told."""
    space, own = known.space, known.terms
    mixes, wrong = named(text, known)
    assert mixes or wrong
    for mix in mixes:
        assert fits(space, own.purse, mix)
    found, _ = read(text, known)
    for name, given_ in found.table.items():
        assert set(given_) == set(space.parameters[name].values) and sum(given_.values()) == pytest.approx(1.0)
        assert all(0.0 <= p <= 1.0 for p in given_.values())
    ProbabilisticGraph(space).set_probabilities(found.table)
    if found.params is not None:
        graph = space.build(found.params)
        assert own.covers(graph) and graph.key not in {one.graph.key for one in known.history.tried}


TRIED = tried(TWO, 0, ["find.1: model small; to final", "solve.1: model small; to final"], 0.5)


@given(SAID, st.lists(lines, max_size=6), st.lists(lines, max_size=6), st.text(max_size=20))
def test_whatever_is_said_what_is_taken_is_of_the_space_within_the_budget(
    said: object, rows: list[str], nodes: list[str], around: str
) -> None:
    known = brief(TWO, terms(TWO, 7.0), [TRIED])
    for text in (
        json.dumps(said),
        json.dumps({"mixes": said}),
        json.dumps({"mixes": [said], "table": said, "graph": said}),
        around + json.dumps({"table": rows, "graph": nodes, "expected": 0.5}) + around,
        around + json.dumps({"table": "\n".join(rows), "graph": [*nodes, said]}),
    ):
        check_all(text, known)


@given(st.text(max_size=300) | st.text(alphabet='{}[]":,\\ \n.;=01ae\x1b', max_size=300))
def test_any_text_can_be_read(text: str) -> None:
    began = time.monotonic()
    check_all(text, KNOWN)
    assert time.monotonic() - began < MOMENT


@settings(max_examples=60)
@given(running_params(TWO), st.sampled_from([5.0, 6.0, 8.0, 12.0, 30.0]))
def test_every_graph_of_the_space_is_taken_as_it_is_cut_or_refused(params: Any, budget: float) -> None:
    known = brief(TWO, terms(TWO, budget), listed=())
    graph = TWO.build(params)
    found, wrong = read(json.dumps({"graph": to_lines(TWO, params)}), known)
    if found.params is None:
        assert len(wrong) == 1 and "an answer must be within the budget" in wrong[0]
        return
    got = TWO.build(found.params)
    assert not wrong and known.terms.covers(got)
    assert (got.key == graph.key) == (not found.cut) == known.terms.covers(graph)


@pytest.mark.parametrize(
    "text",
    [
        '{"a":[' * 200 + "1," * 45_000,
        ('{"table":[') * 150 + '"b",' * 20_000,
        json.dumps({"table": ["solve.1: model " + "small=0.5," * 190] * 45, "graph": None}),
        json.dumps({"table": ["solve.1: " + "; " * 900] * 40, "graph": ["solve.1: " + "; " * 900] * 10}),
        json.dumps({"table": ["solve.1: to " + "2=" * 900] * 40}),
        json.dumps({"mixes": [{"solve": {f"m{i}": 1 for i in range(7_000)}}] * 1}),
    ],
    ids=["open objects", "open tables", "long lines", "semicolons", "equals signs", "many models"],
)
def test_the_worst_of_replies_take_no_more_than_a_moment(text: str) -> None:
    began = time.monotonic()
    read(text)
    named(text)
    assert time.monotonic() - began < MOMENT
