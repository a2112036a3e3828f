"""The tables of README.md from what `apportion bench searchers --json` printed.

python experiments/agenttts/table.py experiments/agenttts/results.json experiments/agenttts/results.budgets.json
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from apportion.statistics import bootstrap

BASE = "agenttts"  # whom the others are compared with, on the same seeds
SYNTHETIC = "synthetic-"
Figures = dict[str, Any]


def main(paths: Sequence[Path]) -> None:
    """Print three tables of each file, a row a searcher and a column a task, and one over the budgets of a table."""
    every: list[Figures] = []
    for path in paths:
        tasks = json.loads(path.read_text())["tasks"]
        _table("regret at S", tasks, _regret, [f"{task['samplers'][BASE]['oracle_regret']:.3f}" for task in tasks])
        _table("within 1 %", tasks, _hits, [f"{task['samplers'][BASE]['oracle_hit_99']:.2f}" for task in tasks])
        _table("to 99 %", tasks, _spend, None)
        every += tasks
    _over_budgets([task for task in every if task["task"].startswith(SYNTHETIC)])


def _over_budgets(tasks: list[Figures]) -> None:
    """Regret less that of `BASE`, the mean over the budgets of a synthetic table, by searchers that ran on all."""
    tables: dict[str, list[Figures]] = {}
    for task in tasks:
        tables.setdefault(task["task"].removeprefix(SYNTHETIC).rpartition("-")[0], []).append(task)
    print(f"\n| regret less that of {BASE} [95 %] | {' | '.join(tables)} |")
    print("|---" * (len(tables) + 1) + "|")
    for name in tasks[0]["samplers"]:
        if name != BASE and all(name in task["samplers"] for task in tasks):
            found = [bootstrap(_differences(own, name)) for own in tables.values()]
            print(f"| {name} | {' | '.join(f'{f.mean:+.3f} [{f.low:+.3f}, {f.high:+.3f}]' for f in found)} |")


def _differences(tasks: list[Figures], name: str) -> list[float]:
    """One a seed, since the budgets of a table share their questions."""
    each = [zip(task["samplers"][name]["regrets"], task["samplers"][BASE]["regrets"], strict=True) for task in tasks]
    return [sum(a - b for a, b in seed) / len(tasks) for seed in zip(*each, strict=True)]


def _table(title: str, tasks: list[Figures], cell: Callable[[Figures, str], str], oracle: list[str] | None) -> None:
    print(f"\n| {title} | {' | '.join(task['task'].removeprefix(SYNTHETIC) for task in tasks)} |")
    print("|---" * (len(tasks) + 1) + "|")
    for name in tasks[0]["samplers"]:
        print(f"| {name} | {' | '.join(cell(task, name) for task in tasks)} |")
    if oracle is not None:
        print(f"| *oracle* | {' | '.join(oracle)} |")


def _regret(task: Figures, name: str) -> str:
    """In bold where the interval of the paired difference to `BASE` leaves out 0; `+` for more regret."""
    own, base = task["samplers"][name], task["samplers"][BASE]
    found = bootstrap([a - b for a, b in zip(own["regrets"], base["regrets"], strict=True)])
    text = f"{own['regret_at']['1.0']:.3f}"
    return f"**{text} {'+' if found.low > 0 else '-'}**" if found.low > 0 or found.high < 0 else text


def _hits(task: Figures, name: str) -> str:
    return f"{task['samplers'][name]['hit_99']:.2f}"


def _spend(task: Figures, name: str) -> str:
    """Median of the trials, and geometric mean of the draws as a share of S."""
    own = task["samplers"][name]
    trials = "-" if own["trials_to_99"] is None else f"{own['trials_to_99']:.0f}"
    return f"{trials}; {own['draws_to_99'] / task['cap']:.2f}"


if __name__ == "__main__":
    main([Path(name) for name in sys.argv[1:]])
