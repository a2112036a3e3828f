"""What an agent is shown of earlier trials: the best and the newest first, within the tokens."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from apportion.agent.tts.allocation import Choice
from apportion.agent.tts.history import History, Origin, Tried
from apportion.agent.tts.memory import BYTES_PER_TOKEN, remembered
from tests.agent.tts.kit import two_wiki

SPACE = two_wiki()


def trials(scores: list[float | None], batch: int = 5) -> History:
    found = []
    for number, score in enumerate(scores):
        allocation = {"retrieve": Choice("72b", 1), "answer": Choice("3b", 1 + number % 100)}
        found.append(Tried(number, allocation, SPACE.cost(allocation), score, Origin(number // batch, "agent")))
    return History(found, [])


def numbers(text: str) -> list[int]:
    return [int(line.split(" | ")[0]) for line in rows(text)]


def rows(text: str) -> list[str]:
    """The rows of the table."""
    return [line for line in text.splitlines()[1:] if " | " in line]


def test_all_are_shown_or_none() -> None:
    history = trials([0.1, None, 0.3])
    assert numbers(remembered(history, "units", "all", 1)) == [0, 1, 2]
    assert remembered(history, "units", "none", 1000) == ""
    assert remembered(History([], []), "units", "all", 1000) == ""
    assert "not measured" in remembered(history, "units", "all", 1)


def test_of_many_the_best_and_the_newest_are_kept() -> None:
    scores: list[float | None] = [0.01 * (n % 7) for n in range(40)]
    scores[11] = 0.9
    text = remembered(trials(scores), "units", "some", 250)
    kept = numbers(text)
    assert kept == sorted(kept) and 11 in kept and {35, 36, 37, 38, 39} <= set(kept)
    assert text.splitlines()[-1] == f"({40 - len(kept)} more are left out)"


@given(st.lists(st.none() | st.floats(0, 1), max_size=60), st.integers(0, 2000))
def test_the_tokens_are_kept_to(scores: list[float | None], tokens: int) -> None:
    text = remembered(trials(scores), "units", "some", tokens)
    lines = rows(text)
    assert sum(len(line) + 1 for line in lines) <= tokens * BYTES_PER_TOKEN
    assert len(set(lines)) == len(lines)
