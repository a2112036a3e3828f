"""Loads a task: file, overrides, schema, rules, data; every mistake is reported at once.

It knows the order of the checks, not the checks.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path

from pydantic import ValidationError

from apportion.errors import SpecError
from apportion.graphs.graph import escaped
from apportion.spec import check, data, expected, messages, paper, plugins, yaml
from apportion.spec.data import Splits, Table
from apportion.spec.draft import Draft, draft
from apportion.spec.overrides import apply
from apportion.spec.problems import Finding, Problem, show
from apportion.spec.schema import TaskSpec
from apportion.spec.yaml import Node


@dataclass(frozen=True)
class LoadedSpec:
    """A task that passed every check.

    Attributes:
        path: the task file.
        rows: the examples, dealt into splits.
        data_sha256: hex digest of the data file.
    """

    spec: TaskSpec
    path: Path
    rows: Splits
    data_sha256: str

    def resolve(self, path: str) -> Path:
        """A path of the spec: relative ones begin at the task file's folder."""
        return self.path.parent / path


def load_spec(path: str | Path, overrides: Sequence[str] = ()) -> LoadedSpec:
    """Load a task and check everything that can be checked without calling a model.

    Args:
        path: the task file.
        overrides: `a.b=value` each, set before the checks.

    Raises:
        SpecError: the task is wrong; all problems at once.
    """
    path = Path(path)
    source = escaped(str(path))
    root, problems = _read(path, source)
    if root is None:
        raise SpecError(_said(problems, source))
    root, faults = apply(root, overrides)
    problems += faults
    if not isinstance(root.value, dict):
        problems.append(_no_mapping(root))
        raise SpecError(_said(problems, source))
    parts = draft(root)
    problems += _located(root, plugins.findings(parts.plugins, path.parent))
    spec = _validate(root, problems)
    problems += _located(root, check.findings(parts, path.parent))
    table = _table(path, root, parts, problems)
    if table is not None and parts.data is not None:
        splits, faults = data.deal(table, parts.data.split, spec.seed if spec else 0)
        problems += faults
        if spec is not None and not problems:
            problems += _located(root, paper.findings(spec, (*splits.search, *splits.validation, *splits.test)))
            if not problems:
                return LoadedSpec(spec, path, splits, table.sha256)
    raise SpecError(_said(problems, source))


def _read(path: Path, source: str) -> tuple[Node | None, list[Problem]]:
    fault = data.file_fault(path)
    if fault is not None:
        text = f"must be a file that can be read, but it {fault}; mend the path"
        return None, [Problem(source, 0, "task file", text)]
    with path.open("rb") as file:
        return yaml.read(file.read(yaml.MAX_BYTES + 1), source)


def _no_mapping(root: Node) -> Problem:
    found = "is empty" if root.value is None else f"is {show(root.plain())}"
    return root.problem((), f"a task file must be a mapping of keys, but {found}; begin with `name: …`")


def _validate(root: Node, problems: list[Problem]) -> TaskSpec | None:
    try:
        return TaskSpec.model_validate(root.plain())
    except ValidationError as error:
        problems += _located(root, messages.findings(error, root))
        return None


def _table(path: Path, root: Node, parts: Draft, problems: list[Problem]) -> Table | None:
    """Read the data and check it against the spec; None when it cannot be read."""
    if parts.data is None:
        return None
    file = path.parent / parts.data.path
    if fault := data.file_fault(file):
        text = f"must be a file that can be read, but {show(parts.data.path)} {fault}; mend the path"
        problems.append(root.problem(("data", "path"), text))
        return None
    table = data.read(file, escaped(str(file)), parts.data.id, parts.data.format, parts.data.without)
    problems += table.problems
    if not table.problems:
        problems += _located(root, check.left_out(parts, table.left_out))
        problems += _located(root, check.split(parts, len(table.rows)))
    if table.rows:
        problems += _located(root, check.fields(parts, table.fields))
        problems += _lines(table, parts)
    return table


def _lines(table: Table, parts: Draft) -> Iterator[Problem]:
    """Rows of the data that lack what the spec reads."""
    known = set(table.fields)
    for field in dict.fromkeys(field for _, field in check.fields_used(parts)):
        if field in known and (problem := table.lacking(field)):
            yield problem
    for evaluator in parts.evaluators.values():
        if evaluator is None or evaluator.field not in known:
            continue
        if evaluator.kind == "unit_tests":
            yield from table.unreadable(evaluator.field, expected.test)
        else:
            yield from islice(table.unfit(evaluator.field, partial(expected.check, evaluator)), data.MAX_SHOWN)
    for stage in parts.stages:
        if stage is not None and stage.picks in known:
            yield from islice(table.unfit(stage.picks, expected.listed), data.MAX_SHOWN)


def _located(root: Node, findings: Iterator[Finding]) -> list[Problem]:
    return [root.problem(place, text) for place, text in islice(findings, yaml.MAX_PROBLEMS + 1)]


def _said(problems: list[Problem], source: str) -> list[str]:
    """Problems as lines: those of the task file first, by line, then the overrides, then the data."""

    def order(problem: Problem) -> tuple[int, int]:
        return (0 if problem.source == source else 1 if problem.source.startswith("--set ") else 2), problem.line

    lines = list(dict.fromkeys(str(problem) for problem in sorted(problems, key=order)))
    more = [f"{source}: top level: there are more than {yaml.MAX_PROBLEMS} problems; mend these first"]
    return lines[: yaml.MAX_PROBLEMS] + (more if len(lines) > yaml.MAX_PROBLEMS else [])
