"""Plots of a run, through matplotlib (extra `viz`)."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from apportion.report.summary import Summary
from apportion.search.closing import PREFERRED
from apportion.search.trial import Trial

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

GREY, BLUE, ORANGE, GREEN = "#999999", "#0072B2", "#E69F00", "#009E73"  # Okabe and Ito, told apart by all readers


def plot_front(summary: Summary, cost: str | None = None) -> Figure:
    """The first objective against a cost, with intervals: all trials, the front, the baselines, the winner.

    Args:
        cost: a metric; the second objective if None, else the first known of usd, flops, ....

    Raises:
        ModuleNotFoundError: matplotlib is not installed.
        ValueError: no trial has been measured.
    """
    from matplotlib.figure import Figure

    class Picture(Figure):
        """A figure that a notebook shows, also where pyplot was never imported."""

        def _repr_png_(self) -> bytes:
            png = io.BytesIO()
            self.savefig(png, dpi=110)
            return png.getvalue()

    metric = summary.objectives[0].metric
    measured = [t for t in summary.trials if metric in t.metrics and t.state != "repeated"]
    if not measured:
        raise ValueError("a plot needs a measured trial, but the run has none; run it first.")
    cost = cost or _cost(summary, measured)
    figure = Picture(figsize=(7.5, 4.8), layout="constrained")
    axes = figure.subplots()
    edge = {t.number for t in summary.front}
    groups = (
        ([t for t in measured if t.number not in edge and not t.baseline], "o", GREY, "graphs"),
        ([t for t in measured if t.baseline], "s", ORANGE, "baselines"),
        ([t for t in measured if t.number in edge and not t.baseline], "o", BLUE, "front"),
    )
    for trials, marker, colour, label in groups:
        _points(axes, trials, metric, cost, marker, colour, label)
    line = sorted((t for t in measured if t.number in edge), key=lambda t: t.mean(cost))
    axes.step([t.mean(cost) for t in line], [t.mean(metric) for t in line], where="post", color=BLUE, lw=0.8)
    if summary.best is not None and cost in summary.best.metrics:
        best = summary.best
        at = (best.mean(cost), best.mean(metric))
        axes.scatter([at[0]], [at[1]], s=180, facecolors="none", edgecolors=GREEN, linewidths=2, label="best")
    if cost in summary.budget:
        axes.axvline(summary.budget[cost], color=GREEN, lw=0.8, ls="--", label="budget")
    axes.set(xlabel=f"{cost} of one answer", ylabel=f"{metric} on the search split", title=summary.study)
    if all(t.mean(cost) > 0 for t in measured if cost in t.metrics):
        axes.set_xscale("log")
    axes.grid(visible=True, alpha=0.25)
    axes.legend(frameon=False)
    return figure


def _points(axes: Axes, trials: list[Trial], metric: str, cost: str, marker: str, colour: str, label: str) -> None:
    known = [t for t in trials if cost in t.metrics]
    if not known:
        return
    means = [t.mean(metric) for t in known]
    below = [t.mean(metric) - t.metrics[metric].low for t in known]
    above = [t.metrics[metric].high - t.mean(metric) for t in known]
    costs = [t.mean(cost) for t in known]
    axes.errorbar(costs, means, yerr=[below, above], fmt=marker, color=colour, label=label, elinewidth=0.7, ms=6)


def _cost(summary: Summary, measured: list[Trial]) -> str:
    names = [o.metric for o in summary.objectives[1:] if o.metric in PREFERRED]
    return next(name for name in (*names, *PREFERRED) if any(name in t.metrics for t in measured))
