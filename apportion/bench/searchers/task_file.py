"""Task files of replayed searches: YAML to a `Task`, every mistake with its place.

It knows the keys and where the tables are, not what is done with a task.
"""

from __future__ import annotations

import csv
import math
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from apportion.envs.replay.recorded import Recorded, read
from apportion.envs.replay.rules import RULES, Verified
from apportion.envs.replay.task import Stage, Task, stage
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


class StageSpec(_Spec):
    """One stage: where its outcomes are, who takes part at what price, and the rules among which is chosen."""

    data: str
    dataset: str | None = None
    stage: str = ""
    models: Annotated[tuple[str, ...], Field(min_length=1)] | None = None
    prices: str | dict[str, Positive]
    select: tuple[Literal["any_correct", "majority"] | Verifier, ...] = ("any_correct",)
    most: Annotated[int, Field(ge=1)] | None = None
    fewest: Annotated[int, Field(ge=1)] = 1


class TaskSpec(_Spec):
    """A task file.

    Attributes:
        synthetic: must be true where a table was not recorded of real models; reports then say so.
    """

    name: Annotated[str, Field(min_length=1)]
    search: Annotated[int, Field(ge=2)]
    trials: Annotated[int, Field(ge=1)] = 60
    budget: Positive
    shares: Annotated[tuple[Share, ...], Field(min_length=1)]
    combine: Literal["all", "mean"] = "all"
    synthetic: bool = False
    stages: Annotated[dict[str, StageSpec], Field(min_length=1)]

    @model_validator(mode="after")
    def _ascending(self) -> TaskSpec:
        if list(self.shares) != sorted(set(self.shares)):
            raise ValueError("shares must ascend; sort them")
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
        raise RecordedError("\n".join(f"{path}: {_said(details)}" for details in error.errors())) from None
    stages = tuple(_stage(path.parent, spec, name, own) for name, own in spec.stages.items())
    return Task(spec.name, stages, spec.budget, spec.search, spec.trials, spec.combine)


def _stage(folder: Path, spec: TaskSpec, name: str, own: StageSpec) -> Stage:
    recorded = read(folder / own.data, own.dataset)
    rules = [
        RULES[select] if isinstance(select, str) else Verified(select.completeness, select.soundness)
        for select in own.select
    ]
    return stage(name, recorded, own.stage, _prices(folder, own, recorded), rules, spec.budget, spec.shares, own.most)


def _prices(folder: Path, own: StageSpec, recorded: Recorded) -> dict[str, float]:
    """Prices of the models that take part: those named, or all that have a price and enough draws of every question."""
    listed = own.prices if isinstance(own.prices, dict) else _table(folder / own.prices)
    if own.models is None:
        known = [model for stage_name, model in recorded.pairs if stage_name == own.stage]
        enough = recorded.drawn.min(axis=0) >= own.fewest
        models = [m for m in known if m in listed and enough[recorded.pairs.index((own.stage, m))]]
        if not models:
            raise RecordedError(f"{own.data} must hold a model with a price and {own.fewest} draws, but has none.")
        return {model: listed[model] for model in models}
    for model in own.models:
        if model not in listed:
            raise RecordedError(f"every model must have a price, but {model!r} has none in {own.prices}; add it.")
    return {model: listed[model] for model in own.models}


def _table(path: Path) -> dict[str, float]:
    """Prices from a CSV file with the columns `model` and `price`."""
    try:
        with path.open(newline="", encoding="utf-8") as lines:
            rows = list(csv.DictReader(lines))
        prices = {row["model"]: float(row["price"]) for row in rows}
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise RecordedError(f"{path} must be a CSV file with columns model and price, but: {error}; mend it.") from None
    wrong = [model for model, price in prices.items() if not (math.isfinite(price) and price > 0)]
    if wrong:
        raise RecordedError(f"a price must be above 0, got {prices[wrong[0]]} for {wrong[0]!r} in {path}; mend it.")
    return prices


def _said(details: Any) -> str:
    place = ".".join(str(part) for part in details["loc"])
    return f"{place}: {details['msg']}, got {details['input']!r:.60}; mend it."
