"""Workers that answer without a server: one computes its reply from the request, one reads from a script.

They know nothing of HTTP; a fake depends on the request only, so any order and any number of calls agree.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

from apportion.envs.worker import Reply, Request, Usage
from apportion.errors import WorkerError


class FakeWorker:
    """Answers `reply(request)` after `latency_s`; a word is a token, and the first is certain.

    Attributes:
        requests: every request, in the order of arrival.
    """

    def __init__(self, reply: Callable[[Request], str], latency_s: float = 0.0) -> None:
        """Take the text of a reply as a function of its request, and the seconds that each takes."""
        self.requests: list[Request] = []
        self._reply = reply
        self._latency_s = latency_s

    async def complete(self, request: Request) -> Reply:
        """Answer; the time reported is the configured one, not a measured one."""
        self.requests.append(request)
        await asyncio.sleep(self._latency_s)
        text = self._reply(request)
        prompt_tokens = sum(len(message.content.split()) for message in request.messages)
        first = {word: 0.0 for word in text.split()[:1] if request.sampling.top_logprobs}
        return Reply(text, "ok", "stop", Usage(prompt_tokens, len(text.split())), None, self._latency_s, first)

    async def close(self) -> None:
        """Nothing to release."""


class ScriptedWorker:
    """Plays a list of outcomes, one a call, whatever is asked.

    Attributes:
        requests: every request, in the order of arrival.
    """

    def __init__(self, script: Iterable[Reply | WorkerError]) -> None:
        """Take the outcomes; a `WorkerError` is raised, a `Reply` returned."""
        self.requests: list[Request] = []
        self._script = list(script)

    async def complete(self, request: Request) -> Reply:
        """Play the next outcome.

        Raises:
            WorkerError: the script says so.
            AssertionError: more calls than the script has outcomes.
        """
        self.requests.append(request)
        await asyncio.sleep(0)
        if len(self.requests) > len(self._script):
            raise AssertionError(f"the script has {len(self._script)} outcomes, got one more call: {request}")
        outcome = self._script[len(self.requests) - 1]
        if isinstance(outcome, WorkerError):
            raise outcome
        return outcome

    async def close(self) -> None:
        """Nothing to release."""
