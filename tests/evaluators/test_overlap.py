"""Metrics of overlap: hand-computed values, and what holds of any two texts."""

from __future__ import annotations

import math
import time
from collections.abc import Awaitable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apportion.envs.stage import Example
from apportion.evaluators import EVALUATORS
from apportion.evaluators.overlap import OVERLAPS, common_subsequence, rouge_l, set_f1, word_f1
from tests.strategies import replies

words = st.lists(st.sampled_from(["the", "a", "cat", "sat", "on", "mat", ",", "-"]), max_size=8).map(" ".join)
lists = st.lists(st.sampled_from(["cat", "Dog.", "a b", "7"]), max_size=5)


def measured(kind: str, target: object, answer: str) -> float:
    value = EVALUATORS[kind](field="target")(answer, Example("1", {"target": target}))
    assert not isinstance(value, Awaitable)
    return float(value)


@pytest.mark.parametrize(
    ("target", "answer", "value"),
    [
        ("The cat sat", "a cat sat!", 1.0),
        ("cat sat on mat", "the cat slept", 1 / 3),  # 1 of 2 and 1 of 4
        ("cat cat dog", "cat", 1 / 2),
        (["Rome", "eternal city"], "the city", 2 / 3),
        ("Rome", "Paris", 0.0),
        ("the", "a", 1.0),  # nothing is left of either
        ("the", "cat", 0.0),
        (7, "7", 1.0),
    ],
)
def test_squad_f1(target: object, answer: str, value: float) -> None:
    assert measured("squad_f1", target, answer) == pytest.approx(value)


@pytest.mark.parametrize(
    ("target", "answer", "value"),
    [
        (["1", "4"], "1, 4", 1.0),
        (["1", "4"], "1, 2, 4", 4 / 5),
        (["1", "4"], "2", 0.0),
        (["send_sms", "find_bus"], "- Find_Bus\n2. book.\n", 1 / 2),
        (["t | a | 3 pm"], "T | a |  3 pm", 1.0),
        (["a"], "a\na\nb", 2 / 3),
        (["x, y"], "x, y", 1.0),
        ([], "1", 0.0),
        ([], "\n", 1.0),
        (["a", "a"], "a", 1.0),
    ],
)
def test_set_f1(target: list[str], answer: str, value: float) -> None:
    assert measured("set_f1", target, answer) == pytest.approx(value)


@pytest.mark.parametrize(
    ("target", "answer", "value"),
    [
        ("police killed the gunman", "police kill the gunman", 3 / 4),  # the example of Lin 2004
        ("police killed the gunman", "the gunman kill police", 2 / 4),
        (["Step 1: go", "Step 2: stop"], "step 1 go", 2 * 3 / (3 + 6)),
        ("x", "", 0.0),
        ("", "", 1.0),
        ("x_y", "x y", 1.0),
    ],
)
def test_rouge_l(target: object, answer: str, value: float) -> None:
    assert measured("rouge_l", target, answer) == pytest.approx(value)


@pytest.mark.parametrize(
    ("target", "answer", "value"),
    [
        ("load file", "def loadFile(): # file\n    'x'", 2 / math.sqrt(2 * 4)),  # def, load, file, x
        ("maze maze", "maze_2 = 1", 2 / (2 * math.sqrt(3))),
        ("maze", '"""maze"""', 0.0),
        ("maze", "# maze\n", 0.0),
        ("HTTP server", "HTTPServer", 1.0),
        ("", "x", 0.0),
    ],
)
def test_lexical_cosine(target: str, answer: str, value: float) -> None:
    assert measured("lexical_cosine", target, answer) == pytest.approx(value)


@pytest.mark.parametrize("kind", OVERLAPS)
@given(one=words | replies, other=words | replies)
def test_a_metric_is_a_share(kind: str, one: str, other: str) -> None:
    assert 0.0 <= measured(kind, [other] if kind == "set_f1" else other, one) <= 1.0


@given(text=words | replies)
def test_a_text_has_all_of_itself(text: str) -> None:
    assert measured("squad_em", text, text) == measured("squad_f1", text, text) == 1.0
    assert measured("rouge_l", text, text) == 1.0
    assert measured("set_f1", text.splitlines(), "\n".join(text.splitlines())) == pytest.approx(1.0) or ", " in text


@given(text=words.filter(str.strip))
def test_a_program_of_its_requirements_words_is_consistent(text: str) -> None:
    value = measured("lexical_cosine", f"word {text}", f"word\n{text.upper()}  # and more")
    assert value == pytest.approx(1.0)


@given(one=words, other=words, order=st.randoms())
def test_words_count_in_any_order_and_both_ways(one: str, other: str, order: object) -> None:
    shuffled = " ".join(sorted(one.split()))
    assert word_f1(one, other) == word_f1(other, one) == pytest.approx(word_f1(shuffled, other))


@given(said=lists, wanted=lists, data=st.data())
def test_a_set_has_no_order(said: list[str], wanted: list[str], data: st.DataObject) -> None:
    value = measured("set_f1", wanted, "\n".join(said))
    others = data.draw(st.permutations(said)), data.draw(st.permutations(wanted))
    assert measured("set_f1", others[1], "\n".join(others[0])) == value
    assert measured("set_f1", said, "\n".join(wanted)) == value


@given(one=st.text("ab", max_size=7), other=st.text("ab", max_size=7))
def test_the_longest_common_subsequence_is_the_longest(one: str, other: str) -> None:
    def parts(text: str) -> set[str]:
        found = {""}
        for letter in text:
            found |= {part + letter for part in found}
        return found

    assert common_subsequence(one, other) == max(map(len, parts(one) & parts(other)))


@pytest.mark.parametrize("kind", OVERLAPS)
@pytest.mark.parametrize("piece", ["'''", '"""', "a ", "#", "_", "1, ", "- ", "\n", "aB", "\x00"])
def test_a_long_reply_is_measured_at_once(kind: str, piece: str) -> None:
    started = time.perf_counter()
    measured(kind, ["a b", "c"], piece * (300_000 // len(piece)))
    assert time.perf_counter() - started < 5


def test_metrics_are_made_by_field() -> None:
    example = Example("1", {"a": ["x"], "b": "y"})
    assert set_f1("a")("x", example) == rouge_l("b")("y", example) == 1.0
