"""A worker for servers that speak OpenAI's chat-completions protocol: one attempt, over aiohttp.

It knows the wire and the key. Whether a reply can be believed is decided in `apportion.envs.reply_checks`; retries,
limits and the bank are the dispatcher's. It is the hot path of a search: one session, no pool limit, streamed bytes
parsed as they come.
"""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import replace
from typing import Any, Final

import aiohttp
from yarl import URL

from apportion.envs.reply_checks import EventStream, checked_reply, printable, read_completion, refusal
from apportion.envs.worker import Reply, Request
from apportion.errors import WorkerError

MAX_REPLY_BYTES: Final = 16 << 20
"""Far above any completion (a million tokens are some 4 MB of text), far below what would exhaust memory."""

KEEPALIVE_S: Final = 4.0
"""Idle connections are dropped before the server does (uvicorn, hence vLLM: 5 s), or a request would meet a reset."""


ENDS_SILENTLY: Final = "llama.cpp"
"""A server that ends the connection after a stream without announcing it: up to half of the requests that reused one
failed."""


class OpenAIWorker:
    """Answers requests with `POST {base_url}/chat/completions`."""

    def __init__(
        self, base_url: str, *, api_key: str | None = None, timeout_s: float = 60.0, stream: bool = True
    ) -> None:
        """Configure the worker; connections are opened by the first request, in its event loop.

        Args:
            base_url: usually ends in `/v1`.
            api_key: sent as a bearer token; shown in no message.
            timeout_s: seconds for a whole attempt, from connecting to the last byte.
            stream: whether to ask for a stream, which is what gives a time to first token.

        Raises:
            ValueError: the address or the key cannot be sent as it is.
        """
        self._url = _endpoint(base_url)
        self._key = _sendable(api_key)
        self._timeout_s = timeout_s
        self._options: dict[str, Any] = {"stream": stream}
        if stream:
            self._options["stream_options"] = {"include_usage": True}
        self._session: aiohttp.ClientSession | None = None

    async def complete(self, request: Request) -> Reply:
        """Make one attempt.

        Raises:
            WorkerError: the attempt gave no usable reply.
        """
        try:
            async with asyncio.timeout(self._timeout_s):
                return await self._attempt(request)
        except WorkerError as error:
            failure = error
        except TimeoutError:
            failure = WorkerError("timeout", f"a reply must end within {self._timeout_s:g} s; raise timeout_s or retry")
        except aiohttp.ClientResponseError as error:  # unreadable as HTTP; its repr holds the request's headers
            failure = WorkerError("bad_response", f"{self._url.authority} must speak HTTP: {error.message}")
        except aiohttp.ClientConnectorError as error:
            failure = WorkerError("unreachable", f"{self._url.authority} must be up, but: {error}; start it")
        except (aiohttp.ClientError, OSError) as error:
            failure = WorkerError("connection", f"no reply from {self._url.authority}: {error or type(error).__name__}")
        # Raised out here so that it carries no context: aiohttp's errors remember the request and so the key.
        raise WorkerError(
            failure.kind,
            printable(str(failure), self._key),
            status=failure.status,
            retry_after_s=failure.retry_after_s,
        )

    async def close(self) -> None:
        """Close every connection. May be called twice."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def _attempt(self, request: Request) -> Reply:
        session = self._session or self._open()
        began = time.perf_counter()
        async with session.post(self._url, data=self._body(request), allow_redirects=False) as response:
            connection = response.connection
            if response.headers.get("Server") == ENDS_SILENTLY and connection and connection.protocol:
                connection.protocol.force_close()  # so that it does not go back to the pool
            if response.status != 200:
                body = await _read(response)
                raise refusal(response.status, response.headers.get("Retry-After"), body, time.time())
            if response.headers.get("Content-Type", "").startswith("text/event-stream"):
                stream = EventStream()
                ttft_s = await _follow(response, stream, began)
                draft = stream.finish()
            else:
                draft, ttft_s = read_completion(await _read(response)), None
        reply = checked_reply(draft, request, ttft_s=ttft_s, latency_s=time.perf_counter() - began)
        if self._key is not None and any(self._key in text for text in (reply.text, *reply.first_token)):
            reply = replace(reply, text=reply.text.replace(self._key, "[key]"), first_token={})
        return reply

    def _open(self) -> aiohttp.ClientSession:
        headers = {"Content-Type": "application/json", "Accept-Encoding": "identity"}
        if self._key is not None:
            headers["Authorization"] = f"Bearer {self._key}"
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=KEEPALIVE_S),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers=headers,
            timeout=aiohttp.ClientTimeout(),  # none: `complete` keeps the only clock
        )
        return self._session

    def _body(self, request: Request) -> bytes:
        sampling = request.sampling
        body: dict[str, Any] = {
            "model": request.model,
            "messages": [{"role": message.role, "content": message.content} for message in request.messages],
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,  # even at 1: servers have defaults of their own for a model
            "max_tokens": sampling.max_tokens,
            **self._options,
        }
        if sampling.stop:
            body["stop"] = sampling.stop
        if sampling.top_logprobs:
            body["logprobs"], body["top_logprobs"] = True, sampling.top_logprobs
        if sampling.schema:  # llama.cpp and vLLM take it in OpenAI's form
            form = {"name": "reply", "strict": True, "schema": json.loads(sampling.schema)}
            body["response_format"] = {"type": "json_schema", "json_schema": form}
        if request.seed is not None:
            body["seed"] = request.seed
        return json.dumps(body).encode()


async def _follow(response: aiohttp.ClientResponse, stream: EventStream, began: float) -> float | None:
    """Feed the response to `stream`; seconds from `began` to the first text."""
    ttft_s, size, content = None, 0, response.content
    try:
        while received := await content.readany():
            size = _checked_size(size + len(received))
            stream.feed(received)
            if ttft_s is None and stream.texts:
                ttft_s = time.perf_counter() - began
    except (aiohttp.ClientError, OSError) as error:
        raise WorkerError("incomplete", f"a stream must end with [DONE], this one broke off: {error}") from None
    return ttft_s


async def _read(response: aiohttp.ClientResponse) -> bytes:
    received, size = [], 0
    while piece := await response.content.readany():
        size = _checked_size(size + len(piece))
        received.append(piece)
    return b"".join(received)


def _checked_size(size: int) -> int:
    if size > MAX_REPLY_BYTES:
        raise WorkerError("bad_response", f"a reply must stay below {MAX_REPLY_BYTES} bytes, this one goes on")
    return size


def _endpoint(base_url: str) -> URL:
    """The address that requests go to; user names in it would be a second key, shown in messages."""
    try:
        url = URL(base_url.rstrip("/") + "/chat/completions")
        sendable = url.scheme in ("http", "https") and url.host and url.port and url.user is None and not url.query
    except ValueError:
        sendable = False
    if not sendable:
        raise ValueError(
            "base_url must be http(s)://HOST[:PORT]/PATH without user name or query; e.g. http://localhost/v1"
        )
    return url


def _sendable(api_key: str | None) -> str | None:
    if api_key is not None and not (api_key.isascii() and api_key.isprintable() and " " not in api_key and api_key):
        raise ValueError("api_key must be visible ASCII without blanks or line ends; check the variable that holds it")
    return api_key
