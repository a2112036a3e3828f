"""Terminal views: tables of a finished run, a live view of a running one, plain lines where there is no terminal."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import accumulate
from textwrap import wrap
from typing import Any

from rich import box
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from apportion.build import Search
from apportion.report.agency import Followed, sentences
from apportion.report.break_even import break_even
from apportion.report.summary import Summary
from apportion.search.objectives import front
from apportion.search.trial import PAPER, Trial, describe
from apportion.statistics import Interval

REFRESH_HZ = 4
PLAIN_WIDTH = 160  # columns where there is no terminal to ask: the widest table fits
GRAPH_WIDTH = 24  # columns that a graph needs beside the numbers of a trial
HEADER_WIDTH = 12  # columns after which the name of a metric is broken
MOST_GUIDELINES = 10  # that are shown
CALLS = ("calls_fresh", "calls_banked", "calls_failed")
LAYOUT: Mapping[str, Any] = {
    "box": box.SIMPLE_HEAD, "padding": (0, 1, 0, 0), "title_justify": "left", "caption_justify": "left",
    "show_edge": False, "pad_edge": False,
}  # fmt: skip
REFUSALS = {"no_graph": "no graph", "on_paper": "over the budget on paper"}
LOST = 0.01  # share of a model's replies in a stage above which they are spoken of
REMEDIES = {
    "truncated": "were truncated, so that its graphs look cheap; raise `max_tokens` of that stage.",
    "refused": "were refused; reword the prompt of that stage, or leave the model out of it.",
    "unparsed": "had no value for `parse` of that stage; say in its prompt how to answer, or parse otherwise.",
    "timeout": "timed out; raise `timeout_s` of that model.",
    "failed": "failed, so that its graphs look cheap; below the ledger stands why.",
}


class Output(Console):
    """Standard output, with tables that are whole where it is no terminal."""

    def __init__(self) -> None:
        super().__init__()
        if not self.is_terminal and "COLUMNS" not in os.environ:
            self.width = PLAIN_WIDTH

    def say(self, text: str) -> None:
        """Print a line as it is: paths and commands in it can be copied."""
        self.print(text, soft_wrap=True, markup=False, highlight=False)

    def on_broken_pipe(self) -> None:
        """Say that the reader has gone; rich would exit with a code that means nothing here."""
        self.quiet = True
        raise BrokenPipeError


def number(value: float | int | None) -> str:
    """A number in few characters: 0.917, 12, 24,110, 3.4e+11; a dash for what is not known."""
    if value is None:
        return "-"
    if isinstance(value, int):
        return f"{value:,}"
    if value == 0 or 0.001 <= abs(value) < 10_000:
        return f"{value:.3f}".rstrip("0").rstrip(".")
    return f"{value:.2e}"


def spread(interval: Interval | Mapping[str, float] | None) -> str:
    """A mean and its 95 % interval: `0.62 [0.47, 0.75]`."""
    if interval is None:
        return "-"
    i = interval if isinstance(interval, Interval) else Interval(**interval)  # type: ignore[arg-type]
    return f"{number(i.mean)} [{number(i.low)}, {number(i.high)}]"


def trials_table(title: str, trials: Sequence[Trial], metrics: Sequence[str]) -> Table:
    """A table of trials with the mean of each metric on the search split, of the first with its interval."""
    table = _table(title, "trial", *map(_header, metrics))
    table.add_column("graph", overflow="fold")
    for trial in trials:
        table.add_row(str(trial.number), *_cells(trial, metrics), escape(named(trial)))
    return table


def named(trial: Trial) -> str:
    """A graph in a line; before that of a baseline what it is, and whether it may not be chosen."""
    if not trial.baseline:
        return describe(trial)
    over = any(by > 0.0 for bound, by in trial.violations.items() if bound != "failures")
    why = " (over the budget)" if over else " (too many failures)" if trial.state == "infeasible" else ""
    return f"{trial.label}{why}: {describe(trial)}"


def fitting(summary: Summary, width: int) -> list[str]:
    """Metrics for whose numbers there is room beside the graphs: objectives in any case, then as many as fit."""
    metrics = summary.metrics
    rows = [_cells(trial, metrics) for trial in (*summary.front, *summary.baselines)]
    rows.append([max(_header(metric).split("\n"), key=len) for metric in metrics])
    ends = accumulate((2 + max(map(len, cells)) for cells in zip(*rows, strict=True)), initial=len("trial") + 2)
    room = sum(end + GRAPH_WIDTH <= width for end in list(ends)[1:])
    return metrics[: max(room, len(summary.objectives))]


def guidelines_table(followed: Sequence[Followed]) -> Table:
    """The guidelines that scored best, with the means of what was expected and measured of their trials."""
    title = "Guidelines, and mean scores of their trials"
    table = _table(title, "trials", "rounds", "expected", "measured", "best")
    table.add_column("guideline", overflow="fold")
    for own in followed[:MOST_GUIDELINES]:
        rounds = "-".join(dict.fromkeys((str(own.rounds[0]), str(own.rounds[-1]))))
        scores = (_average(own.expected), _average(own.scores), max(own.scores, default=None))
        table.add_row(str(len(own.trials)), rounds, *map(number, scores), Text(own.guideline))
    if len(followed) > MOST_GUIDELINES:
        table.caption = f"and {len(followed) - MOST_GUIDELINES} more; --json has all."
    return table


def ledger_table(ledger: Mapping[str, Mapping[str, Any]]) -> Table:
    """What was spent: a row a currency, a column a spender."""
    table = Table(title="Ledger", **LAYOUT)
    table.add_column("")
    for spender in ledger:
        table.add_column(spender, justify="right", no_wrap=True)
    for row in ledger_rows(ledger):
        table.add_row(*row)
    return table


def ledger_rows(ledger: Mapping[str, Mapping[str, Any]]) -> list[list[str]]:
    """Each currency, and what every spender spent in it."""
    names = next(iter(ledger.values()))
    return [[name.replace("_", " "), *(number(sums[name]) for sums in ledger.values())] for name in names]


def show(summary: Summary, console: Console) -> None:
    """Print a run: front, baselines, best graph, test and verdict, what the agent did, ledger."""
    metrics = fitting(summary, console.width)
    console.print(Text.assemble((summary.study, "bold"), f"  {summary.state}  {summary.reason}"))
    console.print()
    console.print(trials_table("Front on the search split (mean, 95 % interval of the first)", summary.front, metrics))
    console.print()
    console.print(trials_table("Baselines", summary.baselines, metrics))
    if left := summary.metrics[len(metrics) :]:
        console.print(Text(f"For {', '.join(left)} there is no room here: widen the terminal, or --json.", "dim"))
    console.print()
    if summary.best is not None:
        title = f"Best graph: trial {summary.best.number}"
        console.print(Panel(Text(str(summary.best.graph)), title=title, title_align="left", expand=False))
    for line in (*verdict(summary), *refusals(summary)):
        console.print(Text(line))
    for line in losses(summary):
        console.print(Text(line, "yellow"))
    console.print()
    if summary.agent is not None:
        if summary.agent.trials:
            console.print(guidelines_table(summary.agent.followed))
        for line in sentences(summary.agent):
            console.print(Text(line))
        console.print()
    if summary.wiring is not None:
        for line in summary.wiring.sentences():
            console.print(Text(line))
        console.print()
    console.print(ledger_table(summary.ledger))
    for line in repayments(summary):
        console.print(Text(line))
    for model, kind, message, times in summary.failures:
        console.print(Text(f"{times:,} requests to {model} failed ({kind}): {message}"))


def verdict(summary: Summary) -> list[str]:
    """What validation and test found, in sentences."""
    closing = summary.closing
    if not closing:
        return ["Validation and test are not done." if summary.state != "infeasible" else "No graph was feasible."]
    metric = summary.objectives[0].metric
    lines = [f"validation: trial {n}: {metric} {spread(m.get(metric))}" for n, m in closing["validation"].items()]
    lines.append(f"test: trial {closing['winner']}: {metric} {spread(closing['test'].get(metric))}")
    if closing["verdict"] == "the winner is a baseline":
        return [*lines, "Nothing that was found beats the baselines: the winner is one of them."]
    if closing["rival"] is None:
        return [*lines, f"No baseline costs as little in {closing['cost']} as the winner, so there is none to beat."]
    rival = summary.by_number(closing["rival"])
    lines.append(f"test: {rival.label} (trial {rival.number}): {metric} {spread(closing['rival_test'].get(metric))}")
    said = {
        "better": "The winner beats the best baseline that costs no more",
        "worse": "The winner is worse than the best baseline that costs no more",
        "not shown": "It is not shown that the winner beats the best baseline that costs no more",
    }[closing["verdict"]]
    return [*lines, f"{said} (in {closing['cost']}): {metric} differs by {spread(closing['difference'])}, paired."]


def repayments(summary: Summary) -> list[str]:
    """After how many answers the run has paid for itself, a line a currency; none where there is nothing to compare."""
    lines = []
    for own in break_even(summary):
        best, rival = summary.best, summary.by_number(own.baseline)
        assert best is not None
        metric = summary.objectives[0].metric
        when = "never, as it costs no less" if own.answers is None else f"after {own.answers:,} answers"
        lines.append(
            f"Paid back in {own.currency} {when}: the run spent {number(own.spent)}; an answer of trial {best.number} "
            f"({metric} {_mean(best, metric)} on the search split) costs {number(own.winner)}, of the best single "
            f"model, {rival.label} (trial {rival.number}, {metric} {_mean(rival, metric)}), {number(own.rival)}."
        )
    return lines


def refusals(summary: Summary) -> list[str]:
    """How many proposals were not measured, in a line; no line if all were."""
    said = [f"{count:,} {REFUSALS[why]}" for why, count in summary.refused.items()]
    return [f"Proposals not measured: {', '.join(said)}."] if said else []


def losses(summary: Summary) -> list[str]:
    """Which share of a model's replies in a stage was lost, and what helps; a line each, none for what is rare."""
    lines = []
    for (stage, model), ends in summary.replies.items():
        for end, remedy in REMEDIES.items():
            if ends[end] > LOST * ends.total():
                share = ends[end] / ends.total()
                lines.append(f"Warning: {share:.1%} of {ends.total():,} replies of {model} in {stage} {remedy}")
    return lines


class LiveView:
    """The view of a running search: redrawn in a terminal, a line a trial elsewhere."""

    def __init__(self, search: Search, console: Console) -> None:
        self._search = search
        self._console = console
        self._started = time.monotonic()
        self._calls = self._counted()
        self._own: dict[int, Counter[str]] = {}
        self._live = Live(get_renderable=self._draw, console=console, refresh_per_second=REFRESH_HZ, transient=True)

    def __enter__(self) -> LiveView:
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, *exception: object) -> None:
        if self._console.is_terminal:
            self._live.stop()

    def on_trial(self, trial: Trial) -> None:
        """Print a line for a trial that was told; repeats, and what is measured in part, are not worth one."""
        own = self._bought(trial)
        if trial.state in ("repeated", "pruned"):
            return
        failed = f"{own['calls_failed']:,} calls failed{_commonest(own)}." if own["calls_failed"] else ""
        means = "  ".join(f"{o.metric} {_mean(trial, o.metric)}" for o in self._search.study.plan.objectives)
        bought = "" if PAPER in trial.violations else f"({own['calls_fresh']:,} fresh, {own['calls_banked']:,} banked)"
        parts = (f"trial {trial.number:<3} {trial.state:<10}", failed, trial.reason, means, bought, describe(trial))
        line = Text("  ".join(filter(None, parts)))
        if self._console.is_terminal:
            self._console.print(line, overflow="ellipsis", no_wrap=True)
        else:
            self._console.print(line, soft_wrap=True)

    def _bought(self, trial: Trial) -> Counter[str]:
        """Calls and failures of a trial that was just told, in all its parts: one is measured after another."""
        before, self._calls = self._calls, self._counted()
        own = self._own.setdefault(trial.number, Counter())
        own.update({name: self._calls[name] - before[name] for name in self._calls})
        return own

    def _counted(self) -> Counter[str]:
        """Calls that graphs have made in this run so far, as the ledger names them, and its commonest failures."""
        calls = self._search.folder.calls
        sums = calls.ledger()["candidate"]
        counts = Counter({name: int(sums[name] or 0) for name in CALLS})
        for _, kind, _, times in calls.failures():
            counts[kind] += times
        return counts

    def _draw(self) -> RenderableType:
        search, progress = self._search, self._search.study.progress
        plan, spent = search.study.plan, search.allowance.spent
        best = front(progress.trials, plan.objectives)[:8]
        bar = Table.grid(padding=(0, 1))
        share = f"{progress.done}/{progress.total}" if progress.total else ""
        bar.add_row(f"{progress.phase}: {progress.label}", ProgressBar(progress.total or 1, progress.done, 30), share)
        line = (
            f"{number(progress.spent)}/{plan.trials} trials  {spent.calls:,} calls in all  {spent.tokens:,} tokens  "
            f"{number(spent.usd)} USD  {search.dispatcher.in_flight} in flight  "
            f"{search.allowance.elapsed_s:.0f} s  {self._eta()}"
        )
        table = trials_table("Front so far", best, [o.metric for o in plan.objectives])
        return Group(bar, Text(line, style="dim"), Text(), table)

    def _eta(self) -> str:
        """Seconds to the end at the pace so far, the closing counted as the examples it has."""
        plan, progress = self._search.study.plan, self._search.study.progress
        measured = progress.spent + sum(t.baseline for t in progress.trials)
        if not measured or plan.trials <= progress.spent:
            return ""
        pace = (time.monotonic() - self._started) / measured
        closing = (plan.finalists * plan.sizes["validation"] + 2 * plan.sizes["test"]) / plan.sizes["search"]
        eta = pace * (plan.trials - progress.spent + closing)
        limit = self._search.allowance.limits.wall_s
        return f"ETA {eta if limit is None else min(eta, limit - self._search.allowance.elapsed_s):.0f} s"


def _mean(trial: Trial, metric: str) -> str:
    interval = trial.metrics.get(metric)
    return number(interval.mean) if interval else "-"


def _commonest(counts: Counter[str]) -> str:
    """The failure that most of a trial's calls met, in brackets; empty where it is not known."""
    kinds = [kind for kind, times in counts.most_common() if times > 0 and kind not in CALLS]
    return f" ({kinds[0]})" if kinds else ""


def _average(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None


def _table(title: str, *headers: str) -> Table:
    """A table with columns of numbers, which are never cut."""
    table = Table(title=title, **LAYOUT)
    for header in headers:
        table.add_column(header, justify="right", no_wrap=True)
    return table


def _header(metric: str) -> str:
    return "\n".join(wrap(metric, HEADER_WIDTH))


def _cells(trial: Trial, metrics: Sequence[str]) -> list[str]:
    """Means of the metrics, the first with its interval."""
    return [spread(trial.metrics.get(m)) if i == 0 else _mean(trial, m) for i, m in enumerate(metrics)]
