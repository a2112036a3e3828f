"""What the mock server says, right and wrong, as values: knows no sockets, clocks or counters.

An honest answer is `completion(call)`; a fault is a function from a `Call` to a wrong `Answer`, listed by name in
`FAULTS`. Each works for streamed and plain requests alike.
"""

from __future__ import annotations

import json
import math
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from email.utils import formatdate
from typing import Any, Literal

Json = dict[str, Any]
Ending = Literal["whole", "cut", "reset", "hang"]

EVENT_STREAM = "text/event-stream"
OVERSIZED_BYTES = 20 << 20


@dataclass(frozen=True, slots=True)
class Call:
    """One request as the server understood it.

    Attributes:
        body: the JSON that was posted.
        authorization: the header's value, empty when there was none.
        text: what an honest server replies.
    """

    body: Json
    authorization: str
    text: str


@dataclass(frozen=True, slots=True)
class Answer:
    """What goes back over the wire.

    Attributes:
        parts: the payload; a stream sends each part by itself, spread over the reply's time.
        ending: `whole` as announced; `cut` announces more than it sends, then closes; `reset` sends its parts and
            resets the connection; `hang` sends its parts and then nothing. The last two with no parts send not even
            a head.
    """

    parts: tuple[bytes, ...]
    status: int = 200
    content_type: str = "application/json"
    headers: tuple[tuple[str, str], ...] = ()
    ending: Ending = "whole"


def honest_usage(call: Call) -> Json:
    """Token counts in which a word is a token."""
    prompt = sum(len(str(message.get("content")).split()) for message in call.body["messages"])
    completion = len(call.text.split())
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}


def honest_logprobs(call: Call, words: list[Any]) -> Json | None:
    """What is reported of the words sent, if it was asked for: each has half the probability, its rivals the rest."""
    if not call.body.get("logprobs"):
        return None
    rivals = [(f" rival{n}", 0.5 / 2**n) for n in range(1, call.body["top_logprobs"])]
    return {"content": [_token(word, [(word, 0.5), *rivals]) for word in words if isinstance(word, str)]}


def _token(word: str, top: list[tuple[str, float]]) -> Json:
    entries = [{"token": token, "logprob": math.log(p), "bytes": [*token.encode()]} for token, p in top]
    return {**entries[0], "top_logprobs": entries}


def completion(call: Call, *, finish: str | None = "stop", **edits: Any) -> Answer:
    """The reply to `call`, streamed if it asked for that.

    Args:
        call: the request.
        finish: the finish reason.
        edits: `content` and `usage`, where they differ from the honest ones; `usage=None` leaves it out.
    """
    content = edits.get("content", call.text)
    usage = edits.get("usage", honest_usage(call))
    if call.body.get("stream"):
        return Answer(tuple(_events(call, content, finish, usage)), content_type=EVENT_STREAM)
    choice = {"index": 0, "message": {"role": "assistant", "content": content}, "finish_reason": finish}
    choice["logprobs"] = honest_logprobs(call, _words(content))
    return Answer((_envelope(call, "chat.completion", [choice], usage),))


def error(status: int, message: str = "the mock server was told to fail", **headers: str) -> Answer:
    """An error as OpenAI-compatible servers word it; `Retry_After="1"` becomes a header."""
    body = {"error": {"message": message, "type": "mock_fault", "code": status}}
    named = tuple((name.replace("_", "-"), value) for name, value in headers.items())
    return Answer((json.dumps(body).encode(),), status=status, headers=named)


def _envelope(call: Call, kind: str, choices: list[Json], usage: Any) -> bytes:
    payload: Json = {"id": "chatcmpl-mock", "object": kind, "created": 0, "model": call.body["model"]}
    payload["choices"] = choices
    if usage is not None:
        payload["usage"] = usage
    return json.dumps(payload).encode()


def _words(content: Any) -> list[Any]:
    """The words of a text, each but the first with the blank before it; anything else is one piece."""
    return re.findall(r"^[^ ]*| [^ ]*", content) if isinstance(content, str) else [content]


def _event(data: bytes) -> bytes:
    return b"data: " + data + b"\n\n"


def _events(call: Call, content: Any, finish: str | None, usage: Any) -> list[bytes]:
    """A word an event, then the finish reason, usage and end marker in one part, as servers send them."""
    deltas = [
        {"index": 0, "delta": {"role": "assistant", "content": piece}, "logprobs": honest_logprobs(call, [piece])}
        for piece in _words(content)
    ]
    last = {"index": 0, "delta": {}, "finish_reason": finish}
    kind = "chat.completion.chunk"
    end = _event(_envelope(call, kind, [last], None))
    if usage is not None:
        end += _event(_envelope(call, kind, [], usage))
    return [*(_event(_envelope(call, kind, [delta], None)) for delta in deltas), end + _event(b"[DONE]")]


def _without_marker(answer: Answer) -> Answer:
    *rest, last = answer.parts
    return replace(answer, parts=(*rest, last.removesuffix(_event(b"[DONE]"))))


def _half(answer: Answer) -> Answer:
    """The first half of the parts, the last of them torn inside its JSON."""
    kept = answer.parts[: max(1, len(answer.parts) // 2)]
    return replace(answer, parts=(*kept[:-1], kept[-1][: len(kept[-1]) // 2]))


def _plain(call: Call) -> Call:
    return replace(call, body={**call.body, "stream": False})


def _wrong_usage(prompt: Any, generated: Any) -> Callable[[Call], Answer]:
    usage = {"prompt_tokens": prompt, "completion_tokens": generated, "total_tokens": prompt}
    return lambda call: completion(call, usage=usage)


def _late_error(call: Call) -> Answer:
    """The first half of a stream, then an error object where an event should be."""
    sent = completion(call).parts
    failed = _event(error(500).parts[0]) + _event(b"[DONE]")
    return Answer((*sent[: len(sent) // 2], failed), content_type=EVENT_STREAM)


def _no_choices(call: Call) -> Answer:
    payload = _envelope(call, "chat.completion", [], honest_usage(call))
    if call.body.get("stream"):
        return Answer((_event(payload) + _event(b"[DONE]"),), content_type=EVENT_STREAM)
    return Answer((payload,))


HTML = b"<!doctype html><html><head><title>Sign in</title></head><body>Welcome to the airport Wi-Fi</body></html>"

FAULTS: dict[str, Callable[[Call], Answer]] = {
    # refused with a status
    "429": lambda call: error(429),
    "429_seconds": lambda call: error(429, Retry_After="1"),
    "429_date": lambda call: error(429, Retry_After=formatdate(time.time() + 30, usegmt=True)),
    "400": lambda call: error(400),
    "401_echo": lambda call: error(401, f"Incorrect API key provided: {call.authorization}"),
    "500": lambda call: error(500),
    "503": lambda call: error(503),
    "redirect": lambda call: Answer((), status=307, headers=(("Location", "/v1/chat/completions"),)),
    # broken transport
    "hang": lambda call: Answer((), ending="hang"),
    "stall": lambda call: replace(_half(completion(call)), ending="hang"),
    "reset": lambda call: Answer((), ending="reset"),
    "short_body": lambda call: replace(completion(_plain(call)), ending="cut"),
    # a 200 that is not a completion
    "html": lambda call: Answer((HTML,), content_type="text/html"),
    "truncated_json": lambda call: _half(completion(_plain(call))),
    "empty_body": lambda call: Answer(()),
    "no_choices": _no_choices,
    "content_object": lambda call: completion(call, content={"text": call.text}),
    "error_in_200": lambda call: replace(error(500), status=200),
    "error_in_stream": _late_error,
    "oversized": lambda call: completion(_plain(call), content="x" * OVERSIZED_BYTES),
    # a completion that is not what it seems
    "content_null": lambda call: completion(call, content=None),
    "content_empty": lambda call: completion(call, content=""),
    "length": lambda call: completion(call, finish="length"),
    "content_filter": lambda call: completion(call, finish="content_filter"),
    "finish_unknown": lambda call: completion(call, finish="abort"),
    # wrong counts
    "usage_missing": lambda call: completion(call, usage=None),
    "usage_negative": _wrong_usage(-5, -7),
    "usage_nan": _wrong_usage("nan", "nan"),
    "usage_float": _wrong_usage(12.5, 3.5),
    "usage_bool": _wrong_usage(True, True),
    "usage_zero": _wrong_usage(0, 0),
    "usage_absurd": _wrong_usage(10**12, 10**12),
    # a stream that stops early
    "cut_mid_event": lambda call: _half(completion(call)),
    "cut_connection": lambda call: replace(_half(completion(call)), ending="cut"),
    "no_done": lambda call: _without_marker(completion(call)) if call.body.get("stream") else _half(completion(call)),
    "no_finish_reason": lambda call: completion(call, finish=None),
}
"""Name -> handler of every fault the server can be told to commit."""
