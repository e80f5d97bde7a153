"""An endpoint that has no classes of its own here."""

from __future__ import annotations

from typing import Any

from openai_stream.accumulate import UNKNOWN, Asked
from openai_stream.models import copied
from openai_stream.models.server_event import ServerEvent

from .endpoint import Endpoint

__all__ = ["any_endpoint"]


class _LastData:
    """The "sum" where nothing is known of the events: the last one's data."""

    complete = False

    def __init__(self, asked: Asked = UNKNOWN) -> None:
        self._data: Any = None

    def add(self, chunk: Any) -> None:
        self._data = chunk

    def snapshot(self) -> Any:
        return copied(self._data)


def _server_event(message: Any, data: Any) -> ServerEvent:
    return ServerEvent(message.event, data, message.id)


def any_endpoint(path: str) -> Endpoint[ServerEvent, Any]:
    """An endpoint of which only that it streams JSON is known.

    :param path: below the base URL, with a slash before it or without.
    :raises TypeError: it is not a string.
    """
    if not isinstance(path, str):
        raise TypeError(f"path must be a string, not {path!r}")
    return Endpoint(
        path="/" + path.lstrip("/"),
        event=lambda data: ServerEvent(data=data),
        whole=lambda data: data,
        accumulator=_LastData,
        text=lambda event, index: None,
        is_whole=lambda answer: False,
        own="",
        server_event=_server_event,
    )
