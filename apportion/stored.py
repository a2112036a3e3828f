"""Forms of what a run stores: whatever was edited or damaged since is refused in a line, before it is used.

It knows what was written, not what it is for.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, get_type_hints

from pydantic import BaseModel, ConfigDict, StringConstraints, ValidationError, create_model

from apportion.errors import StoreError
from apportion.search.trial import Trial
from apportion.spec import TaskSpec
from apportion.spec.problems import dotted, safe
from apportion.store import Database, Trials

STRICT = ConfigDict(strict=True, allow_inf_nan=False)


class _Outcome(BaseModel):
    model_config = STRICT

    state: str
    reason: str
    closing: dict[str, Any] | None


class _Learnt(BaseModel):
    model_config = STRICT

    sums: list[tuple[str, str, str, int, int, int, int | None]]
    ends: list[tuple[str, str, str, int]] = []


class _Facts(BaseModel):
    """Forms of the facts of a run; any may be absent, and what they hold further is for those who read them."""

    model_config = STRICT

    run: str = ""
    bank: Annotated[str, StringConstraints(pattern=r"^[^\x00]+$")] | None = None
    plugins: list[str] = []
    task: str = ""
    fingerprint: dict[str, Any] = {}
    identities: dict[str, Any] = {}
    rates: dict[str, tuple[float, float]] = {}
    prices: dict[str, Any] = {}
    elapsed_s: float = 0.0
    learnt: _Learnt | None = None
    outcome: _Outcome | None = None
    nudges: list[dict[str, Any]] = []
    knowledge: str = ""
    sampled: list[dict[str, Any]] = []
    replayed: dict[str, Any] = {}


_Trial: type[BaseModel] = create_model(  # type: ignore[call-overload]
    "_Trial",
    __config__=ConfigDict(**STRICT, extra="forbid"),
    **{name: (of, None) for name, of in {**get_type_hints(Trial), "graph": dict[str, Any]}.items()},
)
"""The form of a trial's record; `Trial` says what may be absent, and `Graph` what a graph is."""


def check_rows(path: Path, database: Database) -> None:
    """Refuse a store in which a trial or a score is no JSON.

    Raises:
        StoreError: it is so.
    """
    _check_json(path, database, "trial", "number", "record")
    _check_json(path, database, "score", "graph", "metrics")


def check_facts(path: Path, database: Database) -> None:
    """Refuse a store in which a fact is no JSON, or has another form than we write.

    Raises:
        StoreError: it is so.
    """
    _check_json(path, database, "fact", "name", "value")
    facts = Trials(database)
    try:
        found = {name: facts.fact(name) for (name,) in database.read("SELECT name FROM fact")}
        known = {name: value for name, value in found.items() if value is not None}  # null is as if never set
        _Facts.model_validate_json(json.dumps(known))
    except (ValueError, RecursionError) as error:
        raise damaged(path, "a fact", error) from None


def _check_json(path: Path, database: Database, table: str, name: str, column: str) -> None:
    torn = database.read(f"SELECT {name} FROM {table} WHERE NOT json_valid({column}) LIMIT 1")
    if torn:
        raise damaged(path, f"{table} {safe(str(torn[0][0]))}", ValueError("it is no JSON"))


def spec_of(fingerprint: Mapping[str, Any]) -> TaskSpec:
    """The task of a run.

    Raises:
        ValueError, LookupError: there is none.
    """
    return TaskSpec.model_validate_json(json.dumps(fingerprint["spec"]), strict=False)


def trials_of(path: Path, records: Sequence[Mapping[str, Any]]) -> list[Trial]:
    """All trials from their records, in order.

    Raises:
        StoreError: one is none, or one is gone: the next would be written over another.
    """
    found = [_trial(path, record) for record in records]
    gone = next((place for place, trial in enumerate(found) if trial.number != place), None)
    if gone is not None:
        raise damaged(path, f"trial {gone}", ValueError("it is gone, or has another number"))
    return found


def _trial(path: Path, record: Mapping[str, Any]) -> Trial:
    try:
        _Trial.model_validate_json(json.dumps(record))
        trial = Trial.from_dict(record)
        if trial.state == "complete" and not trial.metrics:
            raise LookupError("what it measured")
        return trial
    except (ValueError, TypeError, LookupError) as error:  # GraphError is a ValueError
        number = record.get("number") if isinstance(record, dict) else None
        raise damaged(path, "a trial" if number is None else f"trial {safe(str(number))}", error) from None


def damaged(path: Path, what: str, error: Exception) -> StoreError:
    """That something stored is not as it was written."""
    fault = str(error)
    if isinstance(error, ValidationError):
        first = error.errors(include_url=False)[0]
        fault = f"{dotted(first['loc'])}: {first['msg']}"
    elif isinstance(error, LookupError):
        fault = f"{fault} is absent"
    fault = safe(" ".join(fault.split()).partition("; ")[0].rstrip("."), 200)  # its own remedy is not the user's
    return StoreError(
        f"a run must be as apportion wrote it, but {what} in {path} is not: {fault}; bring the file back from "
        "a copy, or name another folder."
    )
