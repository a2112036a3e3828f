"""Roles that judge each candidate: the scorer's grades and the verifier's verdicts, and what they keep."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apportion.envs.roles.scorer import GRADE_TOKENS, read_grade
from apportion.envs.roles.verifier import ALTERNATIVES, FIRST_TOKENS, VERDICT_TOKENS, probability
from apportion.envs.worker import Sampling
from apportion.store.calls import Draw
from tests.envs.roles.kit import Answer, about, cards, nothing, play, scores, texts
from tests.strategies import anything

JUDGES = ("scorer", "verifier")


def test_each_distinct_value_is_judged_once_in_the_order_of_drawing() -> None:
    given = ("is 1", "is 2", "no", "was 2", "was 1")
    run, shop = play("scorer", lambda prompt, index: "5", *given, samples=2, start=10)
    assert [prompt.split("Answer:\n")[1].split("\n")[0] for prompt in shop.prompts] == ["is 1"] * 2 + ["is 2"] * 2
    assert [draw.index for draw in run.draws] == [10, 11, 12, 13]
    assert texts(run) == ["is 1"]  # all equal: the first drawn


@pytest.mark.parametrize("role", JUDGES)
@pytest.mark.parametrize(
    ("samples", "own", "temperature"), [(1, None, 0.0), (2, None, 0.7), (1, 0.4, 0.4), (2, 0.0, 0.0)]
)
def test_one_opinion_is_no_chance_and_several_differ(
    role: str, samples: int, own: float | None, temperature: float
) -> None:
    _, shop = play(role, lambda prompt, index: "yes 5", "1", "2", samples=samples, temperature=own)
    tokens = {"scorer": GRADE_TOKENS, "verifier": VERDICT_TOKENS}[role]
    assert {order[2] for order in shop.orders} == {Sampling(temperature, tokens)}


@pytest.mark.parametrize(
    ("given", "grades", "winner"),
    [
        (("1", "2", "3"), {"1": "3", "2": "9", "3": "8"}, "2"),
        (("1", "2", "2"), {"1": "5", "2": "5"}, "2"),  # equal grades: the most frequent
        (("1", "2"), {"1": "5", "2": "5"}, "1"),  # then the first drawn
        (("2", "1", "1", "2"), {"1": "5", "2": "5"}, "2"),
        (("1", "1", "2"), {"1": "good", "2": "bad"}, "1"),  # no grades: the most frequent
        (("1", "1", "2"), {"1": "good", "2": "0"}, "2"),  # any grade is better than none
        (("1", "2"), {"1": "Score: 7/10", "2": "9/10"}, "2"),
        (("1", "2"), {"1": "8/10", "2": "9"}, "2"),
        (("1", "2"), {"1": "1", "2": "99"}, "1"),  # grades end at 10
        (("1", "2"), {"1": "-5", "2": "0"}, "2"),  # and begin at 0
        (("1", "2"), {"1": ("failed", ""), "2": "1"}, "2"),
        (("1", "2"), {"1": ("refused", "9"), "2": "1"}, "2"),
        (("1", "2"), {"1": ("truncated", "9\nbecause"), "2": "1"}, "1"),
    ],
)
def test_the_best_grade_wins(given: tuple[str, ...], grades: Mapping[str, Answer], winner: str) -> None:
    run, _ = play("scorer", about(grades), *given)
    assert (run.status, texts(run)) == ("ok", [winner])


def test_grades_of_one_text_are_averaged() -> None:
    run, _ = play("scorer", lambda p, index: ("9", "1", "6", "6")[index], "1", "2", samples=2)
    assert (texts(run), scores(run)) == (["2"], [0.6])


@pytest.mark.parametrize(
    ("keep", "kept"), [(1, ["2"]), (2, ["2", "1"]), (3, ["2", "1", "3"]), (4, ["2", "1", "3", "is 2"]), (9, 5)]
)
def test_different_values_are_kept_before_repeats(keep: int, kept: list[str] | int) -> None:
    """Who reads two candidates wants two answers; who weighs votes keeps all and gets each repeat with its score."""
    grades: dict[str, Answer] = {"1": "5", "2": "9", "3": "no grade"}
    run, _ = play("scorer", about(grades), "1", "was 1", "2", "3", "no", "is 2", keep=keep)
    assert (len(run.candidates) if isinstance(kept, int) else texts(run)) == kept
    assert all(c.score == {"1": 0.5, "2": 0.9, "3": None}[c.value or ""] for c in run.candidates)


@pytest.mark.parametrize("role", JUDGES)
@pytest.mark.parametrize(("given", "kept"), [(("x", "is 1", "1"), "is 1"), (("x", "y"), "x"), (("7",), "7")])
def test_what_leaves_no_choice_is_not_judged(role: str, given: tuple[str, ...], kept: str) -> None:
    run, _ = play(role, nothing, *given)
    assert (run.status, texts(run), scores(run), run.draws) == ("ok", [kept], [None], ())


@pytest.mark.parametrize(("role", "said", "score"), [("scorer", "7", 0.7), ("verifier", "yes", 1.0)])
def test_one_value_is_judged_where_its_score_meets_others(role: str, said: str, score: float) -> None:
    run, shop = play(role, lambda prompt, index: said, "x", "is 1", "1", weighed=True, keep=3)
    assert (texts(run), scores(run), len(shop.orders)) == (["is 1", "1"], [score, score], 1)
    assert texts(play(role, nothing, "x", "y", weighed=True)[0]) == ["x"]


@pytest.mark.parametrize("role", JUDGES)
def test_a_judge_that_nobody_answers_gives_nothing(role: str) -> None:
    run, _ = play(role, about({"1": ("failed", ""), "2": ("timeout", "")}), "1", "2")
    assert (run.status, run.candidates, len(run.draws)) == ("timeout", (), 2)


def test_a_judge_leaves_the_rest_of_a_candidate_as_it_is() -> None:
    given = [replace(c, comments=("so",), score=0.2) for c in cards("1", "2")]
    run, _ = play("scorer", about({"1": "3", "2": "6"}), *given, keep=2)
    assert list(run.candidates) == [replace(given[1], score=0.6), replace(given[0], score=0.3)]


GRADES: dict[str, float | None] = {
    "7": 7.0,
    "**8.5**": 8.5,
    " 10. \n": 10.0,
    "10.0/10": 10.0,
    "Grade: 7 / 10": 7.0,
    "**Score:** 0": 0.0,
    "8 out of 10.": 8.0,
    "9\n\nThe sum is 116.": 9.0,
    "2\nNo, rather:\n6": 6.0,
    "From 0 to 10: 7": None,
    "On a scale of 1 to 10 I give 7": None,
    "9 because": None,
    "1. The answer": None,
    "85": None,
    "10.5": None,
    "-5": None,
    "8/100": None,
    "70%": None,
    "1e1": None,
    "7,5": None,
    "": None,
    "9" * 1_000_000: None,
    "1\n" * 300_000: 1.0,
    "a" * 1_000_000 + ": 7": None,
}


@pytest.mark.parametrize("said", GRADES, ids=lambda said: said[:20])
def test_a_grade_is_a_line_of_its_own(said: str) -> None:
    assert read_grade(said) == GRADES[said]


VERDICTS: dict[str, float | None] = {
    "yes": 1.0,
    "No.": 0.0,
    "**YES**\nIt is right.": 1.0,
    "\n \n> no\nyes": 0.0,
    "Yes, there is no mistake.": 1.0,
    "No, yes would be wrong": 0.0,
    "**No**: yes would be wrong": 0.0,
    "Yes - it is right": 1.0,
    "No!": 0.0,
    "not yes": None,
    "Not a yes.": None,
    "no doubt": None,
    "Yes and no": None,
    "yes/no": None,
    "Yes? No.": None,
    "no-one knows": None,
    "Is it correct? Yes": None,
    "Answer: no": None,  # which may be what it judges
    "It is right.\nyes": None,
    "yesterday": None,
    "I know nothing of eyes": None,
    "": None,
    "\x00\x1b[2J yes": None,
    "\x00 yes \x00": 1.0,
    "yes_or_no": None,
    "?" * 1_000_000: None,
    "yes" + " " * 1_000_000 + "no": None,
}


@pytest.mark.parametrize("said", VERDICTS, ids=lambda said: said[:20])
def test_a_verdict_is_the_first_word_and_stands_apart(said: str) -> None:
    assert probability(Draw("k", 0, "ok", said)) == VERDICTS[said]


@given(anything | st.text("yesno \n*._:>-/10", max_size=30))
def test_any_reply_is_a_grade_and_a_verdict_or_none(said: str) -> None:
    assert probability(Draw("k", 0, "ok", said)) in (0.0, 1.0, None)
    grade = read_grade(said)
    assert grade is None or 0.0 <= grade <= 10.0


@pytest.mark.parametrize(
    ("odds", "p"),
    [
        ({"yes": 0.3, "no": 0.1}, 0.75),
        ({"Yes": 0.2, " yes": 0.05, "YES\n": 0.05, " No": 0.1, "Yesterday": 0.5}, 0.75),
        ({"yes": 0.001}, 1.0),
        ({"The": 0.9}, None),
    ],
)
def test_the_first_token_tells_the_probability(odds: Mapping[str, float], p: float | None) -> None:
    logprobs = {token: math.log(share) for token, share in odds.items()}
    assert probability(Draw("k", 0, "truncated", "?", first_token=logprobs)) == (p if p is None else pytest.approx(p))


def test_a_first_token_that_is_no_verdict_leaves_it_to_the_text() -> None:
    assert probability(Draw("k", 0, "ok", "**no**", first_token={"**": -0.1, "yes": -9999.0})) == 0.0


def test_a_verifier_asks_for_one_word_where_the_server_gives_its_probability() -> None:
    odds = {"1": {"Yes": math.log(0.6), "No": math.log(0.2)}, "2": {"Yes": math.log(0.45), "No": math.log(0.05)}}
    run, shop = play("verifier", about(odds), "1", "2", logprobs=True, keep=2)
    assert texts(run) == ["2", "1"] and scores(run) == pytest.approx([0.9, 0.75])
    assert {order[2] for order in shop.orders} == {Sampling(0.0, FIRST_TOKENS, top_logprobs=ALTERNATIVES)}


@pytest.mark.parametrize(
    ("verdicts", "keep", "kept", "scored"),
    [
        (("yes", "no", "yes"), 3, ["1", "3"], [1.0, 1.0]),
        (("no", "no", "yes"), 1, ["3"], [1.0]),
        (("no", "maybe", "no"), 3, ["1", "3", "2"], [0.0, 0.0, None]),  # none is accepted: the best of all
        (("maybe", "maybe", "maybe"), 2, ["1", "2"], [None, None]),
    ],
)
def test_a_verifier_keeps_the_best_of_the_accepted(
    verdicts: Sequence[str], keep: int, kept: list[str], scored: list[float | None]
) -> None:
    run, _ = play("verifier", lambda prompt, index: verdicts[index], "1", "2", "3", keep=keep)
    assert (texts(run), scores(run)) == (kept, scored)


def test_judgements_are_averaged_over_those_that_can_be_read() -> None:
    said: tuple[Answer, ...] = ("yes", "no", ("failed", "yes"), "no", "who knows", "no")
    run, _ = play("verifier", lambda prompt, index: said[index], "1", "2", samples=3, keep=2)
    assert (texts(run), scores(run)) == (["1"], [0.5])
