"""One connection of the server: what it reads, what it plays, and everything that ends it.

It speaks raw sockets and just enough HTTP to find where a request ends, so that it can also send
what no HTTP library would. The server is known to it as a :class:`Host` only, and a script as the
:class:`Step` that it plays.
"""

from __future__ import annotations

import json
import select
import socket
import ssl
import struct
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NoReturn, ParamSpec, TypeAlias, TypeVar
from urllib.parse import parse_qsl, urlsplit

from openai_stream.transport import close_half_made

from .polling import HANG_UP, poller
from .sent import Sent

__all__ = ["Connection", "Ended", "Host", "Request", "Script", "Step"]

P = ParamSpec("P")
T = TypeVar("T")

_GONE = HANG_UP | select.POLLHUP | select.POLLERR
_BLOCK = 65536


class Ended(Exception):
    """The connection is over, whoever ended it; unwinds the script on the connection's thread."""


class Step(ABC):
    """One thing that a script does on a connection.

    A script is an iterable of steps, where plain ``bytes`` stand for :class:`Send`. Each of its
    steps is played on the thread of its connection, and gives way at once, ending the script, when
    the client closes the connection or the server is closed. Subclass it for a step of your own,
    out of the methods of :class:`Connection`.

    .. versionadded:: 0.1
    """

    @abstractmethod
    def play(self, connection: Connection) -> None:
        """Do it, on the thread of the connection."""


Script: TypeAlias = Step | bytes | Iterable[Step | bytes]


@dataclass(eq=False)
class Host:
    """What the connections of one server share.

    :param wake: becomes readable when the server closes, for every thread that polls it.
    :param answer_to: notes a request, and chooses the script that answers it.
    """

    ssl_context: ssl.SSLContext | None
    wake: socket.socket
    answer_to: Callable[[Request], Script]
    closed: bool = False
    #: What scripts and handlers have raised.
    failures: list[Exception] = field(default_factory=list)
    #: The connections that wait for an event.
    waiting: set[Connection] = field(default_factory=set)

    def check_open(self) -> None:
        """End a script once the server is closed.

        :raises Ended: it is.
        """
        if self.closed:
            raise Ended


@dataclass(frozen=True, eq=False)
class Request:
    """A request as it was read from the wire.

    .. versionadded:: 0.1
    """

    method: str
    #: The request target, as sent.
    target: str
    #: By name in lower case; values of a repeated header are joined by ``", "``.
    headers: dict[str, str]
    body: bytes
    #: The request line and the header lines, as sent.
    head: bytes
    connection: Connection
    #: When it was whole, by :func:`time.monotonic`.
    received_at: float
    # What has been sent in answer, for the verdict.
    sent: Sent = field(default_factory=Sent, repr=False)

    @property
    def path(self) -> str:
        """The path of the target, without the query."""
        return urlsplit(self.target).path

    @property
    def query(self) -> dict[str, str]:
        """The query's parameters, decoded."""
        return dict(parse_qsl(urlsplit(self.target).query, keep_blank_values=True))

    @cached_property
    def json(self) -> Any:
        """The body, parsed as JSON."""
        return json.loads(self.body)


class Connection:
    """One accepted connection; what a test may look at, and what a :class:`Step` is made of.

    The attributes may be read from any thread; the methods are for the connection's own.

    .. versionadded:: 0.1
    """

    def __init__(self, host: Host, number: int, accepted: socket.socket) -> None:
        #: 1 for the first connection of the server.
        self.number = number
        #: Set when the client's FIN or RST has been seen.
        self.client_closed = threading.Event()
        #: When that was, by :func:`time.monotonic`.
        self.client_closed_at: float | None = None
        #: Set when the server has closed its side too.
        self.closed = threading.Event()
        #: The requests that came over this connection.
        self.requests: list[Request] = []
        #: Bytes that the client's side, or a buffer on the way, has accepted.
        self.sent = 0
        #: Bytes read.
        self.received = 0
        #: Since when a send has been waiting for the client to read, by :func:`time.monotonic`.
        self.blocked_since: float | None = None
        #: What ended it, where that was an error (a reset, a failed TLS handshake).
        self.error: OSError | None = None
        self._host = host
        # Of the request that is being answered; until there is one, nobody looks at it.
        self._answer = Sent()
        self._socket = accepted
        self._buffer = bytearray()
        self._fileno = accepted.fileno()
        self._poll = poller()
        self._poll.register(host.wake, select.POLLIN)
        self._poll.register(self._fileno, HANG_UP)

    def __repr__(self) -> str:
        return f"<Connection {self.number}: {len(self.requests)} requests, {self.sent} bytes sent>"

    def wait_until_blocked(self, seconds: float = 0.2, timeout: float = 10.0) -> bool:
        """Whether a send comes to wait that long for the client to read, before time is up.

        For any thread but the connection's own.
        """
        deadline = time.monotonic() + timeout
        while (now := time.monotonic()) < deadline:
            since = self.blocked_since
            if since is not None and now - since >= seconds:
                return True
            time.sleep(0.005)
        return False

    def send(self, data: bytes) -> None:
        """Send all of it."""
        # First: the client may have reacted, and the test asked, before a send has returned here.
        self._answer.add(data, time.monotonic())
        rest = memoryview(data)
        while rest:
            count = self._attempt(select.POLLOUT, self._socket.send, rest)
            self.sent += count
            rest = rest[count:]
            if rest:
                self._answer.last_at = time.monotonic()

    def receive(self, size: int = 0, until: bytes = b"") -> None:
        """Read until so many bytes, and the delimiter, are there for the next request."""
        while len(self._buffer) < size or until not in self._buffer:
            block = self._attempt(select.POLLIN, self._socket.recv, _BLOCK)
            if not block:
                self._client_gone()
            self._buffer += block
            self.received += len(block)

    def pause(self, seconds: float) -> None:
        """Do nothing for so many seconds."""
        self.pause_until(time.monotonic() + seconds)

    def pause_until(self, deadline: float) -> None:
        """Do nothing until then, by :func:`time.monotonic`."""
        while (rest := deadline - time.monotonic()) > 0:
            # A poll is made of whole milliseconds, and would round what is left up.
            milliseconds = int(rest * 1000)
            if milliseconds:
                self.wait(timeout=milliseconds / 1000)
            else:
                time.sleep(rest)

    def wait_for(self, event: threading.Event) -> None:
        """Do nothing until the event is set."""
        # An event cannot be polled together with a socket, and the client's close must be seen at
        # once: so look at the event now and then, and less often when a thousand do the same.
        waiting = self._host.waiting
        waiting.add(self)
        try:
            while not event.is_set():
                self.wait(timeout=max(0.001, 0.0002 * len(waiting)))
        finally:
            waiting.discard(self)

    def wait_for_bytes(self, other: socket.socket) -> None:
        """Do nothing until the other socket can be read, or its peer has closed it.

        .. versionadded:: 0.1
        """
        self._poll.register(other, select.POLLIN)
        try:
            self.wait()
        finally:
            self._poll.unregister(other)

    def handshake(self, context: ssl.SSLContext | None = None) -> None:
        """Turn the connection to TLS."""
        context = context or self._host.ssl_context
        if context is None:
            raise ValueError("a TLS handshake needs a context: neither step nor server has one")
        try:
            secured = self._attempt(
                select.POLLIN,
                context.wrap_socket,
                self._socket,
                server_side=True,
                do_handshake_on_connect=False,
            )
        except Ended:
            if self.error is not None:
                close_half_made(self.error)
            raise
        self._socket = secured
        self._attempt(select.POLLIN, secured.do_handshake)

    def finish(self, close_notify: bool = True) -> NoReturn:
        """End the connection in an orderly way, see :class:`Fin`."""
        self._answer.ends("closed")
        if close_notify and isinstance(self._socket, ssl.SSLSocket):
            # "Want read" says that ours is sent; the client's own is not waited for.
            with suppress(OSError):
                self._socket.unwrap()
        self._attempt(select.POLLOUT, self._socket.shutdown, socket.SHUT_WR)
        while self._attempt(select.POLLIN, self._socket.recv, _BLOCK):
            pass
        self._client_gone()

    def reset(self) -> NoReturn:
        """End the connection with a RST."""
        self._answer.ends("reset")
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._socket.close()
        raise Ended

    def wait(self, events: int = 0, timeout: float | None = None) -> None:
        """Wait until the socket is ready for these :func:`select.poll` events; none: only wait.

        The one place where the thread of a connection blocks, so that whatever it waits for, the
        client's close and the server's are seen.
        """
        self._poll.modify(self._fileno, events | HANG_UP)
        ready = dict(self._poll.poll(None if timeout is None else timeout * 1000))
        self._host.check_open()
        # Who reads takes what came before the close, and learns of it by reading.
        if events != select.POLLIN and ready.get(self._fileno, 0) & _GONE:
            self._client_gone()

    def _attempt(
        self, events: int, operation: Callable[P, T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        while True:
            self._host.check_open()
            try:
                return operation(*args, **kwargs)
            except BlockingIOError:
                wanted = events
            except ssl.SSLWantReadError:
                wanted = select.POLLIN
            except ssl.SSLWantWriteError:
                wanted = select.POLLOUT
            except OSError as error:
                self._client_gone(error)
            if wanted == select.POLLOUT:
                self.blocked_since = time.monotonic()
            self.wait(wanted)
            self.blocked_since = None

    def _client_gone(self, error: OSError | None = None) -> NoReturn:
        self.error = error
        self.client_closed_at = time.monotonic()
        self._answer.ends("client")
        self.client_closed.set()
        raise Ended

    def serve(self, greeting: Script) -> None:
        """Play the greeting, then answer requests until the connection ends; for its server."""
        try:
            self._play(greeting)
            if self._host.ssl_context is not None and not isinstance(self._socket, ssl.SSLSocket):
                self.handshake()
            while True:
                request = self._read_request()
                self.requests.append(request)
                self._answer = request.sent
                self._play(self._host.answer_to(request))
                self._answer.ends("played")
                if "close" in request.headers.get("connection", "").lower():
                    self.finish()
        except Ended:
            pass
        except Exception as error:  # told on the test's own thread, by the server at its end
            self._host.failures.append(error)
        finally:
            self.blocked_since = None
            self._answer.ends("server")
            self._socket.close()
            self.closed.set()

    def _play(self, script: Script) -> None:
        for step in [script] if isinstance(script, (Step, bytes)) else script:
            if isinstance(step, bytes):
                self.send(step)
            else:
                step.play(self)

    def _read_request(self) -> Request:
        head = self._take_until(b"\r\n\r\n")
        request_line, *lines = head.decode("latin-1").rstrip("\r\n").split("\r\n")
        method, target, version = request_line.split(" ")
        headers: dict[str, str] = {}
        for line in lines:
            name, _, value = line.partition(":")
            name, value = name.lower(), value.strip()
            headers[name] = f"{headers[name]}, {value}" if name in headers else value
        has_body = headers.keys() & {"transfer-encoding", "content-length"} and not self._buffer
        asks = headers.get("expect", "").lower() == "100-continue" and version != "HTTP/1.0"
        if asks and has_body:
            # Who asks waits with the body, curl for a second. It is no part of an answer.
            self._attempt(select.POLLOUT, self._socket.send, b"HTTP/1.1 100 Continue\r\n\r\n")
        if headers.get("transfer-encoding", "").lower() == "chunked":
            body = b"".join(iter(self._take_chunk, b""))
        else:
            body = self._take(int(headers.get("content-length", "0")))
        return Request(method, target, headers, body, head, self, time.monotonic())

    def _take_chunk(self) -> bytes:
        size = int(self._take_until(b"\r\n").partition(b";")[0], 16)
        return self._take(size + len(b"\r\n"))[:size]

    def _take_until(self, delimiter: bytes) -> bytes:
        self.receive(until=delimiter)
        return self._take(self._buffer.index(delimiter) + len(delimiter))

    def _take(self, size: int) -> bytes:
        self.receive(size)
        taken = bytes(self._buffer[:size])
        del self._buffer[:size]
        return taken
