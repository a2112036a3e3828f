"""Searchers on a space of real graphs whose every completion is recorded: no model is asked. See README.md.

python experiments/agent_reinforce/banked.py --out experiments/agent_reinforce/banked.jsonl  # goes on where it stopped

Each search is the study of a real task: its environment, its ledger, its agent, on the recording in place of models.
The agent of `by a model` is a local model of 1.5B parameters, whose answers are kept in a file: with --record it is
asked what that lacks, one search after the other.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import queue
import threading
import time
import warnings
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import optuna
from optuna.samplers import BaseSampler
from race import FEW, FEWER_SEEDS, finish

import apportion
from apportion.agent.cassette import CassetteAgent, Endpoint
from apportion.agent.reinforce.history import Asked
from apportion.agents.reinforce import sampler
from apportion.envs.local import LlamaServer
from apportion.evaluators.benchmark import WHOLE
from apportion.graphs.graph import Graph
from apportion.models import locate
from apportion.recording.replaying import replay
from apportion.recording.table import read
from apportion.report.wiring import wiring
from apportion.search.samplers import Prices
from apportion.search.study import Study
from apportion.search.trial import Trial
from apportion.store.trials import ScoreRow

HERE = Path(__file__).parent / "local"
KEY = ("searcher", "seed", "most")
MODEL, CONTEXT = "qwen2.5-coder-1.5b-instruct", 8192
CASSETTE = HERE / f"{MODEL}.jsonl"
BY_MODEL = "both, by a model"
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
    BY_MODEL: ("search.sampler=agent_reinforce",),
    "reinforce": ("search.sampler=reinforce",),
    "gptswarm": ("search.sampler=gptswarm",),
    "maas": ("search.sampler=maas",),
    "tpe": ("search.sampler=tpe",),
    "nsga2": ("search.sampler=nsga2",),
    "random": ("search.sampler=random",),
}


def run(job: tuple[str, int, int], url: str | None = None) -> dict[str, object]:
    """One search: the graphs that it measured, by their places in graphs.json.

    With each stands how often a graph had been measured on all examples by then, probes in parts, and the FLOPs that
    were bought; neither counts the baselines, nor the agent.

    Args:
        url: of the server of `by a model`; None where its answers are all in the file.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.simplefilter("ignore")
    searcher, seed, most = job
    changes = (*SEARCHERS[searcher], f"limits.trials={most}", "objectives=[{maximize: accuracy}]")
    loaded = apportion.load(HERE / "task.yaml", changes).loaded
    started = time.perf_counter()
    places = {own["key"]: place for place, own in enumerate(json.loads((HERE / "graphs.json").read_text()))}
    measured: list[tuple[int, float, float]] = []
    before = 0.0  # what the baselines took
    with TemporaryDirectory() as folder:
        search = replay(loaded, read(HERE / "recording.parquet"), Path(folder) / "run")

        seen: set[tuple[str, str]] = set()
        measure = search.benchmark.measure

        async def counted(graph: Graph, split: str, part: slice = WHOLE) -> AsyncIterator[ScoreRow]:
            async for row in measure(graph, split, part):
                seen.add((graph.key, row[0]))
                yield row

        def keep(trial: Trial) -> None:
            nonlocal before
            flops = search.folder.calls.ledger()["candidate"]["flops"]
            if trial.baseline:
                before = flops
                seen.clear()
            elif "accuracy" in trial.metrics and trial.state != "repeated":
                measured.append((places[trial.key], len(seen) / len(loaded.rows.search), flops - before))

        search.benchmark.measure = counted  # type: ignore[method-assign]

        # The seed of the task deals its examples into splits: only the search may have another one.
        plan, spec = replace(search.study.plan, seed=seed), loaded.spec.model_copy(update={"seed": seed})
        agent = CassetteAgent(CASSETTE, MODEL, Endpoint(url) if url else None)

        def asking(prices: Prices, budget: float | None) -> BaseSampler:
            own = agent if searcher == BY_MODEL else None
            return sampler(spec, plan.space, plan.objectives, search.benchmark, prices, budget, (), "", own)

        asks = asking if spec.search.asks_agent else None
        study = Study(plan, search.benchmark, search.folder.trials, search.allowance, asks)
        study.on_trial = keep

        async def go() -> None:
            try:
                async with search.session():
                    await study.search()
                    own = wiring(search.folder, plan.space, plan.objectives)
                    asked.extend(own.rounds if own else ())
            finally:
                await search.close()

        asked: list[Asked] = []
        asyncio.run(go())
    replies = {
        "questions": sum(own.questions for own in asked),
        "refused": sum(len(own.refused) for own in asked),
        "tables": sum(bool(own.table) for own in asked),
        "graphs": sum(bool(own.graph) and own.source != "pretest" for own in asked),
        "updates": max(0, len(asked) - 1),
        "tokens": agent.tokens,
    }
    keys, took = dict(zip(KEY, job, strict=True)), time.perf_counter() - started
    return {**keys, "measured": [list(own) for own in measured], "replies": replies, "s": took}


@contextmanager
def server(model: str) -> Iterator[str]:
    """The URL of a local server of a model."""

    async def serve() -> None:
        own = LlamaServer(locate(model, HERE), slots=1, context=CONTEXT)
        try:
            urls.put(await own.start())
            await asyncio.to_thread(done.wait)
        finally:
            await own.close()

    urls, done = queue.Queue[str](), threading.Event()
    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    try:
        yield urls.get(timeout=120)
    finally:
        done.set()
        thread.join()


def main() -> None:
    """Run what is left to run and append the results, a line each."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", type=int, default=30)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--most", type=int, default=40)
    parser.add_argument("--searchers", nargs="*", default=[name for name in SEARCHERS if name != BY_MODEL])
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--record", action="store_true")
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    seeds = range(given.first, given.first + given.seeds)
    jobs = [(s, n, given.most) for n in seeds for s in given.searchers if n < FEWER_SEEDS or s not in FEW]
    with server(MODEL) if given.record else nullcontext() as url:
        finish(jobs, partial(run, url=url), KEY, given.out, 1 if url else given.workers)


if __name__ == "__main__":
    main()
