"""Bytes of HTTP and of event streams, and the answers that are made of them alone."""

from __future__ import annotations

import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, TypeAlias

from .connection import Step
from .steps import Repeat

__all__ = [
    "LAST_CHUNK",
    "Headers",
    "chunk",
    "endless_chunk_size",
    "endless_headers",
    "error_answer",
    "frame",
    "head",
    "json_answer",
]

#: The end of a chunked body.
LAST_CHUNK = b"0\r\n\r\n"

Headers: TypeAlias = Mapping[str, str | None]


def head(status: int = 200, headers: Headers | None = None) -> bytes:
    """The status line and the header lines; a header that is ``None`` is left out.

    .. versionadded:: 0.1
    """
    reason = next((known.phrase for known in HTTPStatus if known == status), "")
    lines = [f"HTTP/1.1 {status} {reason}"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items() if value is not None]
    return "".join(f"{line}\r\n" for line in [*lines, ""]).encode("latin-1")


def chunk(data: bytes) -> bytes:
    """The bytes as one chunk of a chunked body.

    .. versionadded:: 0.1
    """
    return b"%x\r\n%b\r\n" % (len(data), data)


def frame(
    data: Mapping[str, Any] | str,
    *,
    event: str | None = None,
    id: str | None = None,
    line_end: str = "\n",
) -> bytes:
    """One frame of an event stream; a dict is sent as JSON, a string line by line.

    .. versionadded:: 0.1
    """
    text = data if isinstance(data, str) else _compact(data)
    fields = {"event": event, "id": id}
    lines = [f"{name}: {value}" for name, value in fields.items() if value is not None]
    lines += [f"data: {line}" for line in text.split("\n")]
    return "".join(f"{line}{line_end}" for line in [*lines, ""]).encode()


def json_answer(
    body: object, status: int = 200, headers: Headers | None = None
) -> list[Step | bytes]:
    """A script that answers with a JSON body.

    .. versionadded:: 0.1
    """
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
    """A script that answers with an error status and the API's error object.

    .. versionadded:: 0.1
    """
    error = {"message": message, "type": type, "param": None, "code": code}
    return json_answer({"error": error}, status, headers)


def endless_headers() -> list[Step | bytes]:
    """A script that answers with header lines, and never stops.

    .. versionadded:: 0.1
    """
    return [b"HTTP/1.1 200 OK\r\n", Repeat(b"X-Padding: 0\r\n" * 1000)]


def endless_chunk_size() -> list[Step | bytes]:
    """A script whose first chunk has a size line that never ends.

    .. versionadded:: 0.1
    """
    start = head(200, {"Content-Type": "text/event-stream", "Transfer-Encoding": "chunked"})
    return [start, Repeat(b"0" * 65536)]


def _compact(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
