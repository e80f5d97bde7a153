"""The server: where it listens, what it answers, and the threads that its connections run on.

What happens on a connection is told in :mod:`.connection`; what an answer means is left to the
client under test.
"""

from __future__ import annotations

import itertools
import select
import socket
import ssl
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import TracebackType
from typing import TypeAlias, TypeVar

from openai_stream.recordings import RecordedExchange

from .connection import Connection, Host, Request, Script
from .polling import poller
from .recorded import Match, RecordedAnswers
from .verdict import Verdict, judged
from .wire import error_answer

__all__ = ["Answer", "Handler", "ScriptedServer"]

_AGAIN = 20  # milliseconds until it looks whether there is a descriptor again

T = TypeVar("T")

_NOTHING_LEFT = error_answer(501, "the scripted server has no script left to play")

Handler: TypeAlias = Callable[[Request], Script]
Answer: TypeAlias = Script | Handler


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

    .. versionadded:: 0.1
    """

    def __init__(
        self,
        *,
        port: int = 0,
        ssl_context: ssl.SSLContext | None = None,
        send_buffer: int | None = None,
        receive_buffer: int | None = None,
    ) -> None:
        #: The whole requests so far, in the order in which they came.
        self.requests: list[Request] = []
        #: The connections so far, ended ones too, in the order in which they came.
        self.connections: list[Connection] = []
        self._answers: deque[Answer] = deque()
        self._greetings: deque[Script] = deque()
        self._default: Answer = _NOTHING_LEFT
        # Requests that were answered so.
        self._missed = 0
        self._changed = threading.Condition()
        # First, as it may fail where the port is somebody else's.
        self._listener = socket.create_server(("127.0.0.1", port), backlog=4096)
        # Closing one end makes the other one readable, for every thread that polls it.
        wake, self._waker = socket.socketpair()
        self._host = Host(ssl_context, wake, self._answer_to)
        self._listener.setblocking(False)
        for option, size in ((socket.SO_SNDBUF, send_buffer), (socket.SO_RCVBUF, receive_buffer)):
            if size is not None:
                self._listener.setsockopt(socket.SOL_SOCKET, option, size)
        self.port: int = self._listener.getsockname()[1]
        scheme = "http" if ssl_context is None else "https"
        self.base_url = f"{scheme}://127.0.0.1:{self.port}/v1"
        self._numbers = itertools.count(1)
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

    @property
    def ssl_context(self) -> ssl.SSLContext | None:
        """What it serves ``https`` with."""
        return self._host.ssl_context

    @property
    def failures(self) -> list[Exception]:
        """What scripts and handlers have raised."""
        return self._host.failures

    def __repr__(self) -> str:
        return f"<ScriptedServer {self.base_url}>"

    def play(self, *answers: Answer) -> None:
        """Answer the next requests with these, each with one: a script, or a handler.

        A handler is called with the request, on the thread of its connection, and returns a script.
        """
        for one in answers:
            _check(one)
        with self._changed:
            self._answers.extend(answers)

    def always(self, answer: Answer) -> None:
        """Answer the requests that nothing is left to play for with this, again and again."""
        _check(answer)
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
        self.always(RecordedAnswers(exchanges, match, speed))

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

    def verdict(
        self,
        *,
        accepted: bool | None = None,
        stopped: bool = False,
        max_attempts: int = 5,
        min_wait: float = 0.1,
        patience: float = 10.0,
        grace: float = 1.0,
    ) -> Verdict:
        """What the client under test has done wrong so far; ask when it is done.

        Requests with the same method, target and body, each sent after the one before had failed,
        count as attempts of one call.

        * ``retry_storm``: more than *max_attempts* attempts of one call.
        * ``no_backoff``: an attempt less than *min_wait* seconds after the failure of the one
          before. Where a connection that was kept ends without an answer, asking again is right.
        * ``retry_after_ignored``: an attempt earlier than ``Retry-After`` allowed.
        * ``refusal_retried``: an attempt after a status that will not pass, such as 400, after
          ``x-should-retry: false``, or after the account was used up.
        * ``cut_answer_accepted``: the last answer was cut, and *accepted* is true.
        * ``no_timeout``: the client waited for *patience* seconds while the server said nothing, or
          nothing but comments.
        * ``left_open``: *stopped* is true, and the connection of the last answer was still open
          *grace* seconds after this was called.

        :param accepted: whether the program took the last answer for whole; ``None``: not judged.
        :param stopped: whether the program stopped the last answer before its end.
        :param max_attempts: see above, as the next three; these are in seconds.

        .. versionadded:: 0.1
        """
        with self._changed:
            requests = list(self.requests)
        return judged(
            requests,
            accepted=accepted,
            stopped=stopped,
            max_attempts=max_attempts,
            min_wait=min_wait,
            patience=patience,
            grace=grace,
        )

    def assert_played(self) -> None:
        """Fail the test unless every script was played, and every request had one.

        :raises AssertionError: scripts or greetings are left, or there was no script for a request.

        .. versionadded:: 0.1
        """
        with self._changed:
            left, greetings, missed = len(self._answers), len(self._greetings), self._missed
        wrong = [
            f"{count} {what}"
            for count, what in (
                (left, "scripts were not played"),
                (greetings, "scripts of on_connect() were not played"),
                (missed, "requests found no script left to play"),
            )
            if count
        ]
        if wrong:
            raise AssertionError(f"{'; '.join(wrong)}; {len(self.requests)} requests came")

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
        self._host.closed = True
        self._waker.close()
        deadline = time.monotonic() + timeout
        self._acceptor.join(timeout)
        others = [one for one in self._threads if one is not threading.current_thread()]
        for thread in others:
            thread.join(max(0.0, deadline - time.monotonic()))
        busy = [thread.name for thread in [self._acceptor, *others] if thread.is_alive()]
        if busy:
            raise RuntimeError(f"still running after {timeout} s: {', '.join(busy)}")
        self._host.wake.close()

    def _wait_for(self, arrived: list[T], count: int, timeout: float, what: str) -> list[T]:
        with self._changed:
            if not self._changed.wait_for(lambda: len(arrived) >= count, timeout):
                raise TimeoutError(f"{len(arrived)} of {count} {what} after {timeout} s")
            return arrived[:count]

    def _accept(self) -> None:
        poll, waker = poller(), poller()
        poll.register(self._host.wake, select.POLLIN)
        poll.register(self._listener, select.POLLIN)
        waker.register(self._host.wake, select.POLLIN)
        with self._listener:
            while not self._host.closed:
                try:
                    accepted, _ = self._listener.accept()
                except BlockingIOError:
                    poll.poll()
                except ConnectionError:
                    continue
                except OSError:  # too many open files: the client stays in the listener's queue
                    waker.poll(_AGAIN)
                else:
                    self._start(accepted)

    def _start(self, accepted: socket.socket) -> None:
        accepted.setblocking(False)
        accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with self._changed:
            connection = Connection(self._host, next(self._numbers), accepted)
            greeting = self._greetings.popleft() if self._greetings else ()
            self.connections.append(connection)
            self._changed.notify_all()
        thread = threading.Thread(
            target=connection.serve,
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
            self._missed += chosen is _NOTHING_LEFT
        return chosen(request) if callable(chosen) else chosen


def _check(answer: object) -> None:
    """Refuse what was meant for an answer's text: on the wire it would be nothing."""
    if isinstance(answer, str):
        raise TypeError(
            f"a script is made of bytes and steps, not of a str: play(answer({answer[:40]!r}))"
        )
    if isinstance(answer, Mapping):
        raise TypeError("a script is made of bytes and steps, not of a dict: play(json_answer(…))")
