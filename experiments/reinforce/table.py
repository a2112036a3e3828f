"""The table of README.md from the results of race.py.

python experiments/reinforce/table.py experiments/reinforce/results.jsonl
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from statistics import median

from apportion.statistics import bootstrap, wilson
from apportion.testing.landscape import cases


def main(path: Path) -> None:
    """Print how often and after how many evaluations each sampler found the best graph of each problem."""
    runs = [json.loads(line) for line in path.read_text().splitlines()]
    samplers = list(dict.fromkeys(run["sampler"] for run in runs))
    shared = set.intersection(*({(r["case"], r["seed"]) for r in runs if r["sampler"] == s} for s in samplers))
    print("| problem | sampler | found [95 %] | median evaluations | accuracy at the end [95 %] | seeds |")
    print("|---|---|---|---|---|---|")
    for case in cases():
        for sampler in samplers:
            own = [r for r in runs if r["sampler"] == sampler and r["case"] == case.name]
            own = [r for r in own if (r["case"], r["seed"]) in shared]
            if not own:
                continue
            found = [r["found"] for r in own if r["found"] is not None]
            share, best = wilson(len(found), len(own)), bootstrap([r["best"] for r in own])
            middle = median([r["found"] if r["found"] is not None else float("inf") for r in own])
            said = f"{middle:g}" if middle < float("inf") else f"> {own[0]['most']}"
            print(
                f"| {case.name}{'' if case.keeps else ' (breaks the insights)'} | {sampler} "
                f"| {len(found)}/{len(own)} [{share.low:.2f}, {share.high:.2f}] | {said} "
                f"| {best.mean:.3f} [{best.low:.3f}, {best.high:.3f}] | {len(own)} |"
            )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
