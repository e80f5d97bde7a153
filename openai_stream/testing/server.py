"""The server: connections, requests, and the threads that play scripts on them.

It speaks raw sockets and just enough HTTP to find where a request ends, so that it can also send
what no HTTP library would; what an answer means is left to the client under test.
"""

from __future__ import annotations

import itertools
import json
import select
import socket
import ssl
import struct
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from types import TracebackType
from typing import TYPE_CHECKING, Any, NoReturn, ParamSpec, TypeAlias, TypeVar
from urllib.parse import parse_qsl, urlsplit

from .recorded import Match, answers_from
from .steps import Script, Step
from .wire import error_answer

if TYPE_CHECKING:
    from openai_stream.recordings import RecordedExchange

__all__ = ["Answer", "Connection", "Handler", "Request", "ScriptedServer"]

P = ParamSpec("P")
T = TypeVar("T")

# Shows the client's FIN without reading what came before it; a name that only Linux has.
_HANG_UP = getattr(select, "POLLRDHUP", select.POLLHUP)
_GONE = _HANG_UP | select.POLLHUP | select.POLLERR
_BLOCK = 65536


class _Ended(Exception):
    """The connection is over, whoever ended it; unwinds the script on the connection's thread."""


@dataclass(frozen=True, eq=False)
class Request:
    """A request as it was read from the wire."""

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


Handler: TypeAlias = Callable[[Request], Script]
Answer: TypeAlias = Script | Handler


class Connection:
    """One accepted connection; what a test may look at, and what a :class:`Step` is made of.

    The attributes may be read from any thread; the methods are for the connection's own.
    """

    def __init__(self, server: ScriptedServer, number: int, accepted: socket.socket) -> None:
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
        self._server = server
        self._socket = accepted
        self._buffer = bytearray()
        self._fileno = accepted.fileno()
        self._poll = select.poll()
        self._poll.register(server._wake, select.POLLIN)
        self._poll.register(self._fileno, _HANG_UP)

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
        rest = memoryview(data)
        while rest:
            count = self._attempt(select.POLLOUT, self._socket.send, rest)
            self.sent += count
            rest = rest[count:]

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
        waiting = self._server._waiting
        waiting.add(self)
        try:
            while not event.is_set():
                self.wait(timeout=max(0.001, 0.0002 * len(waiting)))
        finally:
            waiting.discard(self)

    def handshake(self, context: ssl.SSLContext | None = None) -> None:
        """Turn the connection to TLS."""
        context = context or self._server.ssl_context
        if context is None:
            raise ValueError("a TLS handshake needs a context: neither step nor server has one")
        # Of a client that is gone already, ``ssl`` would leave the socket open on some Pythons.
        self._attempt(select.POLLIN, self._socket.getpeername)
        secured = self._attempt(
            select.POLLIN,
            context.wrap_socket,
            self._socket,
            server_side=True,
            do_handshake_on_connect=False,
        )
        self._socket = secured
        self._attempt(select.POLLIN, secured.do_handshake)

    def finish(self, close_notify: bool = True) -> NoReturn:
        """End the connection in an orderly way, see :class:`Fin`."""
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
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._socket.close()
        raise _Ended

    def wait(self, events: int = 0, timeout: float | None = None) -> None:
        """Wait until the socket is ready for these :func:`select.poll` events; none: only wait.

        The one place where the thread of a connection blocks, so that whatever it waits for, the
        client's close and the server's are seen.
        """
        self._poll.modify(self._fileno, events | _HANG_UP)
        ready = dict(self._poll.poll(None if timeout is None else timeout * 1000))
        self._server._check_open()
        # Who reads takes what came before the close, and learns of it by reading.
        if events != select.POLLIN and ready.get(self._fileno, 0) & _GONE:
            self._client_gone()

    def _attempt(
        self, events: int, operation: Callable[P, T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        while True:
            self._server._check_open()
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
        self.client_closed.set()
        raise _Ended

    def _serve(self, greeting: Script) -> None:
        try:
            self._play(greeting)
            if self._server.ssl_context is not None and not isinstance(self._socket, ssl.SSLSocket):
                self.handshake()
            while True:
                request = self._read_request()
                self.requests.append(request)
                self._play(self._server._answer_to(request))
                if "close" in request.headers.get("connection", "").lower():
                    self.finish()
        except _Ended:
            pass
        except Exception as error:  # told on the test's own thread, by the server at its end
            self._server.failures.append(error)
        finally:
            self.blocked_since = None
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
        method, target, _version = request_line.split(" ")
        headers: dict[str, str] = {}
        for line in lines:
            name, _, value = line.partition(":")
            name, value = name.lower(), value.strip()
            headers[name] = f"{headers[name]}, {value}" if name in headers else value
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


class ScriptedServer:
    """An HTTP server on loopback that answers from scripts; a context manager.

    It listens from the moment it is made. Each connection has a daemon thread of the server, is
    kept alive, and is closed when the request asks for it, a script ends it, or the client does.
    :meth:`close` ends all of them and waits for their threads. All methods may be called from any
    thread.

    An exception out of a script or a handler ends its connection, is kept in :attr:`failures`, and
    is raised at the end of the ``with`` block.

    :param port: where to listen; 0 for any that is free.
    :param ssl_context: to serve ``https``; with the certificate loaded.
    :param send_buffer: the size of the sockets' send buffer, in bytes; a small one shows
        backpressure early, one below 64 KiB also waits for delayed acknowledgements.
    :param receive_buffer: the same for receiving, for clients that send a lot.
    """

    def __init__(
        self,
        *,
        port: int = 0,
        ssl_context: ssl.SSLContext | None = None,
        send_buffer: int | None = None,
        receive_buffer: int | None = None,
    ) -> None:
        self.ssl_context = ssl_context
        #: The whole requests so far, in the order in which they came.
        self.requests: list[Request] = []
        #: The connections so far, ended ones too, in the order in which they came.
        self.connections: list[Connection] = []
        #: What scripts and handlers have raised.
        self.failures: list[Exception] = []
        self._answers: deque[Answer] = deque()
        self._greetings: deque[Script] = deque()
        self._default: Answer = error_answer(501, "the scripted server has no script left to play")
        self._changed = threading.Condition()
        self._closed = False
        # First, as it may fail where the port is somebody else's.
        self._listener = socket.create_server(("127.0.0.1", port), backlog=4096)
        # Closing one end makes the other one readable, for every thread that polls it.
        self._wake, self._waker = socket.socketpair()
        self._listener.setblocking(False)
        for option, size in ((socket.SO_SNDBUF, send_buffer), (socket.SO_RCVBUF, receive_buffer)):
            if size is not None:
                self._listener.setsockopt(socket.SOL_SOCKET, option, size)
        self.port: int = self._listener.getsockname()[1]
        scheme = "http" if ssl_context is None else "https"
        self.base_url = f"{scheme}://127.0.0.1:{self.port}/v1"
        self._numbers = itertools.count(1)
        self._waiting: set[Connection] = set()
        self._threads: list[threading.Thread] = []
        self._acceptor = threading.Thread(
            target=self._accept, name=f"scripted-server-{self.port}", daemon=True
        )
        self._acceptor.start()

    def __enter__(self) -> ScriptedServer:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
        if exc_value is None and self.failures:
            raise self.failures[0]

    def __repr__(self) -> str:
        return f"<ScriptedServer {self.base_url}>"

    def play(self, *answers: Answer) -> None:
        """Answer the next requests with these, each with one: a script, or a handler.

        A handler is called with the request, on the thread of its connection, and returns a script.
        """
        with self._changed:
            self._answers.extend(answers)

    def always(self, answer: Answer) -> None:
        """Answer the requests that nothing is left to play for with this, again and again."""
        if isinstance(answer, Iterator):
            raise TypeError("an iterator can be played once only: give a list, or a handler")
        with self._changed:
            self._default = answer

    def answer_from(
        self,
        exchanges: Iterable[RecordedExchange],
        *,
        match: Match = "request",
        speed: float | None = 1.0,
    ) -> None:
        """Answer the requests that nothing is left to play for out of a recording.

        :param exchanges: of :func:`~openai_stream.recordings.read_recording`.
        :param match: ``"request"``: with the answer to the same method, path and body (JSON in any
            order), and to an unknown one with status 404. ``"turn"``: one after the other, whatever
            is asked. Where there are several they take turns, and begin anew after the last.
        :param speed: see :func:`recorded`.
        """
        self.always(answers_from(exchanges, match, speed))

    def on_connect(self, *scripts: Script) -> None:
        """Play these on the next connections, each on one, before TLS and before any request.

        A connection whose script does not end it goes on with its requests.
        """
        with self._changed:
            self._greetings.extend(scripts)

    def wait_for_requests(self, count: int, timeout: float = 10.0) -> list[Request]:
        """Wait until so many requests have come whole, and return them.

        :raises TimeoutError: when they do not come in so many seconds.
        """
        return self._wait_for(self.requests, count, timeout, "requests")

    def wait_for_connections(self, count: int, timeout: float = 10.0) -> list[Connection]:
        """Wait until so many connections have been accepted, and return them.

        :raises TimeoutError: when they do not come in so many seconds.
        """
        return self._wait_for(self.connections, count, timeout, "connections")

    def forget(self) -> None:
        """Drop the requests and the closed connections so far; for runs that go on for hours."""
        with self._changed:
            self.requests.clear()
            self.connections[:] = [one for one in self.connections if not one.closed.is_set()]

    def close(self, timeout: float = 10.0) -> None:
        """End all connections, whatever they do, and their threads. Twice is harmless.

        :raises RuntimeError: when a thread goes on for so many seconds, because a step or a handler
            blocks by itself; closing again, when it no longer does, ends the rest.
        """
        self._closed = True
        self._waker.close()
        deadline = time.monotonic() + timeout
        self._acceptor.join(timeout)
        others = [one for one in self._threads if one is not threading.current_thread()]
        for thread in others:
            thread.join(max(0.0, deadline - time.monotonic()))
        busy = [thread.name for thread in [self._acceptor, *others] if thread.is_alive()]
        if busy:
            raise RuntimeError(f"still running after {timeout} s: {', '.join(busy)}")
        self._wake.close()

    def _check_open(self) -> None:
        if self._closed:
            raise _Ended

    def _wait_for(self, arrived: list[T], count: int, timeout: float, what: str) -> list[T]:
        with self._changed:
            if not self._changed.wait_for(lambda: len(arrived) >= count, timeout):
                raise TimeoutError(f"{len(arrived)} of {count} {what} after {timeout} s")
            return arrived[:count]

    def _accept(self) -> None:
        poll = select.poll()
        poll.register(self._wake, select.POLLIN)
        poll.register(self._listener, select.POLLIN)
        with self._listener:
            while not self._closed:
                try:
                    accepted, _ = self._listener.accept()
                except BlockingIOError:
                    poll.poll()
                except ConnectionError:
                    continue
                else:
                    self._start(accepted)

    def _start(self, accepted: socket.socket) -> None:
        accepted.setblocking(False)
        accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with self._changed:
            connection = Connection(self, next(self._numbers), accepted)
            greeting = self._greetings.popleft() if self._greetings else ()
            self.connections.append(connection)
            self._changed.notify_all()
        thread = threading.Thread(
            target=connection._serve,
            args=(greeting,),
            name=f"{self._acceptor.name}-{connection.number}",
            daemon=True,
        )
        self._threads = [thread, *(other for other in self._threads if other.is_alive())]
        thread.start()

    def _answer_to(self, request: Request) -> Script:
        with self._changed:
            self.requests.append(request)
            self._changed.notify_all()
            chosen = self._answers.popleft() if self._answers else self._default
        return chosen(request) if callable(chosen) else chosen
