"""The tables and figures of README.md from the results of race.py, banked.py and fronts.py.

python experiments/agent_reinforce/table.py race|classic|banked|fronts|figure
"""

from __future__ import annotations

import argparse
import json
import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import fmean, median
from typing import Any

import numpy as np

import apportion
from apportion.graphs.classics import classics
from apportion.graphs.graph import Graph, Node
from apportion.search.objectives import hypervolume
from apportion.statistics import bootstrap
from apportion.testing.pairs import pairs

HERE = Path(__file__).parent
RESAMPLES = 4000
BY_PROBLEM = ("both", "text only", "gradient only", "both, unscreened", "reinforce", "tpe", "nsga2", "random")
LINES = {
    "both": "#0072B2", "gradient only": "#56B4E9", "reinforce": "#009E73", "nsga2": "#CC79A7", "tpe": "#D55E00",
    "gptswarm": "#E69F00", "random": "#999999",
}  # fmt: skip
"""Searchers that are drawn, in the colours of Okabe and Ito."""
Row = dict[str, Any]


def rows(name: str) -> list[Row]:
    """Results, a line each."""
    return [json.loads(line) for line in (HERE / name).read_text().splitlines()]


def share(values: Sequence[bool]) -> str:
    """`12/30`."""
    return f"{sum(values)}/{len(values)}"


def interval(values: Sequence[float], digits: int = 3) -> str:
    """Mean with its 95 % interval."""
    own = bootstrap(values)
    return f"{own.mean:.{digits}f} [{own.low:.{digits}f}, {own.high:.{digits}f}]"


def geometric(ratios: Sequence[float], digits: int = 2) -> str:
    """Geometric mean of ratios of paired runs, with a bootstrap interval over them."""
    logs = np.log(np.asarray(ratios))
    rng = np.random.default_rng(0)
    means = logs[rng.integers(0, len(logs), (RESAMPLES, len(logs)))].mean(axis=1)
    low, high = np.exp(np.quantile(means, [0.025, 0.975]))
    return f"{math.exp(logs.mean()):.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"


def effort(row: Row, key: str) -> float:
    """What it took to find the best graph: `found` evaluations or `flops`; where it was not found twice what it had."""
    had = row["most"] if key == "found" and row["found"] is None else row[key]
    return max(1e-9, float(had)) * (1.0 if row["found"] is not None else 2.0)


def race() -> None:
    """Evaluations and FLOPs until the best graph was found, on each problem and over all."""
    found = rows("results.jsonl")
    cases = list(dict.fromkeys(row["case"] for row in found))
    searchers = ordered(found)
    by: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for row in found:
        by[row["case"], row["searcher"]].append(row)
    overall(found, searchers)
    print("\nFound of all runs, and median evaluations (probes counted in parts):\n")
    print("| problem | " + " | ".join(BY_PROBLEM) + " |")
    print("|---" * (len(BY_PROBLEM) + 1) + "|")
    for case in cases:
        cells = []
        for searcher in BY_PROBLEM:
            own = by[case, searcher]
            most = own[0]["most"]
            middle = median([row["found"] if row["found"] is not None else math.inf for row in own])
            took = f"> {most}" if math.isinf(middle) else f"{middle:.0f}"
            cells.append(f"{share([row['found'] is not None for row in own])}, {took}")
        print(f"| {case} | " + " | ".join(cells) + " |")


def overall(found: Sequence[Row], searchers: Sequence[str]) -> None:
    """Each searcher against `both`, run by run: those that obey the insights, those that break one, and all."""
    runs = {(row["searcher"], row["case"], row["seed"]): row for row in found}
    groups: dict[str, Callable[[str], bool]] = {
        "all": lambda case: True,
        "obey": lambda case: "breaks" not in case,
        "break one": lambda case: "breaks" in case,
    }
    print(
        "| searcher | found | best at the end [95 %] | last proposed | " + " | ".join(groups) + " | FLOPs | s a run |"
    )
    print("|---" * (len(groups) + 6) + "|")
    for searcher in searchers:
        own = [row for row in found if row["searcher"] == searcher]
        cells = []
        for inside in groups.values():
            cells.append(ratios(runs, searcher, inside, lambda row: effort(row, "found")))
        flops = ratios(runs, searcher, groups["all"], lambda row: effort(row, "flops"))
        print(
            f"| {searcher} | {share([row['found'] is not None for row in own])} | "
            f"{interval([row['best'] for row in own])} | {fmean(row['last'] for row in own):.3f} | "
            + " | ".join(cells)
            + f" | {flops} | {median(row['s'] for row in own):.1f} |"
        )
    base = "both, unscreened"
    found_by = [
        f"{name} {ratios(runs, f'{name}, unscreened', groups['all'], lambda row: effort(row, 'found'), base)}"
        for name in ("text only", "gradient only", "textgrad", "maao")
    ]
    print(f"\nWithout screening, of the evaluations of `both`: {', '.join(found_by)}.")


def ratios(
    runs: Mapping[tuple[str, str, int], Row],
    searcher: str,
    inside: Callable[[str], bool],
    of: Callable[[Row], float],
    other: str = "both",
) -> str:
    """Geometric mean of a searcher's effort over that of another with the same seed on the same problem."""
    pairs = [
        (of(row), of(runs[other, case, seed]))
        for (name, case, seed), row in runs.items()
        if name == searcher and inside(case) and (other, case, seed) in runs
    ]
    return "1" if searcher == other else geometric([one / two for one, two in pairs])


def ordered(found: Sequence[Row]) -> list[str]:
    """Searchers in the order of race.py."""
    from race import SEARCHERS

    present = {row["searcher"] for row in found}
    return [name for name in SEARCHERS if name in present]


def classic() -> None:
    """Accuracy of the classic graphs, each as large as the budget allows, beside the best graph's."""
    families = ("single large", "self-consistency", "self-refine", "mixture of agents", "decider")
    print("| problem | best | " + " | ".join(families) + " |\n" + "|---" * (len(families) + 2) + "|")
    for case in pairs():
        problem = case.problem
        graphs = classics(case.space, "answer", lambda graph, of=problem: of.costs(graph)["flops"], case.budget or 0.0)
        cells = []
        for family in families:
            own = [problem.strength(ended(graph)) for label, graph in graphs.items() if label.startswith(family)]
            cells.append(f"{max(own):.3f}" if own else "")
        print(f"| {case.name} | {problem.best:.3f} | " + " | ".join(cells) + " |")


def ended(graph: Graph) -> Graph:
    """With a last node of code where it ends in a call, which landscapes do not take for a slot."""
    last = graph.output
    if last.model is None or last.role == "decider":
        return graph
    return Graph((*graph.nodes, Node("answer.end", last.stage, "voter", inputs=(last.id,))))


def fronts() -> None:
    """Hypervolume of each run's front, as a share of that of all fronts of the problem together."""
    found = rows("fronts.jsonl")
    points: dict[tuple[str, str], set[tuple[float, float]]] = defaultdict(set)
    for row in found:
        points[row["case"], row["cost"]].update((a, c) for a, c in row["front"])
    shares: dict[tuple[str, str], list[float]] = defaultdict(list)
    for row in found:
        every = points[row["case"], row["cost"]]
        reference = (0.0, -max(cost for _, cost in every))
        whole, own = (hypervolume([(a, -c) for a, c in of], reference) for of in (every, row["front"]))
        shares[row["searcher"], row["cost"]].append(own / whole)
    costs = sorted({cost for _, cost in shares})
    print("| searcher | " + " | ".join(costs) + " |\n" + "|---" * (len(costs) + 1) + "|")
    for searcher in ordered(found):
        print(f"| {searcher} | " + " | ".join(interval(shares[searcher, cost]) for cost in costs) + " |")


def banked() -> None:
    """On recorded outcomes: evaluations and spend until the best graph within the budget was measured, and regret."""
    from banked import BY_MODEL

    found = rows("banked.jsonl")
    truth, within = space()
    top = most_accurate(within)
    print(f"{len(truth)} graphs, {len(within)} within the budget, the best right in {top:.3f} of the search split.\n")
    searched(within, {name: [row for row in found if row["searcher"] == name] for name in ordered(found)}, (10, 20, 40))
    if not (by_model := [row for row in found if row["searcher"] == BY_MODEL]):
        return
    most, seeds = by_model[0]["most"], {row["seed"] for row in by_model}
    print(f"\nThe first {most} trials of seeds {', '.join(map(str, sorted(seeds)))}:\n")
    first = [{**row, "most": most, "measured": row["measured"][:most]} for row in found if row["seed"] in seeds]
    names = (BY_MODEL, "both", "gradient only", "random")
    groups = {name: [row for row in first if row["searcher"] == name] for name in names}
    searched(within, groups, (10, most))
    print("\n| seed | updates | questions | lines refused | tables | own graphs | tokens | s |\n" + "|---" * 8 + "|")
    for row in by_model:
        said = row["replies"]
        cells = [said[key] for key in ("updates", "questions", "refused", "tables", "graphs", "tokens")]
        print(f"| {row['seed']} | {' | '.join(map(str, cells))} | {row['s']:.0f} |")


def searched(within: Mapping[int, Row], groups: Mapping[str, Sequence[Row]], after: Sequence[int]) -> None:
    """Print how searches of a recorded space went, a line a searcher; evaluations count probes in parts."""
    top = most_accurate(within)
    regret = " | ".join(f"regret after {n}" if n == after[0] else str(n) for n in after)
    print(
        f"| searcher | found | median evaluations | of those of `both` | {regret} | held out [95 %] | FLOPs to find |"
    )
    print("|---" * (6 + len(after)) + "|")

    def end(row: Row) -> list[float] | None:
        return next((own for own in row["measured"] if accuracy(within, own[0]) >= top - 1e-9), None)

    def took_by(row: Row) -> float:
        found = end(row)
        return 2.0 * row["most"] if found is None else found[1]

    both = {row["seed"]: took_by(row) for row in groups["both"]}
    for searcher, own in groups.items():
        ends = [end(row) for row in own]
        ratio = "1" if searcher == "both" else geometric([took_by(row) / both[row["seed"]] for row in own])
        took, flops = (median(math.inf if found is None else found[of] for found in ends) for of in (1, 2))
        lost = " | ".join(f"{fmean(top - accuracy(within, best(row, within, n)) for row in own):.3f}" for n in after)
        last = [best(row, within, math.inf) for row in own]
        held = interval([within[place]["held_out"]["accuracy"] if place in within else 0.0 for place in last])
        when, spent = ("not" if math.isinf(flops) else text for text in (f"{took:.0f}", f"{flops:.1e}"))
        said = share([found is not None for found in ends])
        print(f"| {searcher} | {said} | {when} | {ratio} | {lost} | {held} | {spent} |")


def figure() -> None:
    """Draw races.png: runs that have found the best graph by so many evaluations, and regret on recorded outcomes."""
    from matplotlib.figure import Figure

    drawing = Figure(figsize=(11, 4.2), layout="constrained")
    left, right = drawing.subplots(1, 2)
    found = rows("results.jsonl")
    for name in LINES:
        own = [row for row in found if row["searcher"] == name]
        ends = sorted(row["found"] for row in own if row["found"] is not None)
        shares = [100.0 * sum(end <= n for end in ends) / len(own) for n in range(own[0]["most"] + 1)]
        left.plot(shares, color=LINES[name], label=name)
    left.set(xlabel="evaluations, probes counted in parts", ylabel="% of runs that found the best graph", ylim=(0, 100))
    left.set_title("12 synthetic problems (scripted agent)", fontsize="medium")
    _, within = space()
    top = most_accurate(within)
    found = rows("banked.jsonl")
    for name in LINES:
        own = [row for row in found if row["searcher"] == name]
        most = own[0]["most"]
        regrets = [fmean(top - accuracy(within, best(row, within, n)) for row in own) for n in range(most + 1)]
        right.plot(regrets, color=LINES[name], label=name)
    right.set(xlabel="evaluations, probes counted in parts", ylabel="mean regret in accuracy", ylim=(0, None))
    right.set_title("181 recorded graphs of two models", fontsize="medium")
    left.legend(frameon=False, fontsize="small")
    drawing.savefig(HERE / "races.png", dpi=90)


def space() -> tuple[list[Row], dict[int, Row]]:
    """All graphs of the recorded space, and those within the budget by their places."""
    truth = json.loads((HERE / "local" / "graphs.json").read_text())
    bound = apportion.load(HERE / "local" / "task.yaml").loaded.spec.budget.flops
    return truth, {place: own for place, own in enumerate(truth) if bound is None or own["flops"] <= bound}


def best(row: Row, within: Mapping[int, Row], evaluations: float) -> int:
    """The place of the best graph within the budget after so many evaluations; -1 for none."""
    seen = [place for place, after, _ in row["measured"] if after <= evaluations and place in within]
    return max(seen, key=lambda place: accuracy(within, place), default=-1)


def accuracy(within: Mapping[int, Row], place: int) -> float:
    """On the search split, of a graph by its place; 0 for none."""
    return float(within[place]["search"]["accuracy"]) if place in within else 0.0


def most_accurate(within: Mapping[int, Row]) -> float:
    """Accuracy of the best graph on the search split."""
    return max(accuracy(within, place) for place in within)


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser()
    tables = {"race": race, "classic": classic, "banked": banked, "fronts": fronts, "figure": figure}
    parser.add_argument("table", choices=tables)
    tables[parser.parse_args().table]()


if __name__ == "__main__":
    main()
