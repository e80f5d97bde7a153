"""Answers that another server gives, passed on as they come."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from openai_stream.recordings.upstream import Passing, Upstream

from .connection import Connection, Ended, Request, Script, Step
from .wire import error_answer

__all__ = ["passed_on"]

_BLOCK = 65536
#: Seconds that an answer has to end once the client has hung up. Clients do so behind ``[DONE]``,
#: without having seen the end of the body, this library after 20 ms; the recording should be whole.
_FAREWELL = 0.2
_HANGING_UP = 2.0  # seconds; only looking a name up takes longer, and cannot be stopped


def passed_on(upstream: Upstream) -> Callable[[Request], Script]:
    """A handler that passes each request on, and back whatever the server answers.

    When the client hangs up, so does this on the server.
    """

    def handler(request: Request) -> Script:
        return _PassedOn(
            upstream.ask(request.method, request.target, request.headers, request.body)
        )

    return handler


@dataclass(frozen=True)
class _PassedOn(Step):
    """Its connection's thread looks at the client alone; the server has a thread of its own.

    Between the two is a pair of sockets: it can be waited for together with the client, and holds
    the server back if the client is slow.
    """

    passing: Passing

    def play(self, connection: Connection) -> None:
        passing = self.passing
        ours, theirs = socket.socketpair()

        def ask() -> None:
            with theirs:
                passing.run(theirs.sendall)

        thread = threading.Thread(target=ask, name="openai-stream-proxy", daemon=True)
        thread.start()
        try:
            with ours:
                try:
                    while True:
                        connection.wait_for_bytes(ours)
                        block = ours.recv(_BLOCK)
                        if not block:
                            break
                        connection.send(block)
                except Ended:
                    _drain(ours)
                    raise
        finally:
            passing.abort()
            thread.join(_HANGING_UP)
        if not passing.answered:
            reason = f"the server behind this proxy gave no answer: {passing.failure}"
            for part in error_answer(502, reason, code="no_answer"):
                connection.send(part)  # type: ignore[arg-type]  # it is bytes alone
        elif passing.end == "reset":
            connection.reset()
        elif passing.end != "open":
            connection.finish()


def _drain(ours: socket.socket) -> None:
    """Take the rest of an answer, if it ends now."""
    until = time.monotonic() + _FAREWELL
    with suppress(OSError):  # its time is up
        while (left := until - time.monotonic()) > 0:
            ours.settimeout(left)
            if not ours.recv(_BLOCK):
                break
