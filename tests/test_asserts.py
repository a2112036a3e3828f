"""Asserts of tests as calls and conditions: what is read, what is refused, and that nothing of a test is run."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apportion.asserts import Assertion, read_check

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda below: st.lists(below, max_size=3) | st.tuples(below, below) | st.dictionaries(st.text(max_size=3), below),
    max_leaves=6,
)


def check(*lines: str, head: str = "candidate") -> str:
    return f"\n\nMETADATA = {{'author': 'me'}}\n\n\ndef check({head}):\n" + "".join(f"    {line}\n" for line in lines)


def only(line: str) -> Assertion:
    (found,) = read_check(check(line))
    return found


@pytest.mark.parametrize(
    ("line", "calls", "right", "wrong"),
    [
        ("assert candidate(1, 'a') == 3", ("(1, 'a')",), [3], [4]),
        ("assert candidate(1) == 3, 'message'", ("(1,)",), [3.0], ["3"]),
        ("assert (candidate() == (1, 2)), 'm'", ("()",), [(1, 2)], [[1, 2]]),
        ("assert candidate((1, 2), {3}) == None", ("((1, 2), {3})",), [None], [0]),
        ("assert candidate([]) is True", ("([],)",), [True], [1]),
        ("assert candidate([]) == True", ("([],)",), [1], [2]),
        ("assert candidate(-1)", ("(-1,)",), [7], [0]),
        ("assert not candidate(-1)", ("(-1,)",), [""], ["x"]),
        ("assert candidate(-1) != 2", ("(-1,)",), [3], [2]),
        ("assert abs(candidate(3.5) - 2.0 / 4) < 1e-6", ("(3.5,)",), [0.5], [0.6]),
        ("assert abs(candidate(3.5) - 0.5) < 1e-6", ("(3.5,)",), [0.5], [float("nan")]),
        ("assert abs(candidate(3.5) - 0.5) < 1e-6", ("(3.5,)",), [0.5], ["x" * 9]),
        ("assert tuple(candidate([1])) == tuple([1, 2])", ("([1],)",), [[1, 2]], [3]),
        ("assert sorted(candidate(1)) == [1, 2]", ("(1,)",), [{2, 1}], [[1, "a"]]),
        ("assert candidate(1) in ['a', 'b']", ("(1,)",), ["a"], ["c"]),
        ("assert candidate(1) == candidate(2)", ("(1,)", "(2,)"), [5, 5], [5, 6]),
        ("assert candidate(1) > 0 and candidate(2) > 0", ("(1,)", "(2,)"), [5, 5], [5, 0]),
        ("assert candidate('a' + 'b', [0 ** 0]) == 3 * (2 - 5)", ("('ab', [1])",), [-9], [9]),
        ("assert candidate(1) == (3 + 5, 3 * 5)", ("(1,)",), [(8, 15)], [(8, 16)]),
    ],
)
def test_what_is_read(line: str, calls: tuple[str, ...], right: list[object], wrong: list[object]) -> None:
    found = only(line)
    assert found.calls == calls
    assert found.holds(right) and not found.holds(wrong)


@given(arguments=st.lists(PLAIN, max_size=3), expected=PLAIN, other=PLAIN)
def test_literals_are_read_as_python_reads_them(arguments: list[object], expected: object, other: object) -> None:
    found = only(f"assert candidate({', '.join(map(repr, arguments))}) == {expected!r}")
    assert found.holds([expected])
    assert found.holds([other]) == (other == expected)
    assert [eval(call) for call in found.calls] == [tuple(arguments)]


def test_what_does_nothing_is_left_out_and_the_order_stays() -> None:
    test = check("'''doc'''", "pass", "print", "assert True, 'good'", "assert f(1) == 1", "assert f(2) == 2", head="f")
    assert [assertion.calls for assertion in read_check(test)] == [("(1,)",), ("(2,)",)]


@pytest.mark.parametrize(
    ("test", "why"),
    [
        ("x = 1", "it has no `def check(candidate)`"),
        ("def check(): pass", "it has no `def check(candidate)`"),
        ("def check(", "it is no Python (SyntaxError)"),
        ("(" * 10_000, "it is no Python ("),
        ("#" * 1_000_001, "it has 1,000,001 characters, more than 1,000,000"),
        (check("pass"), "it calls nothing"),
        (check("assert True"), "it calls nothing"),
        (check("for x in range(9):", "    assert candidate(x) == x"), "line 7, `for x in range(9):`, is no assert of"),
        (check("import os"), "line 7, `import os`, is no assert of literals"),
        (check("assert candidate(x) == 1"), "line 7, `assert candidate(x) == 1`, is no"),
        (check("assert candidate(1) == helper(1)"), "line 7, `assert candidate(1) == helper(1)`, is no"),
        (check("assert candidate(candidate(1)) == 1"), "line 7, `assert candidate(candidate(1)) == 1`, is no"),
        (check("assert candidate(a=1) == 1"), "line 7, `assert candidate(a=1) == 1`, is no"),
        (check("assert candidate(1).x == 1"), "line 7, `assert candidate(1).x == 1`, is no"),
        (check("assert candidate(1) == 2 ** 1000"), "line 7, `assert candidate(1) == 2 ** 1000`, is no"),
        (check("assert candidate(1) == 'a' * 1000"), "line 7, `assert candidate(1) == 'a' * 1000`, is no"),
        (check("print(candidate(1))"), "line 7, `print(candidate(1))`, is no"),
    ],
)
def test_what_is_refused(test: str, why: str) -> None:
    with pytest.raises(ValueError) as refused:
        read_check(test)
    assert str(refused.value).startswith(why)
