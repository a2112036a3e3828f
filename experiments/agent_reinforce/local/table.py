"""Measures every graph of task.yaml on the recording, writes graphs.json and prints the tables of README.md.

    python experiments/agent_reinforce/local/table.py       # no model is asked

The held-out examples are those of validation and test; no search sees them.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from statistics import fmean

import apportion
from apportion.build import space_of
from apportion.evaluators.benchmark import Benchmark
from apportion.evaluators.forecast import Forecast
from apportion.graphs.classics import classics
from apportion.graphs.graph import Graph
from apportion.graphs.notation import from_lines, to_lines
from apportion.graphs.space import SearchSpace
from apportion.recording.replaying import benchmark
from apportion.recording.table import Recording, read
from apportion.spec import LoadedSpec
from apportion.spec.paper import guessed_lengths
from apportion.statistics import paired, summary

HERE = Path(__file__).parent
HELD_OUT = ("validation", "test")
SHOWN = 10  # graphs of a list
LARGE, SMALL, VOTE = "model large", "model small", "answer.final: role voter"
ALONE = (f"answer.1: {LARGE}; to final", VOTE)
THREE = (*(f"answer.{i}: {LARGE}; to final" for i in (1, 2, 3)), VOTE)
CONTRASTS = {
    "width: three large drafts, not one": (THREE, ALONE),
    "mix: one large and two small drafts, not three large": (
        (f"answer.1: {LARGE}; to final", *(f"answer.{i}: {SMALL}; to final" for i in (2, 3)), VOTE),
        THREE,
    ),
    "depth: a large draft refined by large, not as it is": (
        (f"answer.1: {LARGE}; to 2", f"answer.2: {LARGE}; role refiner; to final", VOTE),
        ALONE,
    ),
    "depth: refined by large twice, not once": (
        (
            f"answer.1: {LARGE}; to 2",
            f"answer.2: {LARGE}; role refiner; to 3",
            f"answer.3: {LARGE}; role refiner; to final",
            VOTE,
        ),
        (f"answer.1: {LARGE}; to 2", f"answer.2: {LARGE}; role refiner; to final", VOTE),
    ),
    "role: two large drafts read by a fuser, not by a refiner": (
        (*(f"answer.{i}: {LARGE}; to 3" for i in (1, 2)), f"answer.3: {LARGE}; role fuser; to final", VOTE),
        (*(f"answer.{i}: {LARGE}; to 3" for i in (1, 2)), f"answer.3: {LARGE}; role refiner; to final", VOTE),
    ),
    "refiner's model: a large draft refined by small, not by large": (
        (f"answer.1: {LARGE}; to 2", f"answer.2: {SMALL}; role refiner; to final", VOTE),
        (f"answer.1: {LARGE}; to 2", f"answer.2: {LARGE}; role refiner; to final", VOTE),
    ),
}
"""Pairs of graphs that differ in one thing, in the notation of `apportion.graphs.notation`."""


@dataclass(frozen=True)
class Row:
    """What a graph is worth.

    Attributes:
        search: whether it was right, of each example of the search split.
        held_out: the same of the other splits.
        flops: of one answer, the mean over the search split.
        missing: draws that were not recorded, each time they were asked for.
    """

    graph: Graph
    search: tuple[float, ...]
    held_out: tuple[float, ...]
    flops: float
    missing: int

    @property
    def accuracy(self) -> float:
        """On the search split."""
        return fmean(self.search)

    @property
    def everywhere(self) -> tuple[float, ...]:
        """On all examples."""
        return self.search + self.held_out


@cache
def loaded() -> LoadedSpec:
    """The task."""
    return apportion.load(HERE / "task.yaml").loaded


@cache
def recording() -> Recording:
    """Every draw that a graph of the space asks for."""
    return read(HERE / "recording.parquet")


@cache
def space() -> SearchSpace:
    """Its graphs."""
    return space_of(loaded().spec)


def forecasting() -> Benchmark:
    """The examples on the recording, with a forecast that knows nothing yet."""
    made = benchmark(loaded(), recording())
    cards = {name: endpoint.card for name, endpoint in made.environment.dispatcher.endpoints.items()}
    made.forecast = Forecast(cards, guessed_lengths(loaded().spec, loaded().rows.search))
    return made


def on_paper(made: Benchmark, graph: Graph) -> float:
    """FLOPs of one answer by the forecast, as it stands."""
    return made.on_paper(graph)["flops"] or 0.0


async def measured(made: Benchmark, graphs: Iterable[Graph]) -> list[Row]:
    """Run graphs on every example; the benchmark's forecast learns from those of the search split."""
    return [await _measured(made, graph) for graph in graphs]


async def _measured(made: Benchmark, graph: Graph) -> Row:
    right: dict[str, list[float]] = {"search": [], "held out": []}
    flops: list[float] = []
    missing = 0
    for split, examples in made.splits.items():
        for example in examples:
            rollout = await made.environment.run(graph, example)
            metrics = await made.score(rollout, example)
            missing += sum(draw.status == "failed" for draw in rollout.draws)
            right["held out" if split in HELD_OUT else split].append(metrics["accuracy"] or 0.0)
            if split == "search":
                flops.append(metrics["flops"] or 0.0)
                if made.forecast is not None:
                    made.forecast.learn(rollout)
    return Row(graph, tuple(right["search"]), tuple(right["held out"]), fmean(flops), missing)


def entry(row: Row, made: Benchmark) -> Mapping[str, object]:
    """A line of graphs.json."""
    return {
        "key": row.graph.key,
        "lines": to_lines(space(), space().params(row.graph)),
        "search": {"accuracy": row.accuracy, "n": len(row.search)},
        "held_out": {"accuracy": fmean(row.held_out), "n": len(row.held_out)},
        "flops": row.flops,
        "flops_on_paper": on_paper(made, row.graph),
    }


def shown(graph: Graph) -> str:
    """A graph in one line."""
    name = {node.id: str(i) for i, node in enumerate(graph.nodes, 1)}
    parts = []
    for node in graph.nodes:
        sources = f"({', '.join(name[source] for source in node.inputs)})" if node.inputs else ""
        parts.append(f"{name[node.id]} {node}{sources}")
    return "; ".join(parts)


def against(row: Row, other: Row) -> str:
    """By how much a graph is more accurate than another, on the split that chose it, on the others and on all."""
    pairs = ((row.search, other.search), (row.held_out, other.held_out), (row.everywhere, other.everywhere))
    found = [paired(a, b) for a, b in pairs]
    return " | ".join(f"{d.mean:+.3f} [{d.low:+.3f}, {d.high:+.3f}]" for d in found)


def listed(rows: Sequence[Row]) -> None:
    """Print graphs with their accuracies."""
    print("| graph | GFLOPs | search | held out |\n|---|---|---|---|")
    for row in rows:
        known, new = summary(row.search), summary(row.held_out)
        cells = " | ".join(f"{c.mean:.3f} [{c.low:.3f}, {c.high:.3f}]" for c in (known, new))
        print(f"| {shown(row.graph)} | {row.flops / 1e9:.0f} | {cells} |")


def by_trait(rows: Sequence[Row]) -> None:
    """Print the mean accuracy of the graphs that share a trait."""
    traits: dict[str, Callable[[Graph], int]] = {
        "large models": lambda g: sum(n.model == "large" for n in g.nodes),
        "calls": lambda g: g.calls,
        "depth": depth,
        "refiners": lambda g: sum(n.role == "refiner" for n in g.nodes),
        "fusers": lambda g: sum(n.role == "fuser" for n in g.nodes),
        "voters' readings": lambda g: len(g.output.inputs),
    }
    print("\n| trait | value | graphs | search, mean (best) | held out, mean (best) |\n|---|---|---|---|---|")
    for trait, of in traits.items():
        for value in sorted({of(row.graph) for row in rows}):
            own = [row for row in rows if of(row.graph) == value]
            cells = []
            for share in ([row.accuracy for row in own], [fmean(row.held_out) for row in own]):
                cells.append(f"{fmean(share):.3f} ({max(share):.3f})")
            print(f"| {trait} | {value} | {len(own)} | {' | '.join(cells)} |")


def depth(graph: Graph) -> int:
    """Models on the longest path."""
    found: dict[str, int] = {}
    for node in graph.nodes:
        found[node.id] = max((found[source] for source in node.inputs), default=0) + (node.model is not None)
    return found[graph.output.id]


def baselines(made: Benchmark, budget: float) -> dict[str, Graph]:
    """Classic graphs as large as the budget allows, and votes of as many drafts as there are slots."""
    found = classics(space(), "answer", lambda graph: on_paper(made, graph), budget)
    votes = {f"vote of {model} x3": space().uniform(model, "vote")[0] for model in ("small", "large")}
    return {**found, **votes}


def main() -> None:
    """Measure, write and print."""
    made = forecasting()
    began = time.perf_counter()
    rows = asyncio.run(measured(made, map(space().build, space().grid())))
    took = time.perf_counter() - began
    rows.sort(key=lambda row: (-row.accuracy, row.flops, row.graph.key))
    lines = ",\n".join(json.dumps(entry(row, made)) for row in rows)
    (HERE / "graphs.json").write_text(f"[\n{lines}\n]\n", encoding="utf-8")
    missing = sum(row.missing for row in rows)
    print(f"{len(rows)} graphs measured in {took:.1f} s; {missing} draws missing.\n")
    budget = loaded().spec.budget.flops or float("inf")
    within = [row for row in rows if row.flops <= budget]
    print(f"{len(within)} graphs are within {budget:g} FLOPs. The best of them, and of all:\n")
    listed(within[:SHOWN])
    print()
    listed(rows[:SHOWN])
    by_trait(rows)
    print("\n| the best within the budget, minus | search | held out | all |\n|---|---|---|---|")
    for label, graph in baselines(made, budget).items():
        [row] = asyncio.run(measured(made, [graph]))
        print(f"| {label} | {'not recorded' if row.missing else against(within[0], row)} |")
    print("\n| one thing changed | search | held out | all |\n|---|---|---|---|")
    known = {row.graph.key: row for row in rows}
    for label, pair in CONTRASTS.items():
        row, other = (known[space().build(from_lines(space(), lines)).key] for lines in pair)
        print(f"| {label} | {against(row, other)} |")


if __name__ == "__main__":
    main()
