"""Answer evaluators: right, wrong, and never an exception for what a model wrote."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apportion.envs.stage import Example
from apportion.evaluators.answers import ANSWERS, normal
from tests.strategies import replies

ANY: dict[str, object] = {  # kind -> a field's value of its form
    "exact": ["Paris", "the capital"],
    "numeric": "1,234.5",
    "choice": "B",
    "contains": "C++",
    "regex": r"\bparis\b",
    "json_fields": {"a": 1, "b": [2.5, None], "c": "x"},
    "squad_em": ["The Beatles", "Fab Four"],
}


def right(kind: str, target: object, answer: str, **options: object) -> bool:
    return ANSWERS[kind](field="target", **options)(answer, Example("1", {"target": target}))


def test_every_kind_is_tried() -> None:
    assert set(ANY) == set(ANSWERS)


@pytest.mark.parametrize("kind", ANY)
@given(answer=replies)
def test_no_answer_makes_an_evaluator_raise(kind: str, answer: str) -> None:
    assert right(kind, ANY[kind], answer) in (True, False)


@pytest.mark.parametrize(
    ("target", "answer", "good"),
    [
        ("Paris", " paris. ", True),
        ("Paris", "PARIS .", True),
        ("New York", "new\n  york", True),
        ("Paris", "In Paris", False),
        ("U.S.", "u.s", True),
        ("Straße", "STRASSE", True),
        (["Paris", "Lutetia"], "lutetia", True),
        (["Paris", "Lutetia"], "Rome", False),
        (42, "42", True),
        (True, "true", True),
    ],
)
def test_exact(target: object, answer: str, good: bool) -> None:  # noqa: FBT001
    assert right("exact", target, answer) is good


@given(st.text())
def test_normal_forms_are_normal(text: str) -> None:
    assert normal(normal(text)) == normal(text)
    assert right("exact", text, f"  {text}\n")


@pytest.mark.parametrize(
    ("target", "answer", "tolerance", "good"),
    [
        (42, "It is 42.", 1e-6, True),
        ("42", "6 times 7 is 42", 1e-6, True),
        ("1,234.5", "1234.5", 1e-6, True),
        (1234.5, "$1,234.50", 1e-6, True),
        (0.1, "0.1000000001", 1e-6, True),
        (0, "0.01", 1e-6, False),
        (10, "10.4", 0.5, True),
        (10, "16", 0.5, False),
        (1e9, "1000000900", 1e-6, True),
        (1e9, "1000002000", 1e-6, False),
        ([1, 2], "2", 1e-6, True),
        (42, "forty-two", 1e-6, False),
        (42, "1e999", 1e-6, False),
        (-3, "-3", 1e-6, True),
    ],
)
def test_numeric(target: object, answer: str, tolerance: float, good: bool) -> None:  # noqa: FBT001
    assert right("numeric", target, answer, tolerance=tolerance) is good


@pytest.mark.parametrize(
    ("target", "answer", "good"),
    [
        ("B", "B", True),
        ("b", "(B) because it is", True),
        ("B", "**B.**", True),
        ("B", "Because", False),
        ("B", "A, not B", False),
        ("B", "", False),
        (["A", "B"], "b", True),
        (1, "1", True),
        ("not enough info", "Not enough info.", True),
        ("not enough info", "not", False),
        ("C++", "c++", True),
    ],
)
def test_choice(target: object, answer: str, good: bool) -> None:  # noqa: FBT001
    assert right("choice", target, answer) is good


@pytest.mark.parametrize(
    ("target", "answer", "good"),
    [
        ("Paris", "It is in Paris, France.", True),
        ("Paris", "Parisian", False),
        ("new york", "New\nYork it is", True),
        ("C++", "I like C++.", True),
        ("3", "13", False),
        (["Rome", "Paris"], "paris", True),
    ],
)
def test_contains(target: object, answer: str, good: bool) -> None:  # noqa: FBT001
    assert right("contains", target, answer) is good


@pytest.mark.parametrize(
    ("target", "answer", "good"),
    [
        ("The Beatles", "beatles!", True),
        (["Rome", "The Eternal City"], "an eternal  city.", True),
        ("U.S.A.", "USA", True),
        ("Rome", "in Rome", False),
        ("theatre", "atre", False),
        ("7", "The 7", True),
    ],
)
def test_squad_em(target: object, answer: str, good: bool) -> None:  # noqa: FBT001
    assert right("squad_em", target, answer) is good


def test_regex() -> None:
    assert right("regex", r"^\d+ apples?$", "3 apples")
    assert not right("regex", r"^\d+ apples?$", "3 Apples")
    assert right("regex", ["x", "y"], "only y")


@pytest.mark.parametrize(
    ("target", "answer", "fields", "good"),
    [
        ({"a": 1, "b": "X"}, 'So: {"b": " x. ", "a": 1, "c": 0}', (), True),
        ('{"a": 1}', '{"a": 1}', (), True),
        ({"a": 1, "b": 2}, '{"a": 1, "b": 3}', ("a",), True),
        ({"a": 1, "b": 2}, '{"a": 1, "b": 3}', (), False),
        ({"a": 1}, '{"b": 1}', (), False),
        ({"a": {"x": 1, "y": 2}}, '{"a": {"y": 2, "x": 1}}', (), True),
        ({"a": [1, 2]}, '{"a": [2, 1]}', (), False),
        ({"a": True}, '{"a": 1}', (), False),
        ({"a": None}, "{}", (), False),
        ({"a": 1}, "no object", (), False),
        ([{"a": 1}], '{"a": 1}', (), False),
    ],
)
def test_json_fields(target: object, answer: str, fields: tuple[str, ...], good: bool) -> None:  # noqa: FBT001
    assert right("json_fields", target, answer, fields=fields) is good
