"""The file of a recording: a row a completion, and of whom it was asked; parquet. Needs the extra `data`.

The columns are those of tables of recorded outcomes (docs/recorded-outcomes.md) and what a replay needs beside them. It
does not know how completions are had, nor what is done with them.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, get_args

from pydantic import ValidationError

from apportion.envs.worker import Reply, ReplyStatus, Usage
from apportion.errors import RecordedError
from apportion.graphs.graph import escaped
from apportion.recording.worker import TIMEOUT, Kept
from apportion.spec.types import Model

if TYPE_CHECKING:
    import pyarrow as pa

ABOUT = b"apportion.recording"
"""Key of the file's metadata under which `About` stands."""


class Row(NamedTuple):
    """A completion, where one question used it; or that there was none in time, which counts as a wrong answer.

    Attributes:
        answer: what the stage's parser reads; None where it reads nothing, and of judges.
        correct: by the first evaluator; None in all stages but the last, and of judges.
        cost_usd: None where the model has no known price.
        request: key of the prompt, its model and its sampling.
        read: JSON object of the values of earlier stages that the stage's prompt holds.
        first_token: JSON object of log-probabilities; None where there are none.
    """

    dataset: str
    question_id: str
    stage: str
    model: str
    sample_index: int
    answer: str | None
    correct: bool | None
    prompt_tokens: int
    completion_tokens: int
    latency_s: float
    cost_usd: float | None
    request: str
    read: str
    role: str
    status: str
    reply: str
    finish_reason: str
    first_token: str | None


class ModelAbout(Model):
    """A model that was asked.

    Attributes:
        identity: what the keys of its prompts are made with.
        served: the server's name for it, or the name or path of its file, as in the task.
        rates: prompt and completion tokens a second; None where they were not probed.
    """

    identity: str
    served: str
    rates: tuple[float, float] | None = None


class AskedAbout(Model):
    """What the prompts of a task follow from, in the form of a fingerprint.

    Attributes:
        stages: of each its prompt and its sampling.
        roles: digest of the code and the prompt of each.
    """

    stages: dict[str, dict[str, Any]]
    roles: dict[str, str]
    data_sha256: str


class About(Model):
    """What was recorded.

    Attributes:
        version: of this form.
        task: its name.
    """

    version: int = 1
    task: str
    models: dict[str, ModelAbout]
    asked: AskedAbout


@dataclass(frozen=True, eq=False)
class Recording:
    """A recording in memory.

    Attributes:
        sha256: hex digest of the file.
        questions: ids of all questions.
        replies: completions by request and sample index.
    """

    path: Path
    sha256: str
    about: About
    questions: frozenset[str]
    replies: Mapping[tuple[str, int], Kept]

    def find(self, request: str, index: int) -> Kept | None:
        """A recorded completion, or that it timed out; None if it was not recorded."""
        return self.replies.get((request, index))


def write(path: Path, about: About, rows: Sequence[Row]) -> None:
    """Write a recording, in place of an older one at once or not at all.

    Raises:
        RecordedError: pyarrow is not installed, or the file cannot be written.
    """
    pa, parquet = _arrow()
    if path.suffix != ".parquet":
        raise RecordedError(f"a recording must be a .parquet file, got {escaped(path.name)!r}; name it so.")
    schema = _schema(pa).with_metadata({ABOUT: about.model_dump_json().encode()})
    columns = zip(*rows, strict=True) if rows else ([] for _ in schema)
    table = pa.Table.from_arrays([pa.array(c, f.type) for c, f in zip(columns, schema, strict=True)], schema=schema)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        parquet.write_table(table, part, compression="zstd")
        part.replace(path)
    except OSError as error:
        why = escaped(os.strerror(error.errno) if error.errno else " ".join(str(error).split())[:160])
        raise RecordedError(f"a recording must be written, but {why}: {escaped(str(path))}; name another -o.") from None
    finally:
        with contextlib.suppress(OSError):
            part.unlink()  # it is there only where it has not taken the place of the file


def read(path: Path) -> Recording:
    """Read a recording.

    Raises:
        RecordedError: pyarrow is not installed, the file is no recording, or a row is wrong: which, and why.
    """
    pa, parquet = _arrow()
    name = escaped(str(path))
    try:
        with path.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        table = parquet.ParquetFile(path).read()  # `read_table` would take folders, and partitions from their names
    except (OSError, pa.ArrowException) as error:
        why = escaped(" ".join((getattr(error, "strerror", None) or str(error)).split())[:160])
        raise RecordedError(f"a recording must be a parquet file, but {name}: {why}; name another.") from None
    about = _about(name, table.schema.metadata or {})
    table = _checked_columns(name, table, _schema(pa))
    return Recording(path, sha256, about, frozenset(table.column("question_id").to_pylist()), _replies(name, table))


def _arrow() -> tuple[Any, Any]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise RecordedError("recordings need pyarrow; run pip install 'apportion[data]'.") from None
    return pyarrow, pyarrow.parquet


def _schema(pa: Any) -> pa.Schema:
    text, whole, number = pa.string(), pa.int64(), pa.float64()
    types = {"sample_index": whole, "prompt_tokens": whole, "completion_tokens": whole}
    types |= {"latency_s": number, "cost_usd": number, "correct": pa.bool_()}
    optional = ("answer", "correct", "cost_usd", "first_token")
    return pa.schema([pa.field(name, types.get(name, text), nullable=name in optional) for name in Row._fields])


def _about(name: str, metadata: Mapping[bytes, bytes]) -> About:
    if ABOUT not in metadata:
        raise RecordedError(f"a recording must come from `apportion record`, but {name} does not; record a run.")
    try:
        about = About.model_validate_json(metadata[ABOUT], strict=False)
    except ValidationError as error:
        where = error.errors()[0]
        said = f"{'.'.join(map(str, where['loc']))}: {where['msg']}"
        raise RecordedError(f"{name} must say what was recorded, but {escaped(said)[:200]}; record it anew.") from None
    if about.version != About.model_fields["version"].default:
        raise RecordedError(f"{name} must be of version 1, got {about.version}; replay it with a newer apportion.")
    return about


def _checked_columns(name: str, table: pa.Table, schema: pa.Schema) -> pa.Table:
    """The columns of a recording, of their types and without nulls where there may be none."""
    import pyarrow as pa

    if lacking := [field.name for field in schema if field.name not in table.column_names]:
        raise RecordedError(f"a recording must have the column {lacking[0]!r}, but {name} lacks it; record it anew.")
    if twice := [field.name for field in schema if table.column_names.count(field.name) > 1]:
        raise RecordedError(f"a recording must have the column {twice[0]!r} once, but {name} has more; record it anew.")
    columns = []
    for field in schema:
        column = table.column(field.name)
        try:
            columns.append(column.cast(field.type))
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            raise RecordedError(
                f"`{field.name}` of {name} must be {field.type}, got {column.type}; record it anew."
            ) from None
        if column.null_count and not field.nullable:
            row = column.is_null().to_pylist().index(True) + 1
            raise RecordedError(f"`{field.name}` must be given, but is not in row {row} of {name}; mend it.")
    return pa.Table.from_arrays(columns, schema=schema)


def _replies(name: str, table: pa.Table) -> dict[tuple[str, int], Kept]:
    """Completions by request and sample index."""
    place, said = ("request", "sample_index"), ("reply", "status", "finish_reason")
    used = (*place, *said, "prompt_tokens", "completion_tokens", "latency_s", "first_token")
    found: dict[tuple[str, int], Kept] = {}
    for number, values in enumerate(zip(*(table.column(column).to_pylist() for column in used), strict=True), 1):
        request, index, *rest = values
        try:
            reply = _reply(*rest)
            if found.setdefault((request, index), reply) != reply:
                raise ValueError(f"sample {index} of a request must be one, but an earlier row has another")
        except ValueError as error:
            raise RecordedError(f"{escaped(str(error))} in row {number} of {name}; mend it.") from None
    return found


def _reply(
    text: str, status: str, finish: str, prompt: int, completion: int, latency_s: float, first: str | None
) -> Kept:
    """A completion as its server gave it.

    Raises:
        ValueError: a value is none that a completion can have.
    """
    if status == TIMEOUT:
        return TIMEOUT
    known: tuple[ReplyStatus, ...] = get_args(ReplyStatus)
    said = next((own for own in known if own == status), None)
    if said is None:
        raise ValueError(f"`status` must be one of {', '.join((*known, TIMEOUT))}, got {status!r:.60}")
    if prompt < 0 or completion < 0:
        raise ValueError(f"tokens must be 0 or more, got {min(prompt, completion)}")
    if not (math.isfinite(latency_s) and latency_s >= 0):
        raise ValueError(f"`latency_s` must be finite and 0 or more, got {latency_s:g}")
    return Reply(text, said, finish, Usage(prompt, completion), None, latency_s, {} if first is None else _first(first))


def _first(text: str) -> dict[str, float]:
    """Log-probabilities of first tokens."""
    try:
        tokens = json.loads(text)
    except (ValueError, RecursionError):
        tokens = None
    if not isinstance(tokens, dict) or not all(type(p) in (int, float) and p <= 0 for p in tokens.values()):
        raise ValueError(f"`first_token` must be a JSON object of log-probabilities, got {text!r:.60}")
    return tokens
