"""Modules that are imported where they are needed, and the extra that brings each. It imports none of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

EXTRAS: Mapping[str, str] = {
    "xllamacpp": "local",
    "torch": "torch",
    "matplotlib": "viz",
    "pandas": "viz",
    "math_verify": "math",
    "reasoning_gym": "reasoning",
    "openai": "dev",
}
"""The extra of a module, by name."""


def missing(module: str) -> str:
    """What is said of a module that is not installed."""
    extra = EXTRAS.get(module.split(".")[0])
    remedy = f"pip install 'apportion[{extra}]'" if extra else "install it"
    return f"this needs the module {module!r}, which is not installed; {remedy}."


@contextmanager
def needed() -> Iterator[None]:
    """Within it a module that is not installed is named with what brings it.

    Raises:
        ModuleNotFoundError: one is not.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(missing(error.name or "?"), name=error.name) from None
