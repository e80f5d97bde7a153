"""Data that is not JSON because its server framed it wrongly: what was meant.

The standard puts the ``data`` lines that follow each other into one event (WHATWG HTML, section
9.2.6), so several chunks without a blank line between them are one text that is no JSON. It is only
looked at when an event could not be read; nothing that can be read is taken for something else.
"""

from __future__ import annotations

import re
from typing import Any

import sseclient

from .sse import begins_event_stream

__all__ = ["is_done", "meant", "unframed"]

_Event: Any = sseclient.Event
_START = 65536  # characters of a body in which its first event is looked for
_DATA = r"(?m)^data:[ \t]*([{\[\"].*)"


def is_done(data: str) -> bool:
    """Whether data that is not JSON is ``[DONE]``, or what a server writes for it."""
    return data.strip() in ("[DONE]", "DONE")


def meant(data: str) -> list[Any]:
    """The events that were meant.

    Chunks on lines that follow each other, and lines that went through two layers of a web
    framework, each of which wrote its ``data:``.

    :param data: of an event, not JSON.
    :returns: nothing if that cannot be told.
    """
    lines = [line.strip().removeprefix("data:").strip() for line in data.split("\n")]
    found = [line for line in lines if line]
    if found == [data.strip()] or not all(line[0] == "{" or is_done(line) for line in found):
        return []
    return [_Event(data=line) for line in found]


def unframed(text: str) -> str:
    """The data of the first event, if a body that should be JSON is an event stream."""
    if not begins_event_stream(text[:_START].encode(errors="replace")):
        return text
    found = re.search(_DATA, text)
    return text if found is None else found[1]
