"""The program inside a sandbox: loads model-written code, calls its function on each case, reports plain values.

`apportion.envs.sandbox` runs its text with the system's Python, which may be older than ours. It knows no expected
value. Nothing that it reports is to be trusted: once the code is loaded, it may be the code that speaks.
"""

from __future__ import annotations

import json
import os
import resource
import socket
import sys
import types
from typing import Any

MOST_DEPTH = 64
MOST_ITEMS = 4096  # of a set or dict; apportion.envs.cases reads no more
MOST_DETAIL_CHARS = 500


def main(memory_bytes: int, file_bytes: int, cpu_s: int, link: int) -> None:
    """Announce that the sandbox stands, read the job, answer with one line a case."""
    limit(memory_bytes, file_bytes, cpu_s)
    show_scratch(link)
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # whatever the code prints is not an answer
    print("ready", file=answers)
    job = json.load(sys.stdin)
    try:
        function = loaded(job["code"], job["function"])
    except BaseException as error:  # noqa: BLE001  (sys.exit too)
        unloaded = json.dumps(["raised", told(error)])
        for _ in job["cases"]:
            print(unloaded, file=answers)
    else:
        for case in job["cases"]:
            print(answer(function, case), file=answers)
    os._exit(0)  # without waiting for threads that the code started


def limit(memory_bytes: int, file_bytes: int, cpu_s: int) -> None:
    """Bound what this process may take; no right is left that could widen the bounds again."""
    for what, most in (
        (resource.RLIMIT_AS, memory_bytes),
        (resource.RLIMIT_FSIZE, file_bytes),
        (resource.RLIMIT_CPU, cpu_s),
        (resource.RLIMIT_NPROC, 64),  # threads, as the system call filter denies forks
        (resource.RLIMIT_NOFILE, 64),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(what, (most, most))


def show_scratch(link: int) -> None:
    """Hand a descriptor of the scratch folder out through a socket: the files in it are counted outside."""
    folder = os.open(".", os.O_PATH)
    with socket.socket(fileno=link) as outside:
        socket.send_fds(outside, [b"."], [folder])
    os.close(folder)


def loaded(code: str, function: str) -> Any:
    """The function that the code defines. The code sees a module of its own, which dataclasses and pickle look up."""
    module = types.ModuleType("solution")
    sys.modules["solution"] = module
    exec(compile(code, "solution.py", "exec", dont_inherit=True), module.__dict__)  # noqa: S102  (what the sandbox is for)
    return getattr(module, function)


def answer(function: Any, case: list[Any]) -> str:
    """What one call gave, as a line."""
    try:
        value = function(*case)
    except BaseException as error:  # noqa: BLE001  (sys.exit too)
        return json.dumps(["raised", told(error)])
    try:
        return json.dumps(["value", plain(value)])
    except Exception as error:  # noqa: BLE001  (integers of 5000 digits, memory)
        return json.dumps(["not_plain", told(error)])


def plain(value: Any, depth: int = 0) -> Any:
    """A value of exact plain types as JSON that keeps the types apart: a tuple is {"tuple": [...]}."""
    kind = type(value)
    if value is None or kind in (bool, int, float, str):
        return value
    if depth == MOST_DEPTH:
        raise TypeError(f"nested more than {MOST_DEPTH} deep")
    if kind in (set, dict) and len(value) > MOST_ITEMS:
        raise ValueError(f"a {kind.__name__} of more than {MOST_ITEMS} items")
    if kind in (list, tuple, set):
        return {kind.__name__: [plain(item, depth + 1) for item in value]}
    if kind is dict:
        return {"dict": [[plain(key, depth + 1), plain(item, depth + 1)] for key, item in value.items()]}
    raise TypeError(f"a {kind.__name__} is not a plain value")


def told(error: BaseException) -> str:
    """An exception in a few words; its own `__str__` may fail."""
    try:
        return f"{type(error).__name__}: {error}"[:MOST_DETAIL_CHARS]
    except BaseException:  # noqa: BLE001
        return type(error).__name__


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
