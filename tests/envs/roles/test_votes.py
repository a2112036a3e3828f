"""Roles that are plain code: the most frequent values, and those of the most score."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apportion.envs import parsers
from apportion.envs.rollout import Candidate, NodeRun
from tests.envs.roles.kit import cards, nothing, play, texts


@pytest.mark.parametrize(
    ("given", "keep", "winners"),
    [
        (("1", "2", "2"), 1, ["2"]),
        (("1", "2"), 1, ["1"]),
        (("2", "1", "1", "2"), 1, ["2"]),
        (("none", "no", "it is 3"), 1, ["it is 3"]),
        (("none", "no"), 1, ["none"]),
        (("none", "no"), 2, ["none", "no"]),
        (("a 7", "b 8", "c 8"), 1, ["b 8"]),
        (("1", "2", "2", "3", "3", "3"), 2, ["3", "2"]),
        (("1", "2", "2", "none"), 4, ["2", "1"]),
    ],
)
def test_vote(given: tuple[str, ...], keep: int, winners: list[str]) -> None:
    run, _ = play("voter", nothing, *given, keep=keep)
    assert (run.status, texts(run), run.draws) == ("ok", winners, ())


def test_votes_are_equal_but_for_case_and_white_space() -> None:
    candidates = [Candidate(text, text, ("d", i)) for i, text in enumerate(("Rome", "PARIS", "paris", "new  york"))]
    assert play("voter", nothing, *candidates)[0] == NodeRun("ok", (candidates[1],))


@given(st.lists(st.sampled_from(["1", "2", "3", "none"]), min_size=1, max_size=9), st.integers(1, 4))
def test_a_vote_keeps_the_first_of_the_most_frequent(given: list[str], keep: int) -> None:
    run, _ = play("voter", nothing, *given, keep=keep)
    values = [text for text in given if text != "none"]
    by_count = sorted(dict.fromkeys(values), key=lambda text: (-values.count(text), values.index(text)))
    assert texts(run) == (by_count or given)[:keep]
    assert all(given[c.origin[1]] == c.text for c in run.candidates)


@pytest.mark.parametrize(
    ("given", "keep", "winners"),
    [
        ({"1": 0.9, "2": 0.5, "was 2": 0.5}, 1, ["2"]),
        ({"1": 0.9, "2": 0.4, "was 2": 0.4}, 1, ["1"]),
        ({"1": 0.5, "2": 0.25, "was 2": 0.25}, 1, ["2"]),  # equal: the most frequent
        ({"1": 0.5, "2": 0.5}, 1, ["1"]),  # then the first
        ({"1": None, "2": 0.1}, 1, ["2"]),
        ({"1": None, "2": None, "was 2": None}, 1, ["2"]),  # no scores: counted
        ({"none": 1.0, "2": 0.1}, 1, ["2"]),
        ({"none": 1.0, "no": 0.1}, 1, ["none"]),
        ({"1": 0.3, "2": 0.2, "was 2": 0.2, "3": 0.1}, 2, ["2", "1"]),
    ],
)
def test_vote_by_score(given: dict[str, float | None], keep: int, winners: list[str]) -> None:
    scored = [replace(c, score=given[c.text]) for c in cards(*given)]
    run, _ = play("weighted_voter", nothing, *scored, keep=keep)
    assert (run.status, texts(run)) == ("ok", winners)


@given(st.lists(st.tuples(st.sampled_from(["1", "2", "no"]), st.sampled_from([0.0, 0.25, 1.0])), min_size=1))
def test_equal_scores_are_votes(given: list[tuple[str, float]]) -> None:
    cast = cards(*(text for text, _ in given))
    equal = play("weighted_voter", nothing, *(replace(c, score=0.5) for c in cast))[0]
    assert [c.origin for c in equal.candidates] == [c.origin for c in play("voter", nothing, *cast)[0].candidates]
    weighed = play("weighted_voter", nothing, *(replace(c, score=s) for c, (_, s) in zip(cast, given, strict=True)))[0]
    sums = {v: sum(s for text, s in given if parsers.number(text) == v) for v in ("1", "2")}
    winner = weighed.candidates[0].value
    assert winner is None or sums[winner] == max(sums[c.value] for c in cast if c.value is not None)
