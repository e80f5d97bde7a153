"""The server of the benchmarks, in a process of its own: one thread, one selector, made bytes.

It parses requests no more than it must, and composes nothing while it is measured but the stamps of
paced events, so it keeps up with 1,000 streams and is never what is measured. The start of a line
on its standard output: its port, then ``closed NAME NANOSECONDS`` for each named answer whose
connection the client closed.
"""

from __future__ import annotations

import heapq
import json
import resource
import selectors
import socket
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from itertools import count
from typing import IO

from .events import END, HEAD, Answer, burst, chunk, flood, stamp, stamped

_TURN = 64  # pieces that one connection may send before it is another's turn

_now = time.monotonic_ns


class _Gate:
    """Where answers wait until so many are there."""

    def __init__(self) -> None:
        self.waiting: list[_Connection] = []
        self.opens = 0


class _Connection:
    """One client; it asks, and reads its answer, as often as it likes."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.received = b""
        self.name = ""
        #: What is to be sent: bytes, or the time at which to go on.
        self.pieces: Iterator[bytes | int | _Gate] = iter(())
        self.unsent = memoryview(b"")
        self.writing = False

    def take_request(self, gates: defaultdict[str, _Gate]) -> bool:
        """Begin to answer what was received, if it is a whole request."""
        head, blank, rest = self.received.partition(b"\r\n\r\n")
        if not blank:
            return False
        size = 0
        for line in head.split(b"\r\n")[1:]:
            name, _, value = line.partition(b":")
            if name.lower() == b"content-length":
                size = int(value)
        if len(rest) < size:
            return False
        answer = Answer.of(json.loads(rest[:size])["model"])
        self.received = rest[size:]
        self.name = answer.name
        self.pieces = _pieces(answer, gates)
        return True


def _pieces(answer: Answer, gates: defaultdict[str, _Gate]) -> Iterator[bytes | int | _Gate]:
    """What is sent, and when."""
    received = _now()
    if answer.endless:
        yield HEAD
        while True:
            yield flood(answer)
    if not answer.pace:
        yield HEAD + burst(answer)
        return
    chunks = stamped(answer)
    if answer.gate:
        yield HEAD
        gate = gates[answer.gate]
        place = len(gate.waiting) / answer.together
        if len(gate.waiting) + 1 == answer.together:
            del gates[answer.gate]
            gate.opens = _now() + int(answer.delay * 1e9)
        yield gate
        due = gate.opens + int(place * answer.pace * 1e9)
        head = b""
    else:
        due = _now() + int(answer.delay * 1e9)
        # The head goes with the first event: a client that has the one is not yet at the other.
        head = HEAD
    for number, (before, after) in enumerate(chunks):
        yield due
        yield head + before + stamp(number, received, _now()) + after
        head = b""
        due += int(answer.pace * 1e9)
    yield due
    yield chunk(b"data: [DONE]\n\n") + END


class Server:
    """Answers every request on every connection, until it is killed."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=4096)
        self._listener.setblocking(False)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._due: list[tuple[int, int, _Connection]] = []
        self._order = count()  # heapq compares it where two are due at once
        self._gates: defaultdict[str, _Gate] = defaultdict(_Gate)

    @property
    def port(self) -> int:
        return int(self._listener.getsockname()[1])

    def run(self) -> None:
        while True:
            wait = None
            if self._due:
                wait = max(0.0, (self._due[0][0] - _now()) / 1e9)
            for key, events in self._selector.select(wait):
                if key.fileobj is self._listener:
                    self._accept()
                    continue
                connection = key.data
                if events & selectors.EVENT_WRITE:
                    self._advance(connection)
                if events & selectors.EVENT_READ:
                    self._receive(connection)
            now = _now()
            while self._due and self._due[0][0] <= now:
                self._advance(heapq.heappop(self._due)[2])

    def _accept(self) -> None:
        try:
            sock = self._listener.accept()[0]
        except BlockingIOError:
            return
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._selector.register(sock, selectors.EVENT_READ, _Connection(sock))

    def _receive(self, connection: _Connection) -> None:
        if connection.sock.fileno() < 0:
            return
        try:
            received = connection.sock.recv(65536)
        except BlockingIOError:
            return
        except ConnectionError:
            received = b""
        if not received:
            self._close(connection)
            return
        connection.received += received
        if connection.take_request(self._gates):
            self._advance(connection)

    def _close(self, connection: _Connection) -> None:
        if connection.name:
            print("closed", connection.name, _now(), flush=True)
        self._selector.unregister(connection.sock)
        connection.sock.close()

    def _advance(self, connection: _Connection) -> None:
        """Send what can be sent now, and see to it that the rest will be."""
        if connection.sock.fileno() < 0:
            return  # it was due, but is gone
        for _ in range(_TURN):
            if not connection.unsent:
                piece = next(connection.pieces, None)
                if piece is None:
                    return
                if isinstance(piece, int):
                    self._wait(connection, piece)
                    return
                if isinstance(piece, _Gate):
                    self._wait_at(piece, connection)
                    return
                connection.unsent = memoryview(piece)
            try:
                sent = connection.sock.send(connection.unsent)
            except BlockingIOError:
                self._watch(connection, writing=True)
                return
            except ConnectionError:
                return  # reading will tell, too
            connection.unsent = connection.unsent[sent:]
            if connection.writing:
                self._watch(connection, writing=False)
        self._wait(connection, _now())

    def _wait(self, connection: _Connection, due: int) -> None:
        heapq.heappush(self._due, (due, next(self._order), connection))

    def _wait_at(self, gate: _Gate, connection: _Connection) -> None:
        gate.waiting.append(connection)
        if gate.opens:
            for one in gate.waiting:
                self._wait(one, gate.opens)

    def _watch(self, connection: _Connection, writing: bool) -> None:
        if connection.writing != writing:
            connection.writing = writing
            events = selectors.EVENT_READ | (selectors.EVENT_WRITE if writing else 0)
            self._selector.modify(connection.sock, events, connection)


class ServerProcess:
    """The server, as whoever starts it sees it. A context manager."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(  # noqa: S603
            [sys.executable, "-m", __name__], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE
        )
        assert self._process.stdout is not None
        self._told: IO[bytes] = self._process.stdout
        self.base_url = f"http://127.0.0.1:{int(self._told.readline())}/v1"

    def closed(self, name: str) -> int:
        """Wait until the connection of a named answer is closed; when that was, in nanoseconds."""
        for line in self._told:
            _, told, when = line.decode().split()
            if told == name:
                return int(when)
        raise RuntimeError("the server is gone")

    def __enter__(self) -> ServerProcess:
        return self

    def __exit__(self, *exc: object) -> None:
        self._process.kill()
        self._process.wait()
        self._told.close()


def allow_many_files() -> None:
    """As many open files as a process may have: each stream is one."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def main() -> None:
    allow_many_files()
    server = Server()
    print(server.port, flush=True)
    server.run()


if __name__ == "__main__":
    main()
