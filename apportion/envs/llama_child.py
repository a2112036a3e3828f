"""The program of one llama.cpp server process: serves a GGUF on a free loopback port for as long as stdin stays open.

Started by `apportion.envs.local` as `python -m apportion.envs.llama_child GGUF SLOTS CONTEXT THREADS`; prints the
address on stdout once the model answers. It knows nothing of workers or searches. A separate process because llama.cpp
aborts natively, and an abort must end the server and not the search.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

import xllamacpp

PR_SET_PDEATHSIG = 1
"""From linux/prctl.h."""

PROMPT_CACHE_MIB = 256
"""Prompts kept outside the slots: some 200 of 100 tokens at 0.5e9 parameters. llama.cpp's own default is 8192."""


def main(argv: list[str]) -> None:
    """Serve until stdin ends."""
    die_with_parent()
    announcement = os.dup(1)
    os.dup2(2, 1)  # whatever the native code prints belongs to the log
    gguf, slots, context, threads = argv[0], *map(int, argv[1:])
    try:
        server = xllamacpp.Server(parameters(gguf, slots, context, threads))
    except RuntimeError as error:
        sys.exit(str(error))
    os.write(announcement, f"{server.listening_address}\n".encode())
    os.close(announcement)
    while os.read(0, 1 << 10):
        pass
    os._exit(0)  # without waiting for replies that nobody reads any more


def die_with_parent() -> None:
    """Have Linux kill this process with its parent, also while the model loads and nobody reads stdin."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def parameters(gguf: str, slots: int, context: int, threads: int) -> xllamacpp.CommonParams:
    """llama.cpp's settings for `slots` parallel requests of `context` tokens each; -1 threads lets it choose."""
    params = xllamacpp.CommonParams()
    params.model.path = gguf
    params.n_parallel = slots
    params.n_ctx = slots * context
    params.fit_params = False  # else the context depends on the memory that happens to be free
    params.cpuparams.n_threads = threads
    params.cpuparams_batch.n_threads = threads
    params.cache_ram_mib = PROMPT_CACHE_MIB
    params.sampling.top_k = 0  # temperature and top_p of the request are the whole of the sampling
    params.sampling.min_p = 0.0
    params.verbosity = 1  # errors: warnings are some lines a request
    params.ui = False
    params.cors_origins = ""  # the default lets every web page in a browser on this machine use the model
    params.endpoint_slots = False  # it would show the prompts of other requests
    params.port = 0  # the kernel picks a free one at bind, so that no two servers race for it
    return params


if __name__ == "__main__":
    main(sys.argv[1:])
