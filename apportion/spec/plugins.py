"""The user's own modules that a task names: Python files that add roles. They are run when the task is loaded.

It does not know what is in them.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator, Sequence
from hashlib import sha256
from pathlib import Path

from apportion.spec.problems import Finding, safe, show

MOST_SAID = 200  # characters of an exception


def findings(paths: Sequence[str | None], folder: Path) -> Iterator[Finding]:
    """Run each module once; what goes wrong with any of them.

    Args:
        paths: as the task names them; None stands for what is no text.
    """
    for number, path in enumerate(paths):
        if path is None:
            continue
        try:
            run(folder / path)
        except (Exception, SystemExit) as error:  # noqa: BLE001  # whatever the user's code raises is their mistake
            text = f"must be a Python file that can be run, but {show(path)} raises {said(error)}"
            yield ("plugins", number), f"{text}; mend it"


def said(error: BaseException) -> str:
    """An exception of the user's code in one line, without what looks like a secret."""
    return f"{type(error).__name__}: {safe(' '.join(str(error).split()), MOST_SAID)}"


def run(path: Path) -> None:
    """Run a module, unless this process has run it.

    Raises:
        Exception: whatever it raises.
    """
    name = f"apportion_plugin_{sha256(str(path.resolve()).encode()).hexdigest()[:16]}"
    if name in sys.modules:
        return
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError("it is no .py file")
    sys.modules[name] = module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
