"""The loader alone: what is read as what, what is refused, and that nothing hangs."""

from __future__ import annotations

import math
import time
import tracemalloc
from datetime import timedelta

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from apportion.spec import yaml

DEPTH = "[" * 5000 + "]" * 5000
LAUGHS = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 10)
)


def value(text: str | bytes) -> object:
    """The value of a document without problems."""
    node, problems = yaml.read(text if isinstance(text, bytes) else text.encode(), "f")
    assert node is not None and problems == []
    return node.plain()


def problems(text: str | bytes) -> list[str]:
    """What is said of a document."""
    return [str(problem) for problem in yaml.read(text if isinstance(text, bytes) else text.encode(), "f")[1]]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("no", "no"),
        ("on", "on"),
        ("Yes", "Yes"),
        ("true", True),
        ("FALSE", False),
        ("010", 10),
        ("0o10", 8),
        ("0x1F", 31),
        ("-7", -7),
        ("1_000", "1_000"),
        ("1:30", "1:30"),
        ("1e3", 1000.0),
        ("1.35e8", 1.35e8),
        (".5", 0.5),
        ("3.", 3.0),
        ("1e999", math.inf),
        (".inf", math.inf),
        ("-.INF", -math.inf),
        ("2026-11-22", "2026-11-22"),
        ("~", None),
        ("", None),
        ("# only a comment", None),
        ("'1'", "1"),
        ('"null"', "null"),
        ("${HOME}/x", "${HOME}/x"),
        ("budget:10", "budget:10"),
        ("=", "="),
        ("[1, [a, {b: ~}]]", (1, ("a", {"b": None}))),
        (b"\xef\xbb\xbfa: 1\r\nb: |\r\n  two\r\n", {"a": 1, "b": "two\n"}),
        ("a: &x {y: 1}\nb: *x", {"a": {"y": 1}, "b": {"y": 1}}),
        ("a: &x 1\nb: &x 2\nc: *x", {"a": 1, "b": 2, "c": 2}),
        ("😀: ü", {"😀": "ü"}),
    ],
)
def test_scalars_follow_yaml_1_2(text: str | bytes, expected: object) -> None:
    found = value(text)
    assert found == expected and type(found) is type(expected)


def test_nan_is_a_float() -> None:
    found = value(".nan")
    assert isinstance(found, float) and math.isnan(found)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: 1\nb: 2\na: 3", "f:3: a: a key must be given once, but it is also on line 1; remove"),
        ("a:\n  - {x: 1, x: 2}", "f:2: a.0.x: a key must be given once"),
        ("a:\n  &x [1, *x]", "f:2: a.1: an alias must not contain itself, but *x does; write it out"),
        ("a: &x 1\nb: &x [*x]", "f:2: b.0: an alias must not contain itself"),
        ("a: *x", "f:1: a: an alias must follow its anchor, but &x is not above; add it"),
        (f"a: {DEPTH}", "f:1: YAML: a task must be at most 64 levels deep; nest it less"),
        ("a: &x " + "[" * 40 + "]" * 40 + "\nb: " + "[" * 40 + "*x" + "]" * 40, "f:2: YAML: a task must be at most 64"),
        (LAUGHS, "YAML: a task must have at most 100,000 values, aliases expanded"),
        ("a: &x " + "y" * 900_000 + "\nb: [*x, *x]", "f:2: YAML: a task must have at most 100,000 values"),
        ("[" + "a," * 200_000, "f:1: YAML: a task must have at most 100,000 values"),
        ("a:\n  b: 1\n  <<: {c: 1}", "f:3: a: merge keys `<<` are refused; write the keys out"),
        ("a: !!python/object/apply:os.system [ls]", "f:1: a: tags are refused, but there is '!!python/object"),
        ("a: 1\nb: !mine {c: 1}", "f:2: b: tags are refused, but there is '!mine'; remove the tag"),
        ("a: !!str 1", "f:1: a: tags are refused, but there is '!!str'"),
        ("a: 1\n---\nb: 1", "f:2: YAML: a task file must be one document; remove this second `---`"),
        ("a: 1\n1: 2", "f:2: top level: keys must be text, but one is 1; put the key in quotes"),
        ("true: 2", "f:1: top level: keys must be text, but one is true; put"),
        ("a: {[b]: 2}", "f:1: a: keys must be text, but one is a list of 1; put"),
        ("a:\n\tb: 1", "f:2: YAML: the file must be valid YAML, but found character that cannot start any token"),
        ("a: 1\nb: 'c", "f:2: YAML: the file must be valid YAML, but found unexpected end of stream"),
        ("a: [1, 2\nb: 3", "f:2: YAML: the file must be valid YAML"),
        ("a: 1\n  b: 2", "f:2: YAML: the file must be valid YAML, but mapping values are not allowed"),
        ("a: 1\n- b", "f:2: YAML: the file must be valid YAML"),
        ("a: 1\nb: @c", "f:2: YAML: the file must be valid YAML"),
        ("a: 1\n".encode("utf-16"), "f:1: YAML: the file must be UTF-8, but is UTF-16; save it as UTF-8"),
        (b"a: 1\nb: \xff", "f:2: YAML: the file must be UTF-8, but byte 8 is not; save it as UTF-8"),
        ("a: 1\nb: \0", "f:2: YAML: control characters are not allowed, but there is '\\x00'; remove it"),
        ("a: \x1b[31mred", "f:1: YAML: control characters are not allowed, but there is '\\x1b'"),
        ("a: one\u2028b: two", "f:1: YAML: control characters are not allowed, but there is '\\u2028'"),
        ("a: 1\nb: " + "9" * 5000, "f:2: b: a number must have at most 300 digits; write it like 1e9"),
        ("a: " + "x" * 10_000_000, "f: YAML: a task file must be at most 1,000,000 bytes; put data in"),
    ],
    ids=lambda text: repr(text[:24]),
)
def test_refused_with_place_and_remedy(text: str | bytes, said: str) -> None:
    started = time.process_time()
    found = problems(text)
    assert time.process_time() - started < 1
    assert len(found) == 1 and said in found[0] and "; " in found[0]
    assert "\n" not in found[0] and len(found[0]) < 400


def test_quote_remedy_names_where_it_began() -> None:
    (said,) = problems("a: 1\nb: 'c\nd: e\n")
    assert said.startswith("f:2: ") and said.endswith("; close the quote")


def test_all_that_can_be_is_reported_at_once() -> None:
    found = problems("a: 1\na: 2\nb: !x 1\n3: 4\n<<: {c: 1}\n")
    assert [line.split(":")[1] for line in found] == ["2", "3", "4", "5"]


def test_values_know_the_line_of_their_key() -> None:
    node, _ = yaml.read(b"a:\n  b:\n    - 1\n    - c: |\n        x\n        y\nd: &k 1\ne:\n  *k\n", "f")
    assert node is not None
    places: list[tuple[str | int, ...]] = [("a",), ("a", "b"), ("a", "b", 0), ("a", "b", 1, "c"), ("d",), ("e",)]
    assert [node.find(place).line for place in places] == [1, 2, 3, 4, 7, 8]
    assert node.find(("a", "b", 1, "x", "y")).line == 4  # the nearest that is there


@pytest.mark.parametrize(
    "text",
    [
        "".join(f"k{n}: {n}\n" for n in range(49_000)),
        "a: 1\n" * 90_000,
        "- " * 400_000,
        "{" * 900_000,
        '"' + "\\x41" * 200_000,
        "#\n" * 400_000,
        "a: |\n" + "  x\n" * 200_000,
        "---\n" * 200_000,
        "%A b\n" * 180_000,
        "[" + "&a b," * 180_000,
        "a: &a x\nb: [" + "*a," * 90_000 + "]",
        "? " * 400_000,
        "x" * 999_000 + ": 1",
    ],
    ids=lambda text: repr(text[:24]),
)
def test_a_megabyte_of_anything_ends_within_a_second(text: str) -> None:
    started = time.process_time()
    yaml.read(text.encode(), "f")
    assert time.process_time() - started < 1


def test_memory_stays_small() -> None:
    text = ("a: [" + "x," * 99_000 + "]").encode()
    tracemalloc.start()
    yaml.read(text, "f")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 60_000_000


@given(st.binary(max_size=300))
@example(b"\xef\xbb\xbf")
@example(b"*a : b")
@example(b"&a &b c")
@example(b"- !<a> b")
@settings(max_examples=300, deadline=timedelta(seconds=1))
def test_any_bytes_give_a_value_or_problems(data: bytes) -> None:
    node, found = yaml.read(data, "f")
    assert node is not None or found
    assert all("\n" not in str(problem) and str(problem).isprintable() for problem in found)


@given(st.text(alphabet="ab:-[]{},&*!|>'\"#%@? \n\t<~0", max_size=60))
@settings(max_examples=500, deadline=timedelta(seconds=1))
def test_any_punctuation_gives_a_value_or_problems(text: str) -> None:
    node, found = yaml.read(text.encode(), "f")
    assert node is not None or found
