"""Draws, bought once: look in the bank, reserve, book, send, retry, record.

Everything between "I need sample 3 of this prompt from that model" and a completion that is on record. It knows
nothing of graphs or examples. Cancelling a caller does not cancel a purchase that others wait for.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import random
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from apportion.envs.limits import Allowance, Spend
from apportion.envs.worker import Message, Reply, Request, Sampling, Worker
from apportion.errors import WorkerError
from apportion.graphs.cost import ModelCard, call_flops, call_usd
from apportion.store.calls import (
    MOST_PURCHASES,
    Attempt,
    Billed,
    Booking,
    Calls,
    Draw,
    DrawStatus,
    Spender,
    draw_key,
)

ATTEMPTS = 5  # requests for one draw in one session: with the pauses below some five seconds of outage are ridden out
BACKOFF_S = 0.5  # first pause; doubles each time, with full jitter so that 64 callers do not come back as one
MOST_BACKOFF_S = 30.0
MOST_RETRY_AFTER_S = 120.0  # a server that asks for more is treated as down
TEMPLATE_TOKENS = 96  # a chat template and a short system prompt of the server's own; more is learnt from replies


@dataclass(frozen=True)
class Endpoint:
    """A model that can be called.

    Attributes:
        card: size and prices, for the ledger.
        worker: makes one attempt.
        served_name: the server's name for the model.
        identity: what makes two models the same for the bank, whatever the task calls them.
        concurrency: requests that the server works on at once.
        queue: further requests that the worker is handed, to choose from.
        seeds: whether the server takes a per-request seed.
        logprobs: whether the server gives log-probabilities.
    """

    card: ModelCard
    worker: Worker
    served_name: str
    identity: str
    concurrency: int
    seeds: bool = False
    queue: int = 0
    logprobs: bool = False
    slots: asyncio.Semaphore = field(init=False, repr=False, compare=False)
    booked: asyncio.Semaphore = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        # A quarter more calls may be booked than sent, so that a slot never waits for the disk.
        slots = self.concurrency + self.queue
        object.__setattr__(self, "slots", asyncio.Semaphore(slots))
        object.__setattr__(self, "booked", asyncio.Semaphore(slots + (slots + 3) // 4))


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
        calls: Calls,
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
        self._template_tokens = dict.fromkeys(endpoints, TEMPLATE_TOKENS)
        self._in_flight: dict[str, int] = dict.fromkeys(endpoints, 0)

    @property
    def in_flight(self) -> int:
        """Requests in flight over all endpoints."""
        return sum(self._in_flight.values())

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
        endpoint = self.endpoints[model]
        key, record = draw_key(
            endpoint.identity,
            [[message.role, message.content] for message in messages],
            [sampling.temperature, sampling.max_tokens, sampling.top_p, list(sampling.stop), *_logprobs(sampling)],
        )
        purchase = self._purchases.get((key, index))
        if purchase is None:
            banked = self.calls.find(key, index)
            if banked is not None:
                self.calls.hit(spender, key, index)
                return banked
            seed = int(key[:7], 16) + index if endpoint.seeds else None
            order = _Order(model, endpoint, Request(endpoint.served_name, messages, sampling, seed), key, record, index)
            purchase = _Purchase(order)
            self._purchases[key, index] = purchase
            purchase.task = asyncio.create_task(self._buy(purchase, spender))
            purchase.task.add_done_callback(lambda ended: self._forget(purchase))
            return await self._awaited(purchase)
        draw = await self._awaited(purchase)
        self.calls.hit(spender, key, index)
        return draw

    def write_off(self) -> int:
        """Book and charge what an earlier session of this run had in flight when it was killed.

        Only the process that holds the run's lock may call it, before anything is bought.

        Returns:
            The number of calls.
        """

        def cost(model: str, record: str) -> Attempt:
            _, messages, (temperature, max_tokens, top_p, stop, *logprobs) = json.loads(record)
            asked = tuple(Message(role, content) for role, content in messages)
            endpoint = self.endpoints[model]
            sampling = Sampling(temperature, max_tokens, top_p, tuple(stop), *logprobs)
            request = Request(endpoint.served_name, asked, sampling)
            return _Order(model, endpoint, request, "", record, 0).lost(0.0)

        lost = self.calls.write_off(cost)
        self.allowance.spent = Spend(*self.calls.spent())
        return lost

    async def close(self) -> None:
        """Cancel what is in flight and close the workers."""
        tasks = [purchase.task for purchase in self._purchases.values() if purchase.task]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for worker in {id(e.worker): e.worker for e in self.endpoints.values()}.values():
            await worker.close()

    async def _awaited(self, purchase: _Purchase) -> Draw:
        """The outcome of a purchase, which goes on without this caller as long as another wants it or it is sent."""
        assert purchase.task is not None
        purchase.waiters += 1
        try:
            return await asyncio.shield(purchase.task)
        finally:
            purchase.waiters -= 1
            if not purchase.waiters and not purchase.sent:
                self._forget(purchase)
                purchase.task.cancel()

    def _forget(self, purchase: _Purchase) -> None:
        order, task = purchase.order, purchase.task
        if self._purchases.get((order.key, order.index)) is purchase:
            del self._purchases[order.key, order.index]
        if task is not None and task.done() and not task.cancelled():
            task.exception()  # every waiter may be gone by now, and asyncio warns of errors that nobody reads

    async def _buy(self, purchase: _Purchase, spender: Spender) -> Draw:
        order = purchase.order
        async with order.endpoint.booked:
            most = order.most(self._template_tokens[order.model])
            await self.allowance.reserve(most)
            try:
                booking = await self.calls.book(spender, order.model, order.key, order.record, order.index)
            except BaseException:
                self.allowance.settle(most, Spend())
                raise
            if isinstance(booking, Draw):
                self.allowance.settle(most, Spend())
                self.calls.hit(spender, order.key, order.index)
                return booking
            try:
                async with order.endpoint.slots:
                    n, attempt, draw = await self._pursue(purchase, booking, most)
                return await self.calls.finish(booking.call, n, attempt, draw)
            except BaseException:
                self.calls.abandon(booking.call)
                raise

    async def _pursue(self, purchase: _Purchase, booking: Booking, most: Spend) -> tuple[int, Attempt, Draw]:
        """Send until there is a reply, or no more may be sent. `most` is reserved on entry.

        Returns:
            The last attempt, its number, and what it gave.
        """
        order, purchases = purchase.order, booking.purchases
        for n in itertools.count():
            purchase.sent = True
            error, draw, attempt = await self._send(order, booking.call, n, most)
            if error is not None:
                purchases += attempt.billed == "possibly"
                hopeful = error.retryable and (error.retry_after_s or 0.0) <= MOST_RETRY_AFTER_S
                if hopeful and purchase.waiters and purchases < MOST_PURCHASES and n + 1 < ATTEMPTS:
                    self.calls.record_attempt(booking.call, n, attempt, draw)
                    purchase.sent = False
                    await asyncio.sleep(min(self._pause_s(n, error.retry_after_s), self.allowance.remaining_s))
                    await self.allowance.reserve(most)
                    continue
                if purchases < MOST_PURCHASES:  # to be bought again by who asks next, so no timeout may stand for it
                    draw = replace(draw, status="failed")
            return n, attempt, draw
        raise AssertionError("unreachable: the count has no end")

    async def _send(self, order: _Order, call: int, n: int, most: Spend) -> tuple[WorkerError | None, Draw, Attempt]:
        """Make one request and settle what it cost."""
        self._in_flight[order.model] += 1
        in_flight = self._in_flight[order.model]
        started = time.perf_counter()
        error = None
        try:
            reply = await order.endpoint.worker.complete(order.request)
            draw, attempt = order.completed(reply, in_flight)
            beyond = reply.usage.prompt_tokens - text_bytes(order.request.messages)
            self._template_tokens[order.model] = max(beyond, self._template_tokens[order.model])
        except WorkerError as failure:
            error = failure
            draw, attempt = order.failed(failure, time.perf_counter() - started)
        except BaseException:
            # Cancelled in flight: the provider may have charged, so that is booked before we go.
            attempt = order.lost(time.perf_counter() - started)
            self.allowance.settle(most, _spend(attempt))
            self.calls.record_attempt(call, n, attempt, Draw(order.key, order.index, "failed"))
            raise
        finally:
            self._in_flight[order.model] -= 1
        self.allowance.settle(most, _spend(attempt))
        return error, draw, attempt

    def _pause_s(self, n: int, retry_after_s: float | None) -> float:
        """Seconds to wait after the attempt number `n`: what the server asks, else exponential with full jitter."""
        jittered = self._jitter.uniform(0.5, 1.0) * min(MOST_BACKOFF_S, self._backoff_s * 2.0**n)
        if retry_after_s is None:
            return jittered
        return retry_after_s + self._jitter.uniform(0.0, self._backoff_s)


@dataclass(frozen=True, slots=True)
class _Order:
    """One draw to buy, and the arithmetic of what it costs."""

    model: str
    endpoint: Endpoint
    request: Request
    key: str
    record: str
    index: int

    def most(self, template_tokens: int) -> Spend:
        """The most that one attempt can cost: a token is at least one byte, and the chat template adds its own."""
        prompt = text_bytes(self.request.messages) + template_tokens
        completion = self.request.sampling.max_tokens
        return Spend(1, prompt + completion, call_usd(self.endpoint.card, prompt, completion) or 0.0)

    def completed(self, reply: Reply, in_flight: int) -> tuple[Draw, Attempt]:
        """The draw and the ledger row of a reply."""
        usage, card = reply.usage, self.endpoint.card
        draw = Draw(
            self.key,
            self.index,
            reply.status,
            reply.text,
            reply.finish_reason,
            usage.prompt_tokens,
            usage.completion_tokens,
            usage.estimated,
            reply.ttft_s,
            reply.latency_s,
            in_flight,
            call_flops(card, usage.prompt_tokens, usage.completion_tokens),
            call_usd(card, usage.prompt_tokens, usage.completion_tokens),
            reply.first_token,
        )
        return draw, self._attempt(reply.status, "yes", usage.prompt_tokens, usage.completion_tokens, reply.latency_s)

    def failed(self, error: WorkerError, seconds: float) -> tuple[Draw, Attempt]:
        """The draw and the ledger row of an attempt without a reply; what may have been billed is charged in full."""
        attempt = self.lost(seconds) if error.possibly_billed else self._attempt(error.kind, "no", 0, 0, seconds)
        attempt = replace(attempt, outcome=error.kind, status=error.status, message=str(error)[:500])
        status: DrawStatus = "timeout" if error.kind == "timeout" else "failed"
        return Draw(self.key, self.index, status, finish_reason=error.kind), attempt

    def lost(self, seconds: float) -> Attempt:
        """The ledger row of a request of which nothing came back: charged as if every token was generated."""
        prompt = likely_prompt_tokens(self.request.messages)
        return self._attempt("lost", "possibly", prompt, self.request.sampling.max_tokens, seconds)

    def _attempt(self, outcome: str, billed: Billed, prompt: int, completion: int, seconds: float) -> Attempt:
        card = self.endpoint.card
        flops, usd = call_flops(card, prompt, completion), call_usd(card, prompt, completion)
        return Attempt(outcome, billed, prompt, completion, flops, usd, seconds)


@dataclass(eq=False, slots=True)
class _Purchase:
    """A draw that is being bought.

    Attributes:
        waiters: callers who want it.
        sent: whether a request is out, so that it is paid for whether or not anybody waits.
    """

    order: _Order
    task: asyncio.Task[Draw] | None = None
    waiters: int = 0
    sent: bool = False


def _logprobs(sampling: Sampling) -> tuple[int, ...]:
    """Left out where none are wanted, as in banks that are older than they."""
    return (sampling.top_logprobs,) if sampling.top_logprobs else ()


def text_bytes(messages: tuple[Message, ...]) -> int:
    """UTF-8 bytes of all messages."""
    return sum(len(message.content.encode()) for message in messages)


def likely_prompt_tokens(messages: tuple[Message, ...]) -> int:
    """An estimate of prompt tokens: four bytes a token, eight tokens a message for the chat template."""
    return sum(len(message.content.encode()) // 4 + 8 for message in messages)


def _spend(attempt: Attempt) -> Spend:
    return Spend(1, attempt.prompt_tokens + attempt.completion_tokens, attempt.usd or 0.0)
