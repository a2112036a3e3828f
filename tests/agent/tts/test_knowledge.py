"""What a study teaches is its best allocations and which insights held, in a few lines of names and numbers."""

from __future__ import annotations

from apportion.agent.tts.history import History
from apportion.agent.tts.initial import initial
from apportion.agent.tts.knowledge import best, distilled
from tests.agent.tts.kit import two_wiki
from tests.agent.tts.test_scripted import large_retrieves, tried


def test_the_best_come_first_with_their_scores_and_costs() -> None:
    space = two_wiki()
    history = tried(space, initial(space), large_retrieves)
    text = distilled(history, space)
    lines = text.splitlines()
    assert lines[0].startswith("Of 5 trials") and "72b x 1; answer: 8b x 39" in lines[1] and "units" in lines[1]
    assert "- Seen there: " in text and "Insight" not in text and len(lines) <= 8


def test_an_allocation_that_was_tried_twice_is_told_once() -> None:
    space = two_wiki()
    twice = [*initial(space), *initial(space)]
    found = [allocation for allocation, _ in best(tried(space, twice, large_retrieves), 20)]
    assert len(found) == 5


def test_a_study_that_measured_nothing_teaches_nothing() -> None:
    assert distilled(History((), ()), two_wiki()) == ""
