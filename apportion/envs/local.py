"""Local models: a llama.cpp server in a child process, and the worker that owns one.

It knows processes and their deaths. The wire is `apportion.envs.openai`'s, the order of requests
`apportion.envs.prompt_turns`'s, and what the child does `apportion.envs.llama_child`'s.
"""

from __future__ import annotations

import asyncio
import importlib.util
import os
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import IO, Final

import aiohttp

from apportion.envs.openai import OpenAIWorker
from apportion.envs.prompt_turns import PromptTurns
from apportion.envs.worker import Reply, Request
from apportion.errors import ApportionError, WorkerError

START_S: Final = 120.0
"""Seconds to load a model: a 1.1 GB file from a cold disk takes some ten."""

MAX_STARTS: Final = 4
"""Starts in a row, without a reply in between, after which a model counts as broken: the first and 3 restarts."""

BACKOFF_S: Final = 0.25
"""Pause before the second restart in a row, doubled for each further one."""

DEATH_S: Final = 0.5
"""Seconds by which the end of a process may lag behind the end of its connections."""

LOG_TAIL_LINES: Final = 6
LOG_TAIL_BYTES: Final = 4096

SPIN_COUNT: Final = "1000"
"""Turns that an OpenMP thread waits busily for the others before it sleeps.

Two servers with as many threads as cores each, on 2 cores: libgomp's default took 77.7 s for a mixed load that takes
22.8 s one model after the other; 1000 took 25.5 s, and cost nothing when one server ran alone.
"""


class LlamaServer:
    """An OpenAI-compatible HTTP server for one GGUF file, in a process of its own on a loopback port.

    The process ends with this one, however this one ends. It may be started again after it died.
    """

    def __init__(self, gguf: Path, *, slots: int, context: int, threads: int | None = None) -> None:
        """Describe the server; nothing runs until `start`.

        Args:
            gguf: the model file.
            slots: requests answered at a time.
            context: tokens of prompt and completion together, in each slot.
            threads: of the computation; None leaves it to llama.cpp, which takes the physical cores.
        """
        self.gguf = gguf
        self.slots = slots
        self._arguments = [str(gguf), str(slots), str(context), str(threads or -1)]
        self._process: subprocess.Popen[bytes] | None = None
        self._log: IO[bytes] | None = None

    @property
    def alive(self) -> bool:
        """Whether the process runs."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int | None:
        """Of the running process; None when there is none."""
        return self._process.pid if self._process is not None and self.alive else None

    async def start(self) -> str:
        """Start the process and wait until the model answers.

        Returns:
            The base URL, which ends in `/v1`.

        Raises:
            ApportionError: the server did not come up; the message carries the end of its log.
        """
        await self.close()
        self._check_startable()
        self._spawn()
        try:
            async with asyncio.timeout(START_S):
                address = await self._announced()
                await _await_health(address)
        except (TimeoutError, aiohttp.ClientError):
            raise await self._failed(f"must answer within {START_S:g} s") from None
        except asyncio.CancelledError:
            await self.close()
            raise
        return f"{address}/v1"

    async def close(self) -> None:
        """Kill the process: it has nothing to save. May be called twice."""
        process, log = self._process, self._log
        self._process = self._log = None
        if process is not None:
            process.kill()
            await asyncio.to_thread(process.communicate)  # reaps it and closes its pipes
        if log is not None:
            log.close()

    async def ends(self, within_s: float) -> bool:
        """Wait until the process ends, and say whether it did within the time."""
        process = self._process
        if process is not None and process.poll() is None:
            with suppress(subprocess.TimeoutExpired):
                await asyncio.to_thread(process.wait, within_s)
        return not self.alive

    def epitaph(self) -> str:
        """How the process ended and what it said last, in one line."""
        code = None if self._process is None else self._process.poll()
        how = "still runs" if code is None else f"ended with {code}"
        return f"{how}; its log ends: {self._log_tail() or 'empty'}"

    def _check_startable(self) -> None:
        if importlib.util.find_spec("xllamacpp") is None:
            raise ApportionError("a local model needs llama.cpp: pip install 'apportion[local]'")
        if not self.gguf.is_file():
            raise ApportionError(f"a local model must be a GGUF file, but {self.gguf} is none; check the path")

    def _spawn(self) -> None:
        self._log = tempfile.TemporaryFile()  # noqa: SIM115  (nameless, and open for as long as the process runs)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "apportion.envs.llama_child", *self._arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            env={"GOMP_SPINCOUNT": SPIN_COUNT, **os.environ},
            process_group=0,  # Ctrl-C is for the search, which ends the server when it is done with it
        )

    async def _announced(self) -> str:
        assert self._process is not None and self._process.stdout is not None
        line = await asyncio.to_thread(self._process.stdout.readline)
        if not line:
            raise await self._failed("must come up")
        return line.decode().strip()

    async def _failed(self, law: str) -> ApportionError:
        await self.ends(DEATH_S)
        message = f"the server of {self.gguf.name} {law}, but it {self.epitaph()}"
        await self.close()
        return ApportionError(message)

    def _log_tail(self) -> str:
        if self._log is None:
            return ""
        log = self._log.fileno()  # pread, since seeking would move the child's end too
        tail = os.pread(log, LOG_TAIL_BYTES, max(0, os.fstat(log).st_size - LOG_TAIL_BYTES)).decode(errors="replace")
        return " | ".join(line.strip() for line in tail.splitlines()[-LOG_TAIL_LINES:])


async def _await_health(address: str) -> None:
    async with aiohttp.ClientSession() as session:
        while True:
            async with session.get(f"{address}/health") as response:
                if response.status == 200:
                    return
            await asyncio.sleep(0.05)  # 503 while the model loads


class LocalWorker:
    """Answers requests from a server of its own: started by the first request, and again when it died."""

    def __init__(
        self, gguf: Path, *, slots: int, context: int, threads: int | None = None, timeout_s: float = 120.0
    ) -> None:
        """Describe the server as for `LlamaServer`; nothing runs until the first request.

        Args:
            timeout_s: seconds for one attempt, from sending to the last byte; waiting for a slot is not counted.
        """
        self.server = LlamaServer(gguf, slots=slots, context=context, threads=threads)
        self._name = gguf.name
        self._timeout_s = timeout_s
        self._turns = PromptTurns(slots)
        self._starting = asyncio.Lock()
        self._url: str | None = None
        self._starts = 0  # since the last reply

    async def complete(self, request: Request) -> Reply:
        """Make one attempt, when it is the turn of the request's prompt.

        Raises:
            WorkerError: the attempt gave no usable reply. `connection` when the server died under it, `rejected` when
                the server cannot be brought up.
        """
        async with self._turns.turn(request.messages):
            # llama.cpp ends a connection after a streamed reply without announcing it, so none is used twice.
            http = OpenAIWorker(await self._running(), timeout_s=self._timeout_s)
            try:
                reply = await http.complete(request)
            except WorkerError as error:
                if error.kind not in ("unreachable", "connection", "incomplete") or not await self.server.ends(DEATH_S):
                    raise
                raise WorkerError("connection", f"the server of {self._name} {self.server.epitaph()}") from None
            finally:
                await http.close()
            self._starts = 0
            return reply

    async def close(self) -> None:
        """End the server. May be called twice."""
        await self.server.close()

    async def _running(self) -> str:
        """The base URL of the server, which is started first if it does not run."""
        async with self._starting:
            if self._url is not None and self.server.alive:
                return self._url
            if self._starts == MAX_STARTS:
                law = f"the server of {self._name} must stay up, but ended {MAX_STARTS} times in a row"
                raise WorkerError("rejected", f"{law}; give it fewer slots or less context, or another file")
            await asyncio.sleep(BACKOFF_S * 2 ** (self._starts - 2) if self._starts > 1 else 0)
            self._starts += 1
            try:
                self._url = await self.server.start()
            except ApportionError as error:
                raise WorkerError("rejected", str(error)) from error
            return self._url
