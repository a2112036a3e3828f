"""Prompt templates: names and doubled braces, nothing else; values are never read as templates."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apportion import template

names = st.from_regex(r"[A-Za-z_][A-Za-z0-9_ -]{0,10}", fullmatch=True)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


def test_names_are_found_once_and_in_order() -> None:
    assert template.names("{a} {{b}} {a} {ground truth} {ü}") == ("a", "ground truth", "ü")
    assert template.names("") == ()


def test_rendering() -> None:
    assert template.render("{a}: {{{b}}}", {"a": [1, "ü"], "b": "x{c}"}) == '[1, "ü"]: {x{c}}'
    assert template.render("{list}|{none}|{yes}", {"list": ["a", "b"], "none": None, "yes": True}) == "a\nb|null|true"


@pytest.mark.parametrize(
    "bad", ["{", "}", "{}", "{0}", "{a.b}", "{a[0]}", "{a!r}", "{a:>9}", "{a}}", "{ a}", "{{a}", "{a{b}}", "{a\nb}"]
)
def test_whatever_is_no_plain_name_is_refused(bad: str) -> None:
    with pytest.raises(ValueError, match=r"^braces must .*, but .*; "):
        template.parts(bad)


def test_a_name_without_a_value_is_refused() -> None:
    with pytest.raises(KeyError, match="b"):
        template.render("{a} {b}", {"a": "1"})


@given(st.text())
def test_doubled_braces_stand_for_braces(text: str) -> None:
    doubled = text.replace("{", "{{").replace("}", "}}")
    assert template.render(doubled, {}) == text and template.names(doubled) == ()


@given(st.lists(st.tuples(st.text(alphabet="ab .\n", max_size=5), names), max_size=5), values)
def test_a_value_stands_where_its_name_stood(pieces: list[tuple[str, str]], value: object) -> None:
    text = "".join(f"{literal}{{{name}}}" for literal, name in pieces)
    expected = "".join(literal + template.as_text(value) for literal, _ in pieces)
    assert template.render(text, {name: value for _, name in pieces}) == expected


@given(st.text())
def test_any_text_is_taken_or_refused_with_a_reason(text: str) -> None:
    try:
        found = template.parts(text)
    except ValueError as error:
        assert "braces must" in str(error)
    else:
        assert found[-1][1] is None and all(name is not None for _, name in found[:-1])


@given(values)
def test_values_read_back(value: object) -> None:
    shown = template.as_text(value)
    if isinstance(value, str):
        assert shown == value
    elif isinstance(value, list) and all(isinstance(item, str) for item in value):
        assert shown == "\n".join(value)
    else:
        assert json.loads(shown) == value
