"""The user's own modules that a task names: Python files that add roles. They are run when the task is loaded.

It does not know what is in them.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator, Sequence
from hashlib import sha256
from pathlib import Path

from apportion.spec.problems import Finding, show


def findings(paths: Sequence[str], folder: Path) -> Iterator[Finding]:
    """Run each module once; what goes wrong with any of them."""
    for number, path in enumerate(paths):
        try:
            run(folder / path)
        except Exception as error:  # noqa: BLE001  # whatever the user's code raises is the user's mistake
            text = f"must be a Python file that can be run, but {show(path)} raises {type(error).__name__}: {error}"
            yield ("plugins", number), f"{' '.join(text.split())[:300]}; mend it"


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
