"""Searchers on a space of real graphs whose every completion is recorded: no model is asked. See README.md.

python experiments/agent_reinforce/banked.py --out experiments/agent_reinforce/banked.jsonl  # goes on where it stopped

Each search is the study of a real task: its environment, its ledger, its agent, on the recording in place of models.
"""

from __future__ import annotations

import argparse
import asyncio
import time
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import optuna
from race import finish

import apportion
from apportion.recording.replaying import replay
from apportion.recording.table import read
from apportion.search.trial import Trial

HERE = Path(__file__).parent / "local"
KEY = ("searcher", "seed", "most")
SEARCHERS: Mapping[str, Sequence[str]] = {
    "both": ("search.sampler=agent_reinforce",),
    "text only": ("search.sampler=agent_reinforce", "search.agent.update=text"),
    "gradient only": ("search.sampler=agent_reinforce", "search.agent.update=gradient"),
    "no roles": ("search.sampler=agent_reinforce", "search.agent.roles=false"),
    "no insights at initialisation": ("search.sampler=agent_reinforce", "search.agent.initial_insights=false"),
    "no insights": ("search.sampler=agent_reinforce", "search.agent.insights=[]", "search.agent.sweeps=false"),
    "random mix": ("search.sampler=agent_reinforce", "search.agent.mix=random"),
    "no mix": ("search.sampler=agent_reinforce", "search.agent.mix=none", "search.agent.sweeps=false"),
    "textgrad": ("search.sampler=textgrad",),
    "maao": ("search.sampler=maao",),
    "reinforce": ("search.sampler=reinforce",),
    "gptswarm": ("search.sampler=gptswarm",),
    "maas": ("search.sampler=maas",),
    "tpe": ("search.sampler=tpe",),
    "nsga2": ("search.sampler=nsga2",),
    "random": ("search.sampler=random",),
}


def run(job: tuple[str, int, int]) -> dict[str, object]:
    """One search: what each trial gave, and what was spent by then, baselines left out of neither."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.simplefilter("ignore")
    searcher, seed, most = job
    changes = (*SEARCHERS[searcher], f"seed={seed}", f"limits.trials={most}", "objectives=[{maximize: accuracy}]")
    loaded = apportion.load(HERE / "task.yaml", changes).loaded
    started = time.perf_counter()
    told: list[dict[str, object]] = []
    with TemporaryDirectory() as folder:
        search = replay(loaded, read(HERE / "recording.parquet"), Path(folder) / "run")

        def keep(trial: Trial) -> None:
            calls, tokens, *_ = search.dispatcher.calls.spent()
            flops = search.folder.calls.ledger()["candidate"]["flops"]
            accuracy = trial.metrics["accuracy"].mean if "accuracy" in trial.metrics else None
            told.append({
                "key": trial.key, "baseline": trial.baseline, "state": trial.state, "accuracy": accuracy,
                "calls": calls, "tokens": tokens, "flops": flops,
            })  # fmt: skip

        search.study.on_trial = keep

        async def go() -> None:
            try:
                async with search.session():
                    await search.study.search()
            finally:
                await search.close()

        asyncio.run(go())
    return {**dict(zip(KEY, job, strict=True)), "trials": told, "s": time.perf_counter() - started}


def main() -> None:
    """Run what is left to run and append the results, a line each."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", type=int, default=30)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--most", type=int, default=40)
    parser.add_argument("--searchers", nargs="*", default=list(SEARCHERS))
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    seeds = range(given.first, given.first + given.seeds)
    jobs = [(s, n, given.most) for n in seeds for s in given.searchers]
    finish(jobs, run, KEY, given.out, given.workers)


if __name__ == "__main__":
    main()
