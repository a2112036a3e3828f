"""Task files of replayed searches: YAML to a `Task`, every mistake with its place.

It knows the keys and where the tables are, not what is done with a task.
"""

from __future__ import annotations

import csv
import hashlib
import math
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, ValidationError, model_validator

from apportion.envs.replay import matrix, reads
from apportion.envs.replay.chained import Chained, Reading
from apportion.envs.replay.composed import Composed
from apportion.envs.replay.recorded import Recorded, read
from apportion.envs.replay.rule import Rule
from apportion.envs.replay.rules import RULES, Verified
from apportion.envs.replay.selected import SCORERS, Every, Selected
from apportion.envs.replay.task import R, Stage, Task, stage
from apportion.errors import RecordedError
from apportion.spec import yaml
from apportion.spec.problems import Problem, nearest, show

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Share = Annotated[float, Field(gt=0, le=1)]
Probability = Annotated[float, Field(ge=0, le=1)]

# What pydantic puts in the place of a mistake although it is no key of the file: which of two forms a value has.
NAMED, MAPPED = "(named)", "(mapped)"


class _Spec(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Verifier(_Spec):
    """An imperfect checker."""

    completeness: Probability
    soundness: Probability


def _form(value: object) -> str:
    """Of a value that is a name or a mapping, so that a mistake is said of the one that was meant."""
    return MAPPED if isinstance(value, dict | BaseModel) else NAMED


RuleName = Literal["any_correct", "majority", "best_scored", "weighted", "count", "dual_agreement"]
Select = Annotated[Annotated[RuleName, Tag(NAMED)] | Annotated[Verifier, Tag(MAPPED)], Discriminator(_form)]
Prices = Annotated[Annotated[str, Tag(NAMED)] | Annotated[dict[str, Positive], Tag(MAPPED)], Discriminator(_form)]


class StageSpec(_Spec):
    """One stage: where its outcomes are, who takes part at what price, and the rules among which is chosen.

    Attributes:
        stage: of the table; of a chain, the stage's own name if empty.
        once: what models cost an answer beside their draws; nothing if they are not named.
        select: None for `any_correct`; for `majority` of a chain's first stage; for none of generated tests.
    """

    data: str
    dataset: str | None = None
    stage: str = ""
    models: Annotated[tuple[str, ...], Field(min_length=1)] | None = None
    prices: Prices
    once: dict[str, Positive] = {}
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
        matrix: asserts of the second stage that the programs of the first pass; None for other tasks.
        chain: whether the second stage was asked about what the first answered.
    """

    name: Annotated[str, Field(min_length=1)]
    search: Annotated[int, Field(ge=2)]
    trials: Annotated[int, Field(ge=1)] = 60
    budget: Positive
    shares: Annotated[tuple[Share, ...], Field(min_length=1)]
    combine: Literal["all", "mean", "any"] = "all"
    matrix: str | None = None
    chain: bool = False
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

    @model_validator(mode="after")
    def _chain_of_two(self) -> TaskSpec:
        if self.chain and (len(self.stages) != 2 or self.matrix is not None or "combine" in self.model_fields_set):
            raise ValueError("a chain needs two stages, and no combine and no matrix; mend the stages")
        return self


def load(path: Path) -> Task:
    """Read a task file and its tables.

    Raises:
        RecordedError: the file or a table is wrong.
    """
    _, spec = _read(path)
    if spec.chain:
        return _chained(path.parent, spec)
    return _composed(path.parent, spec) if spec.matrix is None else _selected(path.parent, spec, spec.matrix)


def digest(path: Path) -> str:
    """SHA-256 of a task file and of the files that it names, in hex.

    Raises:
        RecordedError: the file is wrong.
        OSError: a file that it names cannot be read; `load` says what is wrong.
    """
    text, spec = _read(path)
    named = [own.data for own in spec.stages.values()] + ([spec.matrix] if spec.matrix else [])
    named += [own.prices for own in spec.stages.values() if isinstance(own.prices, str)]
    whole = hashlib.sha256(text)
    for name in dict.fromkeys(named):
        whole.update((path.parent / name).read_bytes())
    return whole.hexdigest()


def _read(path: Path) -> tuple[bytes, TaskSpec]:
    """The text of a task file, and what it says."""
    try:
        text = path.read_bytes()
    except OSError as error:
        raise RecordedError(f"{path} must be a readable task file, but {error.strerror}; mend the path.") from None
    root, problems = yaml.read(text, str(path))
    if problems or root is None:
        raise RecordedError("\n".join(map(str, problems)))
    try:
        return text, TaskSpec.model_validate(root.plain())
    except ValidationError as error:
        found = [_problem(root, details) for details in error.errors() if not _follows(details)]
        raise RecordedError("\n".join(map(str, found))) from None


def _composed(folder: Path, spec: TaskSpec) -> Composed:
    table = cache(read)
    stages = tuple(_stage(folder, spec, name, table, _rules(own, "any_correct")) for name, own in spec.stages.items())
    return Composed(spec.name, stages, spec.budget, spec.search, spec.trials, spec.combine)


def _rules(own: StageSpec, usual: RuleName) -> list[Rule]:
    return [
        RULES[select] if isinstance(select, str) else Verified(select.completeness, select.soundness)
        for select in own.select or (usual,)
    ]


def _chained(folder: Path, spec: TaskSpec) -> Chained:
    (first, above), (second, below) = spec.stages.items()
    one, two = (reads.Source(folder / own.data, own.dataset, own.stage or name) for name, own in spec.stages.items())
    chain = reads.read(one, two)
    prices = _prices(folder, above, chain.first, one.stage)
    upper = stage(
        first, chain.first, one.stage, prices, _rules(above, "majority"), spec.budget, spec.shares, above.most,
        once=above.once,
    )  # fmt: skip
    prices = _prices(folder, below, chain.second, two.stage, everywhere=False)
    lower = stage(
        second, chain.second, two.stage, prices, _rules(below, "any_correct"), spec.budget, spec.shares, below.most,
        fewest=below.fewest, once=below.once,
    )  # fmt: skip
    reading = Reading.of(lower, chain.question, below.fewest)
    return Chained(spec.name, (upper, reading), spec.budget, spec.search, spec.trials, chain.answer)


def _selected(folder: Path, spec: TaskSpec, passed: str) -> Selected:
    table = cache(read)
    first, second = spec.stages
    code = _stage(folder, spec, first, table, [SCORERS[str(select)] for select in spec.stages[first].select or ()])
    test = _stage(folder, spec, second, table, [Every()])
    return Selected(
        spec.name, (code, test), spec.budget, spec.search, spec.trials, matrix.read(folder / passed, code, test)
    )


def _stage(
    folder: Path, spec: TaskSpec, name: str, table: Callable[[Path, str | None], Recorded], rules: Sequence[R]
) -> Stage[R]:
    own = spec.stages[name]
    recorded = table(folder / own.data, own.dataset)
    prices, optional = _prices(folder, own, recorded, own.stage), spec.combine == "any"
    return stage(
        name, recorded, own.stage, prices, rules, spec.budget, spec.shares, own.most, optional=optional, once=own.once
    )


def _prices(
    folder: Path, own: StageSpec, recorded: Recorded, stage_name: str, *, everywhere: bool = True
) -> dict[str, float]:
    """Prices of the models that take part: those named, or all that have a price and enough draws.

    Args:
        everywhere: whether they must have enough draws of each question, or of one.
    """
    listed = own.prices if isinstance(own.prices, dict) else _table(folder / own.prices)
    if own.models is None:
        drawn = recorded.drawn.min(axis=0) if everywhere else recorded.drawn.max(axis=0)
        enough = [
            model for (of, model), n in zip(recorded.pairs, drawn, strict=True) if of == stage_name and n >= own.fewest
        ]
        models = [model for model in enough if model in listed]
        absent = [model for model in listed if model not in models]
        if absent and isinstance(own.prices, dict):  # a file of prices may serve other tables too
            raise RecordedError(
                f"every model with a price must have {own.fewest} draws of {'each' if everywhere else 'some'} question "
                f"in {own.data}, stage {stage_name!r}, but {absent[0]!r} has not; mend its name, or leave it out."
            )
        if not models:
            raise RecordedError(
                f"{own.data} must hold a model of stage {stage_name!r} with a price and {own.fewest} draws of "
                f"{'each' if everywhere else 'some'} question, but has none; mend stage, prices or fewest."
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


def _follows(details: Any) -> bool:
    """Whether a mistake only follows from others: pydantic counts a list without the items that it refused."""
    return bool(details["type"] == "too_short" and len(details["input"]) > details["ctx"]["actual_length"])


def _problem(root: yaml.Node, details: Any) -> Problem:
    """What pydantic says of a mistake; its own words where the check is one of this module."""
    place = tuple(step for step in details["loc"] if step not in (NAMED, MAPPED))
    value = details["input"]
    match details["type"]:
        case "value_error":
            text = f"{details['ctx']['error']}."
        case "missing":
            text = f"{details['msg']}; mend it."
        case "literal_error":
            names = [name.strip("'") for name in details["ctx"]["expected"].replace(" or ", ", ").split(", ")]
            text = f"must be a name that is known here, got {show(value)}; {nearest(str(value), names)}"
        case _:
            text = f"{details['msg']}, got {value!r:.60}; mend it."
    return root.problem(place, text)
