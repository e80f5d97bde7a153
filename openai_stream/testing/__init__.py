"""A scripted HTTP server on loopback, for tests of code that reads streams.

:class:`ScriptedServer` answers each request with the next *script*: the bytes, pauses, hangs and
ends of connection that a test wants to see on the wire, and it notes what came from the client and
when. ::

    with ScriptedServer() as server:
        server.play(answer("Hello you there", fault=cut(after=3)))
        client = Client(api_key="test", base_url=server.base_url)
        ...
        assert server.requests[0].json["stream"] is True

With pytest the fixtures ``stream_server``, ``stream_client`` and ``stream_default_client`` are
there once the library is installed; nothing of it is imported until a test uses one. ``-p
no:openai_stream`` leaves them out, and if plugins are not loaded by themselves, ``-p
openai_stream`` brings them. So a test of an application that asks the default client is::

    def test_my_app_survives_a_cut(stream_server, stream_default_client):
        stream_server.play(answer("Hello you there", fault=cut(after=3)))
        assert my_app.ask("Hi") == "Hello you (the answer broke off)"

What can go wrong is listed, by name, in :mod:`openai_stream.testing.faults`; an answer may also
be a recording of a real one (:func:`recorded`).
"""

from openai_stream.publishing import publish

from .addresses import blackhole_url, refused_url
from .answers import Event, answer
from .chunks import chat_chunks, completion_chunks, response_events, tool_call_chunks
from .connection import Connection, Request, Script, Step
from .faults import (
    FAULTS,
    Fault,
    Rest,
    corrupt_chunk,
    corrupt_gzip,
    cut,
    endless_event,
    error_event,
    html_page,
    invalid_utf8,
    keep_alives,
    malformed,
    no_response,
    rate_limited,
    redirect,
    reset,
    server_error,
    short_length,
    stall,
    trickle,
    truncated,
    unanswered,
    whole_json,
)
from .quotas import limits, random_faults
from .recorded import recorded
from .server import Answer, Handler, ScriptedServer
from .steps import (
    Call,
    Drip,
    Fin,
    Handshake,
    Hang,
    Pause,
    Receive,
    Repeat,
    Reset,
    Send,
    Until,
    Wait,
)
from .verdict import Finding, FindingName, Verdict
from .wire import (
    LAST_CHUNK,
    chunk,
    endless_chunk_size,
    endless_headers,
    error_answer,
    frame,
    head,
    json_answer,
)

__all__ = [
    "FAULTS",
    "LAST_CHUNK",
    "Answer",
    "Call",
    "Connection",
    "Drip",
    "Event",
    "Fault",
    "Fin",
    "Finding",
    "FindingName",
    "Handler",
    "Handshake",
    "Hang",
    "Pause",
    "Receive",
    "Repeat",
    "Request",
    "Reset",
    "Rest",
    "Script",
    "ScriptedServer",
    "Send",
    "Step",
    "Until",
    "Verdict",
    "Wait",
    "answer",
    "blackhole_url",
    "chat_chunks",
    "chunk",
    "completion_chunks",
    "corrupt_chunk",
    "corrupt_gzip",
    "cut",
    "endless_chunk_size",
    "endless_event",
    "endless_headers",
    "error_answer",
    "error_event",
    "frame",
    "head",
    "html_page",
    "invalid_utf8",
    "json_answer",
    "keep_alives",
    "limits",
    "malformed",
    "no_response",
    "random_faults",
    "rate_limited",
    "recorded",
    "redirect",
    "refused_url",
    "reset",
    "response_events",
    "server_error",
    "short_length",
    "stall",
    "tool_call_chunks",
    "trickle",
    "truncated",
    "unanswered",
    "whole_json",
]

publish(globals())
