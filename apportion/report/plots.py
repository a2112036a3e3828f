"""Plots of a run, through matplotlib (extra `viz`)."""

from __future__ import annotations

import io
import itertools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from apportion.extras import needed
from apportion.graphs.drawing.graphs import PALETTE
from apportion.graphs.drawing.lettering import fitted
from apportion.graphs.parameters import Value
from apportion.graphs.slots import ABSENT, FINAL, YES
from apportion.report.summary import Summary
from apportion.search.closing import PREFERRED
from apportion.search.trial import Trial

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

GREY, BLUE, ORANGE, GREEN = "#999999", "#0072B2", "#E69F00", "#009E73"  # Okabe and Ito, told apart by all readers
LINES = (BLUE, "#D55E00", GREEN, "#CC79A7", ORANGE, "#56B4E9", "#000000")  # theirs too, without the yellow
MOST_LINES = 10  # that a panel tells apart; more are rows of a map
SHARES = ("model", "role", "template")
BESIDE: Mapping[str, Any] = {  # a legend that hides nothing
    "frameon": False,
    "fontsize": "x-small",
    "loc": "upper left",
    "bbox_to_anchor": (1, 1),
    "borderaxespad": 0.2,
    "handlelength": 1.2,
}

Snapshot = Mapping[str, Mapping[Value, float]]
"""Probabilities of the values of each parameter of a space."""


def plot_front(summary: Summary, cost: str | None = None) -> Figure:
    """The first objective against a cost, with intervals: all trials, the front, the baselines, the winner.

    Args:
        cost: a metric; the second objective if None, else the first known of usd, flops, ....

    Raises:
        ModuleNotFoundError: matplotlib is not installed.
        ValueError: no trial has been measured.
    """
    metric = summary.objectives[0].metric
    measured = [t for t in summary.trials if metric in t.metrics and t.state != "repeated"]
    if not measured:
        raise ValueError("a plot needs a measured trial, but the run has none; run it first.")
    cost = cost or _cost(summary, measured)
    figure = _figure(7.5, 4.8)
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


def plot_evolution(snapshots: Sequence[Snapshot], at: Sequence[int]) -> Figure:
    """How the probabilities of a search moved: for each stage its edges, and the shares of models, roles and templates.

    Shares are means over the slots of a stage. A model has one colour in all panels, `absent` is grey.

    Args:
        at: trials that were told when the snapshots were taken, rising.

    Raises:
        ModuleNotFoundError: matplotlib is not installed.
        ValueError: there are fewer than two snapshots: a distribution moves after each full batch of trials.
    """
    if len(snapshots) < 2:
        raise ValueError("a plot of a course needs a distribution that has moved, but this has not; run more trials.")
    colours = _colours(snapshots[0])
    panels = _panels(list(snapshots[0]))
    stages = list(dict.fromkeys(stage for stage, _ in panels))
    wide = max(sum(stage == other for other, _ in panels) for stage in stages)
    figure = _figure(3.7 * wide, 2.5 * len(stages))
    grid = figure.subplots(len(stages), wide, squeeze=False)
    for row, stage in zip(grid, stages, strict=True):
        own = [(title, names) for (other, title), names in panels.items() if other == stage]
        for axes, (title, names) in zip(row, own, strict=False):
            if title != "edges":
                _shares(axes, names, snapshots, at, colours[names[0].rpartition(".")[2]])
            else:
                (_lines if len(names) <= MOST_LINES else _map)(axes, names, snapshots, at)
            axes.set_title(f"{stage}: {title}", fontsize="medium")
            axes.set(xlim=(at[0], at[-1]), xlabel="trials")
        for axes in row[len(own) :]:
            axes.axis("off")
    return figure


def _panels(names: Sequence[str]) -> dict[tuple[str, str], list[str]]:
    """Names of the parameters that each panel shows, by stage and title."""
    panels: dict[tuple[str, str], list[str]] = {}
    for name in names:
        stage, _, rest = name.partition(".")
        place, _, kind = rest.rpartition(".")
        if ">" in rest:
            panels.setdefault((stage, "edges"), []).append(name)
        elif kind in SHARES:
            title = f"{kind}s of the slots" if place.isdigit() else f"{kind} of the {place} node" if place else kind
            panels.setdefault((stage, title), []).append(name)
    return panels


def _lines(axes: Axes, names: Sequence[str], snapshots: Sequence[Snapshot], at: Sequence[int]) -> None:
    """Probability of each edge."""
    for i, name in enumerate(names):
        style = "-" if i < len(LINES) else "--"
        odds = [snapshot[name].get(YES, 0.0) for snapshot in snapshots]
        axes.plot(at, odds, style, color=LINES[i % len(LINES)], label=name.partition(".")[2])
    axes.set(ylim=(-0.02, 1.02), ylabel="probability")
    axes.grid(visible=True, alpha=0.25)
    axes.legend(**BESIDE)


def _map(axes: Axes, names: Sequence[str], snapshots: Sequence[Snapshot], at: Sequence[int]) -> None:
    """Probability of each edge as a row, those to the final node on top, each kind by its last probability."""
    odds = {name: [snapshot[name].get(YES, 0.0) for snapshot in snapshots] for name in names}
    rows = sorted(names, key=lambda name: (name.endswith(f">{FINAL}"), odds[name][-1]))
    shown = axes.pcolormesh(
        at, np.arange(len(rows)) + 0.5, [odds[name] for name in rows], cmap="cividis", vmin=0, vmax=1, shading="nearest"
    )
    inner = sum(not name.endswith(f">{FINAL}") for name in names)
    axes.axhline(inner, color="white", lw=1.5)
    kinds = {"between slots": (0, inner), f"to {FINAL}": (inner, len(rows))}
    ticks = {(low + high) / 2: f"{high - low} {kind}" for kind, (low, high) in kinds.items() if low < high}
    axes.set_yticks(list(ticks), list(ticks.values()), rotation=90, va="center", fontsize="x-small")
    axes.tick_params(axis="y", length=0)
    axes.figure.colorbar(shown, ax=axes, label="probability")


def _colours(snapshot: Snapshot) -> dict[str, dict[Value, str]]:
    """The colour of each model, role and template, by kind and value: no two share one while the palette lasts."""
    colours: dict[str, dict[Value, str]] = {}
    palette = itertools.cycle(PALETTE)
    for kind in SHARES:
        values = dict.fromkeys(v for name, odds in snapshot.items() if name.endswith(f".{kind}") for v in odds)
        colours[kind] = {value: GREY if value == ABSENT else next(palette) for value in values}
    return colours


def _shares(
    axes: Axes,
    names: Sequence[str],
    snapshots: Sequence[Snapshot],
    at: Sequence[int],
    colours: Mapping[Value, str],
) -> None:
    """Mean probability of each value over the parameters, one above the other."""
    values = list(dict.fromkeys(value for name in names for value in snapshots[0][name]))
    heights = [[float(np.mean([s[name].get(value, 0.0) for name in names])) for s in snapshots] for value in values]
    fills = [colours[value] for value in values]
    axes.set(ylim=(0, 1), ylabel="mean probability" if len(names) > 1 else "probability")
    axes.stackplot(at, heights, labels=[fitted(str(v), 130, 8) for v in values], colors=fills, alpha=0.8, ec="white")
    handles, labels = axes.get_legend_handles_labels()
    axes.legend(handles[::-1], labels[::-1], **BESIDE)


def _figure(width: float, height: float) -> Figure:
    """A figure that a notebook shows, also where pyplot was never imported."""
    with needed():
        from matplotlib.figure import Figure

    class Shown(Figure):
        def _repr_png_(self) -> bytes:
            png = io.BytesIO()
            self.savefig(png, dpi=100)
            return png.getvalue()

    return Shown(figsize=(width, height), layout="constrained")


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
