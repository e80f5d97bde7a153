"""Recordings: what a server sent, byte for byte and with its times, in a file.

:class:`Recorder` writes them while a client works, :func:`read_recording` reads them again, and
:func:`openai_stream.testing.recorded` plays them. ::

    with Recorder("answer.rec") as recorder, Client() as client:
        recorder.watch(client)
        client.create_chat_completion(...)

    for exchange in read_recording("answer.rec"):
        print(exchange.request.json["model"], len(exchange.data), exchange.end)

The file is JSON, a line each: first the format's version, then of each exchange its request, each
block of bytes as it was read from the socket (after TLS, before everything else: status line,
headers, chunk sizes, compressed bytes), and how it ended. Lines of several exchanges may be mixed.
"""

from __future__ import annotations

import base64
import datetime
import io
import itertools
import json
import logging
import math
import os
import stat
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import cached_property
from types import TracebackType
from typing import TYPE_CHECKING, Any, NoReturn
from urllib.parse import urlsplit

import attrs

from ._version import VERSION
from .errors import ConfigurationError, RecordingError
from .redaction import HIDDEN, AnswerWithout, Mask, hidden_header, hidden_target

if TYPE_CHECKING:
    import requests

    from .client import BaseClient
    from .transport import End

__all__ = ["RecordedExchange", "RecordedRequest", "Recorder", "read_recording"]

_log = logging.getLogger("openai_stream")

_FORMAT = "openai_stream_recording"
_VERSION = 1


# Writing -------------------------------------------------------------------------------------


class Recorder:
    """Records what the servers of the clients that it watches send; a context manager.

    Each attempt whose request went out is an exchange of the recording. What identifies you is
    taken out: headers with keys, cookies, sessions and organizations, all other headers of yours
    that are not known to be harmless, and the text of the client's keys and passwords, and of what
    was in those headers, wherever it stands in a request or a response. In its place come as many
    stars, so that all lengths still hold; of a key that is a word, "test" say, that is the word. A
    key inside of compressed bytes is not found (the library asks for none), nor one that is cut by
    the server's chunks. What was asked and answered is kept as it is.

    Each line is written as a whole and at once: a program that is killed leaves a recording that
    can be read. Where the file takes no more, a full disk say, the streams go on, the recording
    ends, the failure is logged, and :meth:`close` raises it. A forked child records nothing.

    All methods may be called from any thread.

    A recording that is there is replaced once there is something to put in its place: the first
    bytes of an answer. Until then it is kept, whatever fails.

    :param path: the file; or a descriptor that is open for writing, as for :func:`open`.
    :raises OSError: it cannot be opened.
    :raises RecordingError: another recorder writes to it.
    """

    def __init__(self, path: str | os.PathLike[str] | int) -> None:
        self.path = f"descriptor {path}" if isinstance(path, int) else os.fspath(path)
        #: What the file would not take, if anything.
        self.error: OSError | None = None
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._numbers = itertools.count(1)
        self._watched: list[BaseClient] = []
        self._file = _opened(path)
        # What came before the first bytes of an answer, while an older recording is there. Guarded
        # by the lock, as the file is.
        replaces = not isinstance(path, int) and os.fstat(self._file.fileno()).st_size > 0
        self._held: list[bytes] | None = [] if replaces else None
        self._write({_FORMAT: _VERSION, "library": VERSION})

    def watch(self, client: BaseClient) -> None:
        """Record every attempt that the client makes from now on, until this is closed.

        :raises ConfigurationError: the client has a ``requests`` session of its user's, whose
            sockets cannot be seen; or another recorder watches it.
        :raises RecordingError: this is closed.
        """
        if client.session is not None:
            raise ConfigurationError(
                "a client with a session of its own cannot be recorded: leave session=… out"
            )
        with self._lock:
            if self._file.closed:
                raise RecordingError(f"{self.path}: the recording is closed")
            if client._recorder not in (None, self):
                raise ConfigurationError(
                    f"the client is being recorded already, to {client._recorder.path}"
                )
            client._recorder = self
            self._watched.append(client)

    def close(self) -> None:
        """End the recording; the streams go on. Twice is harmless.

        :raises RecordingError: the file did not take everything.
        """
        with self._lock:
            for client in self._watched:
                client._recorder = None
            self._watched.clear()
            if self._file.closed:
                return
            if self._held is not None:
                _log.info("%s: nothing was answered: what was there before is kept", self.path)
            if os.getpid() == self._pid:
                _unlock(self._file)  # a forked child may have it open still
            self._file.close()
        if self.error is not None:
            raise self._failure(self.error)

    def __enter__(self) -> Recorder:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            self.close()
        except RecordingError:
            if exc is None:
                raise

    def __repr__(self) -> str:
        return f"<Recorder of {self.path!r}>"

    def _failure(self, error: OSError) -> RecordingError:
        failure = RecordingError(f"{self.path}: the recording is not whole: {error.strerror}")
        failure.__cause__ = error
        return failure

    def tap(self, request: requests.PreparedRequest, mask: Mask) -> _Tap:
        """What the transport tells of an attempt.

        :param mask: hides what must not be in the recording.
        """
        return _Tap(self, request, mask)

    def _begin(self, request: Mapping[str, Any]) -> int:
        number = next(self._numbers)
        begun = datetime.datetime.now(datetime.timezone.utc).isoformat()
        self._write({"exchange": number, "begun": begun, "request": request})
        return number

    def _write(self, line: Mapping[str, Any], is_answer: bool = False) -> None:
        text = json.dumps(line, ensure_ascii=False, separators=(",", ":"))
        data = text.encode() + b"\n"
        with self._lock:
            if self._file.closed or self.error is not None or os.getpid() != self._pid:
                return
            replaces = self._held is not None
            if self._held is not None:
                self._held.append(data)
                if not is_answer:
                    return
                data, self._held = b"".join(self._held), None
            rest = memoryview(data)
            try:
                if replaces:
                    self._file.truncate(0)
                while rest:
                    rest = rest[self._file.write(rest) :]
            except OSError as error:
                self.error = error
                _log.error("%s: recording ends here: %s", self.path, error.strerror)


class _Tap:
    """Writes one exchange down; for the thread that works in it."""

    def __init__(self, recorder: Recorder, request: requests.PreparedRequest, mask: Mask) -> None:
        self._recorder = recorder
        self._request = request
        self._mask = mask
        self._answer = AnswerWithout(mask)
        # When bytes came, and how many, of those that are not written yet.
        self._pending: deque[tuple[float, int]] = deque()
        self._number: int | None = None
        self._sent_at = 0.0
        self._over = False

    def sent(self) -> None:
        self._sent_at = time.monotonic()
        request, hide = self._request, self._mask.hide_bytes
        body = request.body or b""
        self._number = self._recorder._begin(
            {
                "method": request.method,
                "target": hidden_target(hide(request.path_url.encode(), words=False).decode()),
                "headers": {
                    hide(name.encode(), words=False).decode(): HIDDEN
                    if hidden_header(name)
                    else hide(_latin_1(value), words=False).decode("latin-1")
                    for name, value in request.headers.items()
                },
                **_packed(hide(body if isinstance(body, bytes) else body.encode())),
            }
        )

    def received(self, data: bytes) -> None:
        self._pending.append((self._seconds(), len(data)))
        self._write(self._answer.take(data))

    def ended(self, how: End) -> None:
        if self._number is None or self._over:
            return
        self._over = True
        self._write(self._answer.rest())
        self._recorder._write({"exchange": self._number, "at": self._seconds(), "end": how})

    def _seconds(self) -> float:
        return round(time.monotonic() - self._sent_at, 6)

    def _write(self, data: bytes) -> None:
        # What hides a secret has its length: so all that is written has come at a known time.
        while data:
            at, size = self._pending.popleft()
            if size > len(data):
                self._pending.appendleft((at, size - len(data)))
            line = {"exchange": self._number, "at": at, **_packed(data[:size])}
            self._recorder._write(line, is_answer=True)
            data = data[size:]


def _opened(path: str | os.PathLike[str] | int) -> io.FileIO:
    """The file, unbuffered, with what is in it, and nobody else's to record to."""
    if isinstance(path, int):
        return open(path, "wb", buffering=0)
    file = open(os.open(path, os.O_WRONLY | os.O_CREAT, 0o666), "wb", buffering=0)  # noqa: SIM115
    try:
        if stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            _lock(file, path)
    except BaseException:
        file.close()
        raise
    return file


def _lock(file: io.FileIO, path: str | os.PathLike[str]) -> None:
    try:
        import fcntl  # noqa: PLC0415 - not every system has it

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise RecordingError(f"{os.fspath(path)}: another recorder writes to it") from None
    except (ImportError, OSError):
        pass  # some file systems of a network have no locks


def _unlock(file: io.FileIO) -> None:
    with suppress(ImportError, OSError):
        import fcntl  # noqa: PLC0415

        fcntl.flock(file, fcntl.LOCK_UN)


def _latin_1(value: str | bytes) -> bytes:
    return value if isinstance(value, bytes) else value.encode("latin-1")


def _packed(data: bytes) -> dict[str, str]:
    try:
        return {"text": data.decode()}
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(data).decode()}


# Reading -------------------------------------------------------------------------------------


@attrs.frozen(slots=False)
class RecordedRequest:
    """A request of a recording.

    :param method: ``POST``.
    :param target: the path and the query, as sent.
    :param headers: without those that are secret: their values are stars.
    :param body: as sent.
    """

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def path(self) -> str:
        """The path of the target, without the query."""
        return urlsplit(self.target).path

    @cached_property
    def json(self) -> Any:
        """The body, parsed as JSON."""
        return json.loads(self.body)


@attrs.frozen
class RecordedExchange:
    """A request and what was answered.

    :param request: what was asked.
    :param begun: when, in UTC.
    :param blocks: the answer's bytes, as they were read, each with the seconds since the request.
    :param end: how the exchange ended: ``"eof"``: the server closed the connection; ``"reset"``: it
        broke; ``"open"``: the answer was whole, and the connection stayed open; ``"timeout"``: a
        deadline was over; ``"closed"``: the stream was stopped, or the answer was none that the
        library reads on; ``None``: the recording ended first.
    :param end_at: when, in seconds since the request.
    """

    request: RecordedRequest
    begun: datetime.datetime
    blocks: tuple[tuple[float, bytes], ...]
    end: End | None
    end_at: float | None

    @property
    def data(self) -> bytes:
        """All bytes of the answer: status line, headers and body, as they came."""
        return b"".join(data for _, data in self.blocks)


def read_recording(path: str | os.PathLike[str]) -> list[RecordedExchange]:
    """The exchanges of a recording, in the order in which they began.

    A last line that is not whole, as a program leaves it that is killed, is passed over.

    :raises RecordingError: it is no recording, it is broken, or of a newer version.
    :raises OSError: it cannot be read.
    """
    exchanges: dict[int, _Unfinished] = {}
    for number, line in _lines(path):
        try:
            if number == 1:
                _check_version(path, line)
            elif "request" in line:
                exchanges[line["exchange"]] = _Unfinished(line)
            else:
                exchanges[line["exchange"]].add(line)
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise RecordingError(
                f"{os.fspath(path)}, line {number}: the recording is broken: "
                f"{type(error).__name__}: {error}"
            ) from error
    return [exchange.finished() for exchange in exchanges.values()]


class _Unfinished:
    """An exchange while it is read."""

    def __init__(self, line: Mapping[str, Any]) -> None:
        told = line["request"]
        self._request = RecordedRequest(
            _of(told["method"], str), _of(told["target"], str), _of(told["headers"], dict),
            _unpacked(told),
        )  # fmt: skip
        self._begun = datetime.datetime.fromisoformat(line["begun"])
        self._blocks: list[tuple[float, bytes]] = []
        self._end: tuple[Any, float | None] = (None, None)

    def add(self, line: Mapping[str, Any]) -> None:
        at = float(line["at"])
        if not math.isfinite(at):
            raise ValueError(f"no time: {at}")
        if "end" in line:
            self._end = (_of(line["end"], str), at)
        else:
            self._blocks.append((at, _unpacked(line)))

    def finished(self) -> RecordedExchange:
        return RecordedExchange(self._request, self._begun, tuple(self._blocks), *self._end)


def _lines(path: str | os.PathLike[str]) -> Iterator[tuple[int, Mapping[str, Any]]]:
    number = 0
    with open(path, "rb") as file:
        for number, text in enumerate(file, 1):
            try:
                line = json.loads(text)
            except (ValueError, RecursionError) as error:
                if not text.endswith(b"\n") and number > 1:
                    return
                _refuse(path, number, error)
            if not isinstance(line, dict):
                _refuse(path, number, None)
            yield number, line
    if not number:
        raise RecordingError(f"{os.fspath(path)}: the file is empty, and no recording")


def _refuse(path: str | os.PathLike[str], number: int, error: Exception | None) -> NoReturn:
    what = "this is no recording" if number == 1 else "the recording is broken: this is no JSON"
    raise RecordingError(f"{os.fspath(path)}, line {number}: {what}") from error


def _check_version(path: str | os.PathLike[str], line: Mapping[str, Any]) -> None:
    version = line.get(_FORMAT)
    if not isinstance(version, int):
        raise RecordingError(f"{os.fspath(path)}: this is no recording")
    if version > _VERSION:
        raise RecordingError(
            f"{os.fspath(path)}: the recording is of format {version}, made by openai-stream "
            f"{line.get('library')}; this is {VERSION}, which reads format {_VERSION}: a newer one "
            "is needed"
        )


def _of(value: Any, kind: type) -> Any:
    if not isinstance(value, kind):
        raise TypeError(f"a {type(value).__name__} in the place of a {kind.__name__}")
    return value


def _unpacked(line: Mapping[str, Any]) -> bytes:
    if "text" in line:
        return _of(line["text"], str).encode()  # type: ignore[no-any-return]
    return base64.b64decode(line["base64"], validate=True)
