"""A worker that answers from what was kept: nobody is asked, nothing is waited for.

It does not know where completions are kept, nor what they are wanted for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, Literal

from apportion.build import gives_logprobs
from apportion.envs.endpoint import Endpoint, canonical_sampling
from apportion.envs.worker import Reply, Request
from apportion.errors import WorkerError
from apportion.spec import TaskSpec
from apportion.store.calls import draw_key

TIMEOUT: Final = "timeout"
NOT_RECORDED: Final = "rejected"
"""How a ledger calls what was not recorded: a request that is refused, not billed, and not made again."""

NO_PAUSE_S: Final = 0.0
"""Before what has timed out is asked for again, until it stands: as often as when it was asked for."""

Kept = Reply | Literal["timeout"]
Find = Callable[[str, int], Kept | None]
"""From the key of a request and a sample index to the completion, or that it timed out; None where there is none."""


class RecordedWorker:
    """Gives the completions of one model; what is not there fails, is not billed and not tried again.

    Args:
        identity: of the model, as the keys have it.
        source: where the completions come from, for errors.
    """

    def __init__(self, identity: str, find: Find, source: str) -> None:
        self._identity = identity
        self._find = find
        self._source = source

    async def complete(self, request: Request) -> Reply:
        """Give the completion of the sample that the seed of the request stands for.

        Raises:
            WorkerError: it was not recorded, or there was none in time.
        """
        asked = [(message.role, message.content) for message in request.messages]
        key, _ = draw_key(self._identity, asked, canonical_sampling(request.sampling))
        assert request.seed is not None, "an endpoint of a recording has `seeds`"
        reply = self._find(key, request.seed - int(key[:7], 16))  # as `Prompt.request` makes seeds
        if reply is None:
            raise WorkerError(NOT_RECORDED, f"not recorded in {self._source}")
        if reply == TIMEOUT:
            raise WorkerError("timeout", f"timed out in {self._source}")
        return reply

    async def close(self) -> None:
        """Nothing to release."""


def endpoints_from(spec: TaskSpec, identities: Mapping[str, str], find: Find, source: str) -> dict[str, Endpoint]:
    """The models of a task, answered from what was kept: no key, no server and no model file are needed.

    Args:
        identities: of each model, as the keys have them.
        source: where the completions come from, for errors.
    """
    return {
        name: Endpoint(
            model.card(name),
            RecordedWorker(identities[name], find, source),
            name,
            identities[name],
            model.concurrency,
            seeds=True,
            logprobs=gives_logprobs(model),
        )
        for name, model in spec.models.items()
    }
