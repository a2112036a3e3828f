"""One replayed search: draws are bought from a recording, and paid for, until the spend is at its cap.

It knows what draws cost and give, not how a searcher chooses; what was bought stands in its `books`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from apportion.envs.replay.books import Arm, Books, Front, Lead, Spent
from apportion.envs.replay.chained import Chained
from apportion.envs.replay.composed import Composed
from apportion.envs.replay.rule import Habits
from apportion.envs.replay.selected import Selected
from apportion.envs.replay.shuffled import Part, Shuffled
from apportion.envs.replay.task import Option, Split, Task
from apportion.errors import RecordedError

__all__ = ["Currency", "Front", "Lead", "Market", "Spent"]

Floats = NDArray[np.float64]
Reals = NDArray[np.floating[Any]]
Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]
Currency = Literal["draws", "cost"]


class Market(Books):
    """Sells draws on the search split of a task, and enters them into its books.

    Attributes:
        prices: of one answer by each configuration, in the currency of the search.

    Raises:
        RecordedError: when made, if a search in prices would have to pay for more than draws.
    """

    def __init__(self, task: Task, seed: int, currency: Currency = "draws", *, bank: bool = False) -> None:
        self.task, self.seed, self.currency, self.bank = task, seed, currency, bank
        if currency == "cost" and any(own.once.any() for own in task.stages):
            raise RecordedError(
                f"a search in prices pays for draws alone, but models of {task.name!r} cost something `once`; search "
                "in draws."
            )
        self.split: Split = task.split(np.random.default_rng([seed, 0]))
        amounts = task.calls(task.configurations) if currency == "draws" else task.cost(task.configurations)
        self.prices: Floats = np.asarray(amounts, dtype=float)
        self._chain = task if isinstance(task, Chained) else None
        self._shuffled = Shuffled(task, self.split, seed)
        arms = [
            Arm(s, m, 1.0 if currency == "draws" else float(price), float(price), int(own.most[m]))
            for s, own in enumerate(task.stages)
            for m, price in enumerate(own.prices)
        ]
        cap = float(self.prices.mean()) * self.split.size * task.trials
        answers = self._chain.answers if self._chain is not None else None
        super().__init__(arms, task.configurations, cap, self.split.size, answers)

    def options(self, stage: int) -> tuple[Option, ...]:
        """What a stage may do."""
        return self.task.stages[stage].options

    def option(self, stage: int, number: int) -> Option:
        """An option of a stage."""
        return self.task.stages[stage].options[number]

    def arm(self, stage: int, option: Option) -> int:
        """The arm that an option draws from."""
        return self._shuffled.arm(stage, option)

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
            parts = self._shuffled.parts(self.configurations[configuration], everyone, self.trials + 1)
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
        parts = self._shuffled.parts(self.configurations[configuration], examples)
        before = [self._bought(part.arm, part.at) for part in parts]
        more = [np.maximum(part.asked - known, 0) for part, known in zip(parts, before, strict=True)]
        self._pay([(part.arm, new) for part, new in zip(parts, more, strict=True)])
        for part, known, new in zip(parts, before, more, strict=True):
            if new.any():
                self.right[part.arm, examples] += self._shuffled.right(part, known)
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
        correct = self._shuffled.draws(arm).correct[examples, at]
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
        bought = [self._shuffled.draws(a).of(examples, arm.most) for a, arm in enumerate(self.arms)]
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
        chosen = self.option(stage, option)
        arm, rule = self.arm(stage, chosen), self._composed.stages[stage].rules[chosen.rule]
        return rule.habits(self._shuffled.draws(arm), self.drawn[arm], k, rng)

    def worth(self, stage: int, options: Ints, p: Reals, habits: Habits) -> Reals:
        """What options are worth on each example where a draw is right with probability p: the shape of p x options.

        Args:
            options: of one model and rule.

        Raises:
            TypeError: the stages depend on each other, so that no option of one is worth anything by itself.
        """
        chosen = [self.option(stage, int(number)) for number in options]
        n = np.array([option.n for option in chosen])
        return self._composed.stages[stage].rules[chosen[0].rule].worth(p, np.maximum(n, 1), habits) * (n > 0)

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

    def _outcome(self, configuration: int, parts: Sequence[Part]) -> Floats:
        return self.task.outcome(self.configurations[configuration], [part.drawn for part in parts])

    def _buy_whole(self, chain: Chained, examples: Ints) -> None:
        """Buy all that was recorded of a chain on some examples and was not bought."""
        questions = self.split.questions[0][examples]
        lots = []
        for a, arm in enumerate(self.arms):
            own, column = chain.stages[arm.stage], chain.stages[arm.stage].columns[arm.model]
            of, at, rows = examples, examples, questions
            if arm.stage == 1:
                place, rows = chain.reached(arm.model, questions)
                of, at = examples[place], chain.answer[rows]
            more = own.recorded.drawn[rows, column] - self._bought(a, at)
            right = np.bincount(of, weights=own.recorded.correct[rows, column], minlength=self.split.size)
            lots.append((a, of, at, more, right[examples]))
        self._pay([(a, more) for a, _, _, more, _ in lots])
        for a, of, at, more, right in lots:
            self._note(a, of, at, more)
            self.right[a, examples] = right
