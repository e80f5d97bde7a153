"""The child process of :class:`openai_stream.local.LocalServer`: llama.cpp's server.

Run by its path as a script and never imported: it needs nothing of ours, so it starts without the
package. Standard input brings the settings as one line of JSON and then stays open for as long as
the parent lives; standard output takes one line of JSON back, the address or what went wrong.
"""

from __future__ import annotations

import contextlib
import fcntl
import importlib
import json
import os
import select
import signal
import sys
from typing import Any

_STDIN, _STDOUT, _STDERR = 0, 1, 2
#: Milliseconds between two looks at whether the parent is still the parent. The pipe tells at once,
#: unless a process that the parent forked holds a copy of the pipe's other end.
_LOOK_EVERY = 1000


def main() -> None:
    """Serve until the parent is gone."""
    # Ctrl-C reaches every process of the terminal. What it means is for the parent to say.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # llama.cpp may print where it likes; the parent waits for our line and no other.
    reply = os.dup(_STDOUT)
    os.dup2(_STDERR, _STDOUT)
    settings = json.loads(_read_line())
    # While a model is loaded, xllamacpp holds the GIL: no thread could look at the pipe, a signal
    # can. SIGIO comes when the pipe's other end closes, and ends a process that has no handler.
    _signal_on_input(True)
    _leave_if_alone(settings["parent"], 0)
    try:
        server = _start(settings)
        answer = {"url": server.listening_address}
    except ImportError as error:
        answer = {"missing": str(error)}
    except (RuntimeError, ValueError, OverflowError) as error:
        answer = {"error": str(error)}
    os.write(reply, json.dumps(answer).encode() + b"\n")
    os.close(reply)
    if "url" in answer:
        _silence()
        _signal_on_input(False)
        while True:
            _leave_if_alone(settings["parent"], _LOOK_EVERY)
    # Not by way of the interpreter's end: taking a server down can wait for the GIL for ever.
    os._exit(1)


def _read_line() -> bytes:
    # Not through sys.stdin, which would read ahead and buffer.
    line = b""
    while not line.endswith(b"\n"):
        piece = os.read(_STDIN, 65536)
        if not piece:
            os._exit(1)
        line += piece
    return line


def _start(settings: dict[str, Any]) -> Any:
    sys.path[:] = settings["sys_path"]
    xllamacpp = importlib.import_module("xllamacpp")
    params = xllamacpp.CommonParams()
    params.model.path = settings["model_path"]
    params.model_alias = {settings["model"]}
    params.hostnames = ["127.0.0.1"]
    params.port = 0
    params.n_parallel = settings["n_parallel"]
    params.n_ctx = settings["n_parallel"] * settings["context_size"]
    params.cpuparams.n_threads = settings["n_threads"]
    params.cpuparams_batch.n_threads = settings["n_threads"]
    if settings["chat_template"] is not None:
        params.chat_template = settings["chat_template"]
    params.sse_ping_interval = settings["sse_ping_interval"]
    # A kept-alive connection occupies a thread of the server even while it is idle.
    params.n_threads_http = settings["n_parallel"] + 16
    # Errors only, and those go to the parent's file: silent, yet a failure says why.
    params.verbosity = 1
    # With the cache, an answer depends in its last digits on what was asked before.
    params.cache_prompt = False
    params.cache_ram_mib = 0
    params.n_ctx_checkpoints = 0
    # No page in a browser has any business here, and no model is fetched from anywhere.
    params.cors_origins = ""
    params.ui = False
    params.offline = True
    return xllamacpp.Server(params)


def _signal_on_input(on: bool) -> None:
    # A system whose pipes send no signals notices a parent lost while loading when that is over.
    with contextlib.suppress(OSError):
        fcntl.fcntl(_STDIN, fcntl.F_SETOWN, os.getpid())
        flags = fcntl.fcntl(_STDIN, fcntl.F_GETFL)
        fcntl.fcntl(_STDIN, fcntl.F_SETFL, flags | os.O_ASYNC if on else flags & ~os.O_ASYNC)


def _leave_if_alone(parent: int, milliseconds: int) -> None:
    poll = select.poll()
    poll.register(_STDIN, select.POLLIN)
    if poll.poll(milliseconds) or os.getppid() != parent:
        os._exit(0)


def _silence() -> None:
    # The parent's file is read while starting only; after that it must not grow.
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, _STDOUT)
    os.dup2(null, _STDERR)
    os.close(null)


if __name__ == "__main__":
    main()
