"""The ranker: orders are read in the form that is asked for, joined by Borda count, and lose or invent no candidate."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apportion.envs.roles.ranker import read_ranking
from apportion.envs.worker import Sampling
from tests.envs.roles.kit import Answer, nothing, play, scores, texts
from tests.strategies import anything

TEXTS = ("4", "**5**", "It is 6.")
RANKINGS = {
    "2 > 1 > 3": [2, 1, 3],
    "[3] > [1] > [2]": [3, 1, 2],
    "**[3]** > **1** > `2`.": [3, 1, 2],
    "The best is: 3>2>1.": [3, 2, 1],
    "2 > 3": [2, 3, 1],
    "1 > 2 > 3\nNo, 4 is wrong.\n\n3 > 2 > 1\nThe second is 5.": [3, 2, 1],
    "3": [3, 1, 2],
    "**[2]**\n": [2, 1, 3],
    "[3] It is 6.": [3, 1, 2],
    "[2] **5**": [2, 1, 3],
    "[2] 5": [],
    "[3] It is 4.": [],
    "1\n2\n3": [],
    "3 is best": [],
    "1 is worse: 2 > 3": [],  # what stands before a colon may be a number's
    "[2] He has 3 * 12 = 36": [],
    "3, 1, 2": [],
    "1. [2]\n2. [1]\n3. [3]": [],
    "2 > 2 > 1": [],
    "2 > 1 > 4": [],
    "0 > 1": [],
    "4": [],
    "Answer 2 is best, then answer 3": [],
    "1.5 > 2": [],
    "2 > 1.5": [],
    "2.5 > 13": [],
    "2 > 1 > 1.5": [],
    "none of them": [],
    "": [],
    "> 2 > 1": [],
    "9" * 1_000_000: [],
    "3 > " * 200_000: [],
    " " * 1_000_000 + "2 > 1": [2, 1, 3],
    "1\n" * 300_000: [],
}


@pytest.mark.parametrize("said", RANKINGS, ids=lambda said: said[:20])
def test_a_ranking_is_a_line_of_numbers_or_the_best_alone(said: str) -> None:
    assert [place + 1 for place in read_ranking(said, TEXTS)] == RANKINGS[said]


@given(anything | st.text("0123456789[]> .:*\n"), st.integers(1, 12))
def test_any_reply_is_an_order_of_all_or_nothing(said: str, n: int) -> None:
    assert sorted(read_ranking(said, [said] * n)) in ([], list(range(n)))


@given(st.permutations(range(6)))
def test_an_order_is_read_as_it_was_written(order: list[int]) -> None:
    assert read_ranking(" > ".join(str(i + 1) for i in order), "abcdef") == order


def test_rankings_are_joined_by_borda_count() -> None:
    said: tuple[Answer, ...] = ("2 > 1 > 3", "2 > 3 > 1", "no idea", ("truncated", "1 > 2"), ("failed", "3 > 1"))
    run, shop = play("ranker", lambda prompt, index: said[index], "1", "2", "no", "3", "was 3", samples=5, keep=4)
    assert texts(run) == ["2", "1", "3", "was 3"]
    assert scores(run) == pytest.approx([8 / 9, 6 / 9, 4 / 9, 4 / 9])
    assert [draw.index for draw in run.draws] == [*range(5)]
    assert {order[2] for order in shop.orders} == {Sampling(0.7, 28)}


def test_ties_go_to_the_most_frequent_then_to_the_first() -> None:
    def both(prompt: str, index: int) -> str:
        return ("1 > 2", "2 > 1")[index]

    assert texts(play("ranker", both, "1", "2", "2", samples=2)[0]) == ["2"]
    assert texts(play("ranker", both, "1", "2", samples=2)[0]) == ["1"]


def test_what_cannot_be_read_leaves_it_to_frequency() -> None:
    run, _ = play("ranker", lambda prompt, index: "both are fine", "1", "2", "2", keep=3)
    assert (run.status, texts(run), scores(run), len(run.draws)) == ("ok", ["2", "1", "2"], [None] * 3, 1)


def test_one_value_is_not_ranked() -> None:
    run, _ = play("ranker", nothing, "no", "is 1", "1", keep=2)
    assert (texts(run), scores(run)) == (["is 1", "1"], [1.0, 1.0])
    assert texts(play("ranker", nothing, "x", "y")[0]) == ["x"]


def test_a_ranker_that_nobody_answers_gives_nothing() -> None:
    run, _ = play("ranker", lambda prompt, index: ("refused", ""), "1", "2")
    assert (run.status, run.candidates, len(run.draws)) == ("refused", (), 1)


@pytest.mark.parametrize(("own", "temperature"), [(None, 0.0), (0.5, 0.5)])
def test_one_ranking_is_no_chance(own: float | None, temperature: float) -> None:
    _, shop = play("ranker", lambda prompt, index: "1", "1", "2", temperature=own)
    assert shop.orders[0][2] == Sampling(temperature, 24)
