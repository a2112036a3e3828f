"""Real llama.cpp servers on the smallest model of the catalogue, which is pulled when it is not here."""

from __future__ import annotations

import asyncio
import math
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from apportion.envs import local
from apportion.envs.local import LlamaServer, LocalWorker
from apportion.envs.worker import Message, Reply, Request, Sampling
from apportion.errors import ApportionError, WorkerError
from apportion.models import pull

pytest.importorskip("xllamacpp", reason="needs the extra `local`")

QUESTION = "Name a colour."


@pytest.fixture(scope="session")
def gguf() -> Path:
    return pull("smollm2-135m-instruct")


@pytest.fixture
def broken(tmp_path: Path) -> Path:
    path = tmp_path / "broken.gguf"
    path.write_bytes(b"GGUF" + bytes(64))
    return path


def request(seed: int, text: str = QUESTION, max_tokens: int = 12) -> Request:
    return Request("smollm2", (Message("user", text),), Sampling(1.0, max_tokens), seed)


def gone(pid: int) -> bool:
    """Whether a process has ended; one that nobody has reaped yet has."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def assert_gone(pid: int, within_s: float) -> None:
    until = time.monotonic() + within_s
    while not gone(pid):
        assert time.monotonic() < until, f"process {pid} still runs"
        time.sleep(0.02)


def test_replies_are_streamed_and_seeded(gguf: Path) -> None:
    async def run() -> tuple[list[Reply], int]:
        worker = LocalWorker(gguf, slots=2, context=256)
        try:
            replies = [await worker.complete(request(seed)) for seed in (1, 2, 2, 3)]
            assert worker.server.pid is not None
            return replies, worker.server.pid
        finally:
            await worker.close()
            await worker.close()

    replies, pid = asyncio.run(run())
    assert_gone(pid, 1.0)
    for reply in replies:
        assert reply.text
        assert reply.ttft_s is not None
        assert 0 < reply.ttft_s <= reply.latency_s
        assert 20 < reply.usage.prompt_tokens < 60
        assert 0 < reply.usage.completion_tokens <= 12
        assert not reply.usage.estimated
    assert replies[1].text == replies[2].text != replies[3].text


def test_the_alternatives_to_the_first_token_are_given(gguf: Path) -> None:
    asked = replace(request(1, "Is 2 + 2 = 4? Answer yes or no."), sampling=Sampling(0.0, 4, top_logprobs=10))

    async def run() -> tuple[Reply, Reply]:
        worker = LocalWorker(gguf, slots=2, context=256)
        try:
            return await worker.complete(asked), await worker.complete(request(1))
        finally:
            await worker.close()

    reply, other = asyncio.run(run())
    assert other.first_token == {}
    assert 5 <= len(reply.first_token) <= 10  # two spellings of one text count once
    likeliest = max(reply.first_token, key=lambda token: reply.first_token[token])
    assert reply.text.startswith(likeliest.strip())
    assert 0.5 < sum(map(math.exp, reply.first_token.values())) <= 1 + 1e-6


def test_one_server_serves_first_requests_that_come_together(gguf: Path) -> None:
    async def run() -> int:
        worker = LocalWorker(gguf, slots=4, context=256)
        started = 0
        start = worker.server.start

        async def counted() -> str:
            nonlocal started
            started += 1
            return await start()

        worker.server.start = counted  # type: ignore[method-assign]
        try:
            replies = await asyncio.gather(*(worker.complete(request(n, f"Say {n % 5}.", 3)) for n in range(15)))
            assert len(replies) == 15
        finally:
            await worker.close()
        return started

    assert asyncio.run(run()) == 1


def test_a_killed_server_fails_the_call_and_serves_the_next(gguf: Path) -> None:
    async def run() -> tuple[WorkerError, Reply, int, int]:
        worker = LocalWorker(gguf, slots=2, context=512)
        try:
            await worker.complete(request(0))
            first = worker.server.pid
            assert first is not None
            call = asyncio.create_task(worker.complete(request(1, "Write a long story.", 400)))
            await asyncio.sleep(0.2)
            os.kill(first, signal.SIGKILL)
            with pytest.raises(WorkerError) as caught:
                await call
            reply = await worker.complete(request(2))
            assert worker.server.pid is not None
            return caught.value, reply, first, worker.server.pid
        finally:
            await worker.close()

    error, reply, first, second = asyncio.run(run())
    assert error.kind == "connection"
    assert "smollm2-135m-instruct.gguf ended with -9" in str(error)
    assert reply.status in ("ok", "truncated")
    assert first != second


def test_a_server_does_not_outlive_a_killed_parent(gguf: Path) -> None:
    program = f"""
import asyncio, pathlib
from apportion.envs.local import LlamaServer
async def main():
    server = LlamaServer(pathlib.Path({str(gguf)!r}), slots=1, context=128)
    await server.start()
    print(server.pid, flush=True)
    await asyncio.sleep(60)
asyncio.run(main())
"""
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        assert not gone(pid)
        parent.kill()
    assert_gone(pid, 2.0)


def test_the_child_ends_with_its_stdin(gguf: Path) -> None:
    command = [sys.executable, "-m", "apportion.envs.llama_child", str(gguf), "1", "128", "-1"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        assert child.stdout.readline().startswith(b"http://127.0.0.1:")
        child.stdin.close()
        assert child.wait(2.0) == 0


def test_a_cancelled_start_leaves_no_process(gguf: Path) -> None:
    async def run() -> int:
        server = LlamaServer(gguf, slots=1, context=128)
        start = asyncio.create_task(server.start())
        while server.pid is None:
            await asyncio.sleep(0.01)
        pid = server.pid
        start.cancel()
        with pytest.raises(asyncio.CancelledError):
            await start
        assert not server.alive
        return pid

    assert_gone(asyncio.run(run()), 1.0)


def test_a_start_error_carries_the_end_of_the_log(broken: Path) -> None:
    async def run() -> str:
        server = LlamaServer(broken, slots=1, context=128)
        with pytest.raises(ApportionError) as caught:
            await server.start()
        assert not server.alive
        return str(caught.value)

    message = asyncio.run(run())
    assert "\n" not in message
    assert message.startswith("the server of broken.gguf must come up, but it ended with 1; its log ends: ")
    assert "failed to load model" in message


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    server = LlamaServer(tmp_path / "none.gguf", slots=1, context=128)
    with pytest.raises(ApportionError, match=r"must be a GGUF file, but .*none\.gguf is none"):
        asyncio.run(server.start())


def test_starts_in_a_row_are_bounded(broken: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "BACKOFF_S", 0.0)

    async def run() -> list[WorkerError]:
        worker = LocalWorker(broken, slots=1, context=128)
        errors = []
        for seed in range(local.MAX_STARTS + 1):
            with pytest.raises(WorkerError) as caught:
                await worker.complete(request(seed))
            errors.append(caught.value)
        await worker.close()
        return errors

    errors = asyncio.run(run())
    assert [error.kind for error in errors] == ["rejected"] * (local.MAX_STARTS + 1)
    assert all("failed to load model" in str(error) for error in errors[:-1])
    assert "must stay up, but ended 4 times in a row" in str(errors[-1])
