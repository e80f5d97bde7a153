"""The process that llama.cpp's server runs in: its start, the wait until it is ready, its end.

What runs in it is the script beside this file, ``child.py``.
"""

from __future__ import annotations

import contextlib
import http.client
import importlib.util
import json
import os
import selectors
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import IO, Any, cast
from urllib.parse import urlsplit

import attrs

from openai_stream.errors import APIConnectionError, APITimeoutError, ConfigurationError
from openai_stream.extras import install

__all__ = ["Child", "Start", "end", "spawn"]

_SERVER_PACKAGE = "xllamacpp"
_CHILD = Path(__file__).with_name("child.py")
#: Seconds between two questions to a server that is up but not ready.
_ASK_EVERY = 0.02
#: How much of what llama.cpp had to say goes into an error message, in bytes.
_TAIL = 2000


class _Process(subprocess.Popen[bytes]):
    """A process whose end is seen to by a finalizer, by its parent's end and by nothing else."""

    def __del__(self) -> None:
        # Popen's own warns that the process still runs, at the interpreter's exit and in a forked
        # child too, where that is as it should be.
        pass


@attrs.define(eq=False)
class Child:
    """The process, and how it is told to end."""

    process: _Process
    #: One end of a pipe that carries nothing more: the child ends when its last copy closes.
    lifeline: int
    model: str
    parent: int = attrs.field(factory=os.getpid)
    url: str | None = None


def _server_missing(reason: str) -> ConfigurationError:
    return ConfigurationError(
        f"no server: {_SERVER_PACKAGE} cannot be imported ({reason}): {install('local')}"
    )


def spawn(model_path: Path, settings: dict[str, Any], log: IO[bytes]) -> Child:
    """Start it.

    :param settings: of the server, as JSON can carry them.
    :param log: takes what llama.cpp prints.
    :raises ConfigurationError: the server is not installed.
    """
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
    return Child(process, lifeline, model)


def end(child: Child) -> None:
    """End it at once."""
    # It has nothing to put in order, and asked politely it could take half a minute. In a forked
    # child it is not ours, and our copy of the pipe may long be another file.
    if child.parent == os.getpid():
        child.process.kill()
        child.process.wait()
        os.close(child.lifeline)


@attrs.define(eq=False)
class Start:
    """The wait for one child to be ready."""

    child: Child
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
