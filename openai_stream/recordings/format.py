"""The format of a recording.

The file is JSON, a line each: first the format's version, then of each exchange its request, each
block of bytes as it was read from the socket (after TLS, before everything else: status line,
headers, chunk sizes, compressed bytes), and how it ended. Lines of several exchanges may be mixed.
"""

from __future__ import annotations

import base64
import datetime
from collections.abc import Mapping
from typing import Any

__all__ = ["FORMAT", "VERSION", "first_line", "of_type", "packed", "unpacked"]

#: The key of the first line, whose value is the version.
FORMAT = "openai_stream_recording"
VERSION = 1


def first_line(
    number: int, request: Mapping[str, Any], begun: datetime.datetime | None = None
) -> dict[str, Any]:
    """The line with which an exchange begins.

    :param begun: when it did; ``None``: now.
    """
    begun = begun or datetime.datetime.now(datetime.timezone.utc)
    return {"exchange": number, "begun": begun.isoformat(), "request": request}


def packed(data: bytes) -> dict[str, str]:
    """Bytes as a part of a line: as text, if they are some."""
    try:
        return {"text": data.decode()}
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(data).decode()}


def unpacked(line: Mapping[str, Any]) -> bytes:
    """The bytes again.

    :raises ValueError: there are none, or they are of a wrong type.
    """
    if "text" in line:
        return of_type(line["text"], str).encode()  # type: ignore[no-any-return]
    return base64.b64decode(line["base64"], validate=True)


def of_type(value: Any, kind: type) -> Any:
    """The value.

    :raises TypeError: it is of another type.
    """
    if not isinstance(value, kind):
        raise TypeError(f"a {type(value).__name__} instead of a {kind.__name__}")
    return value
