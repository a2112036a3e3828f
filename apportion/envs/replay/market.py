"""One replayed search: draws are bought from a recording, and paid for, until the spend is at its cap.

It knows what was bought and which configuration leads, not how a searcher chooses.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from apportion.envs.replay.chained import Branches, Chained
from apportion.envs.replay.columns import NONE
from apportion.envs.replay.composed import Composed
from apportion.envs.replay.rule import Drawn, Habits
from apportion.envs.replay.selected import Selected
from apportion.envs.replay.task import Option, Split, Task
from apportion.errors import RecordedError

Floats = NDArray[np.float64]
Reals = NDArray[np.floating[Any]]
Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]
Currency = Literal["draws", "cost"]


class Spent(Exception):
    """The next purchase would pass the cap; nothing of it was bought."""


class Lead(NamedTuple):
    """From a spend on, the configuration that a search would return.

    Attributes:
        sure: the probability that the searcher gives it of being within 1 % of the best; NaN if it says none.
        trials: configurations measured by then.
    """

    spent: float
    configuration: int
    sure: float
    trials: int


class Front(NamedTuple):
    """From a spend on, the configurations that a search would offer, in order of their numbers."""

    spent: float
    configurations: tuple[int, ...]


class Arm(NamedTuple):
    """A model of a stage.

    Attributes:
        price: of one draw, in the currency of the search.
        size: what a draw counts against the budget of an answer.
        most: draws an example has.
    """

    stage: int
    model: int
    price: float
    size: float
    most: int


class Part(NamedTuple):
    """What a configuration draws at a stage on some examples.

    Attributes:
        n: of its option.
        drawn: a row an example; of the second stage of a chain, a row a state.
        at: where the draws of each example are booked: the example itself or, in the second stage of a chain, the
            answer that it reads, -1 for none.
    """

    arm: int
    n: int
    drawn: Drawn
    at: Ints

    @property
    def asked(self) -> Ints:
        """Draws on each example: none where there is nothing to read."""
        return np.where(self.at == NONE, 0, self.n)


class Market:
    """Sells draws on the search split of a task.

    Attributes:
        arms: models of all stages, those of a stage side by side.
        configurations: of the task, options by stage.
        drawn, right: draws bought that later ones build on, and those that were right: arms x examples. Of the second
            stage of a chain they are the sums over what it was asked about on an example; of its first, none is right.
        spent: so far.
        cap: bound on it.
        leads: what the search would have returned, from when on.
        fronts: what it would have offered to whoever weighs accuracy against cost; none if it offers no more than a
            lead.
        trials: configurations measured.
    """

    def __init__(self, task: Task, seed: int, currency: Currency = "draws", *, bank: bool = False) -> None:
        self.task, self.seed, self.currency, self.bank = task, seed, currency, bank
        self.split: Split = task.split(np.random.default_rng([seed, 0]))
        self.configurations = task.configurations
        self.arms = [
            Arm(s, m, 1.0 if currency == "draws" else float(price), float(price), int(own.most[m]))
            for s, own in enumerate(task.stages)
            for m, price in enumerate(own.prices)
        ]
        self.first = np.cumsum([0, *(len(own.models) for own in task.stages)])[:-1]
        amounts = task.calls(self.configurations) if currency == "draws" else task.cost(self.configurations)
        self.prices: Floats = np.asarray(amounts, dtype=float)
        self.cap = float(self.prices.mean()) * self.split.size * task.trials
        self.spent = 0.0
        self.trials = 0
        self.leads: list[Lead] = []
        self.fronts: list[Front] = []
        shape = len(self.arms), self.split.size
        self.drawn, self.right = np.zeros(shape, dtype=np.int64), np.zeros(shape, dtype=np.int64)
        self._chain = task if isinstance(task, Chained) else None
        self._read = {  # of the second stage of a chain, by arm: draws bought on each answer of the first
            a: np.zeros(self._chain.answers, dtype=np.int64)
            for a, arm in enumerate(self.arms)
            if self._chain is not None and arm.stage == 1
        }
        self._order: dict[int, Drawn] = {}

    def options(self, stage: int) -> tuple[Option, ...]:
        """What a stage may do."""
        return self.task.stages[stage].options

    def option(self, stage: int, number: int) -> Option:
        """An option of a stage."""
        return self.task.stages[stage].options[number]

    def arm(self, stage: int, option: Option) -> int:
        """The arm that an option draws from."""
        return int(self.first[stage]) + option.arm

    def lead(self, configuration: int, sure: float = float("nan")) -> None:
        """Say what the search would return now.

        Raises:
            ValueError: there is no such configuration, or the probability is none.
        """
        configuration, sure = int(configuration), float(sure)
        if not 0 <= configuration < len(self.configurations) or not (np.isnan(sure) or 0.0 <= sure <= 1.0):
            raise ValueError(
                f"a lead must be one of {len(self.configurations)} configurations, with a probability from 0 to 1, got "
                f"{configuration} and {sure}; mend the searcher."
            )
        if not self.leads or self.leads[-1][1:3] != (configuration, sure):
            self.leads.append(Lead(self.spent, configuration, sure, self.trials))

    def front(self, configurations: Iterable[int]) -> None:
        """Say which configurations the search would offer now, for accuracy against the cost of an answer.

        Raises:
            ValueError: there is no such configuration.
        """
        offered = tuple(sorted({int(configuration) for configuration in configurations}))
        if offered and not 0 <= offered[0] <= offered[-1] < len(self.configurations):
            raise ValueError(
                f"a front must be of numbers below {len(self.configurations)}, got {offered[0]} to {offered[-1]}; "
                "mend the searcher."
            )
        if not self.fronts or self.fronts[-1].configurations != offered:
            self.fronts.append(Front(self.spent, offered))

    def measure(self, configuration: int) -> float:
        """Measure a configuration on the whole search split, and pay for it.

        With the bank, it is scored as by `score`, and pays for those of its draws that were not bought; without it,
        every trial draws anew.

        Returns:
            Its mean score over the examples.

        Raises:
            Spent: that would pass the cap.
        """
        everyone = np.arange(self.split.size)
        if self.bank:
            scores = self.score(configuration, everyone)
        else:
            parts = self._parts(configuration, everyone, self.trials + 1)
            self._pay([(part.arm, part.asked) for part in parts])
            scores = self._outcome(configuration, parts)
        self.trials += 1
        return float(scores.mean())

    def score(self, configuration: int, examples: Ints) -> Floats:
        """Score a configuration on some examples, each named once, buying those of its draws that were not bought.

        It uses the first draws of each arm on an example, so configurations share them. In the second stage of a chain
        they share the first draws on the answer that is read; an example without an answer draws nothing there, and
        an answer that the model was not recorded on is paid as any other.

        Returns:
            What it gave on each of the examples.

        Raises:
            Spent: that would pass the cap.
        """
        parts = self._parts(configuration, examples, 0)
        before = [self._bought(part.arm, part.at) for part in parts]
        more = [np.maximum(part.asked - known, 0) for part, known in zip(parts, before, strict=True)]
        self._pay([(part.arm, new) for part, new in zip(parts, more, strict=True)])
        for part, known, new in zip(parts, before, more, strict=True):
            if new.any():
                self.right[part.arm, examples] += self._right(part, known)
                self._note(part.arm, examples, part.at, new)
        return self._outcome(configuration, parts)

    def buy(self, arm: int, examples: Ints) -> Flags:
        """Buy the next draw of an arm on each of some examples, each named once.

        Returns:
            Whether each was right.

        Raises:
            Spent: that would pass the cap.
            ValueError: an example has no further draw.
            RecordedError: the task is a chain, where a draw is of an answer too.
        """
        if self._chain is not None:
            raise RecordedError(
                f"a draw of the chain {self.task.name!r} is of what its stage is asked, which no example alone says; "
                "use `score` or `measure`."
            )
        at = self.drawn[arm, examples]
        if (at >= self.arms[arm].most).any():
            raise ValueError(
                f"an example of arm {arm} must have a draw left, but all {self.arms[arm].most} are bought."
            )
        self._pay([(arm, np.ones(len(examples)))])
        correct = self._draws(arm, 0).correct[examples, at]
        self.drawn[arm, examples] += 1
        self.right[arm, examples] += correct
        return np.asarray(correct)

    def scores(self, examples: Ints, rng: np.random.Generator) -> Floats:
        """Buy all draws of all arms on some examples, and score every configuration there.

        Of a chain these are all that were recorded: of the first stage, and of the second on each answer that a draw
        of the first gave.

        Returns:
            Configurations x examples. Of a chain expected accuracies, exact where the rules are; else means over random
            parts of the draws, an unbiased estimate.

        Raises:
            Spent: that would pass the cap.
            TypeError: the stages are independent; `worth` says more then.
        """
        if self._chain is not None:
            self._buy_whole(self._chain, examples)
            return self._chain.each(self.configurations, self.split.questions[0][examples])
        if not isinstance(self.task, Selected):
            raise TypeError(f"the stages of {self.task.name!r} must depend on each other, but do not; use `worth`.")
        most = np.array([arm.most for arm in self.arms])
        need = most[:, None] - self.drawn[:, examples]
        self._pay(list(enumerate(need)))
        self.drawn[:, examples] = most[:, None]
        bought = [self._draws(a, 0).of(examples, arm.most) for a, arm in enumerate(self.arms)]
        self.right[:, examples] = [drawn.correct.sum(axis=1) for drawn in bought]
        return self.task.scores(bought, rng)

    @property
    def independent(self) -> bool:
        """Whether the stages of an example succeed independently of each other, so that `worth` is known."""
        return isinstance(self.task, Composed)

    @property
    def shared(self) -> bool:
        """Whether all stages of an example are asked the same question."""
        return isinstance(self.task, Composed) and self.task.shared

    def habits(self, stage: int, option: int, k: int, rng: np.random.Generator) -> Habits:
        """What the rule of an option must know of its model beyond success: samples, k x examples each.

        Raises:
            TypeError: as `worth`.
        """
        chosen, arm = self.option(stage, option), self.arm(stage, self.option(stage, option))
        return self._composed.stages[stage].rules[chosen.rule].habits(self._draws(arm, 0), self.drawn[arm], k, rng)

    def worth(self, stage: int, option: int, p: Reals, habits: Habits) -> Reals:
        """What an option is worth on each example where a draw is right with probability p: any shape x examples.

        Raises:
            TypeError: the stages depend on each other, so that no option of one is worth anything by itself.
        """
        chosen = self.option(stage, option)
        return (
            self._composed.stages[stage].rules[chosen.rule].worth(p, chosen.n, habits) if chosen.n else np.zeros_like(p)
        )

    def combined(self, parts: Sequence[Reals]) -> Reals:
        """What stages give together, element by element.

        Raises:
            TypeError: as `worth`.
        """
        return self._composed.combined(parts)

    @property
    def _composed(self) -> Composed:
        if not isinstance(self.task, Composed):
            raise TypeError(f"the stages of {self.task.name!r} must be independent, but are not; measure instead.")
        return self.task

    def _parts(self, configuration: int, examples: Ints, trial: int) -> list[Part]:
        """What a configuration draws at each stage on some examples."""
        row = self.configurations[configuration]
        parts: list[Part] = []
        for s, number in enumerate(row):
            option = self.option(s, number)
            arm = self.arm(s, option)
            drawn, at = self._draws(arm, trial), examples
            if self._chain is not None and s == 1:
                at = self._chain.read(int(row[0]), parts[0].drawn)
            else:
                drawn = drawn.of(examples, option.n)
            parts.append(Part(arm, option.n, drawn, at))
        return parts

    def _outcome(self, configuration: int, parts: Sequence[Part]) -> Floats:
        return self.task.outcome(self.configurations[configuration], [part.drawn for part in parts])

    def _right(self, part: Part, before: Ints) -> Ints:
        """How many draws were right on each example, of those that follow the ones bought before."""
        right, found, drawn = np.zeros(len(part.at), dtype=np.int64), np.full(len(part.at), fill_value=True), part.drawn
        if self._chain is not None and isinstance(drawn, Branches):
            found, drawn = drawn.at(self._chain.states(part.at), part.n)
        right[found] = (drawn.correct & (np.arange(part.n) >= before[found, None])).sum(axis=1)
        return right

    def _bought(self, arm: int, at: Ints) -> Ints:
        """Draws bought of an arm on examples or, of the second stage of a chain, on answers."""
        return np.asarray(self._read[arm][at] if arm in self._read else self.drawn[arm, at])

    def _note(self, arm: int, examples: Ints, at: Ints, more: Ints) -> None:
        """Enter draws into the books; an example may stand several times, with different answers."""
        np.add.at(self.drawn[arm], examples, more)
        if arm in self._read:
            np.add.at(self._read[arm], at, more)

    def _buy_whole(self, chain: Chained, examples: Ints) -> None:
        """Buy all that was recorded of a chain on some examples and was not bought."""
        questions = self.split.questions[0][examples]
        lots = []
        for a, arm in enumerate(self.arms):
            own, column = chain.stages[arm.stage], chain.stages[arm.stage].columns[arm.model]
            of, at, rows = examples, examples, questions
            if a in self._read:
                place, rows = chain.reached(arm.model, questions)
                of, at = examples[place], chain.answer[rows]
            more = own.recorded.drawn[rows, column] - self._bought(a, at)
            right = np.bincount(of, weights=own.recorded.correct[rows, column], minlength=self.split.size)
            lots.append((a, of, at, more, right[examples]))
        self._pay([(a, more) for a, _, _, more, _ in lots])
        for a, of, at, more, right in lots:
            self._note(a, of, at, more)
            self.right[a, examples] = right

    def _pay(self, bill: Iterable[tuple[int, Reals | Ints]]) -> None:
        """Pay for draws of arms, or for none of them.

        Raises:
            Spent: that would pass the cap.
        """
        price = sum(float(draws.sum()) * self.arms[arm].price for arm, draws in bill)
        if self.spent + price > self.cap * (1 + 1e-12):
            raise Spent
        self.spent += price

    def _draws(self, arm: int, trial: int) -> Drawn:
        """Recorded draws of an arm in random order, without replacement; the same for the same trial."""
        if trial == 0 and arm in self._order:
            return self._order[arm]
        stage = self.task.stages[self.arms[arm].stage]
        rng = np.random.default_rng([self.seed, 1 + arm, trial])
        drawn = stage.drawn(self.arms[arm].model, self.split.questions[self.arms[arm].stage], rng)
        if trial == 0:
            self._order[arm] = drawn
        return drawn
