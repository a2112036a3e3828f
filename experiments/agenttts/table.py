"""The tables of README.md from what `apportion bench searchers --json` printed.

python experiments/agenttts/table.py experiments/agenttts/results.json
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from apportion.statistics import bootstrap

BASE = "agenttts"  # whom the others are compared with, on the same seeds


def main(path: Path) -> None:
    """Print a row a task and searcher, and what the searchers are to each other on each task."""
    tasks = json.loads(path.read_text())["tasks"]
    print("| task | searcher | regret at S | more than agenttts [95 %] | within 1 % | trials to 99 % | draws to 99 % |")
    print("|---|---|---|---|---|---|---|")
    for task in tasks:
        for name, own in task["samplers"].items():
            trials = "-" if own["trials_to_99"] is None else f"{own['trials_to_99']:.0f}"
            draws = f"{own['draws_to_99']:,.0f} of {task['cap']:,.0f}"
            more = "" if name == BASE else _more(own, task["samplers"][BASE])
            regret, hits = own["regret_at"]["1.0"], own["hit_99"]
            print(f"| {task['task']} | {name} | {regret:.3f} | {more} | {hits:.2f} | {trials} | {draws} |")
        oracle = task["samplers"][BASE]
        print(f"| {task['task']} | *oracle* | {oracle['oracle_regret']:.3f} | | {oracle['oracle_hit_99']:.2f} | | |")


def _more(own: dict[str, Any], base: dict[str, Any]) -> str:
    """The paired difference of regrets, in bold where its interval leaves out 0."""
    found = bootstrap([a - b for a, b in zip(own["regrets"], base["regrets"], strict=True)])
    text = f"{found.mean:+.3f} [{found.low:+.3f}, {found.high:+.3f}]"
    return f"**{text}**" if found.low > 0 or found.high < 0 else text


if __name__ == "__main__":
    main(Path(sys.argv[1]))
