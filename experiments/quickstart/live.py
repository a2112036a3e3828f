"""The allocator against TPE at equal spend with the models themselves, answering afresh in every search.

    python experiments/quickstart/live.py

As compare.py, but each search has endpoints of its own and no bank but its own; the models draw without seeds, so no
two searches see the same replies. What a search returns is still judged by the recording, on all 90 examples.
"""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

from compare import accuracy, calls, searched

import apportion
from apportion.build import benchmark_of, endpoints_of
from apportion.envs.dispatch import Dispatcher
from apportion.envs.limits import Allowance, Limits
from apportion.evaluators.costs import costs
from apportion.spec import LoadedSpec
from apportion.store.memory import Memory, MemoryCalls

SAMPLERS = ("allocator", "tpe")
SPEND = 50  # calls beside those of the baselines
SEEDS = range(3)
UNSEEDED = ("models.small.seeds=false", "models.large.seeds=false")


async def one(loaded: LoadedSpec, sampler: str, seed: int) -> tuple[float, int, str]:
    """True accuracy of what a search returns, the calls that it made, and the graph."""
    endpoints = endpoints_of(loaded.spec, loaded.path.parent)
    dispatcher = Dispatcher(MemoryCalls(Memory(), ""), endpoints, Allowance(Limits()))
    try:
        made = benchmark_of(loaded, dispatcher)
        made.costs = costs({name: endpoint.card for name, endpoint in endpoints.items()}, {})
        await searched(made, "random", 0, {"trials": 0})  # the baselines
        dispatcher.allowance = Allowance(Limits(calls=SPEND))
        graph = await searched(made, sampler, seed, {})
        return await accuracy(graph), calls(made), "; ".join(str(node) for node in graph.nodes)
    finally:
        await dispatcher.close()


async def main() -> None:
    """Print what each search returns."""
    loaded = apportion.load(Path(__file__).parent / "task.yaml", UNSEEDED).loaded
    print("| seed | sampler | accuracy | calls | seconds | graph |\n|---|---|---|---|---|---|")
    for seed in SEEDS:
        for sampler in SAMPLERS:
            started = time.monotonic()
            found, made, graph = await one(loaded, sampler, seed)
            print(
                f"| {seed} | {sampler} | {found:.3f} | {made} | {time.monotonic() - started:.0f} | {graph} |",
                flush=True,
            )


if __name__ == "__main__":
    asyncio.run(main())
