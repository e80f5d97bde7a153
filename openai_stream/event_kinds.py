"""What one event is, by its name or its JSON: a keep-alive, a failure, a piece of an answer.

For whoever takes in events, from the network or from elsewhere. What an error says is read by
:mod:`.server_errors`, and what becomes of it is decided further out.
"""

from __future__ import annotations

from typing import Any

from .server_errors import says_error, says_failure

__all__ = [
    "KEEP_ALIVE_DATA",
    "KEEP_ALIVE_NAMES",
    "is_failed_chunk",
    "is_failed_response",
    "is_keep_alive",
    "is_typed",
]

# What some servers send so that proxies see traffic.

#: As the name of an event.
KEEP_ALIVE_NAMES = frozenset({"ping", "keep-alive", "keepalive", "heartbeat"})
#: As its data.
KEEP_ALIVE_DATA = KEEP_ALIVE_NAMES | {f"[{name}]" for name in KEEP_ALIVE_NAMES}
# As the type of an object. A tuple: what a server gives as a type may have no hash.
_KEEP_ALIVE_TYPES = ("keepalive", "ping", "heartbeat", "keep_alive", "response.keep_alive")


def is_keep_alive(data: dict[str, Any]) -> bool:
    """Whether an event without choices is only there to be seen."""
    return data.get("type") in _KEEP_ALIVE_TYPES and not data.get("usage")


def is_typed(data: dict[str, Any]) -> bool:
    """Whether it is an event of ``/responses``, which says what it is, and no keep-alive."""
    kind = data.get("type")
    typed = kind.__class__ is str and kind.startswith("response.")
    return typed and kind != "response.keep_alive"


def is_failed_chunk(data: Any) -> bool:
    """Whether something with choices says that the server failed."""
    return data.__class__ is dict and "choices" in data and says_failure(data)


def is_failed_response(data: dict[str, Any]) -> bool:
    """Whether the last event of a response, whatever it is called, says that there is no answer."""
    response = data.get("response")
    if type(response) is not dict:
        return False
    return says_error(response) or response.get("status") in ("failed", "cancelled")
