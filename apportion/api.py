"""The Python interface: load a task, run it, look at the result.

import apportion
result = apportion.load("task.yaml").run()
result.best.graph, result.front, result.cheapest(accuracy=0.6), result.to_frame()
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import io
import threading
from collections.abc import Callable, Coroutine, Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from apportion.errors import ApportionError
from apportion.extras import needed
from apportion.graphs import drawing
from apportion.report.summary import Summary, summarise
from apportion.run import RunFolder
from apportion.search.problem import Measurement
from apportion.search.trial import Trial
from apportion.spec import LoadedSpec, load_spec
from apportion.statistics import Interval

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from apportion.build import Search
    from apportion.graphs.probabilistic import ProbabilisticGraph
    from apportion.recording.replaying import Replayed
    from apportion.report.evolution import Evolution

RUNS = Path("runs")


class Result:
    """A run, read from its folder: the same whether it has just ended or ended last year.

    Attributes:
        summary: everything that is known of the run.
        replayed: what a replay says of itself; None of a run whose models were asked.
    """

    def __init__(self, summary: Summary, replayed: Replayed | None = None) -> None:
        self.summary = summary
        self.replayed = replayed

    @classmethod
    def of(cls, folder: RunFolder) -> Result:
        """The result of an open run folder."""
        from apportion.recording.replaying import replayed

        summary = summarise(folder)
        return cls(summary, replayed(folder, summary.ledger))

    @property
    def best(self) -> Trial | None:
        """The winner on the validation split; None if no graph was feasible."""
        return self.summary.best

    @property
    def front(self) -> list[Trial]:
        """Feasible graphs that no other betters, best in the first objective first."""
        return self.summary.front

    @property
    def baselines(self) -> list[Trial]:
        """One call of each model, and plain majority vote of each."""
        return self.summary.baselines

    def cheapest(self, cost: str | None = None, **least: float) -> Trial | None:
        """The graph that costs least among those that reach given means on the search split.

        Args:
            cost: the metric to make small; if None the first objective that is minimised, else FLOPs.
            least: metric name to the least mean, for example `accuracy=0.6`.

        Returns:
            The trial, or None if none reaches them all.

        Raises:
            KeyError: a metric is not measured in this run.
        """
        small = [o.metric for o in self.summary.objectives if not o.maximize]
        metric = cost or (small[0] if small else "flops")
        unknown = sorted({metric, *least} - set(self.summary.metrics))
        if unknown:
            raise KeyError(f"a metric must be one of {', '.join(self.summary.metrics)}, got {unknown[0]!r}")
        complete = [trial for trial in self.summary.trials if trial.state == "complete"]
        good = [t for t in complete if all(t.mean(name) >= value for name, value in least.items())]
        return min(good, key=lambda trial: trial.mean(metric), default=None)

    def difference(self, a: Trial | int, b: Trial | int, metric: str | None = None) -> Interval | None:
        """Mean of `a` minus mean of `b` on the search split, with a paired 95 % bootstrap interval.

        Args:
            a: a trial, or its number as `show` gives it.
            b: another.
            metric: the first objective's if None.

        Returns:
            The interval, None if there is no example that both answered.

        Raises:
            ApportionError: there is no trial of that number.
        """
        trials = self._trial(a), self._trial(b)
        with contextlib.closing(self._folder()) as folder:
            first, second = (Measurement(folder.trials.scores(trial.key, "search")) for trial in trials)
        return first.difference(second, metric or self.summary.objectives[0].metric)

    def picture(self, trial: Trial | int | None = None) -> drawing.Picture:
        """A graph with each node's share of the FLOPs of an answer, on paper, with the lengths of the run's draws.

        Args:
            trial: a trial, or its number as `show` gives it (not a place in `front`); the winner if None.

        Raises:
            ApportionError: there is no winner, or no trial of that number.
        """
        graph = (self._winner() if trial is None else self._trial(trial)).graph
        return drawing.of_graph(graph, self.summary.shares(graph))

    def picture_of_difference(self, a: Trial | int, b: Trial | int) -> drawing.Picture:
        """The graphs of two trials in one: what only one of them has, and what changed from `a` to `b`.

        Args:
            a: a trial, or its number as `show` gives it.
            b: another.

        Raises:
            ApportionError: there is no trial of that number.
        """
        return drawing.difference(self._trial(a).graph, self._trial(b).graph)

    def share_of_spend(self) -> dict[str, dict[str, float]]:
        """Share of the FLOPs of the best graph's answers by stage and model, 1 in all.

        On paper, with the lengths of the run's draws and the share of possible calls that was made: the store keeps
        what an answer has cost, not what each of its nodes did.

        Raises:
            ApportionError: there is no winner.
        """
        graph = self._winner().graph
        found: dict[str, dict[str, float]] = {stage: {} for stage in graph.stages}
        for name, share in self.summary.shares(graph).items():
            node = graph.by_id[name]
            if node.model is not None:
                found[node.stage][node.model] = found[node.stage].get(node.model, 0.0) + share
        return found

    def distribution(self) -> ProbabilisticGraph:
        """What the search has learnt: its distribution over graphs after the last trial. Needs `torch`.

        Raises:
            ApportionError: the run's sampler keeps none.
        """
        return self._evolution().distribution

    def to_dict(self) -> dict[str, Any]:
        """What `apportion show --json` prints."""
        return self.summary.to_dict() | ({"replayed": self.replayed._asdict()} if self.replayed else {})

    def to_frame(self) -> pd.DataFrame:
        """One row a trial: number, label, state, graph key, and mean, low and high of each metric. Needs `viz`."""
        with needed():
            import pandas as pd

        rows = []
        for trial in self.summary.trials:
            row: dict[str, Any] = {"trial": trial.number, "label": trial.label, "state": trial.state, "key": trial.key}
            for name, interval in trial.metrics.items():
                row |= {name: interval.mean, f"{name}_low": interval.low, f"{name}_high": interval.high}
            rows.append(row)
        return pd.DataFrame(rows)

    def plot_front(self, cost: str | None = None) -> Figure:
        """All trials, the front and the baselines: first objective against a cost. Needs `viz`."""
        from apportion.report.plots import plot_front

        return plot_front(self.summary, cost)

    def plot_evolution(self) -> Figure:
        """How the search moved its distribution over graphs, stage by stage. Needs `viz` and `torch`.

        Raises:
            ApportionError: the run's sampler keeps none.
            ValueError: it was not moved yet: that is done after each full batch of trials.
        """
        from apportion.report.plots import plot_evolution

        with needed():
            evolution = self._evolution()
        return plot_evolution(evolution.snapshots, evolution.at)

    def _evolution(self) -> Evolution:
        from apportion.report.evolution import evolution

        with contextlib.closing(self._folder()) as folder:
            return evolution(folder)

    def _folder(self) -> RunFolder:
        return RunFolder.view(Path(self.summary.folder))

    def _trial(self, trial: Trial | int) -> Trial:
        return trial if isinstance(trial, Trial) else self.summary.by_number(trial)

    def _winner(self) -> Trial:
        if self.best is None:
            raise ApportionError(
                f"a run must have a feasible graph, but {self.summary.folder} has none; name a trial or raise `budget`."
            )
        return self.best

    def __repr__(self) -> str:
        from rich.console import Console

        from apportion.report.terminal import show

        text = io.StringIO()
        show(self.summary, Console(file=text, width=160, color_system=None, force_jupyter=False))
        if self.replayed is None:
            return text.getvalue()
        return "\n".join((*self.replayed.origin, text.getvalue() + self.replayed.lack))

    def _repr_html_(self) -> str:
        from apportion.report.html import to_html

        said = (*self.replayed.origin, self.replayed.lack) if self.replayed else ()
        return "".join(f"<p>{escape(line)}</p>" for line in said) + to_html(self.summary)


class Task:
    """A checked task, ready to run."""

    def __init__(self, loaded: LoadedSpec) -> None:
        self.loaded = loaded

    def run(self, out: Path | str | None = None, on_trial: Callable[[Trial], None] = lambda trial: None) -> Result:
        """Search to the end, or go on where an earlier run in the folder stopped.

        Also works where an event loop runs already, as in a notebook: the search gets a thread and a loop of its own.

        Args:
            out: run folder; `runs/<name>` if None.
            on_trial: called with each trial when it is told.

        Raises:
            ApportionError: the folder is in use or of another task, the store or an evaluator failed.
        """
        return _finished(self.arun(out, on_trial))

    async def arun(
        self, out: Path | str | None = None, on_trial: Callable[[Trial], None] = lambda trial: None
    ) -> Result:
        """`run` on the running event loop."""
        from apportion.build import build

        folder = Path(out) if out is not None else RUNS / self.loaded.spec.name
        return await _searched(build(self.loaded, folder), on_trial)

    def replay(
        self,
        recording: Path | str,
        out: Path | str | None = None,
        on_trial: Callable[[Trial], None] = lambda trial: None,
    ) -> Result:
        """`run` with every model answered from a recording: no server, no key and no model file are needed.

        Args:
            recording: a file of `apportion record`.
            out: run folder; `runs/<name>-replay` if None.
            on_trial: called with each trial when it is told.

        Raises:
            RecordedError: the file is no recording, or one of another task.
            ApportionError: the folder is in use or of another task, the store or an evaluator failed.
        """
        from apportion.recording.replaying import replay
        from apportion.recording.table import read

        folder = Path(out) if out is not None else RUNS / f"{self.loaded.spec.name}-replay"
        return _finished(_searched(replay(self.loaded, read(Path(recording)), folder), on_trial))


def load(path: Path | str, overrides: Sequence[str] = ()) -> Task:
    """Read and check a task file.

    Args:
        path: the YAML.
        overrides: `a.b=c` each, as after `--set`.

    Raises:
        SpecError: something is wrong with it; all problems at once.
    """
    return Task(load_spec(Path(path), overrides))


def open_run(folder: Path | str) -> Result:
    """The result of a run folder, finished or not.

    Raises:
        StoreError: it is not a run folder.
    """
    run = RunFolder.view(Path(folder))
    try:
        return Result.of(run)
    finally:
        run.close()


async def _searched(search: Search, on_trial: Callable[[Trial], None]) -> Result:
    """Search to the end, unless that was done, and close."""
    search.study.on_trial = on_trial
    try:
        if not search.finished:
            await search.run()
        return Result.of(search.folder)
    finally:
        await search.close()


def _finished(work: Coroutine[Any, Any, Result]) -> Result:
    """Run a coroutine to its end, also where an event loop runs already."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(work)
    return _in_thread(work)


def _in_thread(work: Coroutine[Any, Any, Result]) -> Result:
    """Run a coroutine on a loop of its own in another thread; an interrupt here stops it there, in good order."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="apportion search")
    thread.start()
    running = asyncio.run_coroutine_threadsafe(work, loop)
    try:
        return running.result()
    except KeyboardInterrupt:
        running.cancel()
        with contextlib.suppress(concurrent.futures.CancelledError):
            running.result()
        raise
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
