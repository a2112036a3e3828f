"""Waiting in a sampler's thread for what the event loop of the search does.

A search asks its sampler in a thread; draws are made on the event loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from concurrent.futures import CancelledError
from typing import Any, TypeVar

CHECK_S = 1.0
"""Seconds after which a waiting thread looks whether the event loop still runs."""

Made = TypeVar("Made")


def on_loop(work: Coroutine[Any, Any, Made], loop: asyncio.AbstractEventLoop) -> Made:
    """What comes of the work on an event loop that runs in another thread.

    Raises:
        CancelledError: the loop has stopped, as where the search was.
    """
    doing = asyncio.run_coroutine_threadsafe(work, loop)
    while True:
        try:
            return doing.result(CHECK_S)
        except TimeoutError:
            if doing.done():  # the work itself raised it
                raise
            if not loop.is_running():
                doing.cancel()
                raise CancelledError from None
