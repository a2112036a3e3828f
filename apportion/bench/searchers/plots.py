"""Plots of raced searchers, through matplotlib (extra `viz`). It knows entries, not what else their figures are."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from apportion.bench.searchers.figures import Entry, allowed, weightings

Floats = NDArray[np.float64]

# Okabe and Ito's colours, told apart by colour-blind readers, without the yellow that is lost on white
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
PLAIN, BANKED = ("-", "-."), ("--", ":")  # of the first searchers of a colour, and of those after
POINTS = 600  # spends at which the lines are drawn
EARLIEST, LATEST = 1e-4, 1.06  # shares of S between which they are drawn; after S, where nothing moves, to be seen
TICKS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
LONGEST = 48  # characters of a name or title
XLABEL = {"draws": "draws spent", "cost": "cost spent"}


def plot_regret(title: str, by: Mapping[str, Entry]) -> Figure:
    """Mean regret of each searcher on a task against the spend, with 95 % bootstrap bands over seeds.

    The axis of regret is linear up to the tolerance within which a run counts as at the best, and logarithmic above.
    """
    first = next(iter(by.values())).runs[0]
    tolerance = allowed(first, 0.01)
    shares = np.geomspace(_earliest(by), LATEST, POINTS)
    at = shares * first.cap
    figure = Figure(figsize=(8.5, 4.8), layout="constrained")
    axes = figure.subplots()
    for (name, entry), (colour, dashes) in zip(by.items(), _styles(list(by)), strict=True):
        means = entry.regret(shares.tolist(), weightings(entry.size))
        low, high = np.percentile(means[1:], [2.5, 97.5], axis=0)
        axes.step(at, means[0], dashes, where="post", color=colour, lw=1.4, label=_short(name))
        axes.fill_between(at, low, high, step="post", color=colour, alpha=0.13, lw=0)
    axes.axhline(tolerance, color="#999999", lw=0.8, label="within 1 %")
    axes.axvline(first.cap, color="#999999", lw=0.8, ls=":", label="S")
    axes.set_xscale("log")
    axes.set_yscale("symlog", linthresh=tolerance, linscale=0.4)
    top = axes.get_ylim()[1]
    axes.set_yticks([0.0, *(tick for tick in TICKS if tolerance < tick <= top)])
    axes.yaxis.set_major_formatter("{x:g}")
    axes.set(xlim=(at[0], at[-1]), ylim=(0, top))
    axes.set(xlabel=XLABEL[first.job.currency], ylabel="mean regret")
    axes.set_title(_short(title), parse_math=False)
    axes.grid(visible=True, alpha=0.25)
    legend = axes.legend(frameon=False, fontsize="small", loc="upper left", bbox_to_anchor=(1, 1))
    for text in legend.get_texts():
        text.set_parse_math(False)
    return figure


def _short(name: str) -> str:
    """A name that leaves room for the plot: the middle of a very long one is left out."""
    half = LONGEST // 2
    return name if len(name) <= LONGEST else f"{name[:half]}…{name[-half:]}"


def _earliest(by: Mapping[str, Entry]) -> float:
    """The share of S at which the first mean moves."""
    firsts = [course.spends[1] for entry in by.values() for course in entry.courses if len(course.spends) > 1]
    return min(max(min(firsts, default=EARLIEST), EARLIEST), 0.1)


def _styles(names: list[str]) -> list[tuple[str, str]]:
    """Colour and dashes of each searcher: one with the bank has the colour of the one without."""
    plain = list(dict.fromkeys(name.removesuffix("+bank") for name in names))
    styles = []
    for name in names:
        turn, colour = divmod(plain.index(name.removesuffix("+bank")), len(COLOURS))
        styles.append((COLOURS[colour], (BANKED if name.endswith("+bank") else PLAIN)[turn % len(PLAIN)]))
    return styles
