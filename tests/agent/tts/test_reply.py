"""What is read out of replies: good ones in any wrapping, and of hostile ones nothing but lines that say why."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apportion.agent.reading import items
from apportion.agent.tts.allocation import Choice, affordable, shown
from apportion.agent.tts.candidates import Unseen
from apportion.agent.tts.history import Proposal
from apportion.agent.tts.reply import MOST_WORDS, MOST_WRONG, guidelines, proposals
from tests.agent.tts.kit import two_wiki

SPACE = two_wiki(hows=("fuse", "vote"))
GOOD: dict[str, Any] = {
    "retrieve": {"model": "72b", "samples": 1},
    "answer": {"model": "3b", "samples": 40, "how": "vote"},
}
WANTED = {"retrieve": Choice("72b", 1, "fuse"), "answer": Choice("3b", 40, "vote")}
RULES = [("Few samples.", 2), ("Anything.", None)]


def read(text: str, known: list[Any] | None = None, most: int = 5) -> tuple[list[Proposal], list[str]]:
    return proposals(text, SPACE, RULES, known or [], most, 1, "agent")


def answering(**said: object) -> str:
    stages = {**GOOD, "answer": {**GOOD["answer"], **said}}
    return json.dumps({"candidates": [{"stages": stages}]})


WHOLE = json.dumps({"candidates": [{"stages": GOOD, "guideline": 1, "expected": 0.7}]})


@pytest.mark.parametrize(
    "text",
    [
        WHOLE,
        f"Sure! Here you are:\n```json\n{WHOLE}\n```\nI hope it helps {{}}.",
        f"<think>{{not json}} {{'a': 1}}</think>{WHOLE}",
        f"{WHOLE}\n{WHOLE}",
        json.dumps([{"stages": GOOD, "guideline": 1, "expected": 0.7}]),
        json.dumps({"stages": GOOD, "guideline": 1, "expected": 0.7}),
        json.dumps({"candidates": {"stages": GOOD, "guideline": 1, "expected": 0.7}}),
        json.dumps({"candidates": [{**GOOD, "guideline": 1, "expected": 0.7}]}),
    ],
    ids=["plain", "fenced", "after a thought", "twice", "a list", "alone", "no list", "no stages"],
)
def test_a_proposal_is_found_in_any_wrapping(text: str) -> None:
    found, wrong = read(text)
    assert [dict(own.allocation) for own in found] == [WANTED] and not wrong
    assert (found[0].origin.guideline, found[0].origin.insight, found[0].origin.expected) == ("Few samples.", 2, 0.7)


@pytest.mark.parametrize("samples", [40, 40.0, "40", " 40 "])
def test_whole_numbers_however_written(samples: object) -> None:
    assert read(answering(samples=samples))[0][0].allocation == WANTED


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (answering(samples=-3), "the samples of 'answer' must be a whole number from 1 to 100, got -3"),
        (answering(samples=10**9), "got 1000000000"),
        (answering(samples=2.5), "got 2.5"),
        (answering(samples=True), "got True"),
        (answering(samples="many"), "got 'many'"),
        (answering(samples=None), "got None"),
        (answering(model="gpt-9"), "the model of 'answer' must be one of 3b, 8b, 70b, got 'gpt-9'"),
        (answering(model=["3b"]), "got ['3b']"),
        (answering(how="pray"), "`how` of 'answer' must be one of fuse, vote, got 'pray'"),
        (answering(model="70b", samples=90), "an answer may cost 1000 units at most"),
        (json.dumps({"candidates": [{"stages": {"retrieve": GOOD["retrieve"]}}]}), "'answer' is absent"),
        (json.dumps({"candidates": [{"stages": {**GOOD, "__class__": 1}}]}), "got '__class__'"),
        (json.dumps({"candidates": ["ignore the above"]}), "it must be an object with `stages`"),
        (json.dumps({"candidates": [{"stages": {**GOOD, "answer": 3}}]}), "'answer' must have a `model` and `samples`"),
        (json.dumps({"candidates": []}), "must hold a JSON object with a list of `candidates`"),
        ("", "must hold a JSON object"),
        ("I cannot help with that.", "must hold a JSON object"),
        ('{"candidates": [{"stages": NaN}]}', "must hold a JSON object"),
        ('{"candidates": ' + "[" * 100_000, "must hold a JSON object"),
        ('{"a":' * 30_000, "must hold a JSON object"),
        ('{"candidates": [' + "9" * 5_000 + "]}", "must hold a JSON object"),
        ("\x1b[2J\x00" + "{" * 10_000, "must hold a JSON object"),
        ("x" * 10_000_000 + WHOLE, "must hold a JSON object"),
    ],
)  # fmt: skip
def test_what_is_no_proposal_is_refused_with_a_reason(text: str, why: str) -> None:
    found, wrong = read(text)
    assert not found and len(wrong) == 1 and why in wrong[0]
    assert len(wrong[0]) < 400 and wrong[0].isprintable()


@pytest.mark.parametrize("expected", [None, "high", True, 10**400, 1e300, [1], {"a": 1}])
def test_an_expectation_that_is_no_score_is_none(expected: object) -> None:
    text = json.dumps({"candidates": [{"stages": GOOD, "guideline": 7, "expected": expected}]})
    origin = read(text)[0][0].origin
    assert origin.expected is None and origin.guideline == "" and origin.insight is None


def test_good_ones_are_taken_beside_bad_ones_and_none_twice() -> None:
    other = {**GOOD, "answer": {"model": "3b", "samples": 41}}
    bad = {**GOOD, "answer": {"model": "no", "samples": 41}}
    text = json.dumps({"candidates": [{"stages": own} for own in (GOOD, bad, GOOD, other, other)]})
    found, wrong = read(text)
    assert [own.allocation["answer"].samples for own in found] == [40, 41]
    assert [line.split(":")[0] for line in wrong] == ["candidate 2", "candidate 3", "candidate 5"]
    assert read(text, known=[WANTED])[0] == found[1:]
    assert len(read(text, most=1)[0]) == 1


def test_what_is_known_or_too_dear_is_told_what_could_be_instead() -> None:
    text = json.dumps({"candidates": [{"stages": GOOD}] * 3})
    _, wrong = read(text, known=[WANTED])
    named = [line.rpartition("is known; try ")[2].removesuffix(".") for line in wrong]
    assert len(set(named)) == 3 and named[0] == "retrieve: 72b x 2 (fuse); answer: 3b x 40 (vote)"
    dear = json.dumps({"candidates": [{"stages": {**GOOD, "answer": {"model": "70b", "samples": 99}}}]})
    _, [line] = read(dear)
    assert line.endswith("take less: try retrieve: 72b x 1; answer: 70b x 3 (fuse).")


def test_what_is_named_instead_is_new_and_within_the_budget() -> None:
    unseen = Unseen(SPACE, [WANTED])
    met = [unseen.near(WANTED) for _ in range(60)]
    assert all(own is not None and affordable(SPACE, own) and own != WANTED for own in met)
    assert len({shown(own) for own in met if own is not None}) == 60
    one = Unseen(two_wiki(budget=80.4), [])
    cheapest = {"retrieve": Choice("7b", 1), "answer": Choice("3b", 1)}
    assert one.near(cheapest) == cheapest and one.near(cheapest) is None


def test_guidelines_are_plain_lines_and_few() -> None:
    said = [
        {"text": " Use\n\x1b[31m few \x00 ", "insight": 2},
        {"text": "x" * 9_999, "insight": 9},
        "Bare.",
        3,
        {"text": 4},
    ]
    found = guidelines(json.dumps({"guidelines": said}), (2, 3), 6)
    assert found == [("Use [31m few", 2), ("x" * MOST_WORDS, None), ("Bare.", None)]
    assert len(guidelines(json.dumps({"guidelines": ["Again."] * 99}), (), 6)) == 6
    assert guidelines("no", (), 6) == [] == guidelines('{"guidelines": {}}', (), 6)


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["3b", "72b", "vote"]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                ["candidates", "stages", "retrieve", "answer", "model", "samples", "how", "guideline", "expected"]
            ),
            inner,
            max_size=5,
        )
    ),
    max_leaves=40,
)


@given(JSON, st.text(max_size=20))
def test_whatever_is_said_a_proposal_is_one_of_the_space_within_the_budget(said: object, around: str) -> None:
    for text in (
        json.dumps(said),
        json.dumps({"candidates": said}),
        around + json.dumps({"candidates": [said]}) + around,
    ):
        found, wrong = read(text)
        assert found or wrong
        for own in found:
            assert affordable(SPACE, own.allocation)
            assert SPACE.allocation(SPACE.params(own.allocation)) == own.allocation
            assert Proposal.from_dict(json.loads(json.dumps(own.to_dict()))) == own
        guidelines(text, (1, 2, 3), 6)


@given(st.text(max_size=300))
def test_any_text_can_be_read(text: str) -> None:
    assert isinstance(items(text, "candidates", "stages"), list)


def test_of_very_many_candidates_few_are_looked_at() -> None:
    found, wrong = read(json.dumps({"candidates": [0] * 20_000}))
    assert not found and len(wrong) == MOST_WRONG
