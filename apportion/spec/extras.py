"""Evaluators whose library is an extra: said before anything is bought. It imports none of them."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec

from apportion.extras import EXTRAS
from apportion.spec.draft import Draft
from apportion.spec.problems import Finding

LIBRARIES = {"math_equal": "math_verify", "reasoning_gym": "reasoning_gym"}
"""What an evaluator imports."""


def findings(draft: Draft) -> Iterator[Finding]:
    """Evaluators that cannot be had here."""
    for name, evaluator in draft.evaluators.items():
        if evaluator is None or evaluator.kind not in LIBRARIES:
            continue
        library = LIBRARIES[evaluator.kind]
        if find_spec(library) is None:
            text = f"must have its library, but {library} is not installed; pip install 'apportion[{EXTRAS[library]}]'"
            yield ("evaluators", name, evaluator.kind), text
