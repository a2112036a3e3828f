"""A chat-completions server on loopback that answers deterministically and fails on command.

Real sockets and a hand-written HTTP/1.1 keep-alive loop, so that it is faster than the clients it measures. It knows
what a request says (`apportion.testing.answers`) but nothing of workers, graphs or searches.

    python -m apportion.testing.server --port 0 --reply-ms 100 --fault 429 --first 1 --log billed.jsonl
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import hashlib
import json
import socket
import struct
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from apportion.testing.answers import EVENT_STREAM, FAULTS, Answer, Call, Json, completion, error

WORDS = ("alpha", "bravo", "delta", "echo", "golf", "hotel", "india", "kilo", "lima", "mike", "nine", "oscar", "papa")
REPLY_WORDS = 6
MAX_BODY_BYTES = 16 << 20


@dataclass(frozen=True, slots=True)
class FaultRule:
    """When a named fault is committed: on every request, unless narrowed.

    Attributes:
        name: a key of `FAULTS`.
        first: only on the first so many requests of each distinct body.
        every: only on every n-th request of all.
    """

    name: str
    first: int | None = None
    every: int | None = None

    def __post_init__(self) -> None:
        """Refuse unknown names at once, not in the middle of a test."""
        if self.name not in FAULTS:
            raise ValueError(f"a fault must be one of {', '.join(FAULTS)}; got {self.name!r}")

    def strikes(self, nth: int, nth_of_body: int) -> bool:
        """Whether the request is hit; both counts start at 1."""
        return (self.first is None or nth_of_body <= self.first) and (self.every is None or nth % self.every == 0)


def hashed_reply(body: Json) -> str:
    """Six words that depend on the model, the messages and the seed only."""
    identity = json.dumps([body.get("model"), body["messages"], body.get("seed")], sort_keys=True)
    digest = hashlib.sha256(identity.encode()).digest()
    return " ".join(WORDS[byte % len(WORDS)] for byte in digest[:REPLY_WORDS])


class MockServer:
    """The server, as an async context manager.

    Attributes:
        requests: requests received.
        billed: requests answered with a completion, broken or not: what a provider would charge for.
        completed: honest replies sent to the last byte.
        bodies: what was posted, kept only with `keep_bodies`.
    """

    def __init__(
        self,
        *,
        reply: Callable[[Json], str] = hashed_reply,
        reply_ms: float = 0.0,
        faults: Sequence[FaultRule] = (),
        keep_bodies: bool = False,
        log: Path | None = None,
        port: int = 0,
    ) -> None:
        """Configure the server; nothing is opened before `async with`.

        Args:
            reply: the honest text for a request's JSON.
            reply_ms: milliseconds from a request to the end of its reply; a stream's first part comes after half.
            faults: the first rule that strikes decides.
            keep_bodies: whether to keep every posted body.
            log: gets one JSON line per billed request (`sha256` of the body, `time` in epoch seconds), flushed
                before the reply starts.
            port: 0 takes a free one.
        """
        self.requests = 0
        self.billed = 0
        self.completed = 0
        self.bodies: list[Json] = []
        self._reply = reply
        self._reply_s = reply_ms / 1e3
        self._faults = tuple(faults)
        self._keep_bodies = keep_bodies
        self._log_path = log
        self._log: BinaryIO | None = None
        self._port = port
        self._seen: Counter[bytes] = Counter()
        self._connections: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    @property
    def url(self) -> str:
        """Base URL for clients, ends in /v1."""
        if self._server is None:
            raise RuntimeError("the mock server has no URL before it runs; use it in `async with`")
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/v1"

    @property
    def open_connections(self) -> int:
        """Connections that a client holds now."""
        return len(self._connections)

    async def __aenter__(self) -> Self:
        """Bind to loopback and start answering."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self._port, backlog=1024)
        if self._log_path is not None:
            self._log = self._log_path.open("ab", buffering=0)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Drop every connection and free the port."""
        assert self._server is not None
        self._server.close()
        for connection in self._connections:
            connection.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)
        await self._server.wait_closed()
        if self._log is not None:
            self._log.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection: requests one after another until either side ends it."""
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            while await self._exchange(reader, writer):
                pass
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # the client left, or does not speak HTTP: either way there is nobody to answer
        except asyncio.CancelledError:
            pass  # the server is closing; asyncio.streams would log the cancellation of its handler as an error
        finally:
            self._connections.discard(task)
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Read one request and answer it; False when the connection is over."""
        head = await reader.readuntil(b"\r\n\r\n")
        request_line, *lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        raw = await reader.readexactly(min(int(headers.get("content-length", "0")), MAX_BODY_BYTES))
        began = asyncio.get_running_loop().time()
        if not request_line.startswith("POST /v1/chat/completions "):
            answer, honest = error(404, f"only POST /v1/chat/completions is served, got {request_line!r}"), False
        else:
            answer, honest = self._answer(raw, headers.get("authorization", ""))
        await self._send(answer, writer, began)
        self.completed += honest
        if answer.ending == "hang":
            await reader.read()  # until the client gives up
        return answer.ending == "whole"

    def _answer(self, raw: bytes, authorization: str) -> tuple[Answer, bool]:
        """The answer to a posted body, and whether it is an honest one."""
        self.requests += 1
        body = json.loads(raw)
        if self._keep_bodies:
            self.bodies.append(body)
        digest = hashlib.sha256(raw).digest()
        self._seen[digest] += 1
        call = Call(body, authorization, self._reply(body))
        struck = next((rule for rule in self._faults if rule.strikes(self.requests, self._seen[digest])), None)
        answer = completion(call) if struck is None else FAULTS[struck.name](call)
        if answer.status == HTTPStatus.OK:
            self._bill(digest)
        return answer, struck is None

    def _bill(self, digest: bytes) -> None:
        self.billed += 1
        if self._log is not None:
            self._log.write(json.dumps({"sha256": digest.hex(), "time": time.time()}).encode() + b"\n")

    async def _send(self, answer: Answer, writer: asyncio.StreamWriter, began: float) -> None:
        """Write the answer, its last byte `reply_ms` after `began`."""
        streamed = answer.content_type == EVENT_STREAM
        pieces = answer.parts if streamed else (b"".join(answer.parts),)
        silent = answer.ending in ("reset", "hang") and not answer.parts
        for n, piece in enumerate(() if silent else pieces):
            await self._wait_until(began + self._reply_s * (1 + (n + 1) / len(pieces)) / 2)
            head = _head(answer, len(piece)) if n == 0 else b""
            writer.write(head + (b"%x\r\n%s\r\n" % (len(piece), piece) if streamed and piece else piece))
            await writer.drain()
        if streamed and answer.ending == "whole":
            writer.write(b"0\r\n\r\n")
        elif answer.ending == "reset":
            _reset_on_close(writer)

    async def _wait_until(self, moment: float) -> None:
        remaining = moment - asyncio.get_running_loop().time()
        if self._reply_s and remaining > 0:
            await asyncio.sleep(remaining)


def _head(answer: Answer, length: int) -> bytes:
    if answer.content_type == EVENT_STREAM:
        framing = "Transfer-Encoding: chunked"
    else:
        framing = f"Content-Length: {length + 100 * (answer.ending != 'whole')}"
    extra = "".join(f"{name}: {value}\r\n" for name, value in answer.headers)
    status = f"{answer.status} {HTTPStatus(answer.status).phrase}"
    return f"HTTP/1.1 {status}\r\nContent-Type: {answer.content_type}\r\n{framing}\r\n{extra}\r\n".encode()


def _reset_on_close(writer: asyncio.StreamWriter) -> None:
    """Make the coming close send RST: a linger time of zero seconds."""
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


async def _run(arguments: argparse.Namespace) -> None:
    rules = [FaultRule(arguments.fault, arguments.first, arguments.every)] if arguments.fault else []
    async with MockServer(reply_ms=arguments.reply_ms, faults=rules, log=arguments.log, port=arguments.port) as server:
        print(server.url, flush=True)
        await asyncio.get_running_loop().create_future()


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until interrupted; the first line printed is the URL."""
    parser = argparse.ArgumentParser(prog="python -m apportion.testing.server", description=__doc__.splitlines()[0])
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--reply-ms", type=float, default=0.0, help="milliseconds to the end of each reply")
    parser.add_argument("--fault", choices=FAULTS, help="fault to commit, on every request unless narrowed")
    parser.add_argument("--first", type=int, help="only on the first so many requests of each distinct body")
    parser.add_argument("--every", type=int, help="only on every n-th request")
    parser.add_argument("--log", type=Path, help="file that gets one JSON line per billed request")
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_run(parser.parse_args(argv)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
