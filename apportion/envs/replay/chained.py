"""Tasks of two stages of which the second is asked about what the first answered, so that its success depends on that.

It knows what rules make of recorded draws (`rules`) and which answers the second stage was recorded on (`reads`). The
truth is exact where that of the rules is.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from apportion.envs.replay.columns import NONE
from apportion.envs.replay.rule import Drawn, Rule
from apportion.envs.replay.task import ROUNDING, Split, Stage, Task
from apportion.errors import RecordedError

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


class Branches(Drawn):
    """Draws of the second stage on everything that it might read: a row a state, whose number is its question."""

    def at(self, states: Ints, n: int) -> tuple[NDArray[np.bool_], Drawn]:
        """Which of some states were recorded, and the first n draws on those."""
        found = np.isin(states, self.questions)
        return found, self.of(np.searchsorted(self.questions, states[found]), n)


@dataclass(frozen=True, eq=False)
class Reading(Stage[Rule]):
    """The second stage. The questions of its recording are states: a question with an answer that is read there.

    Attributes:
        question: of each state, the question of the first stage.
        known: whether each model has enough draws on each state: states x models.
    """

    question: Ints
    known: NDArray[np.bool_]

    @staticmethod
    def of(own: Stage[Rule], question: Ints, fewest: int) -> Reading:
        """A stage of which cells with fewer draws count as unrecorded."""
        known = own.recorded.drawn[:, own.columns] >= fewest
        return Reading(**{f.name: getattr(own, f.name) for f in fields(own)}, question=question, known=known)

    def drawn(self, model: int, questions: Ints, rng: np.random.Generator) -> Branches:
        """As many draws as options of a model may take on each state of some questions where it has enough."""
        states = np.flatnonzero(np.isin(self.question, questions) & self.known[:, model])
        drawn = super().drawn(model, states, rng)
        return Branches(**{f.name: getattr(drawn, f.name) for f in fields(drawn)})


@dataclass(frozen=True, eq=False)
class Chained(Task):
    """The first stage chooses an answer, the second is asked about it; right is what the second chooses.

    An answer that the second stage was not recorded on counts as wrong (`unrecorded` says how often that is), and so
    does no answer.

    Attributes:
        answer: of each state of the second stage, the number of the answer among those of the first; -1 for none.
    """

    stages: tuple[Stage[Rule], Reading]
    answer: Ints

    def __post_init__(self) -> None:
        """Refuse rules that a table cannot serve, or that would know what is right before it is.

        Raises:
            RecordedError: there are such.
        """
        super().__post_init__()
        for own in self.stages:
            for rule in own.rules:
                rule.check(own.recorded, own.columns)
        first = self.stages[0]
        for rule in first.rules:
            if rule.checks:
                raise RecordedError(
                    f"the first stage of a chain must choose without knowing what is right, but {first.name!r} has "
                    f"{rule.name}; choose majority."
                )

    @cached_property
    def least_questions(self) -> int:
        """Questions of the first stage."""
        return len(self.stages[0].recorded.questions)

    @cached_property
    def truth(self) -> Floats:
        """Expected accuracy of every configuration over all questions."""
        return self._at(self._arrivals @ self._success.T / self.least_questions, self.configurations)

    @cached_property
    def truth_error(self) -> float:
        """Bound on the standard error of a true value, to first order; 0 where all rules are exact."""
        largest = [
            max(own.rules[o.rule].error(own.recorded, int(own.columns[o.arm]), o.n) for o in own.options)
            for own in self.stages
        ]
        return math.hypot(*largest)

    @cached_property
    def unrecorded(self) -> Floats:
        """Share of the questions on which a configuration meets an answer that its second model was not recorded on."""
        known = self.stages[1].known[:, [o.arm for o in self.stages[1].options]]
        lost = (self._answered.sum(axis=1)[:, None] - self._arrivals @ known) / self.least_questions
        return self._at(np.where(lost > ROUNDING, lost, 0.0), self.configurations)

    def value(self, configurations: Ints, split: Split) -> Floats:
        """Expected accuracy on the examples of a split."""
        return np.asarray(self.each(configurations, split.questions[0]).mean(axis=1))

    def each(self, configurations: Ints, questions: Ints) -> Floats:
        """Expected accuracy on each of some questions: configurations x questions."""
        values = np.empty((len(configurations), len(questions)))
        for place, question in enumerate(questions):
            own = self.stages[1].question == question
            values[:, place] = self._at(self._arrivals[:, own] @ self._success[:, own].T, configurations)
        return values

    def outcome(self, configuration: Ints, drawn: Sequence[Drawn]) -> Floats:
        """Whether the second stage's choice is right on each example, asked about the first one's."""
        (above, below), two = drawn, self.stages[1]
        if not isinstance(below, Branches):
            raise TypeError("draws of the second stage must be those of `Reading.drawn`, a row a state.")
        second, answers = two.options[configuration[1]], self.read(int(configuration[0]), above)
        right = np.zeros(len(answers))
        found, draws = below.at(self.states(answers), second.n)
        if found.any():
            right[found] = two.rules[second.rule].outcome(draws, second.n)
        return right

    def read(self, option: int, above: Drawn) -> Ints:
        """Numbers of the answers that an option of the first stage chooses, for the second to read; -1 for none."""
        own = self.stages[0].options[option]
        chosen = self.stages[0].rules[own.rule].chosen(above, own.n)
        return np.where(chosen == NONE, NONE, above.answers[np.arange(len(chosen)), chosen])

    def states(self, answers: Ints) -> Ints:
        """The state of each of some answers of the first stage; -1 for no answer, and where none was recorded."""
        return np.asarray(self._state[answers])

    @property
    def answers(self) -> int:
        """Answers of the first stage to all questions; the numbers of those to different questions differ."""
        return len(self._state) - 1

    def reached(self, model: int, questions: Ints) -> tuple[Ints, Ints]:
        """States that draws of the first stage give on some questions, and that a model of the second was recorded on.

        Returns:
            Of each, the place of its question among those asked for, and its number.
        """
        own = self.stages[1]
        states = np.flatnonzero(self._given & own.known[:, model] & np.isin(own.question, questions))
        order = np.argsort(questions)
        return order[np.searchsorted(questions, own.question[states], sorter=order)], states

    def split(self, rng: np.random.Generator) -> Split:
        """Random questions, the same of both stages."""
        return self.together(rng)

    @staticmethod
    def _at(table: Floats, configurations: Ints) -> Floats:
        return np.asarray(table[configurations[:, 0], configurations[:, 1]])

    @cached_property
    def _state(self) -> Ints:
        """The state of each answer of the first stage; the last entry is for none, so that -1 finds it."""
        samples = self.stages[0].recorded.samples
        assert samples is not None
        states = np.full(int(samples.answers.max(initial=NONE)) + 2, NONE)
        states[self.answer[self.answer != NONE]] = np.flatnonzero(self.answer != NONE)
        return states

    @cached_property
    def _given(self) -> NDArray[np.bool_]:
        """Whether some draw of the first stage's models leads to each state."""
        own = self.stages[0]
        said = [cell.answers for column in own.columns for _, cell in own.recorded.cells(int(column))]
        return np.asarray((self.answer != NONE) & np.isin(self.answer, np.concatenate(said)))

    def _chances(self, answers: Ints) -> Floats:
        """Probability, by question, that the first stage chooses one of some answers: options x questions.

        It is the accuracy of its rules were these answers the right ones.
        """
        own, samples = self.stages[0], self.stages[0].recorded.samples
        assert samples is not None
        as_if = replace(own.recorded, samples=replace(samples, correct=np.isin(samples.answers, answers)))
        return np.array([own.rules[o.rule].expected(as_if, int(own.columns[o.arm]), o.n) for o in own.options])

    @cached_property
    def _arrivals(self) -> Floats:
        """Probability that an option of the first stage leads to each state: options x states."""
        question, reached = self.stages[1].question, np.flatnonzero(self.answer != NONE)
        arrivals = np.zeros((len(self.stages[0].options), len(question)))
        seen = np.zeros(self.least_questions, dtype=np.int64)
        turn = np.empty(len(reached), dtype=np.int64)  # of each reached state among those of its question
        for place, own in enumerate(question[reached]):
            turn[place] = seen[own]
            seen[own] += 1
        for one in range(int(seen.max(initial=0))):
            states = reached[turn == one]
            arrivals[:, states] = self._chances(self.answer[states])[:, question[states]]
        return arrivals

    @cached_property
    def _answered(self) -> Floats:
        """Probability that the first stage chooses any answer: options x questions."""
        return self._chances(np.arange(len(self._state)))

    @cached_property
    def _success(self) -> Floats:
        """Probability that an option of the second stage is right on each state, 0 if unrecorded: options x states."""
        own = self.stages[1]
        success = np.zeros((len(own.options), len(own.question)))
        for place, option in enumerate(own.options):
            known = np.flatnonzero(own.known[:, option.arm])
            rule, column = own.rules[option.rule], int(own.columns[option.arm])
            success[place, known] = rule.expected(own.recorded.part(known), column, option.n)
        return success
