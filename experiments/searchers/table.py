"""The tables of README.md from what `apportion bench searchers --json` printed.

python experiments/searchers/table.py experiments/searchers/results.json
"""

from __future__ import annotations

import json
import sys
from pathlib import Path


def main(path: Path) -> None:
    """Print a table of tasks and one of groups of tasks."""
    found = json.loads(path.read_text())
    print("| task | searcher | regret at S | within 1 % [95 %] | oracle | draws to 99 % | spend to TPE | seconds |")
    print("|---|---|---|---|---|---|---|---|")
    for task in found["tasks"]:
        for name, own in task["samplers"].items():
            low, high = own["hit_99_interval"]
            share = "-" if own["reached"] is None else _share(own["spend_to_tpe"]) if own["reached"] else "never"
            hits = f"{own['hit_99']:.2f} [{low:.2f}, {high:.2f}]"
            print(
                f"| {task['task']} | {name} | {own['regret_at']['1.0']:.4f} | {hits} "
                f"| {own['oracle_hit_99']:.2f} | {own['draws_to_99']:,.0f} of {task['cap']:,.0f} | {share} "
                f"| {own['seconds']:.2f} |"
            )
    print("\n| tasks | searcher | spend to TPE, geometric mean [95 %] | draws to 99 % | hit 99 % | oracle |")
    print("|---|---|---|---|---|---|")
    for group, samplers in found["summary"].items():
        for name, own in samplers.items():
            low, high = own["spend_to_tpe_interval"]
            print(
                f"| {group} | {name} | {_share(own['spend_to_tpe_geomean'])} [{_share(high)}, {_share(low)}] "
                f"| {own['draws_to_99_geomean']:,.0f} | {own['hit_99']:.2f} | {own['oracle_hit_99']:.2f} |"
            )


def _share(share: float) -> str:
    return f"1/{1 / share:.1f}" if share else "0"


if __name__ == "__main__":
    main(Path(sys.argv[1]))
