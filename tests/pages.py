"""What tests of responses for web pages share: a reader of server-sent events."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

__all__ = ["Told", "comments", "messages", "told"]


@dataclass(frozen=True)
class Told:
    """A server-sent event, as a browser's ``EventSource`` dispatches it."""

    event: str
    data: Any
    id: str
    retry: str | None = None


def told(blocks: bytes | Iterable[bytes]) -> list[Told]:
    """The events in a body.

    Source: HTML standard, "Parsing an event stream". The data is parsed as JSON where it is JSON.
    """
    text = (blocks if isinstance(blocks, bytes) else b"".join(blocks)).decode("utf-8")
    found: list[Told] = []
    data: list[str] = []
    name, retry, last_id = "", None, ""
    *lines, rest = re.split("\r\n|\r|\n", text)
    assert rest == "", "an event without its blank line is lost"
    for line in lines:
        field, colon, value = line.partition(":")
        value = value.removeprefix(" ")
        if not line:
            if data:
                whole = "\n".join(data)
                parsed = whole if whole == "[DONE]" else json.loads(whole)
                found.append(Told(name or "message", parsed, last_id, retry))
            name, data, retry = "", [], None
        elif field == "data":
            data.append(value)
        elif field == "event":
            name = value
        elif field == "id" and "\0" not in value:
            last_id = value
        elif field == "retry":
            retry = value
        else:
            assert colon, f"a field that nobody knows: {line!r}"
            assert not field, f"a field that nobody knows: {line!r}"
    return found


def messages(blocks: bytes | Iterable[bytes]) -> list[tuple[str, Any]]:
    """The plain messages: of each its id and its data."""
    return [(one.id, one.data) for one in told(blocks) if one.event == "message"]


def comments(blocks: Iterable[bytes]) -> list[bytes]:
    """The blocks that are comments."""
    return [block for block in blocks if block.startswith(b":")]
