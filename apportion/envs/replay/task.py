"""A search problem made of recorded outcomes: stages with options, and a budget on one answer.

An option of a stage is a model, a number of draws and a rule for them; a configuration is one option a stage, all
within the budget. It does not know what stages give together (`composed`, `selected`), nor how a search goes about it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import Generic, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from apportion.envs.replay.recorded import NONE, Recorded
from apportion.envs.replay.rule import Drawn, Named
from apportion.errors import RecordedError

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
R = TypeVar("R", bound=Named)
R_co = TypeVar("R_co", bound=Named, covariant=True)

MOST_CONFIGURATIONS = 2_000_000
ROUNDING = 1e-9  # of a draw, or of the budget: by which a sum of prices may pass it


class Option(NamedTuple):
    """What a stage may do.

    Attributes:
        arm: number of the stage's model.
        n: draws; 0 for none, whatever the model and the rule.
        rule: number of the stage's rule.
        share: number of the share of the budget that gave n; -1 for no draws.
    """

    arm: int
    n: int
    rule: int
    share: int


NO_DRAWS = Option(arm=0, n=0, rule=0, share=-1)


@dataclass(frozen=True, eq=False)
class Stage(Generic[R_co]):
    """One step of a task, with recorded outcomes of its own.

    Attributes:
        columns: column of the recording, of each model.
        prices: of one draw, of each model.
        once: what a model costs an answer beside its draws, as for the prompt that they share.
        most: draws of each model's largest option.
    """

    name: str
    recorded: Recorded
    models: tuple[str, ...]
    columns: Ints
    prices: Floats
    once: Floats
    most: Ints
    rules: tuple[R_co, ...]
    options: tuple[Option, ...]

    @cached_property
    def cost(self) -> Floats:
        """Price of each option."""
        return np.array([self.prices[o.arm] * o.n + self.once[o.arm] * (o.n > 0) for o in self.options])

    @cached_property
    def calls(self) -> Ints:
        """Draws of each option."""
        return np.array([o.n for o in self.options])

    def drawn(self, model: int, questions: Ints, rng: np.random.Generator) -> Drawn:
        """As many draws as options of a model may take, at random and without replacement, on each question."""
        column, most = self.columns[model], self.most[model]
        count = self.recorded.drawn[questions, column]
        keys = rng.random((len(questions), int(count.max(initial=0))))
        keys[np.arange(keys.shape[1]) >= count[:, None]] = 2.0  # after all that were recorded
        taken = np.argsort(keys, axis=1)[:, :most]
        chance, scores = rng.random(taken.shape), self._scores(model, questions, taken)
        return Drawn(questions, taken, *self.judged(model, questions, taken), chance, scores)

    def _scores(self, model: int, questions: Ints, taken: Ints) -> Floats | None:
        samples = self.recorded.samples
        if samples is None or samples.scores is None:
            return None
        return np.asarray(samples.scores[samples.start[questions, self.columns[model]][:, None] + taken])

    def judged(self, model: int, questions: Ints, taken: Ints) -> tuple[NDArray[np.bool_], Ints]:
        """Whether some recorded samples of a model are right, and their answers: questions x samples."""
        column, samples = self.columns[model], self.recorded.samples
        if samples is None:
            right = self.recorded.correct[questions, column]
            return taken < right[:, None], np.full(taken.shape, NONE)
        places = samples.start[questions, column][:, None] + taken
        return samples.correct[places], samples.answers[places]


def stage(
    name: str,
    recorded: Recorded,
    recorded_stage: str,
    prices: Mapping[str, float],
    rules: Sequence[R],
    budget: float,
    shares: Sequence[float],
    most: int | None = None,
    *,
    optional: bool = False,
    fewest: int | None = None,
    once: Mapping[str, float] | None = None,
) -> Stage[R]:
    """A stage whose models spend shares of the budget on draws, as far as draws were recorded.

    Args:
        prices: of one draw of each model that takes part, above 0.
        most: bound on the draws of an option; a model with fewer recorded draws for some question has its own. A model
            that cannot pay for one draw takes no part.
        optional: whether no draws are an option, the first one then.
        fewest: draws of a model that a question must have, or it counts as unrecorded; None where none may be so.
        once: what models cost an answer beside their draws; None for nothing.

    Raises:
        RecordedError: a model is not recorded, or none can be paid.
    """
    columns = recorded.at(recorded_stage, tuple(prices), 1 if fewest is None else 0)
    recorded_draws = _fewest(name, recorded.drawn[:, columns], tuple(prices), fewest)
    counts = recorded_draws if most is None else np.minimum(recorded_draws, most)
    beside = once or {}
    models: list[str] = []
    kept: list[int] = []
    options: list[Option] = []
    for (model, price), column, bound in zip(prices.items(), columns, counts, strict=True):
        by_n: dict[int, int] = {}
        for k, share in enumerate(shares):
            paid = (share * budget - beside.get(model, 0.0)) / price
            by_n.setdefault(min(int(paid + ROUNDING), int(bound)), k)
        by_n = {n: k for n, k in by_n.items() if n > 0}
        if by_n:
            options += [Option(len(models), n, r, k) for n, k in sorted(by_n.items()) for r in range(len(rules))]
            models.append(model)
            kept.append(column)
    if not options:
        cheapest = min(price + beside.get(model, 0.0) for model, price in prices.items())
        raise RecordedError(
            f"one draw of some model of {name!r} must cost at most {max(shares) * budget:g}, but the cheapest costs "
            f"{cheapest:g}; raise the budget."
        )
    if optional:
        options.insert(0, NO_DRAWS)
    own, shared = (np.array([of.get(model, 0.0) for model in models]) for of in (prices, beside))
    highest = np.array([max(o.n for o in options if o.arm == arm) for arm in range(len(models))])
    return Stage(name, recorded, tuple(models), np.array(kept), own, shared, highest, tuple(rules), tuple(options))


def _fewest(name: str, drawn: Ints, models: Sequence[str], fewest: int | None) -> Ints:
    """Fewest draws of each model on any question where it is recorded."""
    if fewest is None:
        return np.asarray(drawn.min(axis=0))
    for model, found in zip(models, drawn.max(axis=0), strict=True):
        if found < fewest:
            raise RecordedError(
                f"every model of {name!r} must have {fewest} draws of some question, but {model!r} has at most "
                f"{found}; lower `fewest`, or leave it out."
            )
    return np.asarray(np.where(drawn >= fewest, drawn, drawn.max()).min(axis=0))


@dataclass(frozen=True, eq=False)
class Split:
    """Examples that a search may draw on: an example is one question of every stage.

    Attributes:
        questions: stages x examples.
    """

    questions: Ints

    @property
    def size(self) -> int:
        """Number of examples."""
        return int(self.questions.shape[1])


@dataclass(frozen=True, eq=False)
class Task(ABC):
    """Stages of which each configuration takes one option, within a budget.

    Attributes:
        budget: bound on the price of one answer.
        search: examples of the search split.
        trials: the search may spend what so many random configurations cost on its split.
    """

    name: str
    stages: tuple[Stage[Named], ...]
    budget: float
    search: int
    trials: int

    def __post_init__(self) -> None:
        """Refuse a split of more questions than there are."""
        if self.search > self.least_questions:
            raise RecordedError(
                f"`search` must be at most the {self.least_questions} questions of the smallest table, got "
                f"{self.search}; lower it."
            )

    @cached_property
    def configurations(self) -> Ints:
        """Options of all configurations that draw something, within the budget: configurations x stages.

        Raises:
            RecordedError: there are too many to be listed, or none.
        """
        size = int(np.prod([len(own.options) for own in self.stages], dtype=float))
        if size > MOST_CONFIGURATIONS:
            raise RecordedError(f"a task must have at most {MOST_CONFIGURATIONS} configurations, got {size}; cut some.")
        every = np.array(list(product(*(range(len(own.options)) for own in self.stages))))
        within = every[(self.cost(every) <= self.budget * (1 + ROUNDING)) & (self.calls(every) > 0)]
        if not len(within):
            raise RecordedError(f"a configuration must cost at most {self.budget:g}, but none does; raise the budget.")
        return np.asarray(within)

    def cost(self, configurations: Ints) -> Floats:
        """Price of one answer by each."""
        return np.asarray(sum(own.cost[configurations[:, s]] for s, own in enumerate(self.stages)))

    def calls(self, configurations: Ints) -> Ints:
        """Draws for one answer by each."""
        return np.asarray(sum(own.calls[configurations[:, s]] for s, own in enumerate(self.stages)))

    @cached_property
    def least_questions(self) -> int:
        """Questions of the smallest recording, so that no difference below one of them counts."""
        return min(len(own.recorded.questions) for own in self.stages)

    @property
    @abstractmethod
    def truth(self) -> Floats:
        """Expected accuracy of every configuration over all questions."""

    @abstractmethod
    def value(self, configurations: Ints, split: Split) -> Floats:
        """Expected accuracy on the examples of a split."""

    @abstractmethod
    def outcome(self, configuration: Ints, drawn: Sequence[Drawn]) -> Floats:
        """What a configuration gave on each example, from its draws of each stage: from 0 to 1."""

    def together(self, rng: np.random.Generator) -> Split:
        """Random questions, the same of all stages."""
        row = rng.permutation(self.least_questions)[: self.search]
        return Split(np.tile(row, (len(self.stages), 1)))

    @abstractmethod
    def split(self, rng: np.random.Generator) -> Split:
        """Random examples."""
