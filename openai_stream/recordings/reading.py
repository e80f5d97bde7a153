"""A recording, read: its exchanges, each with what was asked and what was answered."""

from __future__ import annotations

import datetime
import json
import math
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any, NoReturn
from urllib.parse import urlsplit

import attrs

from openai_stream._version import VERSION as LIBRARY
from openai_stream.errors import RecordingError
from openai_stream.transport import End

from .format import FORMAT, VERSION, first_line, of_type, packed, unpacked

__all__ = ["RecordedExchange", "RecordedRequest", "exchange_of", "lines_of", "read_recording"]


#: The final one: interim answers (100 to 199) come before it.
_STATUS = re.compile(rb"(?:\A|\r\n\r\n)HTTP/1\.\d ([2-5]\d\d)\b")


@attrs.frozen(slots=False)
class RecordedRequest:
    """A request of a recording.

    :param method: ``POST``.
    :param target: the path and the query, as sent.
    :param headers: without those that are secret: their values are stars.
    :param body: as sent.

    .. versionadded:: 0.1
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

    .. versionadded:: 0.1
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

    @property
    def status(self) -> int | None:
        """The status of the answer; ``None`` if it broke off before that.

        .. versionadded:: 0.1
        """
        found = _STATUS.search(self.data)
        return None if found is None else int(found[1])


def read_recording(path: str | os.PathLike[str]) -> list[RecordedExchange]:
    """The exchanges of a recording, in the order in which they began.

    A last line that is not whole, as a program leaves it that is killed, is passed over.

    :raises RecordingError: it is no recording, it is broken, or of a newer version.
    :raises OSError: it cannot be read.

    .. versionadded:: 0.1
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


def exchange_of(lines: Sequence[Mapping[str, Any]]) -> RecordedExchange:
    """The exchange of which these are the lines, that of the request first."""
    unfinished = _Unfinished(lines[0])
    for line in lines[1:]:
        unfinished.add(line)
    return unfinished.finished()


def lines_of(exchange: RecordedExchange, number: int) -> Iterator[Mapping[str, Any]]:
    """The lines of an exchange, as it would be written under this number."""
    request = exchange.request
    asked = {"method": request.method, "target": request.target, "headers": request.headers}
    yield first_line(number, {**asked, **packed(request.body)}, exchange.begun)
    for at, data in exchange.blocks:
        yield {"exchange": number, "at": at, **packed(data)}
    if exchange.end is not None:
        yield {"exchange": number, "at": exchange.end_at, "end": exchange.end}


class _Unfinished:
    """An exchange while it is read."""

    def __init__(self, line: Mapping[str, Any]) -> None:
        told = line["request"]
        self._request = RecordedRequest(
            of_type(told["method"], str),
            of_type(told["target"], str),
            of_type(told["headers"], dict),
            unpacked(told),
        )
        self._begun = datetime.datetime.fromisoformat(line["begun"])
        self._blocks: list[tuple[float, bytes]] = []
        self._end: tuple[Any, float | None] = (None, None)

    def add(self, line: Mapping[str, Any]) -> None:
        at = float(line["at"])
        if not math.isfinite(at):
            raise ValueError(f"no time: {at}")
        if "end" in line:
            self._end = (of_type(line["end"], str), at)
        else:
            self._blocks.append((at, unpacked(line)))

    def finished(self) -> RecordedExchange:
        return RecordedExchange(self._request, self._begun, tuple(self._blocks), *self._end)


def _lines(path: str | os.PathLike[str]) -> Iterator[tuple[int, Mapping[str, Any]]]:
    number = 0
    with open(path, "rb") as file:
        for number, text in enumerate(file, 1):
            if number > 1 and not text.strip():
                continue
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
        raise RecordingError(f"{os.fspath(path)}: the file is empty, and not a recording")


def _refuse(path: str | os.PathLike[str], number: int, error: Exception | None) -> NoReturn:
    what = "this is not a recording" if number == 1 else "the recording is broken: this is not JSON"
    raise RecordingError(f"{os.fspath(path)}, line {number}: {what}") from error


def _check_version(path: str | os.PathLike[str], line: Mapping[str, Any]) -> None:
    version = line.get(FORMAT)
    if not isinstance(version, int):
        raise RecordingError(f"{os.fspath(path)}: this is not a recording")
    if version > VERSION:
        raise RecordingError(
            f"{os.fspath(path)}: the recording is of format {version}, made by openai-stream "
            f"{line.get('library')}; this is {LIBRARY}, which reads format {VERSION}: a newer one "
            "is needed"
        )
