"""Checks what a chat-completions server sent and turns it into a `Reply`.

Pure functions from bytes to values: they know no sockets, keys or retries. Whatever the bytes are, the outcome is a
`Reply` or a `WorkerError`. What was seen and is guarded against: an HTML page as a 200, a stream cut in mid-air taken
for a finished one, no content, no choices, token counts that are missing, negative or not numbers.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from email.utils import mktime_tz, parsedate_tz
from typing import Any, Final

from apportion.envs.worker import Message, Reply, ReplyStatus, Request, Usage
from apportion.errors import FailureKind, WorkerError

BYTES_PER_TOKEN: Final = 4
"""Rule of thumb for byte-pair vocabularies on English text; of bytes, as scripts of longer characters take more."""

MESSAGE_TOKENS: Final = 4
"""Role and delimiters that a chat template puts around each message, as in ChatML."""

TEMPLATE_TOKENS: Final = 4096
"""Room for the system prompt that a server's template may add unseen, before a prompt count is called absurd."""

END_TOKENS: Final = 16
"""Room for end-of-turn tokens, which have no text, before a completion count is called absurd."""

STATUS_OF_FINISH: Final[dict[str, ReplyStatus]] = {
    "stop": "ok",
    "eos_token": "ok",  # text-generation-inference's word
    "stop_sequence": "ok",  # text-generation-inference's word
    "length": "truncated",
    "content_filter": "refused",
}

ROUNDING: Final = 1e-3
"""By which the logarithm of a probability may pass 0."""

COMMENT_FIELDS: Final = (b":", b"event:", b"id:", b"retry:")
RETRYABLE_4XX: Final = frozenset({408, 409, 425})  # timeout, conflict, too early: the server's state, not the request
MAX_MESSAGE: Final = 400  # characters of an error message


@dataclass(frozen=True, slots=True)
class Draft:
    """A completion that arrived whole, its finish reason, counts and `logprobs` still as the server gave them."""

    text: str
    finish_reason: str
    usage: Any
    logprobs: Any = None


class EventStream:
    """Collects a streamed completion from bytes cut anywhere.

    Attributes:
        texts: pieces of text so far, none empty.
    """

    __slots__ = ("_choices", "_data", "_done", "_finish", "_line", "_logprobs", "_usage", "texts")

    def __init__(self) -> None:
        self.texts: list[str] = []
        self._done = False
        self._line: list[bytes] = []  # the pieces of a line whose end has not come
        self._data: list[bytes] = []  # the data lines of an event whose end has not come
        self._choices = 0
        self._finish: str | None = None
        self._usage: Any = None
        self._logprobs: Any = None

    def feed(self, received: bytes) -> None:
        """Take the next bytes.

        Raises:
            WorkerError: an event is not part of a completion (`bad_response`) or is an error object (`server`).
        """
        self._line.append(received)
        if b"\n" not in received:
            return
        lines = b"".join(self._line).split(b"\n")
        self._line = [lines.pop()]
        for line in lines:
            self._take(line)

    def finish(self) -> Draft:
        """Close the stream.

        Raises:
            WorkerError: no end marker or no finish reason came (`incomplete`), or no choice did (`bad_response`).
        """
        last = [line.removeprefix(b"data:") for line in (*self._data, b"".join(self._line))]
        if not self._done and b"".join(last).strip() != b"[DONE]":
            raise WorkerError("incomplete", "a stream must end with [DONE], this one was cut before it; retry")
        if not self._choices:
            raise WorkerError("bad_response", "a stream must have a choice, this one has none")
        return _draft("".join(self.texts), self._finish, self._usage, self._logprobs)

    def _take(self, line: bytes) -> None:
        if line.startswith(b"data:"):
            self._data.append(line[5:])
        elif not line or line == b"\r":
            data, self._data = b"\n".join(self._data), []
            if data and not self._done:
                self._dispatch(data)
        elif line.startswith(b"error:"):  # llama.cpp names the field by the event
            raise WorkerError("server", f"the server broke off the stream: {server_words(line[6:])}")
        elif not line.startswith(COMMENT_FIELDS):
            raise WorkerError("bad_response", f"a stream must consist of `data:` lines, got {_text(line)}")

    def _dispatch(self, data: bytes) -> None:
        if data.strip() == b"[DONE]":
            self._done = True
            return
        event = _json_object(data)
        if (usage := event.get("usage")) is not None:
            self._usage = usage
        choices = event.get("choices")
        if choices is None or choices == []:  # the event of the counts, pings, Azure's prompt filter
            return
        choice = _first_choice(choices)
        self._choices += 1
        delta = choice.get("delta")
        if delta is not None and (content := _content(delta, "delta")):
            if not self.texts:
                self._logprobs = choice.get("logprobs")
            self.texts.append(content)
        if (finish := choice.get("finish_reason")) is not None:
            self._finish = finish


def read_completion(body: bytes) -> Draft:
    """The completion in a body that was not streamed.

    Raises:
        WorkerError: `bad_response`, `incomplete` or, for an error object, `server`.
    """
    completion = _json_object(body)
    choice = _first_choice(completion.get("choices"))
    text = _content(choice.get("message"), "message") or ""
    return _draft(text, choice.get("finish_reason"), completion.get("usage"), choice.get("logprobs"))


def checked_reply(draft: Draft, request: Request, *, ttft_s: float | None, latency_s: float) -> Reply:
    """The reply to `request`; one that stopped by itself without a word counts as refused.

    Raises:
        WorkerError: `bad_response`, the finish reason is unknown, so nobody can tell whether the text is whole.
    """
    text = _valid_unicode(draft.text)
    status = STATUS_OF_FINISH.get(draft.finish_reason)
    if status is None:
        known = ", ".join(STATUS_OF_FINISH)
        raise WorkerError("bad_response", f"finish_reason must be one of {known}; got {draft.finish_reason!r}")
    if status == "ok" and not text:
        status = "refused"
    usage = checked_usage(draft.usage, request, text)
    first = checked_first_token(draft.logprobs, text, request.sampling.top_logprobs)
    return Reply(text, status, draft.finish_reason, usage, ttft_s, latency_s, first)


def checked_usage(usage: Any, request: Request, text: str) -> Usage:
    """The server's token counts, or the estimate from the text when either of them cannot be true.

    A token covers at least one byte of text, except those that a chat template adds, and hidden reasoning is bounded
    by `max_tokens`; text of some length takes at least one token. Zero is the usual stand-in for "not counted", so
    believing it would make paid calls free.
    """
    prompt_bytes = sum(_byte_length(message.content) for message in request.messages)
    if isinstance(usage, dict):
        prompt, completion = usage.get("prompt_tokens"), usage.get("completion_tokens")
        most = max(_byte_length(text), request.sampling.max_tokens) + END_TOKENS
        # `type(...) is int` because True is an int to isinstance
        if (
            type(prompt) is int
            and type(completion) is int
            and bool(prompt_bytes) <= prompt <= prompt_bytes + TEMPLATE_TOKENS
            and bool(text) <= completion <= most
        ):
            return Usage(prompt, completion)
    return estimated_usage(request.messages, text)


def checked_first_token(logprobs: Any, text: str, most: int) -> dict[str, float]:
    """Log-probabilities of the first token's alternatives, `most` at most; none at all when any of them cannot be true.

    The token must be the one that the text begins with: hidden reasoning has tokens too.
    """
    if not most:
        return {}
    try:
        first = logprobs["content"][0]
        given = [(entry["token"], entry["logprob"]) for entry in first["top_logprobs"]]
        sound = all(
            isinstance(token, str) and type(value) in (int, float) and math.isfinite(value) and value <= ROUNDING
            for token, value in given
        )
        if not (sound and len(given) <= most and text.lstrip().startswith(first["token"].strip())):
            return {}
        return {token: min(0.0, float(value)) for token, value in reversed(given)}  # of one text the likelier stays
    except (TypeError, KeyError, IndexError, AttributeError, OverflowError):  # not of that shape
        return {}


def estimated_usage(messages: Sequence[Message], text: str) -> Usage:
    """Token counts from the text alone: UTF-8 bytes / 4, rounded up, and 4 more for each message.

    No tokenizer: the one in use is the server's secret, and a wrong one is no better than the rule.
    """
    prompt = sum(MESSAGE_TOKENS + _tokens(message.content) for message in messages)
    return Usage(prompt, _tokens(text), estimated=True)


def refusal(status: int, retry_after: str | None, body: bytes, now: float) -> WorkerError:
    """The error for any HTTP status but 200; `now` in epoch seconds resolves a `Retry-After` date."""
    message = f"HTTP {status}: {server_words(body)}"
    if 300 <= status < 400:
        message = f"HTTP {status}: redirects are not followed, they would carry the key elsewhere; correct base_url"
    wait = None if retry_after is None else retry_after_s(retry_after, now)
    return WorkerError(_kind_of(status), message, status=status, retry_after_s=wait)


def retry_after_s(value: str, now: float) -> float | None:
    """Seconds asked for by a `Retry-After` header (RFC 9110, 10.2.3: seconds or a date); None when unreadable."""
    try:
        seconds = float(value)
    except ValueError:
        date = parsedate_tz(value)
        try:
            seconds = max(0.0, mktime_tz(date) - now) if date else math.nan
        except (ValueError, OverflowError):
            return None
    return seconds if math.isfinite(seconds) and seconds >= 0 else None


def server_words(body: bytes) -> str:
    """What an error body says: its message when it is JSON of a usual shape, else its text."""
    try:
        said = json.loads(body.decode())
    except (ValueError, RecursionError):
        return _text(body)
    for key in ("error", "message", "detail"):
        if isinstance(said, dict) and said.get(key) is not None:
            said = said[key]
    return said if isinstance(said, str) else _text(body)


def printable(message: str, secret: str | None) -> str:
    """`message` fit for a log: no control characters, not the secret, one line, not long."""
    if secret:
        message = message.replace(secret, "[key]")  # before anything is cut, or half a key would pass
    line = " ".join("".join(char if char.isprintable() else " " for char in message[: 4 * MAX_MESSAGE]).split())
    return line if len(line) <= MAX_MESSAGE else line[:MAX_MESSAGE] + "..."


def _kind_of(status: int) -> FailureKind:
    if status == 429:
        return "rate_limited"
    if status >= 500 or status in RETRYABLE_4XX:
        return "server"
    return "rejected" if status >= 300 else "bad_response"


def _json_object(data: bytes) -> dict[str, Any]:
    """The JSON object in `data`, unless it is an error object."""
    try:
        value = json.loads(data.decode())
    except (ValueError, RecursionError):
        raise WorkerError("bad_response", f"a reply must be JSON, got {_text(data) or 'nothing'}") from None
    if not isinstance(value, dict):
        raise WorkerError("bad_response", f"a reply must be a JSON object, got {_text(data)}")
    if value.get("error") or value.get("object") == "error":  # the second is older vLLM's shape
        raise WorkerError("server", f"the server answered 200 with an error: {server_words(data)}")
    return value


def _first_choice(choices: Any) -> dict[str, Any]:
    if isinstance(choices, list) and choices and isinstance(choices[0], dict):
        return choices[0]
    raise WorkerError("bad_response", f"choices must be a list of objects, at least one; got {_shape(choices)}")


def _content(message: Any, name: str) -> str | None:
    if not isinstance(message, dict):
        raise WorkerError("bad_response", f"{name} must be an object, got {_shape(message)}")
    content = message.get("content")
    if content is None or isinstance(content, str):
        return content
    raise WorkerError("bad_response", f"content must be text, got {_shape(content)}")


def _draft(text: str, finish_reason: Any, usage: Any, logprobs: Any) -> Draft:
    if finish_reason is None:
        raise WorkerError("incomplete", "a completion must give its finish_reason, this one has none; retry")
    if not isinstance(finish_reason, str):
        raise WorkerError("bad_response", f"finish_reason must be text, got {_shape(finish_reason)}")
    return Draft(text, finish_reason, usage, logprobs)


def _valid_unicode(text: str) -> str:
    """`text` with escaped surrogates joined where they pair up and replaced where not: no encoder takes them."""
    if text.isascii():
        return text
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _byte_length(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))


def _tokens(text: str) -> int:
    return -(-_byte_length(text) // BYTES_PER_TOKEN)


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace").strip()


def _shape(value: Any) -> str:
    return "nothing" if value is None or value == [] else type(value).__name__
