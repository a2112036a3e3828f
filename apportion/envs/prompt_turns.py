"""Who may use a local server's slot next: samples of one prompt, one after another, in one slot.

Four samples of a prompt sent at once make llama.cpp encode the prompt in four slots; sent one after another they find
it encoded. It knows nothing of servers: only of prompts and of how many slots there are.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager


class PromptTurns:
    """Lets `slots` prompts run at a time, and each prompt's requests one at a time.

    A prompt keeps its slot while requests for it wait, so the price of a long queue for one prompt is that other
    slots may idle; a search always has more prompts than slots.
    """

    def __init__(self, slots: int) -> None:
        self._free = asyncio.Semaphore(slots)
        self._prompts: dict[Hashable, _Prompt] = {}

    @asynccontextmanager
    async def turn(self, prompt: Hashable) -> AsyncIterator[None]:
        """Wait for the turn of one request for `prompt`, and hold it inside the `async with`."""
        mine = self._prompts.setdefault(prompt, _Prompt())
        mine.requests += 1
        try:
            async with mine.lock:
                if not mine.has_slot:
                    await self._free.acquire()
                    mine.has_slot = True
                yield
        finally:
            mine.requests -= 1
            if not mine.requests:
                del self._prompts[prompt]
                if mine.has_slot:
                    self._free.release()


class _Prompt:
    """The requests for one prompt: how many there are, and whether one of them was given a slot."""

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.requests = 0
        self.has_slot = False
