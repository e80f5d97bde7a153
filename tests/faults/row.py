"""What a row of the matrix is, and what the rows are made of."""

from __future__ import annotations

import datetime
import functools
import ssl
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import NoneType
from typing import Any, Literal

import attrs
import trustme
import urllib3.exceptions
from helpers import SOON

from openai_stream import OpenAIStreamError, StreamError, Timeout
from openai_stream.testing import (
    Connection,
    Event,
    Fin,
    Reset,
    ScriptedServer,
    Step,
    answer,
    chat_chunks,
    frame,
    head,
)

JSON = dict[str, Any]

Script = Sequence[Step | bytes]
Framing = Literal["chunked", "length", "close"]
FRAMINGS: tuple[Framing, ...] = ("chunked", "length", "close")
Certificate = Literal["good", "untrusted", "expired", "too early", "of another host"]
#: Of an event's ``delta``: its text and its ``finish_reason``, for each choice.
Held = dict[int, tuple[str, str | None]]
Classes = type | tuple[type, ...]

PATIENT = Timeout(connect=SOON, idle=SOON, gap=SOON)
IDLE = Timeout(idle=0.2)
GAP = Timeout(gap=0.2)
LIMIT = 200_000  # bytes of one event

#: Role, "Hello", " big", " wörld", finish reason.
CHUNKS = chat_chunks("Hello big wörld")
ALL = len(CHUNKS)
FRAMES = [frame(one) for one in CHUNKS]
CUT = urllib3.exceptions.ProtocolError


FIN_AND_RST: dict[str, Step] = {"FIN": Fin(), "RST": Reset()}


class Taken(Step):
    """Stands for: wait until the consumer has taken all events that are to come before this."""

    def play(self, connection: Connection) -> None:
        raise AssertionError("it is replaced before it is played")


TAKEN = Taken()


def _held(row: Row) -> Held:
    """What the events sum up to, by the simplest way there is."""
    held: Held = {}
    for event in row.events:
        for choice in event.get("choices") or ():
            text, reason = held.get(choice["index"], ("", None))
            text += choice["delta"].get("content") or ""
            held[choice["index"]] = text, choice["finish_reason"] or reason
    return held


def _first(events: int | Sequence[JSON]) -> Sequence[JSON]:
    return CHUNKS[:events] if isinstance(events, int) else events


@attrs.frozen
class Row:
    """One way in which an answer comes, or does not come, and what is made of it.

    :param name: no other row has it.
    :param script: what the server plays for an answer.
    :param events: what is delivered, in order; a number stands for so many of ``CHUNKS``.
    :param error: the class of the exception in the end; ``None`` where the answer is whole.
    :param said: what its message has in it.
    :param cause: the class of its ``__cause__``, or several where that depends on the Python.
    :param attributes: others of the error's.
    :param held: what ``snapshot()`` holds: the text and the ``finish_reason`` of each choice.
    :param keep_alives: as ``stats`` counts them; ``None`` where that depends on the time.
    :param kept: a whole answer's connection carries the next one too; ``None`` where that depends
        on the time.
    :param greeting: what the server plays on the connection before TLS and before any request.
    :param certificate: the server's, where the row is played over TLS.
    :param others: what another library may do as well, because standards permit it or because the
        row is about a limit of our own; for the comparison only.
    """

    name: str
    script: Script
    events: Sequence[JSON] = attrs.field(converter=_first)
    error: type[OpenAIStreamError] | None = None
    said: str = ""
    cause: Classes = NoneType
    timeout: Timeout = PATIENT
    attributes: Mapping[str, Any] = attrs.field(factory=dict)
    held: Held = attrs.field(default=attrs.Factory(_held, takes_self=True))
    keep_alives: int | None = 0
    kept: bool | None = False
    greeting: Script = ()
    certificate: Certificate | None = None
    others: Literal["do the same", "may refuse it", "may accept it"] = "do the same"

    @property
    def asked(self) -> JSON:
        """What of the request matters: several choices come to whom asks for them only."""
        choices = [choice for event in self.events for choice in event.get("choices") or ()]
        count = len({choice.get("index") for choice in choices if isinstance(choice, dict)})
        return {"n": count} if count > 1 else {}

    @property
    def refused(self) -> bool:
        """Whether the call gets no response to stream."""
        return self.error is not None and not issubclass(self.error, StreamError)

    def played(self, taken: Step) -> list[Step | bytes]:
        """The script.

        :param taken: waits until the consumer has the events that are to come before it.
        """
        return [taken if step is TAKEN else step for step in self.script]


def part(events: Sequence[Event], framing: Framing = "chunked", **arguments: Any) -> Script:
    """The first part of an answer: the rest of its body is still to come, or never comes."""
    script = answer(events, framing=framing, done=False, **arguments)
    if framing == "length":
        assert isinstance(script[0], bytes)
        script[0] = script[0].replace(b"Content-Length: ", b"Content-Length: 9")
        return script
    return script[:-1]


def opened(headers: Mapping[str, str]) -> bytes:
    """The head of an event stream."""
    return head(200, {"Content-Type": "text/event-stream", **headers})


#: The head of one that is sent in chunks.
CHUNKED = opened({"Transfer-Encoding": "chunked"})


class Certificates:
    """Those of the rows that are played over TLS, and the authority that clients trust."""

    def __init__(self) -> None:
        self.authority = trustme.CA()
        self.context = functools.cache(self._context)

    def _context(self, certificate: Certificate) -> ssl.SSLContext:
        authority = trustme.CA() if certificate == "untrusted" else self.authority
        name = "example.org" if certificate == "of another host" else "127.0.0.1"
        now = datetime.datetime.now(datetime.timezone.utc)
        hour = datetime.timedelta(hours=1)
        issued = authority.issue_cert(
            name,
            not_before=now + hour if certificate == "too early" else None,
            not_after=now - hour if certificate == "expired" else None,
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        issued.configure_cert(context)
        return context


@contextmanager
def serving(row: Row, certificates: Certificates) -> Iterator[ScriptedServer]:
    """A server for the row, with nothing to play yet but its greeting."""
    context = certificates.context(row.certificate) if row.certificate else None
    with ScriptedServer(ssl_context=context) as server:
        if row.greeting:
            server.on_connect(row.greeting)
        yield server
