"""Measuring the graphs of a study, one after another, and keeping their trials. It does not choose what is measured.

What it knows is rebuilt from the log, so that a study goes on where an earlier session stopped.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import takewhile

from apportion.graphs.graph import Graph
from apportion.search.closing import Unmeasured, kept
from apportion.search.judging import judged, over_on_paper, owed
from apportion.search.objectives import MOST_FAILURES
from apportion.search.plan import Plan
from apportion.search.problem import Log, Measurement, Problem, Purse, Row
from apportion.search.trial import PAPER, Trial


@dataclass
class Progress:
    """Where a running study is. Read by views; changes as the study goes on.

    Attributes:
        spent: of the plan's trials: trials, or in a race examples in splits.
    """

    phase: str = "starting"
    label: str = ""
    done: int = 0
    total: int = 0
    spent: float = 0.0
    trials: list[Trial] = field(default_factory=list)


class Measurer:
    """Measures graphs, judges what they gave, and writes it to the log.

    Args:
        told: called with each trial when it is in the log.

    Attributes:
        measured: the trial of each graph that was told of, by the graph's key.
    """

    def __init__(self, plan: Plan, problem: Problem, log: Log, purse: Purse, told: Callable[[Trial], None]) -> None:
        self.progress = Progress()
        self.measured: dict[str, Trial] = {}
        self._plan = plan
        self._problem = problem
        self._log = log
        self._purse = purse
        self._told = told
        self._scored: dict[str, Sequence[Row]] = {}
        self._waiting: dict[str, int] = {}

    @property
    def trials(self) -> list[Trial]:
        """Trials told so far, in order."""
        return self.progress.trials

    def restore(self) -> list[Trial]:
        """Take over the log; returns what is owed a measurement: trials never told, or failed by their servers."""
        self._problem.recall(self._log.fact("learnt") or {})
        records = [Trial.from_dict(record) for record in self._log.all()]
        for trial in records:
            if not owed(trial):
                self._remember(trial)
        self._waiting = {trial.key: trial.number for trial in records if owed(trial)}
        return [replace(trial, state="running", reason="") for trial in records if owed(trial)]

    def number(self, graph: Graph) -> int:
        """Of the trial of a graph: the one it has, also where a measurement of it is owed still, or the next."""
        known = self.measured.get(graph.key)
        if known is not None:
            return known.number
        taken = [*(trial.number for trial in self.trials), *self._waiting.values()]
        return self._waiting.get(graph.key, 1 + max(taken, default=-1))

    async def measure(self, trial: Trial, examples: int | None = None) -> bool:
        """Measure a graph on the search split, or its first examples, and tell; False if it was refused on paper.

        Raises:
            LimitReached: a needed draw may not be bought.
        """
        if trial.key not in self.measured:
            await self._log.put(trial.number, trial.to_dict())
        # Baselines show how long prompts and replies are, so nothing but their calls can be held against them.
        expected = {} if trial.baseline else self._problem.on_paper(trial.graph)
        over, reason = over_on_paper(self._plan, trial.graph, expected)
        if reason:
            await self.tell(replace(trial, state="infeasible", reason=reason, violations={PAPER: over}))
            return False
        # From what is told alone, so that a search that goes on holds the same. Baselines may take all but the plan's.
        plan = self._plan
        self._purse.hold(plan.closing_share if trial.baseline else kept(plan, self.trials, self._purse))
        answered = takewhile(lambda row: row[1] != "failed", self.scores(trial.key))
        known = [] if examples is None else list(answered)  # what failed is measured again
        measurement = await self._rows(trial.graph, "search", trial.label, known, examples)
        await self.tell(judged(plan, trial, measurement))
        return True

    async def answered(self, graph: Graph, split: str, label: str) -> Measurement:
        """A graph on a whole split, where failures must not be taken for a measurement.

        Raises:
            LimitReached: a needed draw may not be bought.
            Unmeasured: too many answers failed.
        """
        measurement = await self._rows(graph, split, label)
        rate = measurement.failure_rate
        if rate > MOST_FAILURES:
            raise Unmeasured(f"{label}: at most {MOST_FAILURES:.0%} of answers may fail, got {rate:.0%}; run it again.")
        return measurement

    async def tell(self, trial: Trial) -> None:
        """Keep what became of a trial."""
        # In one write: what was learnt of a trial must not outlive a kill that the trial does not.
        facts = {"elapsed_s": self._purse.elapsed_s, "learnt": self._problem.learnt()}
        await self._log.put(trial.number, trial.to_dict(), **facts)
        self._remember(trial)
        self._told(trial)

    def scores(self, key: str) -> Sequence[Row]:
        """What a graph scored on the search split, in this session or an earlier one."""
        return self._scored.get(key) or self._log.scores(key, "search")

    async def _rows(
        self, graph: Graph, split: str, label: str, known: Sequence[Row] = (), examples: int | None = None
    ) -> Measurement:
        """Measure a graph on a split, or from its known first examples up to a number of them, and keep its scores."""
        progress = self.progress
        progress.phase, progress.label = split, label
        progress.done, progress.total = len(known), examples or self._plan.sizes[split]
        rows = list(known)
        async for row in self._problem.measure(graph, split, slice(len(known), examples)):
            rows.append(row)
            progress.done = len(rows)
        self._log.put_scores(graph.key, split, rows)
        if split == "search":
            self._scored[graph.key] = rows
        return Measurement(rows)

    def _remember(self, trial: Trial) -> None:
        self.trials[:] = [told for told in self.trials if told.number != trial.number] + [trial]
        if trial.state != "repeated":  # what it repeats may be measured anew
            self.measured[trial.key] = trial
