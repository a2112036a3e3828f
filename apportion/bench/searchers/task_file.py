"""Task files of replayed searches: YAML to a `Task`, every mistake with its place.

It knows the keys and where the tables are, not what is done with a task.
"""

from __future__ import annotations

import csv
import hashlib
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from apportion.envs.replay import matrix
from apportion.envs.replay.composed import Composed
from apportion.envs.replay.recorded import Recorded, read
from apportion.envs.replay.rules import RULES, Rule, Verified
from apportion.envs.replay.selected import SCORERS, Every, Selected
from apportion.envs.replay.task import R, Stage, Task, stage
from apportion.errors import RecordedError
from apportion.spec import yaml

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Share = Annotated[float, Field(gt=0, le=1)]
Probability = Annotated[float, Field(ge=0, le=1)]


class _Spec(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Verifier(_Spec):
    """An imperfect checker."""

    completeness: Probability
    soundness: Probability


Select = Literal["any_correct", "majority", "count", "dual_agreement"] | Verifier


class StageSpec(_Spec):
    """One stage: where its outcomes are, who takes part at what price, and the rules among which is chosen.

    Attributes:
        select: None for `any_correct`; or, of generated tests, for none.
    """

    data: str
    dataset: str | None = None
    stage: str = ""
    models: Annotated[tuple[str, ...], Field(min_length=1)] | None = None
    prices: str | dict[str, Positive]
    select: Annotated[tuple[Select, ...], Field(min_length=1)] | None = None
    most: Annotated[int, Field(ge=1)] | None = None
    fewest: Annotated[int, Field(ge=1)] = 1

    @model_validator(mode="after")
    def _each_once(self) -> StageSpec:
        for name, given in (("models", self.models or ()), ("select", self.select or ())):
            if len(set(given)) < len(given):
                raise ValueError(f"each of {name} must stand once; strike the repetition")
        return self


class TaskSpec(_Spec):
    """A task file.

    Attributes:
        matrix: asserts of the second stage that the programs of the first pass; None where stages are independent.
    """

    name: Annotated[str, Field(min_length=1)]
    search: Annotated[int, Field(ge=2)]
    trials: Annotated[int, Field(ge=1)] = 60
    budget: Positive
    shares: Annotated[tuple[Share, ...], Field(min_length=1)]
    combine: Literal["all", "mean"] = "all"
    matrix: str | None = None
    stages: Annotated[dict[str, StageSpec], Field(min_length=1)]

    @model_validator(mode="after")
    def _ascending(self) -> TaskSpec:
        if list(self.shares) != sorted(set(self.shares)):
            raise ValueError("shares must ascend; sort them")
        return self

    @model_validator(mode="after")
    def _rules_that_fit(self) -> TaskSpec:
        named = [set(own.select or ()) & set(SCORERS) for own in self.stages.values()]
        if self.matrix is None:
            if any(named):
                raise ValueError(f"{', '.join(SCORERS)} need a matrix; name one")
            return self
        if len(self.stages) != 2 or "combine" in self.model_fields_set:
            raise ValueError("a matrix needs two stages, programs and tests, and no combine; mend the stages")
        programs, tests = self.stages.values()
        if programs.select is None or set(programs.select) - set(SCORERS) or tests.select is not None:
            raise ValueError(f"with a matrix, stage one selects of {', '.join(SCORERS)}, and stage two has no select")
        return self


def load(path: Path) -> Task:
    """Read a task file and its tables.

    Raises:
        RecordedError: the file or a table is wrong.
    """
    try:
        root, problems = yaml.read(path.read_bytes(), str(path))
    except OSError as error:
        raise RecordedError(f"{path} must be a readable task file, but {error.strerror}; mend the path.") from None
    if problems or root is None:
        raise RecordedError("\n".join(map(str, problems)))
    try:
        spec = TaskSpec.model_validate(root.plain())
    except ValidationError as error:
        raise RecordedError("\n".join(str(root.problem(d["loc"], _said(d))) for d in error.errors())) from None
    return _composed(path.parent, spec) if spec.matrix is None else _selected(path.parent, spec, spec.matrix)


def digest(path: Path) -> str:
    """SHA-256 of a task file that loads, and of the files that it names, in hex."""
    root, _ = yaml.read(path.read_bytes(), str(path))
    spec = TaskSpec.model_validate(root.plain() if root else None)
    named = [own.data for own in spec.stages.values()] + ([spec.matrix] if spec.matrix else [])
    named += [own.prices for own in spec.stages.values() if isinstance(own.prices, str)]
    whole = hashlib.sha256(path.read_bytes())
    for name in dict.fromkeys(named):
        whole.update((path.parent / name).read_bytes())
    return whole.hexdigest()


def _composed(folder: Path, spec: TaskSpec) -> Composed:
    stages = tuple(
        _stage(folder, spec, name, own, [_rule(select) for select in own.select or ("any_correct",)])
        for name, own in spec.stages.items()
    )
    return Composed(spec.name, stages, spec.budget, spec.search, spec.trials, spec.combine)


def _rule(select: Select) -> Rule:
    return RULES[select] if isinstance(select, str) else Verified(select.completeness, select.soundness)


def _selected(folder: Path, spec: TaskSpec, table: str) -> Selected:
    (first, programs), (second, tests) = spec.stages.items()
    code = _stage(folder, spec, first, programs, [SCORERS[str(select)] for select in programs.select or ()])
    test = _stage(folder, spec, second, tests, [Every()])
    passed = matrix.read(folder / table, code, test)
    return Selected(spec.name, (code, test), spec.budget, spec.search, spec.trials, passed)


def _stage(folder: Path, spec: TaskSpec, name: str, own: StageSpec, rules: Sequence[R]) -> Stage[R]:
    recorded = read(folder / own.data, own.dataset)
    return stage(name, recorded, own.stage, _prices(folder, own, recorded), rules, spec.budget, spec.shares, own.most)


def _prices(folder: Path, own: StageSpec, recorded: Recorded) -> dict[str, float]:
    """Prices of the models that take part: those named, or all that have a price and enough draws of every question."""
    listed = own.prices if isinstance(own.prices, dict) else _table(folder / own.prices)
    if own.models is None:
        known = [model for stage_name, model in recorded.pairs if stage_name == own.stage]
        enough = recorded.drawn.min(axis=0) >= own.fewest
        models = [m for m in known if m in listed and enough[recorded.pairs.index((own.stage, m))]]
        if not models:
            raise RecordedError(
                f"{own.data} must hold a model of stage {own.stage!r} with a price and {own.fewest} draws of each "
                "question, but has none; mend stage, prices or fewest."
            )
        return {model: listed[model] for model in models}
    for model in own.models:
        if model not in listed:
            raise RecordedError(f"every model must have a price, but {model!r} has none in {own.prices}; add it.")
    return {model: listed[model] for model in own.models}


def _table(path: Path) -> dict[str, float]:
    """Prices from a CSV file with the columns `model` and `price`, a row a model."""
    try:
        with path.open(newline="", encoding="utf-8") as lines:
            rows = [(row["model"], row["price"]) for row in csv.DictReader(lines)]
    except (OSError, KeyError, ValueError, csv.Error) as error:
        raise RecordedError(f"{path} must be a CSV file with columns model and price, but: {error}; mend it.") from None
    prices: dict[str, float] = {}
    for number, (model, text) in enumerate(rows, 1):
        price = _number(text)
        if not (math.isfinite(price) and price > 0):
            raise RecordedError(
                f"a price must be above 0, got {text!r} for {model!r} in row {number} of {path}; mend it."
            )
        if model in prices:
            raise RecordedError(f"a model must stand once, got {model!r} again in row {number} of {path}; strike one.")
        prices[model] = price
    return prices


def _number(text: str | None) -> float:
    """NaN if it is none."""
    try:
        return float(text or "nan")
    except ValueError:
        return math.nan


def _said(details: Any) -> str:
    """What pydantic says of a mistake; its own words where the check is one of this module."""
    if details["type"] == "value_error":
        return f"{details['ctx']['error']}."
    got = "" if details["type"] == "missing" else f", got {details['input']!r:.60}"
    return f"{details['msg']}{got}; mend it."
