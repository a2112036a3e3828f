"""The JSON schema of the task file, for editors, and the keys that are legal at a place in it.

Draft 7, because yaml-language-server reads no later one. It does not validate anything.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

from apportion.spec.problems import Place, Step
from apportion.spec.schema import TaskSpec

Schema = dict[str, Any]

DIALECT = "http://json-schema.org/draft-07/schema#"


@functools.cache
def _schema() -> Schema:
    schema: Schema = _to_draft_7(TaskSpec.model_json_schema())
    return {"$schema": DIALECT, **schema, "title": "apportion task"}


def json_schema() -> Schema:
    """The JSON schema of a task file, draft 7."""
    fresh: Schema = _copy(_schema())
    return fresh


def known_keys(place: Place) -> dict[str, str] | None:
    """Legal keys of the mapping at `place` with their descriptions; None where keys are names of the user's own."""
    keys: dict[str, str] = {}
    for schema in _at(place):
        if _named(schema):
            return None
        keys |= {key: str(below.get("description", "")) for key, below in schema.get("properties", {}).items()}
    return keys


def _at(place: Place) -> list[Schema]:
    """Every schema that a value at `place` may follow."""
    schemas = list(_branches(_schema()))
    for step in place:
        schemas = [branch for schema in schemas for below in _below(schema, step) for branch in _branches(below)]
    return schemas


def _branches(schema: Schema) -> Iterator[Schema]:
    if "$ref" in schema:
        yield from _branches(_schema()["definitions"][schema["$ref"].rsplit("/", 1)[1]])
    elif branches := schema.get("anyOf") or schema.get("allOf") or ("properties" not in schema and schema.get("oneOf")):
        for branch in branches:
            yield from _branches(branch)
    else:
        yield schema


def _below(schema: Schema, step: Step) -> Iterator[Schema]:
    if isinstance(step, int):
        items = schema.get("items", [])
        if isinstance(items, dict):
            yield items
        else:
            yield from items[step : step + 1]
        return
    if step in schema.get("properties", {}):
        yield schema["properties"][step]
    else:
        yield from _named(schema)


def _named(schema: Schema) -> list[Schema]:
    """What the values of a mapping follow whose keys are names of the user's own."""
    return list(schema.get("patternProperties", {}).values())


def _to_draft_7(value: Any) -> Any:
    """Rewrite what is newer than draft 7: `$defs`, `prefixItems`, and keys beside a `$ref`."""
    if isinstance(value, list):
        return [_to_draft_7(item) for item in value]
    if not isinstance(value, dict):
        return value.replace("#/$defs/", "#/definitions/") if isinstance(value, str) else value
    new = {"definitions" if key == "$defs" else key: _to_draft_7(below) for key, below in value.items()}
    if isinstance(new.get("prefixItems"), list):
        new["items"] = new.pop("prefixItems")
    if isinstance(new.get("patternProperties"), dict):
        new["additionalProperties"] = False  # pydantic refuses other names too, but does not say so
    if isinstance(new.get("$ref"), str) and len(new) > 1:
        new = {"allOf": [{"$ref": new.pop("$ref")}], **new}
    return new


def _copy(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _copy(below) for key, below in value.items()}
    return [_copy(item) for item in value] if isinstance(value, list) else value
