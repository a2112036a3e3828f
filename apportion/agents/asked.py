"""The model that a task's agent asks."""

from __future__ import annotations

import asyncio

from apportion.agent.worker import WorkerAgent
from apportion.envs.dispatch import Dispatcher
from apportion.spec import TaskSpec


def model_of(spec: TaskSpec, dispatcher: Dispatcher) -> WorkerAgent | None:
    """Whoever answers for the model that a spec names, on the running event loop; None where code is to answer."""
    own = spec.search.agent
    if own.model is None:
        return None
    loop = asyncio.get_running_loop()
    return WorkerAgent(dispatcher, own.model, loop, temperature=own.temperature, max_tokens=own.max_tokens)
