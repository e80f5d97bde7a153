"""Answers for web pages: the bytes of a ``text/event-stream``, for any WSGI response.

>>> from openai_stream.web import EVENT_STREAM_HEADERS, event_stream
>>> @app.get("/answer")
... def answer():
...     events = create_chat_completion(model=…, messages=…, stream=True)
...     return Response(event_stream(events), headers=EVENT_STREAM_HEADERS)

:func:`event_stream` is for pages of one's own, :func:`ui_messages` for those that are made with the
AI SDK of Vercel (``useChat``). Both give a :class:`Body`. No web framework is imported here.
"""

from openai_stream.publishing import publish

from .body import Body
from .events import EVENT_STREAM_HEADERS, event_stream
from .ui import UI_MESSAGES_HEADERS, ui_messages

__all__ = [
    "EVENT_STREAM_HEADERS",
    "UI_MESSAGES_HEADERS",
    "Body",
    "event_stream",
    "ui_messages",
]

publish(globals())
