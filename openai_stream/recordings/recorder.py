"""``Recorder``: the file of a recording, while it is written."""

from __future__ import annotations

import io
import itertools
import json
import logging
import os
import stat
import threading
from collections.abc import Mapping
from contextlib import suppress
from types import TracebackType
from typing import Any

import requests

from openai_stream._version import VERSION as LIBRARY
from openai_stream.base_client import BaseClient, start_taps, stop_taps
from openai_stream.errors import ConfigurationError, RecordingError
from openai_stream.redaction import Mask

from .format import FORMAT, VERSION, first_line
from .hiding import HidingTap
from .reading import RecordedExchange, lines_of, read_recording

__all__ = ["Recorder"]

_log = logging.getLogger("openai_stream")


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
    :param append: a recording that is there is kept, and what comes is added to it.
    :raises OSError: it cannot be opened.
    :raises RecordingError: another recorder writes to it; or what is there is not a recording to
        which this one could be added.

    .. versionadded:: 0.1
    """

    def __init__(self, path: str | os.PathLike[str] | int, *, append: bool = False) -> None:
        self.path = f"descriptor {path}" if isinstance(path, int) else os.fspath(path)
        #: What the file would not take, if anything.
        self.error: OSError | None = None
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._watched: list[BaseClient] = []
        self._file = _opened(path)
        old = os.fstat(self._file.fileno()).st_size > 0 and not isinstance(path, int)
        lines = 0
        if append and old:
            try:
                read_recording(path)  # type: ignore[arg-type]  # it is no descriptor
                lines = _end_of_lines(self._file)
            except BaseException:
                self._file.close()
                raise
        # As each exchange has a line at least, no number of before is above the number of lines.
        self._numbers = itertools.count(lines + 1)
        # What came before the first bytes of an answer, while an older recording is there. Guarded
        # by the lock, as the file is.
        self._held: list[bytes] | None = [] if old and not append else None
        if not lines:
            self._write({FORMAT: VERSION, "library": LIBRARY})

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
            if (recorder := start_taps(client, self)) is not self:
                raise ConfigurationError(
                    f"the client is being recorded already, to {recorder.path}"
                )
            self._watched.append(client)

    def close(self) -> None:
        """End the recording; the streams go on. Twice is harmless.

        :raises RecordingError: the file did not take everything.
        """
        with self._lock:
            for client in self._watched:
                stop_taps(client)
            self._watched.clear()
            if self._file.closed:
                return
            if self._held is not None:
                _log.info("%s: nothing was answered; the old recording is kept", self.path)
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

    def tap(self, request: requests.PreparedRequest, mask: Mask) -> HidingTap:
        """What the transport tells of an attempt.

        :param mask: hides what must not be in the recording.
        """
        return HidingTap(self._begin, self._write, request, mask)

    def add(self, exchange: RecordedExchange) -> None:
        """Write down an exchange that is over, of another recording say, as it is.

        .. versionadded:: 0.1
        """
        for line in lines_of(exchange, next(self._numbers)):
            self._write(line, is_answer=True)

    def _begin(self, request: Mapping[str, Any]) -> int:
        number = next(self._numbers)
        self._write(first_line(number, request))
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


def _opened(path: str | os.PathLike[str] | int) -> io.FileIO:
    """The file, unbuffered, with what is in it, and nobody else's to record to."""
    if isinstance(path, int):
        return open(path, "wb", buffering=0)
    file = open(os.open(path, os.O_RDWR | os.O_CREAT, 0o666), "r+b", buffering=0)  # noqa: SIM115
    try:
        if stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            _lock(file, path)
    except BaseException:
        file.close()
        raise
    return file


def _end_of_lines(file: io.FileIO) -> int:
    """Go to the end of the last whole line; half a line, of a program that was killed, is cut off.
    One that lacks nothing but its end, as an editor may leave it, is given that.

    :returns: how many lines there are.
    """
    content = file.readall()
    end = content.rfind(b"\n") + 1
    if _is_json(content[end:]):
        file.write(b"\n")
        return content.count(b"\n") + 1
    file.truncate(end)
    file.seek(end)
    return content.count(b"\n")


def _is_json(line: bytes) -> bool:
    try:
        json.loads(line)
    except (ValueError, RecursionError):
        return False
    return True


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
