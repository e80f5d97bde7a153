"""A server-sent event of an endpoint that has no classes of its own here."""

from __future__ import annotations

from typing import Any

import attrs

from openai_stream.publishing import publish

from .plain_json import clipped

__all__ = ["ServerEvent"]


@attrs.frozen(repr=False)
class ServerEvent:
    """One event of the stream of :meth:`Client.stream <openai_stream.Client.stream>`.

    The names are those of the *server-sent events* section of the HTML standard, except that
    :attr:`data` is parsed.

    .. versionadded:: 0.1
    """

    #: The event's type; ``"message"`` where the server gave none.
    event: str = "message"
    #: The event's data, parsed: whatever JSON can be.
    data: Any = None
    #: The event's own ``id``, ``""`` if that is empty; ``None`` if it has none.
    id: str | None = None

    def __repr__(self) -> str:
        texts = [f"event={clipped(self.event)}", f"data={clipped(self.data)}"]
        if self.id is not None:
            texts.append(f"id={clipped(self.id)}")
        return f"{type(self).__name__}({', '.join(texts)})"


publish(globals(), "openai_stream")
