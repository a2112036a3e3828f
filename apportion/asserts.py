"""Reads the asserts of a test as calls with plain arguments and a condition on what they give, so that no test is run.

For tests as HumanEval writes them (arXiv 2107.03374): `def check(candidate):` and asserts below it. A test that runs
beside the code it tests can be deceived by it; here the calls go where the code is, and the conditions stay. It does
not know where a call is made.
"""

from __future__ import annotations

import ast
import operator
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

MOST_CHARACTERS: Final = 1_000_000
MOST_POWER: Final = 64
CHECK: Final = "check"

Values = Sequence[object]
"""What the calls of one assert gave, in order."""

Part = Callable[[Values], Any]

WRAPPERS: Final[Mapping[str, Callable[[Any], object]]] = {
    f.__name__: f for f in (abs, len, sorted, tuple, list, set, sum, min, max)
}
"""Functions of one argument that may stand around a call."""

ARITHMETIC: Final[Mapping[type[ast.operator], Callable[[Any, Any], object]]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}

COMPARISONS: Final[Mapping[type[ast.cmpop], Callable[[Any, Any], object]]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Is: operator.is_,
    ast.IsNot: operator.is_not,
    ast.In: lambda one, other: one in other,
    ast.NotIn: lambda one, other: one not in other,
}


@dataclass(frozen=True, slots=True)
class Assertion:
    """One assert.

    Attributes:
        calls: the arguments of each call, as Python writes the tuple of them.
        condition: of what the calls gave.
    """

    calls: tuple[str, ...]
    condition: Part

    def holds(self, values: Values) -> bool:
        """Whether the assert is right about these plain values, one for each call."""
        try:
            return bool(self.condition(values))
        except Exception:  # noqa: BLE001  (a text where a number was expected: the assert would have raised too)
            return False


def read_check(test: str) -> tuple[Assertion, ...]:
    """The asserts of a test, in order.

    Raises:
        ValueError: it has none, or does something that is no such assert; says which line.
    """
    if len(test) > MOST_CHARACTERS:
        raise ValueError(f"it has {len(test):,} characters, more than {MOST_CHARACTERS:,}")
    try:
        with warnings.catch_warnings(action="ignore"):  # `is` beside a literal, odd escapes
            tree = ast.parse(test)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise ValueError(f"it is no Python ({type(error).__name__})") from None
    checks = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == CHECK]
    if not checks or len(checks[-1].args.args) != 1:
        raise ValueError("it has no `def check(candidate)`")
    candidate = checks[-1].args.args[0].arg
    found = [_assertion(node, candidate) for node in checks[-1].body if not _idle(node)]
    if not any(assertion.calls for assertion in found):
        raise ValueError("it calls nothing")
    return tuple(assertion for assertion in found if assertion.calls or not assertion.holds(()))


def _idle(node: ast.stmt) -> bool:
    """Whether a statement does nothing: `pass`, a text, a name alone."""
    return isinstance(node, ast.Pass) or (
        isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant | ast.Name)
    )


def _assertion(node: ast.stmt, candidate: str) -> Assertion:
    try:
        if not isinstance(node, ast.Assert):
            raise _Unreadable
        calls: list[str] = []
        condition = _part(node.test, candidate, calls)
    except (_Unreadable, RecursionError):
        line = ast.unparse(node).partition("\n")[0][:60]
        raise ValueError(f"line {node.lineno}, `{line}`, is no assert of literals") from None
    return Assertion(tuple(calls), condition)


class _Unreadable(Exception):
    """Something else than calls, literals and what may stand around them."""


def _part(node: ast.expr, candidate: str, calls: list[str]) -> Part:
    """What an expression gives, its calls noted.

    Raises:
        _Unreadable: it is none of the forms that are known, or without a call it gives nothing.
    """
    before = len(calls)
    part = _formed(node, candidate, calls)
    if len(calls) > before:
        return part
    try:
        constant = part(())
    except (TypeError, ValueError, ArithmeticError):
        raise _Unreadable from None
    return lambda values: constant


def _formed(node: ast.expr, candidate: str, calls: list[str]) -> Part:
    def below(part: ast.expr) -> Part:
        return _part(part, candidate, calls)

    match node:
        case ast.Call(func=ast.Name(id=name), args=arguments, keywords=[]) if name == candidate:
            place = len(calls)
            calls.append(repr(tuple(_literal(argument) for argument in arguments)))
            return lambda values: values[place]
        case ast.Call(func=ast.Name(id=name), args=[only], keywords=[]) if name in WRAPPERS:
            wrapper, inner = WRAPPERS[name], below(only)
            return lambda values: wrapper(inner(values))
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            denied = below(operand)
            return lambda values: not denied(values)
        case ast.BinOp(left=left, op=op, right=right) if type(op) in ARITHMETIC:
            reckon, one, other = ARITHMETIC[type(op)], below(left), below(right)
            return lambda values: reckon(_number(one(values)), _number(other(values)))
        case ast.Compare(left=left, ops=[op], comparators=[right]) if type(op) in COMPARISONS:
            compare, one, other = COMPARISONS[type(op)], below(left), below(right)
            return lambda values: compare(one(values), other(values))
        case ast.BoolOp(op=ast.And(), values=parts):
            all_of = [below(part) for part in parts]
            return lambda values: all(part(values) for part in all_of)
        case _:
            constant = _literal(node)
            return lambda values: constant


def _number(value: object) -> float:
    """Only numbers are reckoned with: a text times a million is none."""
    if not isinstance(value, int | float) or (isinstance(value, int) and value.bit_length() > 4096):
        raise TypeError
    return value


def _literal(node: ast.expr) -> object:
    """The value of a literal, which may hold arithmetic such as `2.0 / 3.0`.

    Raises:
        _Unreadable: it is none.
    """
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError, MemoryError):
        pass
    match node:
        case ast.List(elts=items):
            return [_literal(item) for item in items]
        case ast.Tuple(elts=items):
            return tuple(_literal(item) for item in items)
        case ast.BinOp(left=left, op=op, right=right):
            return _reckoned(_literal(left), op, _literal(right))
    raise _Unreadable


def _reckoned(one: object, op: ast.operator, other: object) -> object:
    if isinstance(op, ast.Add) and isinstance(one, str) and isinstance(other, str):
        return one + other
    try:
        if isinstance(op, ast.Pow) and 0 <= _number(other) <= MOST_POWER:
            return _number(one) ** _number(other)
        return ARITHMETIC[type(op)](_number(one), _number(other))
    except (LookupError, TypeError, ArithmeticError):
        raise _Unreadable from None
