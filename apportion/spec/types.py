"""The types of single values in the spec: names, counts, URLs, patterns, and the bases of its mappings.

It does not know which keys there are.
"""

from __future__ import annotations

import re
import warnings
from typing import Annotated, Any, Self
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    model_validator,
)
from pydantic_core import PydanticCustomError

from apportion import template
from apportion.spec.problems import looks_like_key, show

MAX_ITEMS = 100  # of any list or mapping
MAX_COUNT = 2**53  # the largest count that a float still holds exactly


def law(text: str) -> PydanticCustomError:
    """An error whose message is `text` as it is: law, value and remedy."""
    return PydanticCustomError("law", "{text}", {"text": text})


class Model(BaseModel):
    """Base of every mapping in the spec: frozen, no unknown keys, no guessing of types, no NaN."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False, protected_namespaces=())


class OneOf(Model):
    """A mapping that holds exactly one of its keys."""

    model_config = ConfigDict(json_schema_extra={"minProperties": 1, "maxProperties": 1})

    @model_validator(mode="after")
    def _one(self) -> Self:
        given = self._given()
        if len(given) != 1:
            keys = ", ".join(field.alias or name for name, field in type(self).model_fields.items())
            raise law(f"must hold exactly one of {keys}, but holds {', '.join(given) or 'none'}; keep one")
        return self

    def _given(self) -> list[str]:
        return [name for name in type(self).model_fields if getattr(self, name) is not None]

    @property
    def kind(self) -> str:
        """The key that is given."""
        name = self._given()[0]
        return type(self).model_fields[name].alias or name

    @property
    def value(self) -> Any:
        """What is given under that key."""
        return getattr(self, self._given()[0])


def _whole(value: object) -> object:
    """2e6 is a whole number too."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _template(text: str) -> str:
    try:
        template.parts(text)
    except ValueError as error:
        raise law(str(error)) from None
    return text


def compiled(pattern: object) -> re.Pattern[str]:
    """Compile a regular expression of the user's.

    Raises:
        ValueError: it is none.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # hints on style that Python gives about some legal patterns
            return re.compile(pattern if isinstance(pattern, str) else "(")
    except (re.error, RecursionError, OverflowError) as error:
        raise ValueError(f"must be a regular expression, but {show(pattern)} is not: {error}; mend it") from None


def _pattern(text: str) -> str:
    try:
        groups = compiled(text).groups
    except ValueError as error:
        raise law(str(error)) from None
    if groups != 1:
        raise law(f"must have exactly one group, but {show(text)} has {groups}; put ( ) around the answer only")
    return text


def _url(text: str) -> str:
    try:
        url = urlsplit(text)
        legal = url.scheme in ("http", "https") and bool(url.hostname) and url.port != 0 and text.split() == [text]
    except ValueError:
        legal = False
    if not legal:
        raise law("must be an http or https URL; write it like http://127.0.0.1:8000/v1")
    if url.username is not None or url.password is not None or url.query or url.fragment:
        raise law("must hold no credentials, query or fragment; name the key's variable in `api_key_env` instead")
    return text


def _variable(text: str) -> str:
    if looks_like_key(text):
        raise law("must be the NAME of an environment variable, but it looks like the key itself; put the key in one")
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]{0,63}", text):
        raise law("must be the NAME of an environment variable; write it like OPENAI_API_KEY")
    return text


Text = Annotated[str, StringConstraints(min_length=1)]
Words = Annotated[tuple[Text, ...], Field(min_length=1, max_length=MAX_ITEMS)]
Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", max_length=64)]
ModelName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$", max_length=64)]
Template = Annotated[str, StringConstraints(min_length=1), AfterValidator(_template)]
Url = Annotated[str, AfterValidator(_url)]
Variable = Annotated[str, AfterValidator(_variable)]
Pattern = Annotated[str, StringConstraints(max_length=1000), AfterValidator(_pattern)]
Positive = Annotated[float, Field(gt=0)]
_Count = Annotated[int, Field(ge=1, le=MAX_COUNT)]
Count = Annotated[_Count, BeforeValidator(_whole, json_schema_input_type=_Count)]
_Slots = Annotated[int, Field(ge=1, le=24)]
Slots = Annotated[_Slots, BeforeValidator(_whole, json_schema_input_type=_Slots)]
Temperature = Annotated[float, Field(ge=0, le=2)]
_Samples = Annotated[int, Field(ge=1, le=100)]
Samples = Annotated[_Samples, BeforeValidator(_whole, json_schema_input_type=_Samples)]
