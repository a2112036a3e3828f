"""Votes on single ids, counted by hand and for any lists."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apportion.envs import parsers
from apportion.envs.rollout import Candidate
from tests.envs.roles.kit import STAGE, nothing, play

LISTING = replace(STAGE, parse=parsers.ids)


def voted(*given: str) -> Candidate:
    candidates = [Candidate(text, parsers.ids(text), ("d", i)) for i, text in enumerate(given)]
    run, _ = play("id_voter", nothing, *candidates, stage=LISTING)
    assert (run.status, run.draws) == ("ok", ())
    (winner,) = run.candidates
    assert winner.origin == ("n", 0)
    return winner


@pytest.mark.parametrize(
    ("given", "value"),
    [
        (("[2, 5]", "[5, 2]", "[7]"), "2, 5"),
        (("[1, 2]", "[2, 3]", "[2, 4]"), "1, 2"),  # two long; 2 has three votes, then the first drawn
        (("[1]", "[2, 3]", "[3, 4]", "[3]"), "3"),  # one and two equally common: the first drawn is one long
        (("[9, 10]", "[10, 9]"), "9, 10"),
        (("[1, 1, 1]", "[2]", "[2]"), "2"),  # each once a list
        (("none", "[4]"), "4"),
        (("none", "nothing"), None),
    ],
)
def test_votes_of_ids(given: tuple[str, ...], value: str | None) -> None:
    assert voted(*given).value == value


@given(st.lists(st.sets(st.integers(1, 9), min_size=1), min_size=1, max_size=7))
def test_who_is_kept_has_as_many_votes_as_who_is_not(lists: list[set[int]]) -> None:
    kept = {int(number) for number in str(voted(*(str(sorted(listed)) for listed in lists)).value).split(", ")}
    votes = {number: sum(number in listed for listed in lists) for number in set().union(*lists)}
    lengths = [len(listed) for listed in lists]
    assert lengths.count(len(kept)) == max(map(lengths.count, lengths))
    assert all(votes[number] >= votes[other] for number in kept for other in votes.keys() - kept)
