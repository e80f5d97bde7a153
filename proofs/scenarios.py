"""What the soak plays: scenarios drawn by chance, and the server, in a process of its own.

A scenario is drawn from a seed and its number alone, by the client and by the server each for
itself: so both know what is played without talking of it, and each can be played again. Here is
what the server does and what must come of it; how the client takes it is :mod:`proofs.soak`.
"""

from __future__ import annotations

import itertools
import multiprocessing
import os
import random
import ssl
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection as Pipe
from typing import Any, Literal

import attrs
import trustme

from openai_stream import (
    APIConnectionError,
    InternalServerError,
    RateLimitError,
    StreamAPIError,
    StreamDecodeError,
    StreamError,
    StreamInterruptedError,
    StreamTimeoutError,
    Timeout,
)
from openai_stream.errors import class_of_status
from openai_stream.testing import (
    Call,
    Connection,
    Event,
    Fin,
    Hang,
    Pause,
    Repeat,
    Request,
    Reset,
    Script,
    ScriptedServer,
    Step,
    answer,
    chat_chunks,
    chunk,
    completion_chunks,
    error_answer,
    frame,
    json_answer,
    tool_call_chunks,
)

__all__ = ["FIRST_LONG", "MAX_EVENT_BYTES", "Answer", "Refusal", "Scenario", "draw", "served"]

JSON = dict[str, Any]

MAX_EVENT_BYTES = 64 * 1024
#: Scenarios from this number on take their time.
FIRST_LONG = 10**9
#: Seconds of the short deadlines: enough for an answer to begin on a machine that is busy.
_SHORT = 1.0
_LONG = Timeout(connect=60, idle=60, gap=60)
_WORDS = ("Hello", " world", " the", "é", "世界", " 🌍", "\n", ' "quoted"', "\u2028", " a" * 40)


@attrs.frozen
class Answer:
    """A response with a good status."""

    script: Script
    #: The events that must come of it.
    events: list[JSON]
    #: What must end it, ``None`` for a whole answer.
    error: type[StreamError] | None = None
    #: A reset may overtake what was sent before it: then fewer events will do.
    exact: bool = True
    #: Which deadline is over.
    deadline: str | None = None
    #: ``restarts`` ask for it again.
    passing: bool = False
    #: It does not end by itself; its last event may come again and again.
    endless: bool = False
    #: The server has to see that the client closes the connection.
    closes: bool = False


@attrs.frozen
class Refusal:
    """An attempt that brings no response, or a bad status."""

    script: Script
    error: type[Exception]


@attrs.frozen
class Scenario:
    """What is asked, and what comes of it."""

    number: int
    #: For the figures.
    kind: str
    endpoint: Literal["chat", "completion"]
    #: What the server plays, request by request.
    attempts: list[Answer | Refusal]
    restarts: int = 0
    timeout: Timeout = _LONG

    @property
    def answers(self) -> list[Answer]:
        """The attempts that are answered."""
        return [one for one in self.attempts if isinstance(one, Answer)]

    @property
    def choices(self) -> int:
        """How many choices are asked for: as many as there are in an answer."""
        events = itertools.chain.from_iterable(answer.events for answer in self.answers)
        indexes = (choice["index"] for event in events for choice in event.get("choices", ()))
        return 1 + max(indexes, default=0)

    @property
    def error(self) -> type[Exception] | None:
        """What ends it all."""
        return self.attempts[-1].error

    @property
    def is_refused(self) -> bool:
        """No response comes of the first call, so that it raises by itself."""
        return not self.answers


def draw(seed: int, number: int) -> tuple[Scenario, random.Random]:
    """The scenario of that number, and a source for all else that there is to choose."""
    source = random.Random(f"{seed}/{number}")  # noqa: S311 - to be the same again
    if number >= FIRST_LONG:
        return _long(number, "long", source), source
    kind = source.choices(list(_KINDS), [weight for weight, _ in _KINDS.values()])[0]
    return _KINDS[kind][1](number, kind, source), source


# What is sent --------------------------------------------------------------------------------


def _chunks(source: random.Random, number: int) -> tuple[Literal["chat", "completion"], list[JSON]]:
    """The chunks of an answer: chat or not, short or long, of one or several choices, of tools."""
    count = source.choice((0, 1, 2, 3, 5, 8, 8, 12, 12, 60))
    text = [source.choice(_WORDS) for _ in range(count)]
    usage = source.random() < 0.5
    shape = source.random()
    if shape < 0.1:
        return "completion", completion_chunks(text, usage=usage, seed=number)
    if shape < 0.25:
        calls = [(f"tool_{i}", '{"x": "' + " y" * i + '"}') for i in range(source.randrange(1, 4))]
        return "chat", tool_call_chunks(*calls, usage=usage, seed=number)
    one = chat_chunks(text, usage=usage, seed=number)
    if shape < 0.4:
        several = [[_with_index(each, index) for each in one] for index in range(3)]
        mixed = [each for each in itertools.chain(*zip(*several, strict=True)) if each["choices"]]
        return "chat", mixed
    return "chat", one


def _with_index(made: JSON, index: int) -> JSON:
    return {**made, "choices": [{**choice, "index": index} for choice in made["choices"]]}


def _form(source: random.Random) -> dict[str, Any]:
    """How a body is put on the wire."""
    form: dict[str, Any] = {"framing": source.choice(("chunked", "chunked", "length", "close"))}
    if source.random() < 0.5:
        form["events_per_chunk"] = source.choice((1, 2, 7))
    else:
        form["bytes_per_chunk"] = source.choice((7, 100, 1000))
    return form


def _frames(chunks: list[JSON], source: random.Random, line_end: str = "\n") -> list[bytes]:
    """A frame for each chunk, some with a keep-alive in front of it."""
    keep_alive = f": keep-alive{line_end}{line_end}".encode()
    return [
        (keep_alive if source.random() < 0.1 else b"") + frame(one, line_end=line_end)
        for one in chunks
    ]


# Kinds of answers ----------------------------------------------------------------------------


def _whole(chunks: list[JSON], source: random.Random) -> Answer:
    form = _form(source)
    form["line_end"] = source.choice(("\n", "\n", "\r\n", "\r"))
    form["encoding"] = source.choice((None, None, None, "gzip", "deflate"))
    form["delay"] = source.choice((0, 0, 0, 0.0005))
    frames: list[Event] = [*_frames(chunks, source, form["line_end"])]
    done = source.random() < 0.8  # some servers send none
    return Answer(answer(frames, done=done, **form), chunks)


def _unended(chunks: list[JSON], source: random.Random) -> Answer:
    """All is there but the body's end."""
    script = answer([*_frames(chunks, source)], framing="chunked")[:-1]
    return Answer([*script, Hang()], chunks, closes=True)


def _begun(chunks: list[JSON], source: random.Random) -> int:
    """How many of the chunks are sent before something happens; not the one that finishes."""
    ends = (i for i, one in enumerate(chunks) if any(c["finish_reason"] for c in one["choices"]))
    return source.randrange(next(ends) + 1)


def _cut(chunks: list[JSON], source: random.Random) -> Answer:
    count = _begun(chunks, source)
    frames = _frames(chunks, source)
    sent, broken = b"".join(frames[:count]), frames[count]
    sent += broken[: source.randrange(len(broken) - 1)]
    end = source.choice((Fin(), Reset()))
    form = _form(source)
    if form["framing"] == "length":
        form["headers"] = {"Content-Length": str(len(sent) + 100)}
    return Answer(
        answer([sent, end] if sent else [end], done=False, **form),
        chunks[:count],
        StreamInterruptedError,
        exact=not isinstance(end, Reset),
        passing=True,
    )


def _stalled(chunks: list[JSON], source: random.Random, deadline: str) -> Answer:
    count = _begun(chunks, source)
    step: Step = Hang()
    if deadline == "gap":
        step = Repeat(chunk(b": keep-alive\n\n"), delay=0.05)
    script = answer([*_frames(chunks[:count], source)], done=False, events_per_chunk=3)[:-1]
    return Answer(
        [*script, step],
        chunks[:count],
        StreamTimeoutError,
        deadline=deadline,
        passing=deadline != "total",
        closes=True,
    )


def _malformed(chunks: list[JSON], source: random.Random) -> Answer:
    count = _begun(chunks, source)
    bad, passing = source.choice(
        (
            (frame('{"choices": ['), True),
            (frame("NaN"), True),
            (frame("[1]"), True),
            (b"data: \xff\n\n", True),
            (frame("[" * 20_000), True),
            (frame({"padding": "x" * MAX_EVENT_BYTES}), False),
        )
    )
    frames = [*_frames(chunks[:count], source), bad, *_frames(chunks[count:], source)]
    script = answer([*frames], events_per_chunk=source.choice((1, 4)))
    return Answer(
        [*script[:-1], Hang()],
        chunks[:count],
        StreamDecodeError,
        passing=passing,
        closes=True,
    )


def _error(chunks: list[JSON], source: random.Random) -> Answer:
    count = _begun(chunks, source)
    body = {"error": {"message": "overloaded", "type": "server_error", "code": "busy"}}
    told = source.choice((frame(body), frame(body, event="error"), frame("no", event="error")))
    script = answer([*_frames(chunks[:count], source), told], **_form(source))
    return Answer(script, chunks[:count], StreamAPIError)


def _page(source: random.Random) -> Answer:
    kind = source.choice(("text/html", "application/json"))
    return Answer(
        answer([b"<html></html>"], done=False, content_type=kind, framing="length"),
        [],
        StreamDecodeError,
    )


def _refusal(source: random.Random) -> Refusal:
    """One that a retry may mend; the wait for it is short."""
    status = source.choice((429, 500, 503))
    headers = {"retry-after-ms": str(source.randrange(1, 20))}
    error = RateLimitError if status == 429 else InternalServerError
    return Refusal(error_answer(status, "not now", headers=headers), error)


# Kinds of scenarios --------------------------------------------------------------------------


def _plain(number: int, kind: str, source: random.Random) -> Scenario:
    endpoint, chunks = _chunks(source, number)
    made = _whole if source.random() < 0.95 else _unended
    return Scenario(number, kind, endpoint, [made(chunks, source)])


def _failing(number: int, kind: str, source: random.Random) -> Scenario:
    endpoint, chunks = _chunks(source, number)
    kinds = (_cut, _cut, _malformed, _error)
    made = _page(source) if source.random() < 0.1 else source.choice(kinds)(chunks, source)
    return Scenario(number, kind, endpoint, [made])


def _stalling(number: int, kind: str, source: random.Random) -> Scenario:
    endpoint, chunks = _chunks(source, number)
    deadline = source.choice(("idle", "gap", "total"))
    limits = attrs.evolve(_LONG, **{deadline: _SHORT})
    return Scenario(number, kind, endpoint, [_stalled(chunks, source, deadline)], timeout=limits)


def _retried(number: int, kind: str, source: random.Random) -> Scenario:
    endpoint, chunks = _chunks(source, number)
    refusals = [_refusal(source) for _ in range(source.randrange(1, 4))]
    attempts: list[Answer | Refusal] = [*refusals]
    if len(refusals) < 3:  # the client makes two retries
        last = source.choice((_whole, _whole, _cut, _error))
        attempts.append(last(chunks, source))
    return Scenario(number, kind, endpoint, attempts)


def _refused(number: int, kind: str, source: random.Random) -> Scenario:
    status = source.choice((400, 401, 403, 404, 418, 422, 429))
    headers = {"x-should-retry": "false"} if status == 429 else {}
    script = error_answer(status, "no", headers=headers)
    return Scenario(number, kind, "chat", [Refusal(script, class_of_status(status))])


def _dropped(number: int, kind: str, source: random.Random) -> Scenario:
    """The connection ends before there is a response; each time, or but for the last."""
    endpoint, chunks = _chunks(source, number)
    end = source.choice((Reset(), Fin()))
    attempts: list[Answer | Refusal] = [Refusal(end, APIConnectionError)]
    return Scenario(number, kind, endpoint, [*attempts, _whole(chunks, source)])


def _restarted(number: int, kind: str, source: random.Random) -> Scenario:
    endpoint, chunks = _chunks(source, number)
    restarts = source.choice((1, 1, 1, 2))
    attempts: list[Answer | Refusal] = []
    for left in range(restarts, -1, -1):
        if source.random() < 0.1:
            attempts.append(_refusal(source))
        makers = (_cut, _cut, _malformed) if left else (_whole, _whole, _whole, _cut, _error)
        made = source.choice(makers)(chunks, source)
        attempts.append(made)
        if not made.passing:
            break
    return Scenario(number, kind, endpoint, attempts, restarts)


def _stopped(number: int, kind: str, source: random.Random) -> Scenario:
    """One for a client that will not wait for its end, if it has any."""
    endpoint, chunks = _chunks(source, number)
    if source.random() < 0.4:
        made = _whole(chunks, source)
        return Scenario(number, kind, endpoint, [made])
    count = _begun(chunks, source)
    frames = _frames(chunks[:count], source)
    script = answer([*frames], done=False, events_per_chunk=source.choice((1, 3)))[:-1]
    again = source.random() < 0.5 and count > 0
    end: Step = Repeat(chunk(frame(chunks[count - 1])), delay=0.001) if again else Hang()
    made = Answer([*script, end], chunks[:count], endless=True, closes=True)
    return Scenario(number, kind, endpoint, [made])


def _long(number: int, kind: str, source: random.Random) -> Scenario:
    """One that takes its time, whatever it is: its pieces come at the pace of a model."""
    of = source.choices((_plain, _failing, _restarted, _stopped), (5, 2, 1, 2))[0]
    scenario = of(number, kind, source)
    seconds = 2 + 28 * source.random() ** 2
    attempts = [
        attrs.evolve(one, script=_slowly(one.script, seconds)) if isinstance(one, Answer) else one
        for one in scenario.attempts
    ]
    return attrs.evolve(scenario, attempts=attempts)


def _slowly(script: Script, seconds: float) -> Script:
    if not isinstance(script, list):
        return script
    pause = Pause(seconds / len(script))
    slower = [Repeat(one.data, delay=0.2) if isinstance(one, Repeat) else one for one in script]
    return [step for one in slower for step in (one, pause)][:-1]


_KINDS = {
    "whole": (36, _plain),
    "failing": (16, _failing),
    "stalling": (4, _stalling),
    "retried": (8, _retried),
    "refused": (3, _refused),
    "dropped": (1, _dropped),
    "restarted": (4, _restarted),
    "stopped": (28, _stopped),
}


# The server ----------------------------------------------------------------------------------

_BETWEEN = b"--- and ---"
_REMEMBERED = 400.0  # seconds that a connection is known after its last request
_TRUSTED = "REQUESTS_CA_BUNDLE"


@attrs.define
class _Record:
    """What the server has seen of a scenario."""

    connection: Connection | None = None
    #: When the last request was whole, and when all was sent that comes before a stall.
    received_at: float = 0.0
    sent_at: float | None = None


class _Player:
    """Answers requests: with what their scenario says, or with what was seen of one."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._lock = threading.Lock()
        self._records: dict[int, _Record] = {}
        self._attempts: Counter[int] = Counter()  # for good: one may begin anew after minutes

    def __call__(self, request: Request) -> Script:
        if request.path.endswith("/seen"):
            return self._seen(**request.json)
        number: int = request.json["user"]
        scenario, _ = draw(self._seed, number)
        with self._lock:
            record = self._records.pop(number, None) or _Record()
            self._records[number] = record  # behind those that were asked for earlier
            attempt = self._attempts[number]
            self._attempts[number] += 1
            record.connection = request.connection
            record.received_at = request.received_at
            oldest = next(iter(self._records))
            if request.received_at - self._records[oldest].received_at > _REMEMBERED:
                del self._records[oldest]
        if attempt >= len(scenario.attempts):
            return error_answer(400, "one request more than the scenario has")
        script = scenario.attempts[attempt].script
        if isinstance(script, list) and isinstance(script[-1], (Hang, Repeat)):
            return [*script[:-1], Call(lambda: self._sent(record)), script[-1]]
        return script

    def _sent(self, record: _Record) -> None:
        record.sent_at = time.monotonic()

    def _seen(self, number: int, closing: bool) -> Script:
        """What was seen of a scenario; if it is closing, when the connection is closed."""
        with self._lock:
            record = self._records.get(number, _Record())
            attempts = self._attempts[number]
        connection = record.connection
        closed_at = None
        if connection is not None and closing and connection.closed.wait(30):
            closed_at = connection.client_closed_at
        return json_answer(
            {
                "attempts": attempts,
                "received_at": record.received_at,
                "sent_at": record.sent_at,
                "closed_at": closed_at,
            }
        )


def _serve(pipe: Pipe, seed: int, authority: bytes) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA.from_pem(*authority.split(_BETWEEN)).issue_cert("127.0.0.1").configure_cert(context)
    player = _Player(seed)
    with ScriptedServer() as plain, ScriptedServer(ssl_context=context) as encrypted:
        servers = plain, encrypted
        for server in servers:
            server.always(player)
        pipe.send([server.base_url for server in servers])
        while not pipe.poll(1.0):  # which ends when the client's process does, too
            for server in servers:
                server.forget()
        pipe.send([repr(failure) for server in servers for failure in server.failures])
        for server in servers:
            server.failures.clear()


@contextmanager
def _trusted(path: str) -> Iterator[None]:
    """The certificates of that file, in this process."""
    before = os.environ.get(_TRUSTED)
    os.environ[_TRUSTED] = path
    try:
        yield
    finally:
        del os.environ[_TRUSTED]
        if before is not None:
            os.environ[_TRUSTED] = before


@attrs.frozen
class Served:
    """What a client knows of the servers, which play the same scenarios.

    :param base_url: of the plain one.
    :param encrypted_url: of the one with TLS.
    :param failures: what went wrong in them; at the end.
    """

    base_url: str
    encrypted_url: str
    failures: list[str] = attrs.field(factory=list)


@contextmanager
def served(seed: int) -> Iterator[Served]:
    """Servers in a process of its own. Their certificate is trusted meanwhile."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    authority = trustme.CA()
    pem = _BETWEEN.join((authority.cert_pem.bytes(), authority.private_key_pem.bytes()))
    process = context.Process(target=_serve, args=(theirs, seed, pem), daemon=True)
    process.start()
    theirs.close()
    try:
        with authority.cert_pem.tempfile() as path, _trusted(path):
            found = Served(*ours.recv())
            yield found
        ours.send("end")
        found.failures.extend(ours.recv())
    finally:
        ours.close()
        process.join(10)
        process.kill()
        process.join()
        process.close()
