"""Draws, bought once: look in the bank, reserve, book, send, retry, record.

Everything between "I need sample 3 of this prompt from that model" and a completion that is on record. It knows
nothing of graphs or examples. Purchases wait in line for a few buyers, tasks that go from one to the next; so
cancelling a caller does not cancel a purchase that others wait for.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import random
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from apportion.envs.endpoint import Endpoint, Prompt, canonical_sampling
from apportion.envs.limits import NOTHING, Allowance, Spend
from apportion.envs.worker import Message, Sampling
from apportion.errors import WorkerError
from apportion.store.books import Books
from apportion.store.calls import MOST_PURCHASES, Attempt, Booking, Draw, Spender, draw_key

ATTEMPTS = 5  # requests for one draw in one session: with the pauses below some five seconds of outage are ridden out
BACKOFF_S = 0.5  # first pause; doubles each time, with full jitter so that 64 callers do not come back as one
MOST_BACKOFF_S = 30.0
MOST_RETRY_AFTER_S = 120.0  # a server that asks for more is treated as down
TEMPLATE_TOKENS = 96  # a chat template and a short system prompt of the server's own; more is learnt from replies


class Dispatcher:
    """Gives draws, from the bank or from a server.

    Args:
        calls: bank and ledger.
        endpoints: by model name.
        allowance: the purse of the run.
        backoff_s: first pause before a retry, in seconds.
    """

    def __init__(
        self,
        calls: Books,
        endpoints: Mapping[str, Endpoint],
        allowance: Allowance,
        backoff_s: float = BACKOFF_S,
    ) -> None:
        self.calls = calls
        self.endpoints = endpoints
        self.allowance = allowance
        self._backoff_s = backoff_s
        self._jitter = random.Random()  # pauses only: no result depends on it
        self._purchases: dict[tuple[str, int], _Purchase] = {}
        self._lines = {model: _line(endpoint, calls.books_ahead) for model, endpoint in endpoints.items()}
        self._last: Prompt | None = None

    @property
    def in_flight(self) -> int:
        """Requests in flight over all endpoints."""
        return sum(line.in_flight for line in self._lines.values())

    async def draw(
        self, model: str, messages: tuple[Message, ...], sampling: Sampling, index: int, spender: Spender
    ) -> Draw:
        """One completion of a prompt by a model.

        Args:
            index: which of the independent samples; each is bought once and kept for ever.

        Raises:
            LimitReached: it is not in the bank and may not be bought.
            StoreError: the store cannot be written.
        """
        prompt = self._prompt(model, messages, sampling)
        purchase = self._purchases.get((prompt.key, index))
        fresh = purchase is None
        if purchase is None:
            banked = self.calls.find(prompt.key, index)
            if banked is not None:
                self.calls.hit(spender, prompt.key, index)
                return banked
            purchase = self._order(prompt, index, spender)
        waiter: asyncio.Future[Draw] = asyncio.get_running_loop().create_future()
        purchase.waiters.append(waiter)
        try:
            draw = await waiter
        finally:
            self._leave(purchase, waiter)
        if not fresh:
            self.calls.hit(spender, prompt.key, index)
        return draw

    def write_off(self) -> int:
        """Book and charge what an earlier session of this run had in flight when it was killed.

        Only the process that holds the run's lock may call it, before anything is bought.

        Returns:
            The number of calls.
        """

        def cost(model: str, record: str) -> Attempt:
            _, messages, (temperature, max_tokens, top_p, stop, *later) = json.loads(record)
            asked = tuple(Message(role, content) for role, content in messages)
            sampling = Sampling(temperature, max_tokens, top_p, tuple(stop), *later)
            return Prompt(model, self.endpoints[model], asked, sampling, "", "", record).lost(0.0)

        lost = self.calls.write_off(cost)
        self.allowance.spent = Spend(*self.calls.spent())
        return lost

    async def close(self) -> None:
        """Cancel what is in flight and close the workers."""
        purchases = list(self._purchases.values())
        buyers = [buyer for line in self._lines.values() for buyer in line.buyers]
        for line in self._lines.values():
            line.waiting.clear()
        for buyer in buyers:
            buyer.cancel()
        await asyncio.gather(*buyers, return_exceptions=True)
        for purchase in purchases:
            purchase.cancel()
        for worker in {id(e.worker): e.worker for e in self.endpoints.values()}.values():
            await worker.close()

    def _prompt(self, model: str, messages: tuple[Message, ...], sampling: Sampling) -> Prompt:
        """What is asked, with its key. A node's samples come one after another, hence the last one is remembered."""
        last = self._last
        same_way = last is not None and last.sampling is sampling
        if last is not None and same_way and last.messages is messages and last.model == model:
            return last
        endpoint = self.endpoints[model]
        how = last.how if last is not None and same_way else canonical_sampling(sampling)
        key, record = draw_key(endpoint.identity, [(message.role, message.content) for message in messages], how)
        self._last = Prompt(model, endpoint, messages, sampling, how, key, record)
        return self._last

    def _order(self, prompt: Prompt, index: int, spender: Spender) -> _Purchase:
        """Put a purchase in line."""
        purchase = self._purchases[prompt.key, index] = _Purchase(prompt, index, spender)
        line = self._lines[prompt.model]
        line.waiting.append(purchase)
        if not line.buyers:
            line.open()
        if len(line.buyers) < line.most_buyers:
            buyer = asyncio.create_task(self._serve(line))
            line.buyers.add(buyer)
            buyer.add_done_callback(line.buyers.discard)  # one that is cancelled before its first step does not itself
        return purchase

    def _leave(self, purchase: _Purchase, waiter: asyncio.Future[Draw]) -> None:
        """Let a caller go. The purchase goes on without him as long as another wants it or it is sent."""
        purchase.waiters.remove(waiter)
        if not purchase.waiters and not purchase.sent:
            self._forget(purchase)
            purchase.drop()

    def _forget(self, purchase: _Purchase) -> None:
        place = purchase.prompt.key, purchase.index
        if self._purchases.get(place) is purchase:
            del self._purchases[place]

    async def _serve(self, line: _Line) -> None:
        """Be a buyer: make purchases until none is left in line."""
        me = asyncio.current_task()
        assert me is not None
        try:
            while line.waiting:
                purchase = line.waiting.popleft()
                if not purchase.waiters:
                    continue  # all who wanted it have left
                purchase.buyer = me
                try:
                    purchase.give(await self._buy(purchase, line))
                except asyncio.CancelledError:
                    purchase.cancel()
                    if me.cancelling() > purchase.dropped:
                        raise
                except Exception as error:  # noqa: BLE001 - handed to those who wait for it
                    purchase.fail(error)
                finally:
                    purchase.buyer = None
                    self._forget(purchase)
                    if purchase.dropped:
                        me.uncancel()  # that was about this purchase, however it ended, and not about the next
        finally:
            line.buyers.discard(me)  # at once: who orders next must not count on it

    async def _buy(self, purchase: _Purchase, line: _Line) -> Draw:
        prompt, index = purchase.prompt, purchase.index
        purchase.reserved = await self.allowance.reserve(prompt.most(line.template_tokens))
        try:
            booking = await self.calls.book(purchase.spender, prompt.model, prompt.key, prompt.record, index)
            if isinstance(booking, Draw):
                self.calls.hit(purchase.spender, prompt.key, index)
                return booking
            return await self._send(purchase, line, booking)
        finally:
            if purchase.reserved is not None:  # nothing was sent
                self._settle(purchase, NOTHING)

    async def _send(self, purchase: _Purchase, line: _Line, booking: Booking) -> Draw:
        """Send what is booked, and enter how it ended."""
        try:
            n, attempt, draw = await self._pursue(purchase, line, booking)
            return await self.calls.finish(booking.call, n, attempt, draw)
        except BaseException:
            self.calls.abandon(booking.call)
            raise

    async def _pursue(self, purchase: _Purchase, line: _Line, booking: Booking) -> tuple[int, Attempt, Draw]:
        """Send until there is a reply, or no more may be sent. The first request is paid for on entry.

        Returns:
            The last attempt, its number, and what it gave.
        """
        purchases = booking.purchases
        for n in itertools.count():
            if line.slots is None:
                error, draw, attempt = await self._attempt(purchase, line, booking.call, n)
            else:  # for one request: who holds a slot while he waits for room may wait for one who waits for a slot
                async with line.slots:
                    error, draw, attempt = await self._attempt(purchase, line, booking.call, n)
            if error is not None:
                purchases += attempt.billed == "possibly"
                hopeful = error.retryable and (error.retry_after_s or 0.0) <= MOST_RETRY_AFTER_S
                if hopeful and purchase.waiters and purchases < MOST_PURCHASES and n + 1 < ATTEMPTS:
                    self.calls.record_attempt(booking.call, n, attempt, draw)
                    purchase.sent = False
                    await asyncio.sleep(min(self._pause_s(n, error.retry_after_s), self.allowance.remaining_s))
                    await self.calls.recorded()  # or a kill in the next request would forget this one
                    purchase.reserved = await self.allowance.reserve(purchase.prompt.most(line.template_tokens))
                    continue
                if not purchase.waiters:
                    self._forget(purchase)  # given up early: who asks from now on gets every attempt
                if purchases < MOST_PURCHASES:  # to be bought again by who asks next, so no timeout may stand for it
                    draw = replace(draw, status="failed")
            return n, attempt, draw
        raise AssertionError("unreachable: the count has no end")

    async def _attempt(
        self, purchase: _Purchase, line: _Line, call: int, n: int
    ) -> tuple[WorkerError | None, Draw, Attempt]:
        """Make one request and settle what it cost."""
        prompt, index = purchase.prompt, purchase.index
        purchase.sent = True
        line.in_flight += 1
        in_flight = line.in_flight
        started = time.perf_counter()
        error = None
        try:
            reply = await prompt.endpoint.worker.complete(prompt.request(index))
            draw, attempt = prompt.completed(index, reply, in_flight)
            beyond = reply.usage.prompt_tokens - prompt.bytes
            if beyond > line.template_tokens:
                line.template_tokens = beyond
        except WorkerError as failure:
            error = failure
            draw, attempt = prompt.failed(index, failure, time.perf_counter() - started)
        except BaseException:
            # Cancelled in flight: the provider may have charged, so that is booked before we go.
            attempt = prompt.lost(time.perf_counter() - started)
            self._settle(purchase, _spend(attempt))
            self.calls.record_attempt(call, n, attempt, Draw(prompt.key, index, "failed"))
            raise
        finally:
            line.in_flight -= 1
        self._settle(purchase, _spend(attempt))
        return error, draw, attempt

    def _settle(self, purchase: _Purchase, actual: Spend) -> None:
        """Replace what is reserved for a purchase by what it cost."""
        assert purchase.reserved is not None
        self.allowance.settle(purchase.reserved, actual)
        purchase.reserved = None

    def _pause_s(self, n: int, retry_after_s: float | None) -> float:
        """Seconds to wait after the attempt number `n`: what the server asks, else exponential with full jitter."""
        jittered = self._jitter.uniform(0.5, 1.0) * min(MOST_BACKOFF_S, self._backoff_s * 2.0**n)
        if retry_after_s is None:
            return jittered
        return retry_after_s + self._jitter.uniform(0.0, self._backoff_s)


@dataclass(eq=False, slots=True)
class _Purchase:
    """A draw that is to be bought or is being bought.

    Attributes:
        waiters: of the callers who want it.
        buyer: who buys it; None while it is in line and when it has ended.
        reserved: what is set aside for the next request.
        sent: whether a request is out, so that it is paid for whether or not anybody waits.
        dropped: whether nobody wanted it any more before it was sent.
    """

    prompt: Prompt
    index: int
    spender: Spender
    waiters: list[asyncio.Future[Draw]] = field(default_factory=list)
    buyer: asyncio.Task[None] | None = None
    reserved: Spend | None = None
    sent: bool = False
    dropped: bool = False

    def give(self, draw: Draw) -> None:
        """Tell all who wait what it gave."""
        for waiter in self.waiters:
            if not waiter.done():
                waiter.set_result(draw)

    def fail(self, error: Exception) -> None:
        """Tell all who wait that it failed."""
        for waiter in self.waiters:
            if not waiter.done():
                waiter.set_exception(error)

    def cancel(self) -> None:
        """Tell all who wait that it will not be made."""
        for waiter in self.waiters:
            waiter.cancel()

    def drop(self) -> None:
        """Stop buying it, if it is being bought."""
        if self.buyer is not None:
            self.dropped = True
            self.buyer.cancel()


@dataclass(eq=False, slots=True)
class _Line:
    """The purchases from one model that no buyer has taken up, first come first served, and the buyers.

    Attributes:
        most_sent: requests that may be out at once.
        slots: held by whoever sends; None where there are no more buyers than slots.
        in_flight: requests that are sent and not answered.
        template_tokens: the most that the server was seen to add to a prompt.
    """

    most_buyers: int
    most_sent: int
    slots: asyncio.Semaphore | None = None
    waiting: deque[_Purchase] = field(default_factory=deque)
    buyers: set[asyncio.Task[None]] = field(default_factory=set)
    in_flight: int = 0
    template_tokens: int = TEMPLATE_TOKENS

    def open(self) -> None:
        """Make the slots for the first buyer. Nobody holds one then, and those of another event loop would not do."""
        if self.most_sent < self.most_buyers:
            self.slots = asyncio.Semaphore(self.most_sent)


def _line(endpoint: Endpoint, books_ahead: bool) -> _Line:  # noqa: FBT001 - a fact of the books
    """Some more calls may be booked than are sent, so that a slot never waits for the disk."""
    slots = endpoint.concurrency + endpoint.queue
    return _Line(slots + (slots + 3) // 4 if books_ahead else slots, slots)


def _spend(attempt: Attempt) -> Spend:
    return Spend(1, attempt.prompt_tokens + attempt.completion_tokens, attempt.usd or 0.0)
