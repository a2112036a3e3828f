"""What a buyer of draws needs of a bank and a ledger, wherever they are kept.

`Calls` keeps them on disk, `MemoryCalls` for as long as the process lives. What each method promises is told there.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from apportion.store.calls import Attempt, Booking, Draw, Spender, Sums


class Books(Protocol):
    """The bank and the ledger of one run."""

    @property
    def books_ahead(self) -> bool:
        """Whether a booking takes a while, so that some calls are best booked before their turn to be sent."""
        ...

    def find(self, key: str, index: int) -> Draw | None:
        """The banked completion of a draw, None if it was never bought."""
        ...

    async def book(self, spender: Spender, model: str, key: str, request: str, index: int) -> Booking | Draw:
        """Enter the intent to buy a draw, without which nothing may be sent; or give what makes buying needless."""
        ...

    def record_attempt(self, call: int, n: int, attempt: Attempt, draw: Draw) -> None:
        """Enter a request that gave no usable reply and will be made again."""
        ...

    async def recorded(self) -> None:
        """Wait until what was entered is kept, without which no request may be made again."""
        ...

    async def finish(self, call: int, n: int, attempt: Attempt, draw: Draw) -> Draw:
        """Enter the attempt that ended a call, with its completion or its final failure; gives the draw that counts."""
        ...

    def abandon(self, call: int) -> None:
        """End a call that will not be pursued."""
        ...

    def hit(self, spender: Spender, key: str, index: int) -> None:
        """Enter the use of a completion that was already paid for."""
        ...

    def write_off(self, cost: Callable[[str, str], Attempt]) -> int:
        """Enter what was in flight when this run was cut short; gives the number of calls."""
        ...

    def ledger(self) -> dict[str, Sums]:
        """Sums by spender over this run."""
        ...

    def spent(self) -> tuple[int, int, float]:
        """Attempts sent, tokens and USD of this run so far."""
        ...

    def failures(self) -> list[tuple[str, str, str, int]]:
        """What went wrong most often in this run: model, kind, words, how often; three at most."""
        ...
