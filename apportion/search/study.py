"""A study: baselines, then ask, measure, tell until a limit is reached, then the closing.

The study is rebuilt from its log at the start, so going on after a kill is the start-up code. It never sees a prompt.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import takewhile
from typing import Literal

from apportion.errors import GraphError, LimitReached
from apportion.graphs.graph import Graph
from apportion.search.closing import Closing, Unmeasured, close, kept
from apportion.search.engine import Engine
from apportion.search.field import ALLOCATOR, Field, candidates
from apportion.search.objectives import MOST_FAILURES, violations
from apportion.search.plan import Plan, bounded, drawn_within
from apportion.search.problem import Log, Measurement, Problem, Purse, Row
from apportion.search.trial import PAPER, Trial

FAILED_IN_A_ROW = 10  # then something is wrong with the servers, not with the graphs
IDLE_IN_A_ROW = 200  # proposals without a measurement; then the sampler has nothing new to say
PAPER_MARGIN = 0.25  # of a bound: what is expected to cost more is not run; expectations are rougher than measurements

StudyState = Literal["done", "undone", "infeasible"]


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


@dataclass(frozen=True)
class Outcome:
    """How a study ended.

    Attributes:
        reason: why the search ended, in words.
        closing: validation, test and verdict; None when there was nothing to close with.
    """

    state: StudyState
    reason: str
    closing: Closing | None = None


class Study:
    """One search.

    Attributes:
        on_trial: called with each trial when it is told.
    """

    def __init__(self, plan: Plan, problem: Problem, log: Log, purse: Purse) -> None:
        self.plan = plan
        self.progress = Progress()
        self._problem = problem
        self._log = log
        self._purse = purse
        self.on_trial: Callable[[Trial], None] = lambda trial: None
        self._racing = plan.sampler == ALLOCATOR
        asker = "random" if self._racing else plan.sampler  # a race has no use for it
        self._engine = Engine(plan.space, asker, plan.objectives, plan.seed, plan.trials)
        self._measured: dict[str, Trial] = {}
        self._scored: dict[str, Sequence[Row]] = {}
        self._waiting: dict[str, int] = {}

    @property
    def trials(self) -> list[Trial]:
        """Trials told so far, in order."""
        return self.progress.trials

    async def run(self) -> Outcome:
        """Search and close; go on where an earlier run of the same log stopped.

        Raises:
            StoreError: the log cannot be written.
            EvaluatorError: an evaluator raised.
        """
        reason = await self.search()
        self.progress.phase = "closing"
        return await self._close(reason)

    async def search(self) -> str:
        """Search without closing, as `run` does.

        Returns:
            Why it ended.
        """
        search = self._race if self._racing else self._ask_and_tell
        unfinished = self._restore()
        self._log.log("search", trials=len(self.trials))
        try:
            for trial in unfinished if not self._racing else ():  # a race asks for them again
                await self._measure(trial)
            await self._baselines()
            reason = self._draw_within_budget() or await search()
            await self._retry_baselines()
        except LimitReached as limit:
            reason = str(limit) + self._cut_short()
            self._log.log("limit", limit=limit.limit, message=reason)
        finally:
            self._purse.hold(0.0)
        return reason

    def _restore(self) -> list[Trial]:
        """Take over the log; returns what is owed a measurement: trials never told, or failed by their servers."""
        self._problem.recall(self._log.fact("learnt") or {})
        records = [Trial.from_dict(record) for record in self._log.all()]
        told = [trial for trial in records if not _owed(trial)]
        self._engine.add(told)
        for trial in told:
            self._remember(trial)
        self._waiting = {trial.key: trial.number for trial in records if _owed(trial)}
        return [replace(trial, state="running", reason="") for trial in records if _owed(trial)]

    def _number(self, graph: Graph) -> int:
        """Of the trial of a graph: the one it has, also where a measurement of it is owed still, or the next."""
        known = self._measured.get(graph.key)
        if known is not None:
            return known.number
        taken = [*(trial.number for trial in self.trials), *self._waiting.values()]
        return self._waiting.get(graph.key, 1 + max(taken, default=-1))

    async def _baselines(self) -> None:
        """One call of each model, then the plain majority vote of each: what any found graph has to beat."""
        space = self.plan.space
        models = list(dict.fromkeys(model for stage in space.stages for model in stage.models))
        kinds = (("one call of", "single"), ("majority vote of", "vote"))
        for label, template in kinds:
            for model in models:
                graph, params = space.uniform(model, template)
                if graph.key not in self._measured:
                    name = f"{label} {model}"
                    await self._measure(Trial(self._number(graph), name, baseline=True, graph=graph, params=params))

    def _draw_within_budget(self) -> str | None:
        """Tell the sampler what a call costs of what the budget bounds, as the baselines have shown.

        Returns:
            Why there is no graph to ask for; None where there may be one.
        """
        metric = bounded(self.plan.bounds)
        if metric is None:
            return None
        prices = self._log.fact("prices")
        if prices is None:
            prices = self._problem.prices(metric, [stage.name for stage in self.plan.space.stages])
            self._log.set_fact("prices", prices)
        known, bound = drawn_within(self.plan.bounds, prices)
        try:
            if bound is not None:
                self._engine.within(known, bound)
        except GraphError as none:
            return self._no_graph(none)
        return None

    async def _retry_baselines(self) -> None:
        """Measure baselines that the servers failed once more if they served others: the verdict needs them."""
        if any(t.state == "complete" for t in self.trials):
            for trial in [t for t in self.trials if t.baseline and _owed(t)]:
                await self._measure(replace(trial, state="running", reason=""))

    async def _race(self) -> str:
        """Measure graphs on more and more examples, those that may be the best further than the others."""
        try:
            field = self._field()
        except GraphError as none:
            return self._no_graph(none)
        for trial in self.trials:
            field.tell(trial, self._scores(trial.key))
        self.progress.spent = field.spent
        while (step := field.next()) is not None:
            params, graph, examples = step
            trial = Trial(self._number(graph), self.plan.sampler, baseline=False, graph=graph, params=params)
            await self._measure(trial, examples)
            field.tell(self._measured[graph.key], self._scores(graph.key))
            self.progress.spent = field.spent
            if failing := self._failing():
                return failing
        return field.ended

    def _cut_short(self) -> str:
        """What a limit kept from being chosen: a verdict on baselines alone says nothing of graphs."""
        own = Counter(trial.state for trial in self.trials if not trial.baseline)
        if own["complete"] or not own["pruned"]:
            return ""
        return f" None of {own['pruned']} graphs was measured on all examples, so that none may be chosen."

    def _field(self) -> Field:
        """Candidates, with what an answer of each was expected to cost when the race began."""
        drawn = candidates(self.plan)
        costs = self._log.fact("race")
        if costs is None:
            costs = [self._problem.on_paper(graph).get(self.plan.cost) or float(graph.calls) for _, graph in drawn]
            self._log.set_fact("race", costs)
        return Field(self.plan, drawn, costs)

    async def _ask_and_tell(self) -> str:
        idle = 0
        while True:
            ended = self._ended(idle)
            if ended:
                return ended
            number = len(self.trials)
            try:
                params, graph, memory = await asyncio.to_thread(self._engine.ask, number)
            except GraphError as none:
                return self._no_graph(none)
            trial = Trial(number, self.plan.sampler, baseline=False, graph=graph, params=params, memory=memory)
            earlier = self._measured.get(trial.key)
            if earlier is None:
                idle = 0 if await self._measure(trial) else idle + 1
            else:
                idle += 1
                await self._tell(_repeated(trial, earlier))

    def _no_graph(self, why: GraphError) -> str:
        reason = f"the sampler found no graph to try: {why}"
        self._log.log("no graph", message=reason)
        return reason

    def _ended(self, idle: int) -> str | None:
        """Why no further graph is asked for; None to go on."""
        asked = [t for t in self.trials if t.counted]
        if len(asked) >= self.plan.trials:
            return f"`limits.trials` is {self.plan.trials}, and all are told."
        inside = {t.key for t in self.trials if t.params is not None}
        if len(inside) >= self.plan.space.size:
            refused = " or over the budget on paper" if any(PAPER in t.violations for t in self.trials) else ""
            return f"all {self.plan.space.size} graphs of the space are measured{refused}."
        if idle >= IDLE_IN_A_ROW:
            return f"the sampler proposed {idle} graphs in a row that are measured already or over the budget on paper."
        return self._failing()

    def _failing(self) -> str | None:
        """Why measurements say nothing any more."""
        last = [t for t in self.trials if t.state != "repeated"][-FAILED_IN_A_ROW:]
        # In a race the first answers of a graph may have been had before the servers went.
        if len(last) == FAILED_IN_A_ROW and all(t.state == "failed" or (self._racing and _owed(t)) for t in last):
            return f"{FAILED_IN_A_ROW} trials failed in a row, the last because {last[-1].reason}"
        return None

    async def _measure(self, trial: Trial, examples: int | None = None) -> bool:
        """Measure a graph on the search split, or its first examples, and tell; False if it was refused on paper."""
        if trial.key not in self._measured:
            await self._log.put(trial.number, trial.to_dict())
        over, reason = self._over_on_paper(trial)
        if reason:
            await self._tell(replace(trial, state="infeasible", reason=reason, violations={PAPER: over}))
            return False
        # From what is told alone, so that a search that goes on holds the same. Baselines may take all but the plan's.
        self._purse.hold(self.plan.closing_share if trial.baseline else kept(self.plan, self.trials, self._purse))
        answered = takewhile(lambda row: row[1] != "failed", self._scores(trial.key))
        known = [] if examples is None else list(answered)  # what failed is measured again
        measurement = await self._rows(trial.graph, "search", trial.label, known, examples)
        await self._tell(self._judged(trial, measurement))
        return True

    async def _rows(
        self, graph: Graph, split: str, label: str, known: Sequence[Row] = (), examples: int | None = None
    ) -> Measurement:
        """Measure a graph on a split, or from its known first examples up to a number of them, and keep its scores."""
        progress = self.progress
        progress.phase, progress.label = split, label
        progress.done, progress.total = len(known), examples or self.plan.sizes[split]
        rows = list(known)
        async for row in self._problem.measure(graph, split, slice(len(known), examples)):
            rows.append(row)
            progress.done = len(rows)
        self._log.put_scores(graph.key, split, rows)
        if split == "search":
            self._scored[graph.key] = rows
        return Measurement(rows)

    async def _answered(self, graph: Graph, split: str, label: str) -> Measurement:
        """`_rows` where failures must not be taken for a measurement."""
        measurement = await self._rows(graph, split, label)
        rate = measurement.failure_rate
        if rate > MOST_FAILURES:
            raise Unmeasured(f"{label}: at most {MOST_FAILURES:.0%} of answers may fail, got {rate:.0%}; run it again.")
        return measurement

    def _judged(self, trial: Trial, measurement: Measurement) -> Trial:
        metrics, rate = measurement.metrics(), measurement.failure_rate
        missing = [o.metric for o in self.plan.objectives if o.metric not in metrics]
        if missing:
            reason = f"no example gave {missing[0]!r}: {rate:.0%} of the calls failed."
            return replace(trial, state="failed", reason=reason, failure_rate=rate)
        asked, size = len(measurement.rows), self.plan.sizes["search"]
        over = violations(self.plan.constraints, metrics, rate * asked / size)  # as if all the others were answered
        margin = 0.0 if asked == size else PAPER_MARGIN  # a few examples tell a cost roughly
        beyond = {name: share - (0.0 if name == "failures" else margin) for name, share in over.items()}
        worst = max(beyond, key=lambda name: beyond[name])
        state: Literal["complete", "infeasible", "pruned"] = "infeasible" if beyond[worst] > 0.0 else "complete"
        reason = "" if state == "complete" else self._say_over(worst, metrics[worst].mean if worst in metrics else rate)
        if state == "complete" and asked < size:
            state, reason = "pruned", f"measured on {asked} of {size} examples."
        return replace(trial, state=state, reason=reason, metrics=metrics, violations=over, failure_rate=rate)

    def _say_over(self, name: str, value: float) -> str:
        if name == "failures":
            return f"{value:.0%} of its answers failed, more than {MOST_FAILURES:.0%}."
        return f"`budget.{name}` is {self.plan.bounds[name]:g}, and it takes {value:g}."

    def _over_on_paper(self, trial: Trial) -> tuple[float, str]:
        """How far a graph is over a bound before it is run, as a share of the bound, and how to say it.

        Baselines show how long prompts and replies are, so nothing but their calls can be held against them.
        """
        graph = trial.graph
        expected = {} if trial.baseline else self._problem.on_paper(graph)
        for constraint in self.plan.constraints:
            name, bound = constraint.metric, constraint.bound
            if name == "calls" and graph.calls > bound:
                return graph.calls / bound - 1.0, f"`budget.calls` is {bound:g}, and it may make {graph.calls} calls."
            cost = expected.get(name)
            if cost is not None and cost > bound * (1.0 + PAPER_MARGIN):
                return cost / bound - 1.0, f"`budget.{name}` is {bound:g}, and on paper it takes {cost:.3g}."
        return 0.0, ""

    async def _tell(self, trial: Trial) -> None:
        # In one write: what was learnt of a trial must not outlive a kill that the trial does not.
        facts = {"elapsed_s": self._purse.elapsed_s, "learnt": self._problem.learnt()}
        await self._log.put(trial.number, trial.to_dict(), **facts)
        if not self._racing:
            self._engine.tell(trial)
        self._remember(trial)
        self.on_trial(trial)

    def _scores(self, key: str) -> Sequence[Row]:
        """What a graph scored on the search split, in this session or an earlier one."""
        return self._scored.get(key) or self._log.scores(key, "search")

    def _remember(self, trial: Trial) -> None:
        self.trials[:] = [told for told in self.trials if told.number != trial.number] + [trial]
        if trial.state != "repeated":  # what it repeats may be measured anew
            self._measured[trial.key] = trial
        if not self._racing:
            self.progress.spent = sum(told.counted for told in self.trials)

    async def _close(self, reason: str) -> Outcome:
        if not self.trials:
            return self._concluded(Outcome("undone", f"{reason} No graph was measured."))
        if not any(t.state == "complete" for t in self.trials):
            return self._concluded(Outcome("infeasible", f"{reason} No graph was feasible."))
        try:
            closing = await close(self.plan, self.trials, self._answered, self._purse)
        except (LimitReached, Unmeasured) as why:
            return self._concluded(Outcome("undone", f"{reason} Validation or test was left undone: {why}"))
        return self._concluded(Outcome("done", reason, closing))

    def _concluded(self, outcome: Outcome) -> Outcome:
        closing = outcome.closing.to_dict() if outcome.closing else None
        self._log.set_fact("outcome", {"state": outcome.state, "reason": outcome.reason, "closing": closing})
        self.progress.phase = outcome.state
        return outcome


def _owed(trial: Trial) -> bool:
    """Whether a measurement is wanting; one with too many failures says more of the servers than of the graph."""
    over = trial.violations.get("failures", 0.0) > 0.0
    return trial.state in ("running", "failed") or (trial.state == "infeasible" and over)


def _repeated(trial: Trial, earlier: Trial) -> Trial:
    """The trial with what an earlier one of the same graph gave."""
    return replace(
        trial,
        state="repeated",
        reason=f"same graph as trial {earlier.number}",
        metrics=earlier.metrics,
        violations=earlier.violations,
        failure_rate=earlier.failure_rate,
    )
