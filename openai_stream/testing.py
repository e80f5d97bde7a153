"""A scripted HTTP server on loopback, for tests of code that reads streams.

:class:`ScriptedServer` answers each request with the next *script*: the bytes, pauses, hangs and
ends of connection that a test wants to see on the wire, and it notes what came from the client and
when. It speaks raw sockets and just enough HTTP to find where a request ends, so that it can also
send what no HTTP library would; what an answer means is left to the client under test. ::

    with ScriptedServer() as server:
        server.play(answer([*chat_chunks("Hello world")[:2], Reset()]))
        client = Client(api_key="test", base_url=server.base_url)
        ...
        assert server.requests[0].json["stream"] is True
"""

from __future__ import annotations

import itertools
import json
import random
import re
import select
import socket
import ssl
import string
import struct
import threading
import time
import zlib
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from http import HTTPStatus
from types import TracebackType
from typing import Any, Literal, NoReturn, ParamSpec, TypeAlias, TypeVar
from urllib.parse import parse_qsl, urlsplit

__all__ = [
    "LAST_CHUNK",
    "Answer",
    "Call",
    "Connection",
    "Drip",
    "Event",
    "Fin",
    "Handler",
    "Handshake",
    "Hang",
    "Pause",
    "Receive",
    "Repeat",
    "Request",
    "Reset",
    "Script",
    "ScriptedServer",
    "Send",
    "Step",
    "Wait",
    "answer",
    "blackhole_url",
    "chat_chunks",
    "chunk",
    "completion_chunks",
    "endless_chunk_size",
    "endless_headers",
    "error_answer",
    "frame",
    "head",
    "json_answer",
    "refused_url",
    "tool_call_chunks",
]

P = ParamSpec("P")
T = TypeVar("T")

# Shows the client's FIN without reading what came before it; a name that only Linux has.
_HANG_UP = getattr(select, "POLLRDHUP", select.POLLHUP)
_GONE = _HANG_UP | select.POLLHUP | select.POLLERR
_BLOCK = 65536


class _Ended(Exception):
    """The connection is over, whoever ended it; unwinds the script on the connection's thread."""


# Steps ---------------------------------------------------------------------------------------


class Step(ABC):
    """One thing that a script does on a connection.

    A script is an iterable of steps, where plain ``bytes`` stand for :class:`Send`. Each of its
    steps is played on the thread of its connection, and gives way at once, ending the script, when
    the client closes the connection or the server is closed. Subclass it for a step of your own,
    out of the methods of :class:`Connection`.
    """

    @abstractmethod
    def play(self, connection: Connection) -> None:
        """Do it, on the thread of the connection."""


@dataclass(frozen=True)
class Send(Step):
    """Send the bytes as they are; blocks while the client does not read."""

    data: bytes

    def play(self, connection: Connection) -> None:
        connection.send(self.data)


@dataclass(frozen=True)
class Repeat(Step):
    """Send the bytes again and again, endlessly unless *times* is given, *delay* seconds apart."""

    data: bytes
    times: int | None = None
    delay: float = 0.0

    def play(self, connection: Connection) -> None:
        for _ in itertools.count() if self.times is None else range(self.times):
            connection.send(self.data)
            connection.pause(self.delay)


@dataclass(frozen=True)
class Drip(Step):
    """Send the bytes in pieces of *size*, each followed by a pause of *delay* seconds."""

    data: bytes
    size: int = 1
    delay: float = 0.01

    def play(self, connection: Connection) -> None:
        for start in range(0, len(self.data), self.size):
            connection.send(self.data[start : start + self.size])
            connection.pause(self.delay)


@dataclass(frozen=True)
class Pause(Step):
    """Do nothing for so many seconds."""

    seconds: float

    def play(self, connection: Connection) -> None:
        connection.pause(self.seconds)


@dataclass(frozen=True)
class Wait(Step):
    """Do nothing until the test sets the event."""

    event: threading.Event

    def play(self, connection: Connection) -> None:
        connection.wait_for(self.event)


@dataclass(frozen=True)
class Hang(Step):
    """Keep the connection open and say nothing, until the client closes it or the server ends."""

    def play(self, connection: Connection) -> None:
        connection.wait()


@dataclass(frozen=True)
class Receive(Step):
    """Wait until that much of the next request has come, in bytes, or up to a delimiter.

    For scripts that are played before a request was read. What has come is not taken away: the
    request can still be read whole. What has not come stays unread, and holds the client back.
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
    """

    close_notify: bool = True

    def play(self, connection: Connection) -> None:
        connection.finish(self.close_notify)


@dataclass(frozen=True)
class Reset(Step):
    """End the connection with a RST, after which nothing of the script is played."""

    def play(self, connection: Connection) -> None:
        connection.reset()


@dataclass(frozen=True)
class Call(Step):
    """Call a function, on the thread of the connection; nothing can interrupt it."""

    function: Callable[[], object]

    def play(self, connection: Connection) -> None:
        self.function()


Script: TypeAlias = Step | bytes | Iterable[Step | bytes]


# The server ----------------------------------------------------------------------------------


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
        deadline = time.monotonic() + seconds
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

    :param ssl_context: to serve ``https``; with the certificate loaded.
    :param send_buffer: the size of the sockets' send buffer, in bytes; a small one shows
        backpressure early, one below 64 KiB also waits for delayed acknowledgements.
    :param receive_buffer: the same for receiving, for clients that send a lot.
    """

    def __init__(
        self,
        *,
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
        # Closing one end makes the other one readable, for every thread that polls it.
        self._wake, self._waker = socket.socketpair()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=4096)
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


# Addresses where no server answers -----------------------------------------------------------


@contextmanager
def refused_url() -> Iterator[str]:
    """A base URL on loopback at which every connection is refused."""
    # Bound and not listening: nobody else can come to listen there in the meantime.
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{bound.getsockname()[1]}/v1"


@contextmanager
def blackhole_url() -> Iterator[str]:
    """A base URL on loopback at which connecting takes for ever: nothing is ever answered."""
    with ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        address = listener.getsockname()
        # The kernel drops what comes once the queue of connections to accept is full.
        connected = True
        while connected:
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(address)
            poll = select.poll()
            poll.register(filler, select.POLLOUT)
            connected = bool(poll.poll(100))
        yield f"http://127.0.0.1:{address[1]}/v1"


# Answers -------------------------------------------------------------------------------------

#: The end of a chunked body.
LAST_CHUNK = b"0\r\n\r\n"

#: A dict is sent as JSON, a string as it is, each as the data of one frame; bytes are a frame
#: already, or a piece of one; a step is played between the frames, and what it sends by itself goes
#: out as it is, so that in a chunked body it wants :func:`chunk`.
Event: TypeAlias = Mapping[str, Any] | str | bytes | Step
Headers: TypeAlias = Mapping[str, str | None]


def head(status: int = 200, headers: Headers | None = None) -> bytes:
    """The status line and the header lines; a header that is ``None`` is left out."""
    reason = next((known.phrase for known in HTTPStatus if known == status), "")
    lines = [f"HTTP/1.1 {status} {reason}"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items() if value is not None]
    return "".join(f"{line}\r\n" for line in [*lines, ""]).encode("latin-1")


def chunk(data: bytes) -> bytes:
    """The bytes as one chunk of a chunked body."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def frame(
    data: Mapping[str, Any] | str,
    *,
    event: str | None = None,
    id: str | None = None,
    line_end: str = "\n",
) -> bytes:
    """One frame of an event stream; a dict is sent as JSON, a string line by line."""
    text = data if isinstance(data, str) else _compact(data)
    fields = {"event": event, "id": id}
    lines = [f"{name}: {value}" for name, value in fields.items() if value is not None]
    lines += [f"data: {line}" for line in text.split("\n")]
    return "".join(f"{line}{line_end}" for line in [*lines, ""]).encode()


def answer(
    events: Iterable[Event] = (),
    *,
    done: bool = True,
    status: int = 200,
    headers: Headers | None = None,
    content_type: str | None = "text/event-stream; charset=utf-8",
    framing: Literal["chunked", "length", "close"] = "chunked",
    encoding: Literal["gzip", "deflate"] | None = None,
    flush: bool = True,
    line_end: str = "\n",
    events_per_chunk: int = 1,
    bytes_per_chunk: int | None = None,
    delay: float = 0.0,
) -> list[Step | bytes]:
    """A script that answers with an event stream.

    :param events: see :data:`Event`; a :class:`Fin` or :class:`Reset` among them cuts the answer
        there.
    :param done: whether ``data: [DONE]`` comes last.
    :param headers: in addition to, or in place of, those that the other arguments make; ``None``
        leaves one out.
    :param framing: what tells the client where the body ends.
    :param encoding: compress the body.
    :param flush: compress in such a way that each event can be read when it has come.
    :param line_end: of the frames.
    :param events_per_chunk: how many go into one send, and one HTTP chunk if *framing* is that.
    :param bytes_per_chunk: cut the body by size instead, wherever that falls; 1: byte by byte.
    :param delay: pause after each chunk, in seconds.
    """
    frames: list[Step | bytes] = [
        event if isinstance(event, (Step, bytes)) else frame(event, line_end=line_end)
        for event in events
    ]
    if done:
        frames.append(frame("[DONE]", line_end=line_end))
    if encoding is not None:
        frames = _compressed(frames, encoding, flush)
    body = _cut(frames, events_per_chunk, bytes_per_chunk)

    own: dict[str, str | None] = {"Content-Type": content_type, "Content-Encoding": encoding}
    end: list[Step | bytes] = []
    if framing == "length":
        own["Content-Length"] = str(sum(len(part) for part in body if isinstance(part, bytes)))
    elif framing == "close":
        own["Connection"] = "close"
        end = [Fin()]
    else:
        own["Transfer-Encoding"] = "chunked"
        body = [chunk(part) if isinstance(part, bytes) else part for part in body]
        end = [LAST_CHUNK]
    given = {name.lower() for name in headers or ()}
    own = {name: value for name, value in own.items() if name.lower() not in given}

    script: list[Step | bytes] = [head(status, {**own, **(headers or {})})]
    for part in body:
        script.append(part)
        if delay and isinstance(part, bytes):
            script.append(Pause(delay))
    return script + end


def json_answer(
    body: object, status: int = 200, headers: Headers | None = None
) -> list[Step | bytes]:
    """A script that answers with a JSON body."""
    content = _compact(body).encode()
    own = {"Content-Type": "application/json", "Content-Length": str(len(content))}
    return [head(status, {**own, **(headers or {})}) + content]


def error_answer(
    status: int,
    message: str,
    *,
    code: str | None = None,
    type: str | None = "invalid_request_error",
    headers: Headers | None = None,
) -> list[Step | bytes]:
    """A script that answers with an error status and the API's error object."""
    error = {"message": message, "type": type, "param": None, "code": code}
    return json_answer({"error": error}, status, headers)


def endless_headers() -> list[Step | bytes]:
    """A script that answers with header lines, and never stops."""
    return [b"HTTP/1.1 200 OK\r\n", Repeat(b"X-Padding: 0\r\n" * 1000)]


def endless_chunk_size() -> list[Step | bytes]:
    """A script whose first chunk has a size line that never ends."""
    start = head(200, {"Content-Type": "text/event-stream", "Transfer-Encoding": "chunked"})
    return [start, Repeat(b"0" * _BLOCK)]


def _compact(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _compressed(
    frames: Iterable[Step | bytes], encoding: Literal["gzip", "deflate"], flush: bool
) -> list[Step | bytes]:
    compressor = zlib.compressobj(wbits=zlib.MAX_WBITS + (16 if encoding == "gzip" else 0))
    compressed: list[Step | bytes] = []
    for part in frames:
        if isinstance(part, bytes):
            data = compressor.compress(part)
            compressed.append(data + compressor.flush(zlib.Z_SYNC_FLUSH) if flush else data)
        else:
            compressed.append(part)
    return [part for part in [*compressed, compressor.flush()] if part != b""]


def _cut(
    frames: Iterable[Step | bytes], events_per_chunk: int, bytes_per_chunk: int | None
) -> list[Step | bytes]:
    """Put together what goes into one chunk; a step ends the chunk before it."""
    parts: list[Step | bytes] = []
    gathered: list[bytes] = []

    def release() -> None:
        data = b"".join(gathered)
        size = bytes_per_chunk or max(1, len(data))
        parts.extend(data[start : start + size] for start in range(0, len(data), size))
        gathered.clear()

    for part in frames:
        if isinstance(part, bytes):
            gathered.append(part)
            if bytes_per_chunk is None and len(gathered) == events_per_chunk:
                release()
        else:
            release()
            parts.append(part)
    release()
    return parts


# What the API sends --------------------------------------------------------------------------

_CREATED = 1700000000
_PIECE = re.compile(r"\s*\S+|\s+")


def chat_chunks(
    text: str | Iterable[str],
    *,
    model: str = "gpt-4o-mini-2024-07-18",
    finish_reason: str = "stop",
    usage: bool = False,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """The chunks of a chat completion as OpenAI sends them.

    :param text: the pieces, one a chunk; a string is cut before its spaces.
    :param usage: whether a last chunk, without choices, tells the usage.
    :param seed: of the id, and of the random padding that each chunk carries.
    """
    deltas: list[dict[str, Any]] = [{"role": "assistant", "content": "", "refusal": None}]
    deltas += [{"content": piece} for piece in _pieces(text)]
    return _chat(deltas, model, finish_reason, usage, _source(seed))


def tool_call_chunks(
    *calls: tuple[str, str],
    model: str = "gpt-4o-mini-2024-07-18",
    usage: bool = False,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """The chunks of a chat completion that calls tools, as OpenAI sends them.

    :param calls: of each the function's name and its arguments, a JSON text.
    """
    source = _source(seed)
    deltas: list[dict[str, Any]] = [{"role": "assistant", "content": None}]
    for index, (name, arguments) in enumerate(calls):
        function = {"name": name, "arguments": ""}
        call = {"id": f"call_{_token(source, 24)}", "type": "function", "function": function}
        parts: list[dict[str, Any]] = [call]
        parts += [{"function": {"arguments": piece}} for piece in _pieces(arguments)]
        deltas += [{"tool_calls": [{"index": index, **part}]} for part in parts]
    return _chat(deltas, model, "tool_calls", usage, source)


def completion_chunks(
    text: str | Iterable[str],
    *,
    model: str = "gpt-3.5-turbo-instruct:20230824-v2",
    finish_reason: str = "stop",
    usage: bool = False,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """The chunks of a text completion as OpenAI sends them; see :func:`chat_chunks`."""
    source = _source(seed)
    base = {
        "id": f"cmpl-{_token(source, 29)}",
        "object": "text_completion",
        "created": _CREATED,
        "model": model,
    }
    contents = [{"text": piece} for piece in [*_pieces(text), ""]]
    return _chunks(base, contents, finish_reason, usage, source)


def _chat(
    deltas: list[dict[str, Any]],
    model: str,
    finish_reason: str,
    usage: bool,
    source: random.Random,
) -> list[dict[str, Any]]:
    base = {
        "id": f"chatcmpl-{_token(source, 29)}",
        "object": "chat.completion.chunk",
        "created": _CREATED,
        "model": model,
        "service_tier": "default",
        "system_fingerprint": f"fp_{source.getrandbits(40):010x}",
    }
    contents = [{"delta": delta} for delta in [*deltas, {}]]
    return _chunks(base, contents, finish_reason, usage, source)


def _chunks(
    base: Mapping[str, Any],
    contents: Sequence[Mapping[str, Any]],
    finish_reason: str,
    usage: bool,
    source: random.Random,
) -> list[dict[str, Any]]:
    """One chunk for each content of choice 0, the last of which finishes it."""
    ends = [None] * (len(contents) - 1) + [finish_reason]
    bodies: list[dict[str, Any]] = [
        {
            "choices": [{"index": 0, **content, "logprobs": None, "finish_reason": end}],
            "usage": None,
        }
        for content, end in zip(contents, ends, strict=True)
    ]
    if usage:
        tokens = {"prompt_tokens": 9, "completion_tokens": len(contents)}
        bodies.append({"choices": [], "usage": {**tokens, "total_tokens": 9 + len(contents)}})
    return [
        {**base, **body, "obfuscation": _token(source, source.randrange(1, 16))} for body in bodies
    ]


def _pieces(text: str | Iterable[str]) -> Iterable[str]:
    return _PIECE.findall(text) if isinstance(text, str) else text


def _source(seed: int) -> random.Random:
    return random.Random(seed)  # noqa: S311 - the same in each run, which no secret would be


def _token(source: random.Random, length: int) -> str:
    return "".join(source.choices(string.ascii_letters + string.digits, k=length))
