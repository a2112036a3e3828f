"""What the search itself may spend, reserved before a call is sent so that concurrent calls cannot pass a cap.

It knows calls, tokens, USD and the clock, not models or graphs.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from apportion.errors import LimitReached

ROUNDING_USD = 1e-9  # ten dimes are a dollar, whatever their sum in floating point


class Spend(NamedTuple):
    """An amount in every currency that can be capped. Several are made for every request, hence a tuple.

    Attributes:
        calls: requests sent, retries included.
        tokens: prompt and completion tokens.
        usd: by list price.
    """

    calls: int = 0
    tokens: int = 0
    usd: float = 0.0

    def plus(self, other: Spend) -> Spend:
        """The sum."""
        return Spend(self.calls + other.calls, self.tokens + other.tokens, self.usd + other.usd)


NOTHING = Spend()


@dataclass(frozen=True, slots=True)
class Limits:
    """Caps on the spend of a run; None is no cap.

    Attributes:
        wall_s: seconds of running, over all sessions of the run.
    """

    usd: float | None = None
    calls: int | None = None
    tokens: float | None = None
    wall_s: float | None = None


class Allowance:
    """The one purse of a run. For one event loop.

    Args:
        limits: the caps.
        spent: what earlier sessions of the run have spent.
        elapsed_s: seconds that earlier sessions have run.
    """

    def __init__(self, limits: Limits, spent: Spend = NOTHING, elapsed_s: float = 0.0) -> None:
        self.limits = limits
        self.spent = spent
        self._calls, self._tokens, self._usd = 0, 0, 0.0  # reserved; no `Spend`, as they change with every request
        self._free = 1.0
        self._started = time.monotonic() - elapsed_s
        self._waiters: list[asyncio.Future[None]] = []

    @property
    def elapsed_s(self) -> float:
        """Seconds that the run has taken, earlier sessions included."""
        return time.monotonic() - self._started

    @property
    def remaining_s(self) -> float:
        """Seconds until the wall-clock limit; infinite without one."""
        return math.inf if self.limits.wall_s is None else max(0.0, self.limits.wall_s * self._free - self.elapsed_s)

    @property
    def caps(self) -> Mapping[str, float]:
        """The limits on USD, calls and tokens that there are, by name."""
        named = {"usd": self.limits.usd, "calls": self.limits.calls, "tokens": self.limits.tokens}
        return {name: cap for name, cap in named.items() if cap is not None}

    def hold(self, share: float) -> None:
        """Keep a share (0 to 1) of every cap back from what follows; `hold(0)` gives it free."""
        self._free = 1.0 - share

    async def reserve(self, most: Spend) -> Spend:
        """Set aside the most that one request can cost, waiting for others to settle where it does not fit yet.

        Returns:
            What was set aside, for `settle`.

        Raises:
            LimitReached: it does not fit and nothing in flight could make room.
        """
        while (limit := self._passed(most)) is not None:
            if limit == "wall_s" or not self._calls:
                raise LimitReached(limit, self._say(limit, most))
            waiter = asyncio.get_running_loop().create_future()
            self._waiters.append(waiter)
            await waiter
        self._calls += most.calls
        self._tokens += most.tokens
        self._usd += most.usd
        return most

    def settle(self, reserved: Spend, actual: Spend) -> None:
        """Replace a reservation by what the request cost."""
        self._calls -= reserved.calls
        self._tokens -= reserved.tokens
        self._usd = self._usd - reserved.usd if self._calls else 0.0  # no rounding is left reserved for ever
        self.spent = self.spent.plus(actual)
        if self._waiters:
            waiters, self._waiters = self._waiters, []
            for waiter in waiters:
                if not waiter.done():
                    waiter.set_result(None)

    def _passed(self, most: Spend) -> str | None:
        """The first cap that is passed with `most` added."""
        caps, free, spent = self.limits, self._free, self.spent
        if caps.calls is not None and spent.calls + self._calls + most.calls > caps.calls * free:
            return "calls"
        if caps.tokens is not None and spent.tokens + self._tokens + most.tokens > caps.tokens * free:
            return "tokens"
        if caps.usd is not None and spent.usd + self._usd + most.usd > caps.usd * free + ROUNDING_USD:
            return "usd"
        # Last: what is kept is kept of all caps, and where that is everything, it is another that asked for it.
        if caps.wall_s is not None and self.elapsed_s >= caps.wall_s * free:
            return "wall_s"
        return None

    def _say(self, limit: str, most: Spend) -> str:
        cap, kept = getattr(self.limits, limit), 1.0 - self._free
        spent = self.elapsed_s if limit == "wall_s" else getattr(self.spent, limit)
        needed = "" if limit == "wall_s" else f", and the next call may need {getattr(most, limit):g}"
        closing = f" with {kept:.0%} kept for validation and test" if kept else ""
        return f"`limits.{limit}` is {cap:g}{closing}: {spent:g} spent{needed}; raise it to go on."
