"""What an agent's search keeps with its trials, read back strictly: as it was written, or the store is damaged."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cache
from typing import Annotated, Any, ClassVar, Self

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from apportion.errors import StoreError

Probability = Annotated[float, Field(ge=0.0, le=1.0)]


@dataclass(frozen=True)
class Stored:
    """A dataclass that is kept as JSON."""

    __pydantic_config__: ClassVar = ConfigDict(extra="forbid", allow_inf_nan=False)

    def to_dict(self) -> dict[str, Any]:
        """As JSON values; `from_dict` is the inverse."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """What `to_dict` wrote.

        Raises:
            StoreError: it is not, as where somebody has edited it.
        """
        form: Any = cls
        try:
            found: Self = _form(form).validate_json(json.dumps(data), strict=True)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            place = ".".join(map(str, first["loc"])) or "it"
            raise StoreError(
                f"what an agent proposed must be as it was written, but of a {cls.__name__.lower()} {place!r:.60}: "
                f"{first['msg']}; bring the run's store back from a copy."
            ) from None
        return found


@cache
def _form(of: type[Any]) -> TypeAdapter[Any]:
    return TypeAdapter(of)
