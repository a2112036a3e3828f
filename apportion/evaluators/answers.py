"""Is the answer right? Each evaluator compares the value of a rollout with a field of its example: True or False.

A rollout without an answer is wrong; one that failed has no number at all (the benchmark leaves it out).
"""

from __future__ import annotations

import json
import re
import string
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Protocol, runtime_checkable

from apportion.envs.parsers import first_object, number, search
from apportion.envs.stage import Example

Evaluator = Callable[[str, Example], float | Awaitable[float]]
"""The answer and its example to a number from 0 to 1."""


@runtime_checkable
class Checking(Protocol):
    """An evaluator that can tell beforehand whether it will judge."""

    async def check(self, examples: Iterable[Example]) -> None:
        """Raise an ApportionError if it will not judge answers to these."""
        ...


Check = Callable[[str, Example], bool]
"""The answer and its example to right or wrong."""

MARKS = str.maketrans("", "", string.punctuation)


def normal(text: object) -> str:
    """A text for comparison: case folded, white space as single blanks, no full stop at the end."""
    return " ".join(str(text).split()).casefold().rstrip(". ")


def targets(example: Example, field: str) -> list[object]:
    """What counts as right: the field's value, or each of its items where it is a list."""
    value = example.fields[field]
    return list(value) if isinstance(value, list | tuple) else [value]


def exact(field: str) -> Check:
    """The answer equals the field, or one of its items, but for case, white space and a final full stop."""
    return lambda answer, example: normal(answer) in {normal(target) for target in targets(example, field)}


def contains(field: str) -> Check:
    """The field, or one of its items, stands in the answer as whole words."""

    def right(answer: str, example: Example) -> bool:
        text = normal(answer)
        wanted = (re.escape(normal(target)) for target in targets(example, field))
        return any(re.search(rf"(?<!\w){pattern}(?!\w)", text) for pattern in wanted)

    return right


def numeric(field: str, tolerance: float = 1e-6) -> Check:
    """The last number of the answer is within `tolerance` (absolute, or relative where larger) of the field."""

    def right(answer: str, example: Example) -> bool:
        found = number(answer)
        if found is None:
            return False
        wanted = [float(str(target).replace(",", "")) for target in targets(example, field)]
        return any(abs(float(found) - w) <= tolerance * max(1.0, abs(w)) for w in wanted)

    return right


def choice(field: str) -> Check:
    """The answer begins with the field's option: `B`, `(b)` and `B. because` all name B."""

    def right(answer: str, example: Example) -> bool:
        text = normal(answer)
        wanted = (re.escape(normal(target)) for target in targets(example, field))
        return any(re.match(rf"\W*{pattern}(?!\w)", text) for pattern in wanted)

    return right


def regex(field: str) -> Check:
    """The field is a pattern that matches somewhere in the answer."""
    return lambda answer, example: any(search(str(target), answer) for target in targets(example, field))


def json_fields(field: str, fields: Sequence[str] = ()) -> Check:
    """The first JSON object of the answer equals the field's object, in `fields` or in all keys of the field."""

    def right(answer: str, example: Example) -> bool:
        wanted = example.fields[field]
        wanted = json.loads(wanted) if isinstance(wanted, str) else wanted
        found = first_object(answer)
        if found is None or not isinstance(wanted, Mapping):
            return False
        return all(key in found and _plain(found[key]) == _plain(wanted[key]) for key in fields or wanted)

    return right


def _plain(value: object) -> str:
    return normal(value) if isinstance(value, str) else json.dumps(value, sort_keys=True)


def squad_normal(text: object) -> str:
    """As SQuAD's evaluation compares (arXiv 1606.05250): lower case, no punctuation, no articles, single blanks."""
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", str(text).lower().translate(MARKS)).split())


def squad_em(field: str) -> Check:
    """SQuAD's exact match: the answer equals the field, or one of its items, in `squad_normal` form."""
    return lambda answer, example: squad_normal(answer) in map(squad_normal, targets(example, field))


ANSWERS: Mapping[str, Callable[..., Check]] = {
    "exact": exact,
    "numeric": numeric,
    "choice": choice,
    "contains": contains,
    "regex": regex,
    "json_fields": json_fields,
    "squad_em": squad_em,
}
"""Evaluators that say right or wrong, by kind."""
