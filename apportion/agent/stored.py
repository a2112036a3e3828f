"""What an agent's search keeps with its trials, read back strictly: as it was written, or the store is damaged."""

from __future__ import annotations

import json
from functools import cache
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from apportion.errors import StoreError

Kept = TypeVar("Kept")


def read(of: type[Kept], data: object) -> Kept:
    """A value of a type from its JSON values.

    Raises:
        StoreError: it is none, as where somebody has edited it.
    """
    try:
        form: Any = of
        found: Kept = _form(form).validate_json(json.dumps(data), strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"])) or "it"
        raise StoreError(
            f"what an agent proposed must be as it was written, but of a {of.__name__.lower()} {place!r:.60}: "
            f"{first['msg']}; bring the run's store back from a copy."
        ) from None
    return found


@cache
def _form(of: type[Any]) -> TypeAdapter[Any]:
    return TypeAdapter(of)
