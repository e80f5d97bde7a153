"""Recordings: what a server sent, byte for byte and with its times, in a file.

:class:`Recorder` writes them while a client works, :func:`read_recording` reads them again, and
:func:`openai_stream.testing.recorded` plays them. ::

    with Recorder("answer.rec") as recorder, Client() as client:
        recorder.watch(client)
        client.create_chat_completion(...)

    for exchange in read_recording("answer.rec"):
        print(exchange.request.json["model"], len(exchange.data), exchange.end)
"""

from openai_stream.publishing import publish

from .reading import RecordedExchange, RecordedRequest, read_recording
from .recorder import Recorder

__all__ = ["RecordedExchange", "RecordedRequest", "Recorder", "read_recording"]

publish(globals())
