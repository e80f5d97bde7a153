"""Steps: what a script does on a connection, one after the other.

A new thing that a server may do is a new class here, made of the methods of
:class:`~openai_stream.testing.Connection`.
"""

from __future__ import annotations

import itertools
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass

from .connection import Connection, Step

__all__ = [
    "Call",
    "Drip",
    "Fin",
    "Handshake",
    "Hang",
    "Pause",
    "Receive",
    "Repeat",
    "Reset",
    "Send",
    "Until",
    "Wait",
]


@dataclass(frozen=True)
class Send(Step):
    """Send the bytes as they are; blocks while the client does not read.

    .. versionadded:: 0.1
    """

    data: bytes

    def play(self, connection: Connection) -> None:
        connection.send(self.data)


@dataclass(frozen=True)
class Repeat(Step):
    """Send the bytes again and again, endlessly unless *times* is given, *delay* seconds apart.

    .. versionadded:: 0.1
    """

    data: bytes
    times: int | None = None
    delay: float = 0.0

    def play(self, connection: Connection) -> None:
        for _ in itertools.count() if self.times is None else range(self.times):
            connection.send(self.data)
            connection.pause(self.delay)


@dataclass(frozen=True)
class Drip(Step):
    """Send the bytes in pieces of *size*, each followed by a pause of *delay* seconds.

    .. versionadded:: 0.1
    """

    data: bytes
    size: int = 1
    delay: float = 0.01

    def play(self, connection: Connection) -> None:
        for start in range(0, len(self.data), self.size):
            connection.send(self.data[start : start + self.size])
            connection.pause(self.delay)


@dataclass(frozen=True)
class Pause(Step):
    """Do nothing for so many seconds.

    .. versionadded:: 0.1
    """

    seconds: float

    def play(self, connection: Connection) -> None:
        connection.pause(self.seconds)


@dataclass(frozen=True)
class Until(Step):
    """Do nothing until so many seconds have passed since the request that is answered came whole.

    A script of these keeps a pace that does not drift, however long its other steps take.

    .. versionadded:: 0.1
    """

    seconds: float

    def play(self, connection: Connection) -> None:
        connection.pause_until(connection.requests[-1].received_at + self.seconds)


@dataclass(frozen=True)
class Wait(Step):
    """Do nothing until the test sets the event.

    .. versionadded:: 0.1
    """

    event: threading.Event

    def play(self, connection: Connection) -> None:
        connection.wait_for(self.event)


@dataclass(frozen=True)
class Hang(Step):
    """Keep the connection open and say nothing, until the client closes it or the server ends.

    .. versionadded:: 0.1
    """

    def play(self, connection: Connection) -> None:
        connection.wait()


@dataclass(frozen=True)
class Receive(Step):
    """Wait until that much of the next request has come, in bytes, or up to a delimiter.

    For scripts that are played before a request was read. What has come is not taken away: the
    request can still be read whole. What has not come stays unread, and holds the client back.

    .. versionadded:: 0.1
    """

    size: int = 0
    until: bytes = b""

    def play(self, connection: Connection) -> None:
        connection.receive(self.size, self.until)


@dataclass(frozen=True)
class Handshake(Step):
    """Turn the connection to TLS, from the server's side.

    A server with an ``ssl_context`` does so by itself before the first request; the step is for
    scripts that come earlier, and for the server that plays a proxy and the origin behind it.

    :param context: the server's own if ``None``.

    .. versionadded:: 0.1
    """

    context: ssl.SSLContext | None = None

    def play(self, connection: Connection) -> None:
        connection.handshake(self.context)


@dataclass(frozen=True)
class Fin(Step):
    """End the connection in an orderly way, after which nothing of the script is played.

    The sending side is shut down and what the client still sends is read and dropped until it
    closes too, so that no reset can overtake the last bytes.

    :param close_notify: over TLS, say goodbye first, as the standard asks.

    .. versionadded:: 0.1
    """

    close_notify: bool = True

    def play(self, connection: Connection) -> None:
        connection.finish(self.close_notify)


@dataclass(frozen=True)
class Reset(Step):
    """End the connection with a RST, after which nothing of the script is played.

    .. versionadded:: 0.1
    """

    def play(self, connection: Connection) -> None:
        connection.reset()


@dataclass(frozen=True)
class Call(Step):
    """Call a function, on the thread of the connection; nothing can interrupt it.

    .. versionadded:: 0.1
    """

    function: Callable[[], object]

    def play(self, connection: Connection) -> None:
        self.function()
