"""The program of a judging process: hands hostile answers to libraries that may hang on them; a line for each question.

`apportion.evaluators.judge` runs this file by its path, so it knows nothing of the package. Libraries evaluate what
they read: sympy's parser, and some scores of reasoning-gym, would run an answer such as `exec("…")` as Python. Here
they get an `eval` that knows literals, arithmetic and sympy's own classes, and calls nothing else.
"""

from __future__ import annotations

import ast
import ctypes
import hashlib
import json
import os
import random
import re
import resource
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from typing import Any, Final

MEMORY_BYTES: Final = 1 << 30
PR_SET_PDEATHSIG: Final = 1  # from linux/prctl.h
READY: Final = "ready"

MARKED = re.compile(r"(?<!\\)\$|\\boxed|\\\(|\\\[")
"""What shows that a text says itself where its mathematics is."""

PLAIN: Final = (
    *(ast.Expression, ast.Constant, ast.Name, ast.Load, ast.Call, ast.List, ast.Tuple, ast.Dict),
    *(ast.UnaryOp, ast.unaryop, ast.BinOp, ast.operator),
)
"""Nodes of an expression that may be evaluated."""

TOLD_BY_TEXT: Final = frozenset({"Symbol", "Integer", "Float", "Rational"})
"""Classes of sympy that take a text: what sympy's parser itself writes."""

ROOTS: Final = frozenset({"sqrt", "cbrt", "root"})
"""Functions of sympy that are no classes, and that answers call."""

Question = dict[str, Any]
Judge = Callable[[Question], object]


class RefusedError(Exception):
    """A question that cannot be judged, which says nothing about an answer."""


def main(library: str) -> None:
    """Announce that the library is there, then answer each line of stdin with one of stdout."""
    die_with_parent()
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8", buffering=1)
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)  # whatever a library prints is not an answer
    os.dup2(null, 2)
    try:
        judge = JUDGES[library]()
    except ImportError as error:
        print(json.dumps(f"{type(error).__name__}: {error}"), file=answers)
        return
    limit()
    print(json.dumps(READY), file=answers)
    for line in sys.stdin.buffer:
        print(answer(judge, json.loads(line)), file=answers)


def die_with_parent() -> None:
    """Have Linux kill this process with its parent, also while it computes and does not read stdin."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def limit() -> None:
    """Bound what this process may take: memory, and no file is written. And have an alarm end it."""
    for what, most in (
        (resource.RLIMIT_AS, MEMORY_BYTES),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(what, (most, most))
    libc = ctypes.CDLL(None)
    # The first process of a namespace is spared by signals that have no handler; Python's own would await its turn.
    libc.signal(signal.SIGPROF, ctypes.cast(libc._exit, ctypes.c_void_p))


def answer(judge: Judge, question: Question) -> str:
    """The answer to a question as a line. The process ends where it takes too long, or too much memory."""
    signal.setitimer(signal.ITIMER_PROF, question.pop("cpu_s"))  # of this process's own time, and its end
    random.seed(0)
    try:
        said = json.dumps({"value": judge(question)})
    except RefusedError as refused:
        said = json.dumps({"refused": str(refused)})
    except MemoryError:
        os._exit(1)  # what is left of it would judge the next one otherwise
    except Exception as error:  # noqa: BLE001  (a library may raise anything at what a model wrote)
        said = json.dumps({"value": None, "raised": type(error).__name__})
    signal.setitimer(signal.ITIMER_PROF, 0)
    return said


def mathematics() -> Judge:
    """Whether an answer is mathematically the same as one of the texts that are wanted, by math-verify."""
    from math_verify import parse, verify
    from sympy.core.random import seed

    guard_sympy()

    def expressions(text: str) -> Iterator[list[object]]:
        for reading in (text,) if MARKED.search(text) else (f"${text}$", text):
            yield parse(reading, parsing_timeout=None)  # its own time limit is an alarm; ours ends the process

    def judge(question: Question) -> bool:
        seed(0)
        golds = [next(expressions(wanted)) for wanted in question["wanted"]]
        said = expressions(question["answer"])
        return any(verify(gold, found, timeout_seconds=None) for found in said for gold in golds)

    return judge


def reasoning() -> Judge:
    """Rows of reasoning-gym's data sets, and its own scores of answers to them."""
    import reasoning_gym
    from reasoning_gym.factory import DATASETS
    from sympy.core.random import seed

    guard_sympy()
    for name, module in list(sys.modules.items()):
        if name.startswith("reasoning_gym."):
            vars(module)["eval"] = careful_eval

    @lru_cache(maxsize=8)
    def made(name: str, size: int, first: int) -> Any:
        if name not in DATASETS:
            raise RefusedError("unknown")
        return reasoning_gym.create_dataset(name, size=size, seed=first)

    def judge(question: Question) -> object:
        seed(0)
        if question["do"] == "names":
            return sorted(DATASETS)
        dataset = made(question["dataset"], question["size"], question["seed"])
        entry = dataset[question["index"]]
        if question["do"] == "make":
            return {"question": entry["question"], "answer": as_text(entry["answer"]), "sha256": digest(entry)}
        if digest(entry) != question["sha256"]:
            raise RefusedError("other")
        if question["do"] == "check":
            return True
        return float(dataset.score_answer(question["answer"], entry))

    return judge


JUDGES: Final[Mapping[str, Callable[[], Judge]]] = {"math": mathematics, "reasoning": reasoning}


def as_text(value: object) -> str | None:
    """The answer of a row, which most data sets give as text, and some as a value or not at all."""
    return value if value is None or isinstance(value, str) else json.dumps(value, default=str)


def digest(entry: Mapping[str, Any]) -> str:
    """What tells whether a row is made anew as it was: other versions of the library make others."""
    return hashlib.sha256(json.dumps([entry["question"], as_text(entry["answer"])]).encode()).hexdigest()[:16]


def guard_sympy() -> None:
    """Give sympy's parser, which is made to evaluate, the careful `eval`."""
    from sympy.parsing import sympy_parser

    vars(sympy_parser)["eval"] = careful_eval


def careful_eval(
    source: str, scope: Mapping[str, object] | None = None, inner: Mapping[str, object] | None = None
) -> object:
    """`eval` of literals, arithmetic, sympy's constants and calls of its classes.

    Raises:
        ValueError: there is anything else in it.
    """
    known = {**(scope or {}), **(inner or {})}
    tree = ast.parse(source.strip(), mode="eval")
    called = {id(node.func): node for node in ast.walk(tree) if isinstance(node, ast.Call)}
    told = {id(part) for call in called.values() for part in call.args if named(call.func) in TOLD_BY_TEXT}
    for node in ast.walk(tree):
        if not isinstance(node, PLAIN) or (isinstance(node, ast.Call) and node.keywords):
            raise ValueError(f"a {type(node).__name__} is not evaluated")
        if isinstance(node, ast.Call) and not harmless(node.func, known):
            raise ValueError("only classes of sympy are called")
        if isinstance(node, ast.Name) and id(node) not in called and not constant(known.get(node.id)):
            raise ValueError("only constants of sympy have names")
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and called and id(node) not in told:
            raise ValueError("a text is an argument of few classes only")
    return eval(compile(tree, "answer", "eval"), {"__builtins__": {}, **known})


def named(function: ast.expr) -> str:
    """The name that is called, empty where it is none."""
    return function.id if isinstance(function, ast.Name) else ""


def harmless(function: ast.expr, known: Mapping[str, object]) -> bool:
    """Whether what is called is a class of sympy, or takes roots."""
    import sympy

    name = named(function)
    found = known.get(name)
    if name in ROOTS:
        return found is getattr(sympy, name)
    return isinstance(found, type) and issubclass(found, sympy.Basic)


def constant(value: object) -> bool:
    """Whether it is an expression of sympy, such as pi or a variable."""
    import sympy

    return isinstance(value, sympy.Basic)


if __name__ == "__main__":
    main(sys.argv[1])
