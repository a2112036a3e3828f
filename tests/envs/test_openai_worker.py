"""The HTTP worker against a real server that fails on command: nothing wrong passes for a good reply."""

from __future__ import annotations

import asyncio
import math
import time
import traceback
from dataclasses import dataclass, replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from apportion.envs.openai import OpenAIWorker
from apportion.envs.worker import Message, Reply, Request, Sampling
from apportion.errors import WorkerError
from apportion.testing.answers import FAULTS
from apportion.testing.server import FaultRule, MockServer, hashed_reply

KEY = "sk-canary-5f2c9d7e1b"
REQUEST = Request(
    "mock", (Message("system", "Be brief."), Message("user", "What is 2 + 2?")), Sampling(0.7, 64, stop=("#",)), seed=3
)


@dataclass(frozen=True)
class Got:
    """What a call ended as: a failure's kind, or a reply's status and whether its counts are estimates."""

    kind: str | None = None
    status: str | None = None
    estimated: bool = False


def failed(kind: str) -> tuple[Got, Got]:
    return Got(kind), Got(kind)


def flagged(status: str, *, estimated: bool = False) -> tuple[Got, Got]:
    return Got(status=status, estimated=estimated), Got(status=status, estimated=estimated)


EXPECTED: dict[str, tuple[Got, Got]] = {  # fault -> as a stream, in one piece
    "429": failed("rate_limited"),
    "429_seconds": failed("rate_limited"),
    "429_date": failed("rate_limited"),
    "400": failed("rejected"),
    "401_echo": failed("rejected"),
    "500": failed("server"),
    "503": failed("server"),
    "redirect": failed("rejected"),
    "hang": failed("timeout"),
    "stall": failed("timeout"),
    "reset": failed("connection"),
    "short_body": failed("connection"),
    "html": failed("bad_response"),
    "truncated_json": failed("bad_response"),
    "empty_body": failed("bad_response"),
    "no_choices": failed("bad_response"),
    "content_object": failed("bad_response"),
    "error_in_200": failed("server"),
    "error_in_stream": failed("server"),
    "oversized": failed("bad_response"),
    "content_null": flagged("refused"),
    "content_empty": flagged("refused"),
    "length": flagged("truncated"),
    "content_filter": flagged("refused"),
    "finish_unknown": failed("bad_response"),
    "usage_missing": flagged("ok", estimated=True),
    "usage_negative": flagged("ok", estimated=True),
    "usage_nan": flagged("ok", estimated=True),
    "usage_float": flagged("ok", estimated=True),
    "usage_bool": flagged("ok", estimated=True),
    "usage_zero": flagged("ok", estimated=True),
    "usage_absurd": flagged("ok", estimated=True),
    "cut_mid_event": (Got("incomplete"), Got("bad_response")),
    "cut_connection": (Got("incomplete"), Got("connection")),
    "no_done": (Got("incomplete"), Got("bad_response")),
    "no_finish_reason": failed("incomplete"),
}


async def attempt(url: str, **options: Any) -> Reply | WorkerError:
    worker = OpenAIWorker(url, api_key=KEY, **options)
    try:
        return await worker.complete(REQUEST)
    except WorkerError as error:
        return error
    finally:
        await worker.close()


def against(fault: str, *, stream: bool = True, timeout_s: float = 5.0) -> tuple[Reply | WorkerError, MockServer]:
    async def run() -> tuple[Reply | WorkerError, MockServer]:
        async with MockServer(faults=[FaultRule(fault)]) as server:
            return await attempt(server.url, stream=stream, timeout_s=timeout_s), server

    return asyncio.run(run())


def seen(outcome: Reply | WorkerError) -> Got:
    if isinstance(outcome, WorkerError):
        return Got(outcome.kind)
    return Got(status=outcome.status, estimated=outcome.usage.estimated)


def everything_shown(error: WorkerError) -> str:
    return "".join(traceback.format_exception(error, chain=True)) + repr(error) + repr(vars(error))


def test_every_fault_has_an_expectation_that_is_not_a_clean_success() -> None:
    assert EXPECTED.keys() == FAULTS.keys()
    assert Got(status="ok") not in {got for pair in EXPECTED.values() for got in pair}


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "plain"])
@pytest.mark.parametrize("fault", FAULTS)
def test_no_fault_passes_for_a_good_reply(fault: str, *, stream: bool) -> None:
    began = time.monotonic()
    outcome, server = against(fault, stream=stream, timeout_s=0.3 if fault in ("hang", "stall") else 5.0)
    assert seen(outcome) == EXPECTED[fault][0 if stream else 1]
    assert server.requests == 1, "one attempt, no hidden retry, no redirect followed"
    assert time.monotonic() - began < 3
    if isinstance(outcome, WorkerError):
        assert KEY not in everything_shown(outcome)
        assert outcome.__context__ is None
        assert str(outcome).isprintable() and len(str(outcome)) < 500


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "plain"])
def test_an_honest_reply(*, stream: bool) -> None:
    async def run() -> tuple[Reply | WorkerError, MockServer]:
        async with MockServer(reply_ms=200, keep_bodies=True) as server:
            return await attempt(server.url, stream=stream), server

    reply, server = asyncio.run(run())
    assert isinstance(reply, Reply)
    (body,) = server.bodies
    assert reply.text == hashed_reply(body)
    assert (reply.status, reply.finish_reason) == ("ok", "stop")
    assert (reply.usage.prompt_tokens, reply.usage.completion_tokens, reply.usage.estimated) == (7, 6, False)
    assert reply.latency_s >= 0.2
    assert (reply.ttft_s is not None and 0.1 <= reply.ttft_s < reply.latency_s - 0.05) == stream
    assert body.pop("stream", False) == stream
    assert body.pop("stream_options", None) == ({"include_usage": True} if stream else None)
    assert body == {
        "model": "mock",
        "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "What is 2 + 2?"}],
        "temperature": 0.7,
        "top_p": 1.0,
        "max_tokens": 64,
        "stop": ["#"],
        "seed": 3,
    }


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "plain"])
def test_log_probabilities_come_where_they_are_asked_for(*, stream: bool) -> None:
    asked = replace(REQUEST, sampling=Sampling(0.0, 4, top_logprobs=3))

    async def run(request: Request) -> tuple[Reply, dict[str, Any]]:
        async with MockServer(reply=lambda _: "yes it is", keep_bodies=True) as server:
            worker = OpenAIWorker(server.url, stream=stream)
            try:
                return await worker.complete(request), server.bodies[0]
            finally:
                await worker.close()

    reply, body = asyncio.run(run(asked))
    assert (body["logprobs"], body["top_logprobs"]) == (True, 3)
    assert reply.first_token == pytest.approx(
        {"yes": math.log(0.5), " rival1": math.log(0.25), " rival2": math.log(0.125)}
    )
    reply, body = asyncio.run(run(REQUEST))
    assert reply.first_token == {} and not {"logprobs", "top_logprobs"} & set(body)


def test_a_key_among_the_first_tokens_is_not_kept() -> None:
    async def run() -> Reply:
        async with MockServer(reply=lambda _: f"{KEY} is yours") as server:
            worker = OpenAIWorker(server.url, api_key=KEY)
            try:
                return await worker.complete(replace(REQUEST, sampling=Sampling(0.0, 4, top_logprobs=3)))
            finally:
                await worker.close()

    reply = asyncio.run(run())
    assert (reply.text, reply.first_token) == ("[key] is yours", {})


def test_the_first_token_is_the_first_text() -> None:
    """An event without text, as many servers open with, is not a token."""

    async def run() -> Reply | WorkerError:
        async with MockServer(reply=lambda _: " late", reply_ms=300) as server:  # pieces "" at 200 ms, " late" at 250
            return await attempt(server.url)

    reply = asyncio.run(run())
    assert isinstance(reply, Reply) and reply.ttft_s is not None
    assert reply.text == " late"
    assert 0.25 <= reply.ttft_s < reply.latency_s


def test_retry_after_is_kept() -> None:
    seconds, _ = against("429_seconds")
    date, _ = against("429_date")
    assert isinstance(seconds, WorkerError) and seconds.retry_after_s == 1 and seconds.status == 429
    assert isinstance(date, WorkerError) and date.retry_after_s is not None and 20 < date.retry_after_s <= 31


def test_an_echoed_key_is_redacted_and_the_rest_is_kept() -> None:
    error, _ = against("401_echo")
    assert str(error) == "HTTP 401: Incorrect API key provided: Bearer [key]"


def test_a_refused_connection() -> None:
    async def run() -> Reply | WorkerError:
        async with MockServer() as server:
            url = server.url
        return await attempt(url)

    assert seen(asyncio.run(run())) == Got("unreachable")


def test_the_deadline_is_for_the_whole_attempt() -> None:
    """Pieces that keep coming do not extend it."""

    async def run() -> tuple[Reply | WorkerError, float]:
        async with MockServer(reply=lambda _: "word " * 99 + "end", reply_ms=1200) as server:
            began = time.monotonic()
            return await attempt(server.url, timeout_s=0.8), time.monotonic() - began

    outcome, took = asyncio.run(run())
    assert seen(outcome) == Got("timeout")
    assert 0.7 < took < 1.15


def test_cancelling_closes_the_connection() -> None:
    async def run() -> None:
        async with MockServer(faults=[FaultRule("stall")]) as server:
            worker = OpenAIWorker(server.url)
            call = asyncio.create_task(worker.complete(REQUEST))
            while not server.requests:
                await asyncio.sleep(0.01)
            await asyncio.sleep(0.05)
            assert server.open_connections == 1
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call
            await asyncio.sleep(0.1)
            assert server.open_connections == 0
            await worker.close()

    asyncio.run(run())


def test_connections_are_reused_and_not_limited() -> None:
    async def run() -> None:
        async with MockServer(reply_ms=100) as server:
            worker = OpenAIWorker(server.url)
            for _ in range(2):
                await asyncio.gather(*(worker.complete(REQUEST) for _ in range(128)))
                assert server.open_connections == 128
            await worker.close()

    asyncio.run(run())


def test_closed_twice_then_used_in_another_loop() -> None:
    worker = OpenAIWorker("http://127.0.0.1:1/v1")

    async def run() -> None:
        with pytest.raises(WorkerError):
            await worker.complete(REQUEST)
        await worker.close()
        await worker.close()

    asyncio.run(run())
    asyncio.run(run())


@pytest.mark.parametrize(
    "url",
    ["", "localhost:8000/v1", "ftp://host/v1", "http://", "http://me:pw@host/v1", "http://host/v1?key=1", "http://h:x"],
)
def test_an_address_that_cannot_be_used_is_refused_at_once(url: str) -> None:
    with pytest.raises(ValueError, match="base_url must be"):
        OpenAIWorker(url)


@pytest.mark.parametrize("key", ["", "sk-line\n", "sk two", "sk-ü"])
def test_a_key_that_cannot_be_sent_is_refused_without_being_shown(key: str) -> None:
    with pytest.raises(ValueError, match="api_key must be") as caught:
        OpenAIWorker("http://localhost/v1", api_key=key)
    assert not key or key.strip() not in str(caught.value)


HEADS = st.sampled_from(
    [
        b"",
        b"HTTP/1.1 200 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n",
        b"HTTP/1.1 204 No Content\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
        b"HTTP/1.1 999 ?\r\nRetry-After: soon\r\n\r\n",
        b"HTTP/1.1 302 Found\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 10, 11\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nSet-Cookie: ;;=\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.6\r\n",
    ]
)


def against_bytes(sent: bytes) -> Reply | WorkerError:
    """A call to a server that reads one request, sends `sent` and closes."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(sent)
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    async def run() -> Reply | WorkerError:
        async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
            return await attempt(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1", timeout_s=2)

    return asyncio.run(run())


def test_what_is_not_http_is_a_bad_response() -> None:
    outcome = against_bytes(b"SSH-2.0-OpenSSH_9.6\r\n")
    assert seen(outcome) == Got("bad_response")
    assert "must speak HTTP" in str(outcome)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(HEADS, st.binary(max_size=200))
def test_whatever_comes_over_the_wire_is_a_worker_error(head: bytes, rest: bytes) -> None:
    outcome = against_bytes(head + rest)
    assert isinstance(outcome, WorkerError)
    assert KEY not in everything_shown(outcome)
