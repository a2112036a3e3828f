"""Finds how to spend test-time compute in systems of several language-model calls.

import apportion
result = apportion.load("task.yaml").run()
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from apportion.api import Result, Task, load, open_run
    from apportion.envs.roles import add_role
    from apportion.errors import ApportionError, SpecError
    from apportion.graphs import Graph, Node

__all__ = [
    "ApportionError",
    "Graph",
    "Node",
    "Result",
    "SpecError",
    "Task",
    "__version__",
    "add_role",
    "load",
    "open_run",
]
__version__ = "0.1.0"

_HOMES = {
    "ApportionError": "apportion.errors",
    "SpecError": "apportion.errors",
    "Graph": "apportion.graphs",
    "Node": "apportion.graphs",
    "Result": "apportion.api",
    "Task": "apportion.api",
    "add_role": "apportion.envs.roles",
    "load": "apportion.api",
    "open_run": "apportion.api",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used, so that `import apportion` costs nothing."""
    if name not in _HOMES:
        raise AttributeError(f"module 'apportion' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    """The public names, for completion."""
    return __all__
