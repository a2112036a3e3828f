"""Parsers: golden replies, and nothing that a model can write makes one raise."""

from __future__ import annotations

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apportion.envs import parsers
from tests.strategies import anything, replies

OPTIONS = ("A", "AB", "yes", "not enough info", "C++", "istanbul")
PARSERS: dict[str, parsers.Parser] = {
    **parsers.PLAIN,
    "regex": parsers.regex(r"Answer:(.*)"),
    "optional group": parsers.regex(r"x(y)?"),
    "choice": parsers.choice(OPTIONS),
    "json_key": parsers.json_key("a"),
}
json_like = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(exclude_categories=()), max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("ab"), inner, max_size=2),
    max_leaves=8,
).map(json.dumps)


@pytest.mark.parametrize("name", PARSERS)
@given(reply=replies | json_like)
def test_no_reply_makes_a_parser_raise(name: str, reply: str) -> None:
    value = PARSERS[name](reply)
    if value is not None:
        assert value and value == value.strip()
        value.encode()  # whatever is parsed can be stored and sent on


@pytest.mark.parametrize("name", PARSERS)
@given(reply=anything)
def test_no_text_at_all_makes_a_parser_raise(name: str, reply: str) -> None:
    for text in (reply, f"\x00{reply}\ud800", reply * 1000):
        value = PARSERS[name](text)
        assert value is None or value == value.strip() != ""


@pytest.mark.parametrize("name", PARSERS)
@pytest.mark.parametrize(
    "piece", ["9", "1,", "1,111", "+-", "{", '{"a":', "[", "a ", "\x00", "\ud800", "\n", "Answer:"]
)
def test_a_megabyte_is_parsed_at_once(name: str, piece: str) -> None:
    started = time.perf_counter()
    PARSERS[name](piece * (1_000_000 // len(piece)))
    assert time.perf_counter() - started < 5


@pytest.mark.parametrize(
    ("reply", "value"),
    [
        ("", None),
        ("no digits", None),
        ("42", "42"),
        ("The answer is 42.", "42"),
        ("first 1, then 2", "2"),
        ("$1,234,567.80 in all", "1234567.80"),
        ("-3", "-3"),
        ("+3.5e-2", "+3.5e-2"),
        (".5", ".5"),
        ("-.25", "-.25"),
        ("50%", "50"),
        ("1,2345", "2345"),
        ("12,34", "34"),
        ("x = 7\n\n", "7"),
    ],
)
def test_number(reply: str, value: str | None) -> None:
    assert parsers.number(reply) == value


@given(st.integers() | st.floats(allow_nan=False, allow_infinity=False), st.sampled_from(["", "It is ", "12 then "]))
def test_a_written_number_is_read_back(number: float, before: str) -> None:
    found = parsers.number(f"{before}{number}.")
    assert found is not None and float(found) == float(number)


@given(st.integers(0, 10**15))
def test_thousands_are_read_back(number: int) -> None:
    assert parsers.number(f"about {number:,} of them") == str(number)


@pytest.mark.parametrize(
    ("reply", "text", "first", "last"),
    [
        ("", None, None, None),
        (" \n\t\n", None, None, None),
        ("one", "one", "one", "one"),
        ("\n a b \n\n c \n", "a b \n\n c", "a b", "c"),
        ("a\r\nb\r\n", "a\r\nb", "a", "b"),
    ],
)
def test_lines(reply: str, text: str | None, first: str | None, last: str | None) -> None:
    assert (parsers.text(reply), parsers.first_line(reply), parsers.last_line(reply)) == (text, first, last)


@pytest.mark.parametrize(
    ("reply", "value"),
    [
        ("[2, 5]", "2, 5"),
        ("5, 2 and 5", "2, 5"),
        ("Passages [10] and [2] (1994)", "2, 10"),
        ("[2] Title\n[7] Title 3", "2, 7"),
        ("[3; 4]", "3, 4"),
        ("in 1994.", "1994"),
        ("version 2.5 of x7", None),
        ("none", None),
        ("[]", None),
        ("[-] 4", "4"),
        ("007", "7"),
    ],
)
def test_ids(reply: str, value: str | None) -> None:
    assert parsers.ids(reply) == value


@given(st.sets(st.integers(0, 999_999), min_size=1))
def test_listed_ids_are_read_back(numbers: set[int]) -> None:
    read = parsers.ids(str(list(numbers)))
    assert read == ", ".join(map(str, sorted(numbers))) == parsers.ids(str(read))


def test_code() -> None:
    assert parsers.code("So:\n```python\nx = 1\n```\nand ```y```") == "x = 1"
    assert parsers.code(" x = 1 ") == "x = 1"
    assert parsers.code("```\n```") is None


@pytest.mark.parametrize(
    ("reply", "value"),
    [
        ("Answer: 7 \nAnswer: 8", "7"),
        ("Answer:   ", None),
        ("answer: 7", None),
    ],
)
def test_regex(reply: str, value: str | None) -> None:
    assert PARSERS["regex"](reply) == value


def test_a_group_that_took_no_part_is_no_value() -> None:
    assert PARSERS["optional group"]("x") is None
    assert PARSERS["optional group"]("xy") == "y"


@pytest.mark.parametrize(
    ("reply", "value"),
    [
        ("a", "A"),
        ("(A) because", "A"),
        ("Not AB but A", "AB"),
        ("ABC", None),
        ("YES.", "yes"),
        ("There is Not Enough Info here", "not enough info"),
        ("c++ it is", "C++"),
        ("yesterday", None),
        ("\u0130STANBUL", "istanbul"),  # matches whatever the case, but folds to other letters
    ],
)
def test_choice(reply: str, value: str | None) -> None:
    assert PARSERS["choice"](reply) == value


@pytest.mark.parametrize(
    ("reply", "value"),
    [
        ('{"a": " x "}', "x"),
        ('Sure! ```json\n{"a": 1}\n``` done', "1"),
        ('{"a": {"c": [2, true], "b": null}}', '{"b": null, "c": [2, true]}'),
        ('{"a": ""}', None),
        ('{"b": 1}', None),
        ('{broken {"a": 2}', "2"),
        ("[1]", None),
        ('{"a": "\\ud83d\\ude00"}', "\U0001f600"),
        ('{"a": "half a pair: \\ud83d"}', "half a pair: ?"),
        ('{"a": ["\\ud83d"]}', '["\\ud83d"]'),
        ('{"a": 1' + "0" * 5000 + "}", None),
        ("{" * 200 + '{"a": 1}', None),
    ],
)
def test_json_key(reply: str, value: str | None) -> None:
    assert PARSERS["json_key"](reply) == value


def test_deep_nesting_is_read_or_left() -> None:
    for depth in (*range(10, 1000, 45), *range(880, 1010), 100_000):
        for inner in ("[" * depth + "]" * depth, '{"a":' * depth + "1" + "}" * depth, "[" * depth):
            value = parsers.json_key("a")(f'{{"a":{inner}}}')
            assert value is None or value.startswith(("[", "{"))


def test_a_pattern_that_takes_for_ever_is_given_up() -> None:
    parse = parsers.regex(r"answer: ((?:a+)+)$")
    started = time.perf_counter()
    assert parse("answer: " + 60 * "a" + "!") is None
    assert time.perf_counter() - started < 5
