"""The checks alone, on arbitrary bytes and JSON: the outcome is a `Reply` or a `WorkerError`, never anything else."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from apportion.envs.reply_checks import (
    Draft,
    EventStream,
    checked_first_token,
    checked_reply,
    checked_usage,
    estimated_usage,
    printable,
    read_completion,
    refusal,
    retry_after_s,
)
from apportion.envs.worker import Message, Reply, Request, Sampling, Usage
from apportion.errors import WorkerError

REQUEST = Request("m", (Message("user", "Name a colour."),), Sampling(1.0, 100, top_logprobs=2))
HONEST = {"prompt_tokens": 6, "completion_tokens": 3}

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.just("stop"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


def known_or_any(*known: Any) -> st.SearchStrategy[Any]:
    """Mostly values that belong there, else anything: a wrong value is met next to right ones."""
    return st.one_of(*(st.just(value) for value in known), JSON)


def shaped(holder: str) -> st.SearchStrategy[dict[str, Any]]:
    """Completions, or events for holder `delta`, in which any part may be anything or missing."""
    message = st.fixed_dictionaries({}, optional={"role": JSON, "content": known_or_any("red", "", None)})
    finish = known_or_any("stop", "length", "content_filter", None)
    entry = st.fixed_dictionaries({}, optional={"token": known_or_any("red"), "logprob": known_or_any(-0.5)})
    token = st.fixed_dictionaries({}, optional={"token": known_or_any("red"), "top_logprobs": st.lists(entry) | JSON})
    logprobs = st.fixed_dictionaries({}, optional={"content": st.lists(token, max_size=2) | JSON}) | JSON
    choice = st.fixed_dictionaries({}, optional={holder: message | JSON, "finish_reason": finish, "logprobs": logprobs})
    usage = st.fixed_dictionaries({}, optional={"prompt_tokens": known_or_any(6), "completion_tokens": known_or_any(3)})
    choices = st.lists(choice, max_size=2) | JSON
    return st.fixed_dictionaries({"choices": choices}, optional={"usage": usage | JSON, "error": known_or_any(None)})


def event(payload: Any, *, escaped: bool = True) -> bytes:
    return b"data: " + json.dumps(payload, ensure_ascii=escaped).encode() + b"\n\n"


def piece(content: str | None, finish: str | None = None, *, escaped: bool = True) -> bytes:
    return event({"choices": [{"delta": {"content": content}, "finish_reason": finish}]}, escaped=escaped)


DONE = b"data: [DONE]\n\n"
COUNTS = event({"choices": [], "usage": HONEST})


def read_stream(*parts: bytes) -> Draft:
    stream = EventStream()
    for part in parts:
        stream.feed(part)
    return stream.finish()


def assert_sound(reply: Reply) -> None:
    reply.text.encode()
    assert reply.status in ("ok", "truncated", "refused")
    assert reply.text or reply.status != "ok"
    assert type(reply.usage.prompt_tokens) is int and reply.usage.prompt_tokens > 0
    assert type(reply.usage.completion_tokens) is int and reply.usage.completion_tokens >= bool(reply.text)
    assert len(reply.first_token) <= 2
    assert all(isinstance(t, str) and type(p) is float and -math.inf < p <= 0 for t, p in reply.first_token.items())


def checked(draft: Draft) -> Reply:
    return checked_reply(draft, REQUEST, ttft_s=None, latency_s=0.1)


@given(shaped("message") | JSON)
def test_any_json_is_a_sound_reply_or_a_worker_error(payload: Any) -> None:
    try:
        reply = checked(read_completion(json.dumps(payload).encode()))
    except WorkerError:
        return
    assert_sound(reply)


@given(st.lists(shaped("delta") | JSON, max_size=4))
def test_any_events_are_a_sound_reply_or_a_worker_error(events: list[Any]) -> None:
    try:
        reply = checked(read_stream(*map(event, events), DONE))
    except WorkerError:
        return
    assert_sound(reply)


@given(st.binary(max_size=60))
@example(b"[" * 100_000)
@example(b"9" * 5_000)
@example(b'{"choices": [{"message": {"content": "\xff"}, "finish_reason": "stop"}]}')
def test_any_bytes_are_a_worker_error(body: bytes) -> None:
    with pytest.raises(WorkerError):
        read_completion(body)
    with pytest.raises(WorkerError):
        read_stream(b"data: " + body + b"\n\n", DONE)
    with pytest.raises(WorkerError):
        read_stream(body)


@given(
    pieces=st.lists(st.text(max_size=6), min_size=1, max_size=5),
    comments=st.lists(st.sampled_from([b"", b": keepalive\n\n", b":\n", b"event: message\n", b"id: 7\nretry: 10\n"])),
    crlf=st.booleans(),
    data=st.data(),
)
def test_a_stream_means_the_same_however_it_is_cut(
    *, pieces: list[str], comments: list[bytes], crlf: bool, data: st.DataObject
) -> None:
    sent = [*(piece(text, escaped=False) for text in pieces), piece(None, "stop"), COUNTS, DONE]
    for n, comment in enumerate(comments):
        sent.insert(n % len(sent), comment)
    whole = b"".join(sent)
    if crlf:
        whole = whole.replace(b"\n", b"\r\n")
    cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=8)))
    parts = [whole[a:b] for a, b in zip([0, *cuts], [*cuts, len(whole)], strict=True)]
    assert read_stream(*parts) == Draft("".join(pieces), "stop", HONEST)


def test_a_stream_cut_anywhere_before_its_end_marker_is_incomplete() -> None:
    whole = piece("re") + piece("d") + piece(None, "stop") + COUNTS + DONE
    for end in range(whole.index(b"[DONE]") + len(b"[DONE]")):
        with pytest.raises(WorkerError) as caught:
            read_stream(whole[:end])
        assert caught.value.kind == "incomplete"


@pytest.mark.parametrize(
    "end", [b"data: [DONE]", b"data:[DONE]\n", b"data: [DONE]\r\n\r\n", b"data: [DONE]\n\n{ignored\n\n"]
)
def test_the_end_marker_counts_however_it_is_terminated(end: bytes) -> None:
    if b"ignored" in end:
        end = end.replace(b"{ignored", b"data: {ignored")
    assert read_stream(piece("red", "stop"), end).text == "red"


def test_an_event_over_several_data_lines() -> None:
    spread = b'data: {"choices": [{"delta":\ndata: {"content": "red"},\r\ndata: "finish_reason": "stop"}]}\n\n'
    assert read_stream(spread, DONE) == Draft("red", "stop", None)


@pytest.mark.parametrize(
    ("parts", "kind"),
    [
        ([DONE], "bad_response"),
        ([COUNTS, DONE], "bad_response"),
        ([piece("red"), DONE], "incomplete"),
        ([event({"error": {"message": "out of memory"}})], "server"),
        ([event({"object": "error", "message": "out of memory"})], "server"),
        ([b'error: {"message": "out of memory"}\n\n'], "server"),
        ([b'{"error": "out of memory"}\n'], "bad_response"),
        ([b"<html>\n"], "bad_response"),
        ([event([])], "bad_response"),
        ([event({"choices": [{"delta": {"content": 5}}]})], "bad_response"),
        ([event({"choices": [{"delta": "red"}]})], "bad_response"),
        ([piece("red", 5), DONE], "bad_response"),  # type: ignore[arg-type]
    ],
)
def test_streams_that_are_wrong(parts: list[bytes], kind: str) -> None:
    with pytest.raises(WorkerError) as caught:
        read_stream(*parts)
    assert caught.value.kind == kind


@pytest.mark.parametrize(
    ("text", "finish", "status"),
    [
        ("red", "stop", "ok"),
        ("red", "eos_token", "ok"),
        ("", "stop", "refused"),
        ("re", "length", "truncated"),
        ("", "length", "truncated"),
        ("red", "content_filter", "refused"),
    ],
)
def test_the_status_of_a_reply(text: str, finish: str, status: str) -> None:
    reply = checked(Draft(text, finish, HONEST))
    assert (reply.text, reply.status, reply.finish_reason) == (text, status, finish)


def test_escaped_surrogates_are_joined_or_replaced() -> None:
    halves = read_stream(piece("\ud83d"), piece("\ude00 \ud83d", "stop"), DONE)
    assert checked(halves).text == "\U0001f600 \ufffd"


@pytest.mark.parametrize(
    "usage",
    [
        None,
        [],
        "12",
        {},
        {"prompt_tokens": 6},
        {"prompt_tokens": 6, "completion_tokens": -1},
        {"prompt_tokens": 6, "completion_tokens": 0},
        {"prompt_tokens": 0, "completion_tokens": 3},
        {"prompt_tokens": 6, "completion_tokens": 3.0},
        {"prompt_tokens": True, "completion_tokens": 3},
        {"prompt_tokens": "6", "completion_tokens": 3},
        {"prompt_tokens": 6, "completion_tokens": float("nan")},
        {"prompt_tokens": 6, "completion_tokens": 117},  # 100 = max_tokens, 16 end tokens
        {"prompt_tokens": 4111, "completion_tokens": 3},  # 14 bytes, 4096 of a template
    ],
)
def test_counts_that_cannot_be_true_are_estimated(usage: Any) -> None:
    assert checked_usage(usage, REQUEST, "crimson") == Usage(4 + 4, 2, estimated=True)


def test_counts_at_the_edge_of_the_possible_are_believed() -> None:
    assert checked_usage({"prompt_tokens": 4110, "completion_tokens": 116}, REQUEST, "x") == Usage(4110, 116)
    assert checked_usage({"prompt_tokens": 1, "completion_tokens": 0}, REQUEST, "") == Usage(1, 0)


def test_the_estimate_counts_bytes_and_messages() -> None:
    messages = (Message("system", "12345"), Message("user", "日本"))
    assert estimated_usage(messages, "日本語で") == Usage(4 + 2 + 4 + 2, 3, estimated=True)


def logprobs(token: Any, *top: Any) -> Any:
    entries = [{"token": word, "logprob": value, "bytes": None} for word, value in top]
    return {"content": [{"token": token, "logprob": -0.1, "top_logprobs": entries}, {"token": "!", "top_logprobs": []}]}


@pytest.mark.parametrize(
    ("given", "first"),
    [
        (logprobs("red", ("red", -0.1), ("blue", -3)), {"red": -0.1, "blue": -3.0}),
        (logprobs(" re", ("re", 1e-6)), {"re": 0.0}),
        (logprobs("red", ("\ufffd", -0.5), ("\ufffd", -2.0)), {"\ufffd": -0.5}),
        (logprobs("red"), {}),
        (None, {}),
        ([], {}),
        ("red", {}),
        ({"content": None}, {}),
        ({"content": []}, {}),
        ({"content": {"0": 1}}, {}),
        ({"content": ["red"]}, {}),
        ({"content": [{"token": "red"}]}, {}),
        ({"content": [{"token": "red", "top_logprobs": None}]}, {}),
        ({"content": [{"token": "red", "top_logprobs": {"red": -0.1}}]}, {}),
        (logprobs("blue", ("blue", -0.1)), {}),  # not what the text begins with: hidden reasoning
        (logprobs(None, ("red", -0.1)), {}),
        (logprobs("red", ("red", -0.1), ("blue", 0.5)), {}),
        (logprobs("red", ("red", "-0.1")), {}),
        (logprobs("red", ("red", True)), {}),
        (logprobs("red", ("red", None)), {}),
        (logprobs("red", ("red", math.nan)), {}),
        (logprobs("red", ("red", -math.inf)), {}),
        (logprobs("red", ("red", -(10**400))), {}),
        (logprobs("red", (["red"], -0.1)), {}),
        (logprobs("red", *[(f"red{n}", -3.0) for n in range(3)]), {}),  # more than were asked for
    ],
)
def test_first_tokens_that_cannot_be_true_are_left_out(given: Any, first: dict[str, float]) -> None:
    assert checked_first_token(given, "red!", 2) == first
    assert checked_first_token(given, "red!", 0) == {}, "nobody asked"


@pytest.mark.parametrize("opening", [b"", event({"choices": [{"delta": {"role": "assistant", "content": ""}}]})])
def test_the_first_token_of_a_stream_comes_with_its_first_text(opening: bytes) -> None:
    texts = [{"delta": {"content": t}, "logprobs": logprobs(t, (t, -0.5))} for t in ("red", "!")]
    sent = [event({"choices": [{**text, "finish_reason": None}]}) for text in texts]
    draft = read_stream(opening, *sent, piece(None, "stop"), DONE)
    assert checked(draft).first_token == {"red": -0.5}


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (204, "bad_response"),
        (302, "rejected"),
        (400, "rejected"),
        (404, "rejected"),
        (408, "server"),
        (409, "server"),
        (425, "server"),
        (429, "rate_limited"),
        (500, "server"),
        (529, "server"),
    ],
)
def test_the_kind_of_each_status(status: int, kind: str) -> None:
    error = refusal(status, None, b"", now=0)
    assert (error.kind, error.status, error.retry_after_s) == (kind, status, None)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b'{"error": {"message": "too long", "code": 1}}', "too long"),
        (b'{"error": "too long"}', "too long"),
        (b'{"object": "error", "message": "too long"}', "too long"),
        (b'{"detail": "too long"}', "too long"),
        (b'{"detail": [1]}', '{"detail": [1]}'),
        (b"too \xff long", "too \ufffd long"),
        (b"[" * 50, "[" * 50),
    ],
)
def test_the_servers_words_are_found(body: bytes, words: str) -> None:
    assert str(refusal(500, None, body, now=0)) == f"HTTP 500: {words}"


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("1", 1.0),
        (" 2.5 ", 2.5),
        ("0", 0.0),
        ("Thu, 01 Jan 1970 00:16:50 GMT", 10.0),
        ("Thu, 01 Jan 1970 00:00:00 GMT", 0.0),
        ("-1", None),
        ("nan", None),
        ("inf", None),
        ("soon", None),
        ("", None),
    ],
)
def test_retry_after(value: str, seconds: float | None) -> None:
    assert retry_after_s(value, now=1000.0) == seconds


@given(st.text() | st.from_regex(r"[A-Z][a-z]{2}, \d+ Jan \d+ \d+:\d+:\d+ [+-]?\w+", fullmatch=True))
def test_any_retry_after_is_a_wait_or_nothing(value: str) -> None:
    seconds = retry_after_s(value, now=1e9)
    assert seconds is None or 0 <= seconds < float("inf")


@given(st.text(), st.text())
def test_messages_are_short_printable_and_without_the_secret(before: str, after: str) -> None:
    secret = "sk-canary"
    shown = printable(before * 20 + secret + after, secret)
    assert shown.isprintable() or not shown
    assert len(shown) <= 403
    assert secret not in shown


def test_half_a_secret_does_not_pass_where_a_message_is_cut() -> None:
    secret = "sk-" + "canary" * 5
    for filler in range(360, 405):
        assert "sk-" not in printable("x" * filler + secret, secret)
