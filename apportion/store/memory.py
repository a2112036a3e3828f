"""Bank and ledger in memory: the answers that `Calls` gives, for what need not outlive its process.

It knows no file, no thread and no SQL. A call is booked before it is sent here too, so whoever goes on with a run that
was cut short in this process knows what it had in flight.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from apportion.store.calls import BANKED, MOST_PURCHASES, SPENDERS, Attempt, Booking, Broken, Draw, Spender, Sums


@dataclass(eq=False, slots=True)
class Call:
    """The intent to buy one draw, and the requests that were sent for it; in flight until it has ended."""

    run: str
    spender: Spender
    model: str
    key: str
    index: int
    request: str
    attempts: tuple[Attempt, ...] = ()
    ended: bool = False


class Memory:
    """What a store file has of calls. For one thread.

    Attributes:
        results: the bank, by key and sample index.
        calls: by number, the first of which is 1.
        hits: uses of what was in the bank, by run and spender.
        broken: what was bought for nothing.
        booked: the last number that was given; that of a call that was struck is not given again.
    """

    def __init__(self) -> None:
        self.results: dict[tuple[str, int], Draw] = {}
        self.calls: dict[int, Call] = {}
        self.hits: Counter[tuple[str, Spender]] = Counter()
        self.broken = Broken()
        self.booked = 0


class MemoryCalls:
    """The bank and the ledger of one run, over a memory that several runs may share.

    Args:
        memory: what they share.
        run: identity of the run.
    """

    books_ahead = False

    def __init__(self, memory: Memory, run: str) -> None:
        self.run = run
        self._memory = memory

    def find(self, key: str, index: int) -> Draw | None:
        """The banked completion of a draw, None if it was never bought."""
        return self._memory.results.get((key, index))

    async def book(self, spender: Spender, model: str, key: str, request: str, index: int) -> Booking | Draw:
        """Enter the intent to buy a draw.

        Returns:
            The booking; or the completion itself where another run has bought it meanwhile, or a failed draw where it
            was bought too often for nothing.
        """
        memory = self._memory
        purchases = memory.broken.purchases(key, index)
        if purchases >= MOST_PURCHASES:
            return memory.broken.standing(key, index)
        banked = memory.results.get((key, index))
        if banked is not None:
            return banked
        memory.booked += 1
        memory.calls[memory.booked] = Call(self.run, spender, model, key, index, request)
        return Booking(memory.booked, purchases)

    def record_attempt(self, call: int, n: int, attempt: Attempt, draw: Draw) -> None:
        """Enter a request that gave no usable reply and will be made again; `n` are those before it."""
        entry = self._memory.calls[call]
        assert n == len(entry.attempts), f"attempt {n} of call {call} follows {len(entry.attempts)}"
        entry.attempts += (attempt,)
        self._memory.broken.note(draw.key, draw.index, attempt)

    async def recorded(self) -> None:
        """What is entered is kept at once."""

    async def finish(self, call: int, n: int, attempt: Attempt, draw: Draw) -> Draw:
        """Enter the attempt that ended a call, with its completion or its final failure.

        Returns:
            What counts: the draw, or the completion that another run has banked for it meanwhile.
        """
        self.record_attempt(call, n, attempt, draw)
        self._memory.calls[call].ended = True
        return self._memory.results.setdefault((draw.key, draw.index), draw) if draw.status in BANKED else draw

    def abandon(self, call: int) -> None:
        """End a call that will not be pursued: its last attempt is final; without one the booking is struck."""
        entry = self._memory.calls[call]
        entry.ended = True
        if not entry.attempts:
            del self._memory.calls[call]

    def hit(self, spender: Spender, key: str, index: int) -> None:
        """Enter the use of a completion that was already paid for."""
        self._memory.hits[self.run, spender] += 1

    def write_off(self, cost: Callable[[str, str], Attempt]) -> int:
        """Enter what was in flight when this run was cut short as possibly billed.

        Args:
            cost: from a model and the JSON of its request to the attempt that is entered for it.

        Returns:
            The number of calls that were in flight.
        """
        lost = [call for call in self._calls() if not call.ended]
        for call in lost:
            call.attempts += (cost(call.model, call.request),)
            call.ended = True
        return len(lost)

    def ledger(self) -> dict[str, Sums]:
        """Sums by spender over this run: calls fresh, banked and failed, tokens, FLOPs, USD, seconds.

        `usd` is None when a model without a known price was called.
        """
        return {spender: self._sums(spender) for spender in SPENDERS}

    def spent(self) -> tuple[int, int, float]:
        """Attempts sent, tokens and USD (unknown prices left out) of this run so far, all spenders together."""
        made = [attempt for call in self._calls() for attempt in call.attempts]
        return len(made), sum(a.prompt_tokens + a.completion_tokens for a in made), sum(a.usd or 0.0 for a in made)

    def failures(self) -> list[tuple[str, str, str, int]]:
        """What went wrong most often in this run: model, kind, the server's or our words, how often; three at most."""
        made = ((call.model, attempt) for call in self._calls() for attempt in call.attempts)
        gone = Counter((m, a.outcome, a.message or "") for m, a in made if a.billed != "yes" and a.outcome != "lost")
        ranked = sorted(gone.items(), key=lambda item: (-item[1], item[0][0]))
        return [(*what, times) for what, times in ranked[:3]]

    def _calls(self) -> Iterator[Call]:
        return (call for call in self._memory.calls.values() if call.run == self.run)

    def _sums(self, spender: Spender) -> Sums:
        calls = [call for call in self._calls() if call.spender == spender]
        made = [attempt for call in calls for attempt in call.attempts]
        fresh, lost = sum(a.outcome in BANKED for a in made), sum(a.outcome == "lost" for a in made)
        return {
            "calls_fresh": fresh,
            "calls_banked": self._memory.hits[self.run, spender],
            "calls_failed": sum(call.ended for call in calls) - fresh - lost,
            "calls_lost": lost,
            "attempts": len(made),
            "prompt_tokens": sum(a.prompt_tokens for a in made),
            "completion_tokens": sum(a.completion_tokens for a in made),
            "flops": sum(a.flops for a in made),
            "usd": None if any(a.usd is None for a in made) else sum(a.usd or 0.0 for a in made),
            "seconds": sum(a.seconds for a in made),
        }
