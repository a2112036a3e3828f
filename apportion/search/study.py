"""A study: baselines, then ask, measure, tell until a limit is reached, then the closing.

The study is rebuilt from its log at the start, so going on after a kill is the start-up code. It never sees a prompt.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from apportion.errors import AgentError, GraphError, LimitReached
from apportion.search.closing import Closing, Unmeasured, close
from apportion.search.engine import Engine
from apportion.search.field import ALLOCATOR
from apportion.search.judging import owed
from apportion.search.measuring import Measurer, Progress
from apportion.search.plan import Plan, bounded, drawn_within
from apportion.search.problem import Log, Problem, Purse
from apportion.search.racing import cut_short, drawn_field, race
from apportion.search.samplers import Prices
from apportion.search.trial import PAPER, Trial

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler

FAILED_IN_A_ROW = 10  # then something is wrong with the servers, not with the graphs
IDLE_IN_A_ROW = 200  # proposals without a measurement; then the sampler has nothing new to say

StudyState = Literal["done", "undone", "infeasible"]


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

    Args:
        sampler: makes the sampler on the study's event loop, of prices of calls and a bound on their sum, in place of
            the plan's, which then is its name only.

    Attributes:
        on_trial: called with each trial when it is told.
    """

    def __init__(
        self,
        plan: Plan,
        problem: Problem,
        log: Log,
        purse: Purse,
        sampler: Callable[[Prices, float | None], BaseSampler] | None = None,
    ) -> None:
        self.plan = plan
        self._sampler = sampler
        self._problem = problem
        self._log = log
        self._purse = purse
        self.on_trial: Callable[[Trial], None] = lambda trial: None
        self._racing = plan.sampler == ALLOCATOR
        asker = "random" if self._racing or sampler else plan.sampler  # a race has no use for it
        self._engine = Engine(plan.space, asker, plan.objectives, plan.seed, plan.trials)
        self._measurer = Measurer(plan, problem, log, purse, self._told)

    @property
    def progress(self) -> Progress:
        """Where the study is."""
        return self._measurer.progress

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
        try:
            reason = await self.search()
        except AgentError as error:
            self._log.log("agent", message=str(error))
            return self._concluded(Outcome("undone", str(error)))
        self.progress.phase = "closing"
        return await self._close(reason)

    async def search(self) -> str:
        """Search without closing, as `run` does.

        Returns:
            Why it ended.

        Raises:
            AgentError: the sampler asks an agent, and got nothing that it can use.
        """
        search = self._race if self._racing else self._ask_and_tell
        unfinished = self._restore()
        self._log.log("search", trials=len(self.trials))
        try:
            for trial in unfinished if not self._racing else ():  # a race asks for them again
                await self._measurer.measure(trial)
            await self._baselines()
            reason = self._draw_within_budget() or await search()
            await self._retry_baselines()
        except LimitReached as limit:
            reason = str(limit) + cut_short(self.trials)
            self._log.log("limit", limit=limit.limit, message=reason)
        finally:
            self._purse.hold(0.0)
        return reason

    def _restore(self) -> list[Trial]:
        """Take over the log; returns what is owed a measurement."""
        unfinished = self._measurer.restore()
        self._engine.add(self.trials)
        self._count()
        return unfinished

    def _told(self, trial: Trial) -> None:
        if not self._racing:
            self._engine.tell(trial)
        self._count()
        self.on_trial(trial)

    def _count(self) -> None:
        if not self._racing:
            self.progress.spent = sum(trial.counted for trial in self.trials)

    async def _baselines(self) -> None:
        """One call of each model, then the plain majority vote of each: what any found graph has to beat."""
        space = self.plan.space
        models = list(dict.fromkeys(model for stage in space.stages for model in stage.models))
        kinds = (("one call of", "single"), ("majority vote of", "vote"))
        for label, template in kinds:
            for model in models:
                graph, params = space.uniform(model, template)
                if graph.key not in self._measurer.measured:
                    number, name = self._measurer.number(graph), f"{label} {model}"
                    await self._measurer.measure(Trial(number, name, baseline=True, graph=graph, params=params))

    def _draw_within_budget(self) -> str | None:
        """Tell the sampler what a call costs of what the budget bounds, as the baselines have shown.

        Returns:
            Why there is no graph to ask for; None where there may be one.
        """
        metric = bounded(self.plan.bounds) or (self.plan.cost if self._sampler is not None else None)
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
            if self._sampler is not None:
                self._engine.ask_by(self._sampler(known, bound))
        except GraphError as none:
            return self._no_graph(none)
        return None

    async def _retry_baselines(self) -> None:
        """Measure baselines that the servers failed once more if they served others: the verdict needs them."""
        if any(t.state == "complete" for t in self.trials):
            for trial in [t for t in self.trials if t.baseline and owed(t)]:
                await self._measurer.measure(replace(trial, state="running", reason=""))

    async def _race(self) -> str:
        try:
            field = drawn_field(self.plan, self._problem, self._log)
        except GraphError as none:
            return self._no_graph(none)
        return await race(self.plan, field, self._measurer, self._failing)

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
            earlier = self._measurer.measured.get(trial.key)
            if earlier is None:
                idle = 0 if await self._measurer.measure(trial) else idle + 1
            else:
                idle += 1
                await self._measurer.tell(_repeated(trial, earlier))

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
        if len(last) == FAILED_IN_A_ROW and all(t.state == "failed" or (self._racing and owed(t)) for t in last):
            return f"{FAILED_IN_A_ROW} trials failed in a row, the last because {last[-1].reason}"
        return None

    async def _close(self, reason: str) -> Outcome:
        if not self.trials:
            return self._concluded(Outcome("undone", f"{reason} No graph was measured."))
        if not any(t.state == "complete" for t in self.trials):
            return self._concluded(Outcome("infeasible", f"{reason} No graph was feasible."))
        try:
            closing = await close(self.plan, self.trials, self._measurer.answered, self._purse)
        except (LimitReached, Unmeasured) as why:
            return self._concluded(Outcome("undone", f"{reason} Validation or test was left undone: {why}"))
        return self._concluded(Outcome("done", reason, closing))

    def _concluded(self, outcome: Outcome) -> Outcome:
        closing = outcome.closing.to_dict() if outcome.closing else None
        self._log.set_fact("outcome", {"state": outcome.state, "reason": outcome.reason, "closing": closing})
        self.progress.phase = outcome.state
        return outcome


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
