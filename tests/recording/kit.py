"""Tasks that are searched, recorded and replayed, and tables of what was recorded, for the tests of recordings."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tests.support import Task, rows, write_task

TEMPLATES = "templates: [single, vote, fuse]"
EVERY_TEMPLATE = "templates: [single, vote, fuse, best_of_n, refine]"
SLOTS = """slots: 3
    roles: [refiner, critic, fuser, verifier]
    final: [voter, decider]
    keep: 2"""

Change = Callable[[dict[str, list[Any]]], object]
"""What is done to the columns of a recording."""


def template_task(folder: Path, url: str, **keys: Any) -> Path:
    """Two stages, the second of which is answered by any template."""
    task = write_task(folder, url, Task(**{"sampler": "random", **keys}))
    task.write_text(task.read_text().replace(TEMPLATES, EVERY_TEMPLATE))
    return task


def slot_task(folder: Path, url: str, **keys: Any) -> Path:
    """Two stages, the second of which is a free graph; the model `small` gives log-probabilities."""
    task = write_task(folder, url, Task(**{"sampler": "random", **keys}))
    text = task.read_text().replace(TEMPLATES, SLOTS)
    task.write_text(text.replace("model: small, parameters", "model: small, logprobs: true, parameters"))
    return task


def columns_of(path: Path) -> dict[str, list[Any]]:
    """The columns of a recording."""
    found: dict[str, list[Any]] = pq.read_table(path).to_pydict()
    return found


def altered(path: Path, change: Change, about: Callable[[dict[str, Any]], object] = lambda about: None) -> Path:
    """A copy of a recording with other columns, or with other words about itself."""
    table = pq.read_table(path)
    columns, said = table.to_pydict(), json.loads(table.schema.metadata[b"apportion.recording"])
    change(columns)
    about(said)
    other = path.with_name("altered.parquet")
    metadata = {b"apportion.recording": json.dumps(said).encode()}
    pq.write_table(pa.table(columns).replace_schema_metadata(metadata), other)
    return other


def without(columns: Mapping[str, list[Any]], gone: Callable[[int], bool]) -> None:
    """Remove the rows for whose number `gone` holds."""
    for column in columns.values():
        column[:] = [value for row, value in enumerate(column) if not gone(row)]


def completions(run: Path) -> list[tuple[Any, ...]]:
    """What the bank of a run holds, past our own code: key, sample, status, text, tokens, seconds, USD."""
    names = "key, idx, status, text, finish_reason, prompt_tokens, completion_tokens, latency_s, usd"
    return rows(run / "run.sqlite", f"SELECT {names} FROM result ORDER BY key, idx")


def recorded(columns: Mapping[str, Sequence[Any]]) -> list[tuple[Any, ...]]:
    """The same of a recording."""
    names = ("request", "sample_index", "status", "reply", "finish_reason", "prompt_tokens", "completion_tokens")
    return sorted(set(zip(*(columns[name] for name in (*names, "latency_s", "cost_usd")), strict=True)))


def scores(run: Path) -> list[tuple[Any, ...]]:
    """Every row of every measurement of a run: graph, split, place, example, status, answer and metrics."""
    return rows(run / "run.sqlite", "SELECT * FROM score ORDER BY graph, split, position")
