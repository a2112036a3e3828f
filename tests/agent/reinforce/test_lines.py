"""Tables and graphs as an agent writes them: a bad line of a table loses no other, of a graph the graph alone."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
import torch

from apportion.agent.reinforce.reply import MOST_LINE, MOST_LINES, MOST_WRONG, Answer, answer_of
from apportion.graphs.probabilistic import ProbabilisticGraph
from tests.agent.reinforce.kit import DECIDED, brief, cost, one, terms, tried, wide
from tests.agent.reinforce.replies import (
    CHAIN,
    KNOWN,
    MOMENT,
    ONE,
    READ,
    ROW,
    TWO,
    WHOLE,
    built,
    graph,
    read,
    table,
)  # fmt: skip

# Tables


@pytest.mark.parametrize("said", [[ROW], ROW, f"\n{ROW}\n\n", [f"  {ROW}  ", ""], ["", f"\n{ROW}\n"]])
def test_a_table_as_lines_or_as_one_text(said: object) -> None:
    found, wrong = read(json.dumps({"table": said}))
    assert (found.table, found.params, wrong) == (READ, None, [])


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("solve.1: model small=0.70, large=0.20", "the probabilities of `solve.1.model` must sum to 1, got 0.9"),
        ("solve.1: model small=0.50", "must sum to 1, got 0.5"),
        ("solve.1: model small=0.00, large=0.00", "must sum to 1, got 0"),
        ("solve.1: model small=1.50, large=-0.50", "must have probabilities from 0 to 1, got '1.50'"),
        ("solve.1: to 2=-0.10", "must have probabilities from 0 to 1, got '-0.10'"),
        ("solve.1: to 2=1.01", "must have probabilities from 0 to 1, got '1.01'"),
        ("solve.1: to 2=NaN", "got 'NaN'"),
        ("solve.1: to 2=inf", "got 'inf'"),
        ("solve.1: to 2=1e-3", "got '1e-3'"),
        ("solve.1: to 2=70%", "got '70%'"),
        ("solve.1: to 2=\u0660", "got '\u0660'"),
        ("solve.1: to 2=" + "9" * 1_900, "got '999"),
        ("solve.1: to 2", "must be among 2, 3, 4, final, got '2'"),
        ("solve.1: to 9=0.50", "an edge of solve.1 must be among 2, 3, 4, final, got '9=0.50'"),
        ("solve.2: to 1=0.50", "an edge of solve.2 must be among 3, 4, final"),
        ("solve.1: model gpt-9=1.00", "`solve.1.model` must be among small, large, got 'gpt-9=1.00'"),
        ("solve.1: model absent=1.00", "`solve.1.model` must be among small, large"),
        ("solve.1: model small=0.50, small=0.50", "must give a value once, but 'small' stands twice"),
        ("solve.1: to 2=0.50; to 2=0.60", "a table must give each choice once, but `solve.1>2` stands twice"),
        ("solve.1: colour red=1.00", "solve.1 must give model, role, to, got 'colour'"),
        ("solve.1:", "solve.1 must give model, role, to, got ''"),
        (
            "solve.9: to final=1.00",
            "must begin with solve.1, solve.2, solve.3, solve.4, solve.final and a colon",
        ),
        ("think.1: to final=1.00", "got 'think.1'"),
        ("to final=1.00", "got 'to final=1.00'"),
        ("\x1b[31msolve.1\x07: to 2=0.50", r"got '\x1b[31msolve.1\x07'"),
        ("solve.1: model \x1b]0;x\x07=1.00", r"\x1b]0"),
        ("solve.1: model \ud800=1.00", r"got '\ud800=1.00'"),
        ("x" * 9_999, "got 'xxx"),
        ("solve.2: to " + " " * MOST_LINE + "3=0.50", "got ''"),
        (5, "got '5'"),
        (None, "got 'None'"),
        ({"solve.1": "to 2=0.50"}, """got "{'solve.1'"""),
        ([ROW], """got "['solve.1"""),
    ],
)
def test_a_line_of_a_table_that_is_wrong_is_told_and_loses_no_other(line: object, why: str) -> None:
    found, wrong = read(table(ROW, line, "solve.2: to final=0.25"))
    assert found.table == {**READ, "solve.2>final": {"no": 0.75, "yes": 0.25}}
    assert len(wrong) == 1 and wrong[0].startswith("table, line 2: ") and why in wrong[0]


@pytest.mark.parametrize("said", [3, True, {"solve.1": "to 2=0.50"}, 1.5])
def test_what_is_no_list_of_lines_is_told(said: object) -> None:
    for key in ("table", "graph"):
        found, [line] = read(json.dumps({key: said}))
        assert found == Answer() and line.startswith(f"{key}: it must be a list of lines, got ")


def test_of_a_parameter_that_is_given_twice_the_first_stands() -> None:
    found, wrong = read(table("solve.1: to 2=0.25", "solve.1: to 2=0.75, 3=0.50"))
    assert not wrong
    assert {name: own["yes"] for name, own in found.table.items()} == {"solve.1>2": 0.25, "solve.1>3": 0.5}


def test_sums_may_be_off_by_rounding() -> None:
    found, wrong = read(table("solve.2: model small=0.33, large=0.33, absent=0.33"))
    assert found.table["solve.2.model"] == pytest.approx(dict.fromkeys(("small", "large", "absent"), 1 / 3))
    assert not wrong


def test_values_have_the_types_of_the_space() -> None:
    line = "find.1: samples 1=0.50, 3=0.50; temperature 0.0=0.25, 1.0=0.75"
    found, wrong = read(table(line), brief(TWO))
    assert not wrong
    assert [(type(value), value) for own in found.table.values() for value in own] == [
        (int, 1), (int, 2), (int, 3), (float, 0.0), (float, 1.0),
    ]  # fmt: skip


def test_a_circle_of_a_table_does_no_harm_where_edges_run_both_ways() -> None:
    """Lines are read one by one, so that nobody sees the circle; what is drawn has none in any case."""
    space = one(3, free_order=True)
    lines = ["solve.1: to 2=1.00", "solve.2: to 3=1.00", "solve.3: to 1=1.00"]
    found, wrong = read(table(*lines), brief(space))
    assert len(found.table) == 3 and not wrong
    distribution = ProbabilisticGraph(space)
    distribution.set_probabilities(found.table)
    assert len(distribution.graphs(distribution.sample(20, torch.Generator().manual_seed(0)))) == 20


def test_of_very_many_lines_some_are_looked_at_and_few_are_told() -> None:
    began = time.monotonic()
    found, wrong = read(json.dumps({"table": ["x"] * 10_000 + [ROW]}))
    assert not found.table and len(wrong) == MOST_WRONG
    found, wrong = read(json.dumps({"table": "x\n" * 10_000 + ROW}))
    assert not found.table and len(wrong) == MOST_WRONG
    found, wrong = read(json.dumps({"table": [ROW] * (MOST_LINES + 1_000), "graph": ["y"] * 5_000}))
    assert found.table == READ and len(wrong) == 1
    assert time.monotonic() - began < MOMENT


def test_what_is_wrong_with_the_graph_is_told_also_where_no_line_of_the_table_is_right() -> None:
    _, wrong = read(json.dumps({"table": ["x"] * 300, "graph": ["y"]}))
    assert len(wrong) == MOST_WRONG and wrong[0].startswith("graph: ")


# Graphs


@pytest.mark.parametrize("said", [CHAIN, "\n".join(CHAIN), ["\n".join(CHAIN)], CHAIN[:2], [*CHAIN, "", "  "]])
def test_a_graph_as_lines_or_as_one_text(said: object) -> None:
    found, wrong = read(json.dumps({"graph": said, "expected": 0.5}))
    assert built(found) == CHAIN and (found.table, found.cut, found.expected, wrong) == ({}, "", 0.5, [])


@pytest.mark.parametrize(
    ("lines", "why"),
    [
        (["solve.1: model gpt-9; to final"], "`solve.1.model` must be one of small, large, got 'gpt-9'"),
        (["solve.1: model small; to final", "solve.9: model small"], "a line must begin with solve.1, solve.2"),
        (["think.1: model small; to final"], "got 'think.1'"),
        (["solve.1: model small; to 7"], "an edge of solve.1 must lead to 2, 3, 4, final, got '7'"),
        (["solve.1: model small; to 1"], "an edge of solve.1 must lead to 2, 3, 4, final, got '1'"),
        (["solve.1: model small; to final", "solve.2: to 1"], "an edge of solve.2 must lead to 3, 4, final"),
        (["solve.1: model small; to final"] * 2, "each place once, but 'solve.1' stands twice"),
        (["solve.1: model small; model large; to final"], "each once, got 'model'"),
        (["solve.1: model small; to"], "must lead to 2, 3, 4, final, got ''"),
        (["solve.1: model small; to 2", "solve.2: model small"], "no edge of 'solve' leads to it"),
        (["solve.1: model small"], "no edge of 'solve' leads to it"),
        ([DECIDED], "no edge of 'solve' leads to it"),
        (["solve.1: model small; to 2", "solve.2: role fuser; to final"], "a fuser needs 2 or more candidates"),
        (["solve.1: model small; to 2", "solve.2: role pray; to final"], "must be one of refiner, fuser, got 'pray'"),
        (["solve.1: model small=1.00; to final=1.00"], "got 'small=1.00'"),
        (["solve.1: samples 3; to final"], "solve.1 may give model, role, to, each once, got 'samples'"),
        (["solve.1: model small; to final", 5], "got '5'"),
        (["solve.1: model small; to final", None], "got 'None'"),
        ([{"slot": "solve.1"}], "got \"{'slot'\""),
        (["\x1b[2Jsolve.1: model small"], r"got '\x1b[2Jsolve.1'"),
        (["solve.1: model \x00\u202e\ud800"], r"got '\x00\u202e\ud800'"),
        (["solve.1: model " + "x" * 9_999], "got 'xxx"),
    ],
)
def test_what_is_no_graph_is_refused_whole_and_loses_no_table(lines: list[object], why: str) -> None:
    """A graph without one of its lines would be another graph."""
    found, wrong = read(json.dumps({"table": [ROW], "graph": lines, "expected": 0.9}))
    assert found == Answer(READ)
    assert len(wrong) == 1 and wrong[0].startswith("graph: ") and why in wrong[0]


def test_a_circle_is_refused_where_edges_run_both_ways() -> None:
    lines = ["solve.1: to 2, final", "solve.2: role refiner; to 3", "solve.3: role refiner; to 1"]
    found, [line] = read(graph(*lines), brief(one(3, free_order=True)))
    assert found.params is None and "edges must not form a cycle" in line


@pytest.mark.parametrize("said", [None, [], "", ["", " "]])
def test_without_a_graph_nothing_is_wrong(said: object) -> None:
    assert read(json.dumps({"table": [ROW], "graph": said, "expected": 0.9})) == (Answer(READ), [])


def test_a_graph_that_was_tried_is_no_new_one_however_it_is_written() -> None:
    known = brief(ONE, history=[tried(ONE, 0, CHAIN, 0.5)])
    again = ["solve.2: model small; to 4", "solve.4: model large; to final"]
    found, [line] = read(graph(*again, expected=0.9), known)
    assert found == Answer() and line == "graph: a graph must be new, but this was tried; change it."


def test_a_graph_over_the_budget_is_cut_and_what_went_is_said() -> None:
    lines = [
        "solve.1: model small; to 3",
        "solve.2: model small; to 3",
        "solve.3: model large; role fuser; to final",
        "solve.4: model large; to final",
        DECIDED,
    ]
    found, wrong = read(graph(*lines, expected=0.5), brief(ONE, terms(ONE, 10.0)))
    assert not wrong and found.cut == "without solve.2; solve.3 as refiner, not fuser" and found.expected == 0.5
    assert found.params is not None and cost(ONE.build(found.params)) == 10.0
    assert len(ONE.build(found.params).nodes) == 4


def test_what_is_cut_to_a_graph_that_was_tried_is_told_as_that() -> None:
    known = brief(ONE, terms(ONE, 3.0), [tried(ONE, 0, wide(ONE, 2), 0.5)])
    found, [line] = read(graph(*wide(ONE, 4)), known)
    assert found == Answer() and "but this was tried when it is cut to what can be paid (without solve.4, sol" in line


def test_what_cannot_be_cut_to_the_budget_is_refused() -> None:
    found, [line] = read(graph("solve.1: model large; to final", DECIDED), brief(ONE, terms(ONE, 3.0), listed=()))
    assert found == Answer() and "graph: an answer must be within the budget, but costs 5 units" in line


@pytest.mark.parametrize("own", [terms(ONE, None), terms(ONE, 3.0, lambda graph: None)], ids=["no bound", "no costs"])
def test_without_a_bound_or_without_costs_nothing_is_cut(own: Any) -> None:
    found, wrong = read(graph(*wide(ONE, 4, "large")), brief(ONE, own, listed=()))
    assert built(found) == wide(ONE, 4, "large") and (found.cut, wrong) == ("", [])


@pytest.mark.parametrize("expected", ["high", True, 10**400, 1e300, -1e10, [1], {"a": 1}, None])
def test_an_expectation_that_is_no_score_is_none(expected: object) -> None:
    found, wrong = read(graph(*CHAIN, expected=expected))
    assert found.params and found.expected is None and not wrong


def test_an_infinite_expectation_is_none() -> None:
    found, wrong = read(graph(*CHAIN, expected=0.5).replace("0.5}", "1e999}"))
    assert found.params and found.expected is None and not wrong


# Second replies


EARLIER, _ = answer_of(WHOLE, KNOWN)
OTHER = ["solve.1: model large; to final", DECIDED]


@pytest.mark.parametrize("text", ["", "no", "{}", '{"table": [], "graph": null}', '{"table": ["x"], "graph": ["y"]}'])
def test_what_an_earlier_reply_held_stands_where_this_one_holds_nothing(text: str) -> None:
    assert read(text, earlier=EARLIER)[0] == EARLIER


def test_what_this_reply_holds_stands_and_an_expectation_stays_with_its_graph() -> None:
    found, _ = read(json.dumps({"table": ["solve.2: to final=0.25"], "expected": 0.1}), earlier=EARLIER)
    assert found == Answer({"solve.2>final": {"no": 0.75, "yes": 0.25}}, EARLIER.params, "", 0.7)
    found, _ = read(graph(*OTHER), earlier=Answer(READ, EARLIER.params, "without solve.9", 0.7))
    assert built(found) == OTHER and (found.table, found.cut, found.expected) == (READ, "", None)
