"""What an agent is shown of earlier trials: the best and the newest first, within the tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apportion.agent.reinforce.history import History
from apportion.agent.reinforce.memory import BYTES_PER_TOKEN, FIRST, remembered
from tests.agent.reinforce.kit import DECIDED, one, tried, two, wide

SPACE = one()


def trials(scores: Sequence[float | None], batch: int = 5) -> History:
    return History(
        [
            tried(SPACE, number, wide(SPACE, 1 + number % 4, "small"), score, round_=number // batch)
            for number, score in enumerate(scores)
        ],
        [],
    )


def shown(history: History, tokens: int = 10_000) -> str:
    return remembered(history, SPACE, "units", tokens)


def rows(text: str) -> list[str]:
    """The rows of the table."""
    return [line for line in text.splitlines()[1:] if " | " in line]


def numbers(text: str) -> list[int]:
    return [int(line.split(" | ")[0]) for line in rows(text)]


def test_the_words() -> None:
    history = History(
        [
            tried(SPACE, 3, wide(SPACE, 2), 0.123456, round_=None),
            tried(SPACE, 4, ["solve.1: model small; to 2", "solve.2: model large; role refiner; to final"], None),
            tried(SPACE, 9, wide(SPACE, 1, "large"), -0.5, round_=1, source="agent", expected=0.9),
        ],
        [],
    )
    assert shown(history).splitlines() == [
        "trial | score (higher is better) | cost in units | graph",
        f"3 | 0.1235 | 3 | solve.1: model small; to final / solve.2: model small; to final / {DECIDED}",
        "4 | not measured | 6 | solve.1: model small; to 2 / solve.2: model large; role refiner; to final / " + DECIDED,
        f"9 | -0.5 | 5 | solve.1: model large; to final / {DECIDED}",
    ]


def test_a_cost_that_is_not_known_is_said_to_be_so() -> None:
    own = replace(tried(SPACE, 0, wide(SPACE, 1), 0.5), cost=None)
    assert rows(shown(History([own], [])))[0].startswith("0 | 0.5 | ? | ")


def test_of_nothing_nothing_is_shown() -> None:
    assert shown(History([], [])) == ""


def test_values_of_two_stages_are_in_the_notation() -> None:
    space = two()
    lines = [
        "find.2: model large; samples 3; temperature 1.0; to final",
        "find.final: role voter",
        "solve.1: model small; to final",
        "solve.final: role voter",
    ]
    text = remembered(History([tried(space, 0, lines, 0.5)], []), space, "usd", 1_000)
    assert rows(text) == [f"0 | 0.5 | 13 | {' / '.join(lines)}"]
    assert text.startswith("trial | score (higher is better) | cost in usd | graph\n")


def test_of_many_the_best_and_the_newest_are_kept() -> None:
    scores: list[float | None] = [0.01 * (n % 7) for n in range(40)]
    scores[11], scores[4], scores[20] = 0.9, 0.8, 0.7
    scores[37] = None
    text = shown(trials(scores), 700)
    kept = numbers(text)
    assert kept == sorted(kept) and {4, 11, 20, 35, 36, 37, 38, 39} <= set(kept) and len(kept) < 40
    assert text.splitlines()[-1] == f"({40 - len(kept)} more are left out)"
    others = [n for n in kept if n not in (4, 11, 20) and n < 35]
    assert all((scores[n] or 0.0) >= 0.06 - 1e-9 for n in others), "what else there is room for are the next best"


def test_the_newest_batch_need_not_be_the_last_trials() -> None:
    """Baselines of a later search, or trials of others, belong to no batch."""
    scores = [0.5] * 30
    history = trials(scores)
    history = replace(history, tried=[replace(own, proposal=None) if own.number > 9 else own for own in history.tried])
    assert {5, 6, 7, 8, 9} <= set(numbers(shown(history, 650)))


def test_what_was_not_measured_comes_last() -> None:
    scores: list[float | None] = [None] * 20 + [-0.9, -0.8, -0.7] + [None] * 20
    assert {20, 21, 22} <= set(numbers(shown(trials(scores), 250)))


@given(st.lists(st.none() | st.floats(-1, 1), min_size=1, max_size=60), st.integers(0, 2_000))
def test_the_tokens_are_kept_to(scores: list[float | None], tokens: int) -> None:
    history = trials(scores)
    text = shown(history, tokens)
    lines, kept = rows(text), numbers(text)
    assert kept == sorted(set(kept)) and kept
    assert len(kept) == 1 or sum(len(line.encode()) + 1 for line in lines) <= tokens * BYTES_PER_TOKEN
    assert (f"({len(scores) - len(kept)} more are left out)" in text) == (len(kept) < len(scores))
    best = history.best
    assert best is None or any(scores[n] == best.utility for n in kept), "one as good as the best is always shown"


@pytest.mark.parametrize("tokens", [0, 1, -5])
def test_the_very_best_is_shown_in_any_case(tokens: int) -> None:
    scores = [0.1, 0.9, 0.2] + [0.3] * 10
    assert numbers(shown(trials(scores), tokens)) == [1]


def test_all_are_shown_where_there_is_room() -> None:
    scores = [0.1 * n for n in range(FIRST + 3)]
    assert numbers(shown(trials(scores))) == list(range(FIRST + 3)) and "left out" not in shown(trials(scores))
