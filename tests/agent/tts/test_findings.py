"""Findings compare like with like, count what they compared, and say nothing where nothing can be said."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

from apportion.agent.finding import Finding
from apportion.agent.tts.allocation import Allocation, Choice
from apportion.agent.tts.findings import at_equal_cost, findings
from apportion.agent.tts.history import History, Origin, Tried
from apportion.agent.tts.initial import initial
from tests.agent.tts.kit import two_wiki
from tests.agent.tts.test_scripted import large_retrieves, tried

NUMBERS = (1, 4, 16, 64)


def crossed(score: Callable[[str, int], float]) -> History:
    """Every number of samples of one answering model after each retrieving one."""
    space = two_wiki(2000.0)
    every: list[Allocation] = [
        {"retrieve": Choice(model, 1), "answer": Choice("3b", n)} for model, n in product(("7b", "72b"), NUMBERS)
    ]
    return tried(space, every, lambda own: score(own["retrieve"].model, own["answer"].samples))


def found(history: History) -> dict[int | None, Finding]:
    return {own.insight: own for own in findings(history, two_wiki(2000.0))}


def test_stages_that_prefer_different_sizes_hold_the_first_insight() -> None:
    space = two_wiki()
    first = findings(tried(space, initial(space), large_retrieves), space)[0]
    assert first.held is True
    assert (
        "retrieve favours 72b" in first.text and "answer favours 3b" in first.text and "is no difference" in first.text
    )


def test_one_size_that_is_best_everywhere_does_not() -> None:
    space = two_wiki()
    small = {"7b": 0.4, "3b": 0.4}

    def score(allocation: Allocation) -> float:
        return sum(small.get(choice.model, 0.1) for choice in allocation.values())

    assert findings(tried(space, initial(space), score), space)[0].held is False


def test_a_small_model_is_not_credited_with_more_than_the_large_one_costs() -> None:
    space = two_wiki()
    retrieve = space.stages[0]
    anchor = {"answer": Choice("3b", 1)}
    every: list[Allocation] = [{"retrieve": Choice(m, n), **anchor} for m, n in (("7b", 10), ("32b", 1), ("32b", 60))]
    scores = {("7b", 10): 0.2, ("32b", 1): 0.3, ("32b", 60): 0.9}
    history = tried(space, every, lambda own: scores[own["retrieve"].model, own["retrieve"].samples])
    assert at_equal_cost(history, space, retrieve) == {"7b": 0.2, "32b": 0.3}


def test_a_peak_holds_the_second_insight_and_a_steady_rise_does_not() -> None:
    peak = {1: 0.2, 4: 0.6, 16: 0.5, 64: 0.4}
    rise = {1: 0.2, 4: 0.4, 16: 0.6, 64: 0.8}
    three = ("7b", "32b", "72b")
    for curve, held in ((peak, True), (rise, False)):
        space = two_wiki(2000.0)
        every: list[Allocation] = [
            {"retrieve": Choice(model, 1), "answer": Choice("3b", n)} for model, n in product(three, NUMBERS)
        ]
        history = tried(space, every, lambda own, of=curve: of[own["answer"].samples])  # type: ignore[misc]
        finding = findings(history, space)[1]
        assert finding.held is held and "of 3 comparisons" in finding.text


def test_samples_that_help_less_after_a_better_stage_hold_the_third_insight() -> None:
    less = {"7b": (0.1, 0.3, 0.5, 0.7), "72b": (0.8, 0.8, 0.8, 0.8)}
    more = {"7b": (0.1, 0.1, 0.1, 0.1), "72b": (0.2, 0.4, 0.6, 0.8)}
    same = {"7b": (0.1, 0.3, 0.5, 0.7), "72b": (0.2, 0.4, 0.6, 0.8)}
    for gains, held in ((less, True), (more, False), (same, None)):
        finding = found(crossed(lambda model, n, of=gains: of[model][NUMBERS.index(n)]))[3]  # type: ignore[misc]
        assert finding.held is held and "of 3 comparisons" in finding.text


def test_trials_that_differ_in_two_stages_say_nothing() -> None:
    space = two_wiki(2000.0)
    every: list[Allocation] = [
        {"retrieve": Choice("7b", 1), "answer": Choice("3b", 1)},
        {"retrieve": Choice("72b", 2), "answer": Choice("8b", 4)},
        {"retrieve": Choice("32b", 3), "answer": Choice("70b", 1)},
    ]
    assert [own.held for own in findings(tried(space, every, large_retrieves), space)] == [None] * 4


def test_an_empty_history_says_nothing() -> None:
    assert [own.held for own in findings(History((), ()), two_wiki())] == [None] * 4


def test_how_far_expectations_were_off_is_told() -> None:
    allocation: Allocation = {"retrieve": Choice("7b", 1), "answer": Choice("3b", 1)}
    trials = [Tried(n, allocation, 1.0, 0.5, Origin(1, "agent", expected=own)) for n, own in enumerate((0.4, 0.8))]
    text = found(History(trials, ()))[None].text
    assert "0.2 off" in text and "0.1 below" in text and "2 trials" in text


def test_where_all_scores_are_the_same_nothing_is_said_of_the_insights() -> None:
    space = two_wiki()
    found_ = findings(tried(space, initial(space), lambda allocation: 0.0), space)
    assert [own.held for own in found_[:3]] == [None] * 3 and "scored the same" in found_[0].text
