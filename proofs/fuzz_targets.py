"""What is fuzzed: functions that take any bytes and raise where the library breaks a promise.

Each is a plain function of bytes, so that a finding can be played again, and the seeds be tried on
any Python, without the fuzzer, which is :mod:`proofs.fuzz`. Except for the sockets, which are
scripted, nothing of the library is replaced.

A promise is checked against something else than the code that keeps it: the standard's own
algorithm, ``http.client``, ``json``, or the same bytes in other pieces.
"""

from __future__ import annotations

import contextlib
import functools
import gzip
import http.client
import io
import itertools
import json
import pickle
import random
import re
import types
import typing
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import attrs
import requests
import requests.adapters
import urllib3.exceptions

from openai_stream import models, transport
from openai_stream.accumulate import Asked, ChatAccumulator
from openai_stream.endpoints import (
    CHAT_COMPLETIONS,
    COMPLETIONS,
    RESPONSES,
    Endpoint,
    any_endpoint,
)
from openai_stream.errors import OpenAIStreamError, StreamDecodeError, StreamInterruptedError
from openai_stream.models import Model, ServerEvent
from openai_stream.protocol import StreamProtocol
from openai_stream.server_errors import api_error, error_fields, says_failure
from openai_stream.sse import Frames, parser
from openai_stream.testing import (
    LAST_CHUNK,
    answer,
    chat_chunks,
    chunk,
    completion_chunks,
    frame,
    tool_call_chunks,
)
from openai_stream.timeouts import Timeout
from openai_stream.transport.connection import Connection
from openai_stream.transport.current import sending

from . import fuzz_bodies
from .fuzz_bodies import unchunked
from .pieces import HEADER, check, ways

__all__ = ["TARGETS", "TOKENS", "seeds"]

JSON = dict[str, Any]

_ENDPOINTS: tuple[Endpoint[Any, Any], ...] = (
    CHAT_COMPLETIONS,
    COMPLETIONS,
    RESPONSES,
    any_endpoint("/any"),
)
_ROOTS: tuple[type[Model], ...] = (
    models.ChatCompletionChunk,
    models.ChatCompletion,
    models.Completion,
    models.ResponseEvent,
    models.Response,
)
_LIMITS = (2**20, 512, 64, 8)
_BOM = b"\xef\xbb\xbf"
_NEVER = Timeout(connect=None, idle=None, gap=None)
#: Deeper than this neither ``json`` nor ``pickle`` need follow, and so the checks cannot either.
_DEEP = 100


def whatwg(stream: bytes) -> tuple[list[tuple[str, str]], list[bytes], bool]:
    """The events of a whole stream, by WHATWG HTML, sections 9.2.5 and 9.2.6, step by step.

    :returns: type and data of each event up to a frame that is not UTF-8, the frames up to there,
        and whether there was such a frame.
    """
    *lines, _ = re.split(b"\r\n|\n|\r", stream.removeprefix(_BOM))
    found: list[tuple[str, str]] = []
    frames: list[bytes] = []
    open_lines: list[bytes] = []
    for line in lines:
        if line:
            open_lines.append(line)
            continue
        frames.append(b"\n".join(open_lines))
        try:
            fields = [text for each in open_lines if (text := each.decode())[:1] != ":"]
        except UnicodeDecodeError:
            return found, frames, True
        open_lines = []
        kind, data = "", ""
        for field in fields:
            name, _, value = field.partition(":")
            value = value.removeprefix(" ")
            if name == "event":
                kind = value
            elif name == "data":
                data += value + "\n"
        if data:
            found.append((kind or "message", data[:-1]))
    return found, frames, False


def frames(data: bytes) -> None:
    """Bytes into frames: as the standard says, however they are cut, within the limit."""
    header, stream = data[:HEADER].ljust(2, b"\0"), data[HEADER:].removeprefix(_BOM)
    limit = _LIMITS[header[0] % len(_LIMITS)]
    expected, whole, is_broken = whatwg(stream)
    too_long = next((i for i, one in enumerate(whole) if len(one) > limit), None)
    if too_long is not None:
        expected, _, is_broken = whatwg(b"".join(one + b"\n\n" for one in whole[:too_long]))
    mark = _BOM if header[0] & 128 else b""
    for blocks in ways(header, mark + stream):
        found: list[tuple[str, str]] = []
        error: type[Exception] | None = None
        try:
            for event in _parsed(Frames(limit), _Pieces(blocks, limit)):
                found.append((event.event, event.data))
        except (StreamDecodeError, UnicodeDecodeError) as caught:
            error = type(caught)
        check(found == expected, found, expected)
        if is_broken:
            check(error is UnicodeDecodeError, error)
        elif too_long is not None:
            check(error is StreamDecodeError, error)
        elif len(_open(stream)) <= limit:  # a longer one is refused, or cut by the end
            check(error is None, error)


def _open(stream: bytes) -> bytes:
    """The frame at the end that no blank line has closed."""
    lines = stream.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    return lines.rpartition(b"\n\n")[2]


def _parsed(frames: Frames, blocks: Iterable[bytes]) -> Iterator[Any]:
    parse = parser()
    for block in blocks:
        for batch in frames.feed(block):
            yield from parse(batch)
    for batch in frames.end():
        yield from parse(batch)


class _Pieces:
    """Gives blocks, and sees to it that no more than the limit is hoarded."""

    def __init__(self, blocks: Sequence[bytes], limit: int) -> None:
        self._blocks = blocks
        self._limit = limit

    def __iter__(self) -> Iterator[bytes]:
        given = b""
        last = 0
        for block in [*self._blocks, b""]:
            # What is behind the last blank line is all that may have been kept, and is looked at
            # when there is more.
            kept = len(_open(given))
            few = 64  # are taken for a look at the beginning
            check(kept <= self._limit + last + few, "more than the limit is kept", kept)
            if block:
                yield block
            last = len(block)
            given += block


# Bytes into events ---------------------------------------------------------------------------


@attrs.frozen
class _Outcome:
    """How a response was read; of two that differ in their cuts it is the same."""

    #: The JSON of each event.
    events: list[str]
    error: str | None
    #: The JSON of the whole.
    whole: str
    count: int


_CONTENT_TYPES = ("text/event-stream", "", "application/json", "text/html", "text/plain")


def events(data: bytes) -> None:
    """Bytes into events and their sum, by the protocol, for each endpoint."""
    header, stream = data[:HEADER].ljust(2, b"\0"), data[HEADER:]
    endpoint = _ENDPOINTS[header[0] % len(_ENDPOINTS)]
    choice = header[1] // len(_CONTENT_TYPES)
    content_type = _CONTENT_TYPES[header[1] % len(_CONTENT_TYPES)]
    limit = _LIMITS[choice % len(_LIMITS)]
    outcomes = [
        _read(iter(blocks), lambda: True, endpoint, limit, content_type)
        for blocks in ways(header, stream)
    ]
    # A line that is no field may be anything, and is no part of the event that it stands beside.
    sent, _, _ = whatwg(stream.decode(errors="replace").encode())
    _check_events(outcomes[0], stream, sent, endpoint)
    if len(_open(stream)) > limit:  # refused, or cut by the end: whichever is noticed first
        outcomes = [attrs.evolve(one, error=None) for one in outcomes]
    for other in outcomes[1:]:
        check(other == outcomes[0], other, outcomes[0])


def _read(
    blocks: Iterator[bytes],
    framed: Callable[[], bool],
    endpoint: Endpoint[Any, Any],
    limit: int,
    content_type: str,
) -> _Outcome:
    """Drive the protocol.

    :param framed: whether, at its end, the body told that it ends there.
    """
    given: list[Any] = []
    error: str | None = None
    accumulator = endpoint.accumulator()
    protocol = StreamProtocol(endpoint, accumulator, limit, content_type)
    try:
        try:
            while not protocol.ended and (block := next(blocks, b"")):
                given.extend(protocol.feed(block))
        except StreamInterruptedError as caught:
            raise protocol.broken(caught) from None
        if not protocol.ended:
            given.extend(protocol.end(framed()))
        protocol.finish()
    except OpenAIStreamError as caught:
        check(str(caught) != "", "an error that says nothing")
        error = f"{type(caught).__name__}: {caught}"
    whole = endpoint.whole(accumulator.snapshot())
    return _Outcome(
        [text_of(_plain(event)) for event in given],
        error,
        text_of(_plain(whole)),
        protocol.events,
    )


def _plain(value: Any) -> Any:
    if isinstance(value, ServerEvent):
        return value.data
    return value.to_dict() if isinstance(value, Model) else value


def _count_of_json(sent: list[tuple[str, str]]) -> int:
    """How many events up to ``[DONE]`` are JSON."""
    count = 0
    for _, text in sent:
        if text.strip() == "[DONE]":
            break
        with contextlib.suppress(ValueError, RecursionError):
            json.loads(text)
            count += 1
    return count


def _check_events(
    outcome: _Outcome,
    stream: bytes,
    sent: list[tuple[str, str]],
    endpoint: Endpoint[Any, Any],
) -> None:
    """What was delivered is what was sent, in order, and nothing was left out."""
    is_any = endpoint.server_event is not None
    found = iter(outcome.events)
    expected = next(found, None)
    for _, text in sent:
        # What is not JSON ends a stream, is a keep-alive, or is several events, framed wrongly.
        for part in (text, *(text.split("\n") if "\n" in text else ())):
            with contextlib.suppress(ValueError, RecursionError):
                if expected == text_of(json.loads(part.strip().removeprefix("data:"))):
                    expected = next(found, None)
    # All but the last, which may lack its blank line.
    check(expected is None or next(found, None) is None, outcome.events, sent)
    count = len(outcome.events)
    if outcome.error is None and is_any and b"error" not in stream:
        check(count >= _count_of_json(sent), outcome.events, sent)
    # The last one may have been an error, which an accumulator gets to see and nobody else.
    check(0 <= outcome.count - count <= 1, outcome.count, count)


def text_of(value: Any) -> str:
    """The JSON of a value; of one that is nested too deep, that it is."""
    try:
        return json.dumps(value)
    except RecursionError:
        return "too deep"


# HTTP ----------------------------------------------------------------------------------------


class _Socket:
    """The client's end of a connection over which these blocks come, then its end."""

    def __init__(self, blocks: Iterable[bytes]) -> None:
        self._blocks = iter(blocks)
        self._rest = b""

    def makefile(self, mode: str) -> io.BufferedReader:
        return io.BufferedReader(io.BytesIO())

    def recv_into(self, buffer: memoryview) -> int:
        block = self._rest or next(self._blocks, b"")
        size = min(len(block), len(buffer))
        buffer[:size], self._rest = block[:size], block[size:]
        return size

    def send(self, data: bytes) -> int:
        return len(data)

    def settimeout(self, seconds: float | None) -> None:
        """Nothing is waited for."""

    def close(self) -> None:
        """Nothing is held."""


_REQUEST = requests.Request("POST", "http://fuzz/v1").prepare()
_ADAPTER = requests.adapters.HTTPAdapter()
#: What the library expects of a request that brings no response, and turns into its own.
_NO_RESPONSE = (
    requests.RequestException,
    urllib3.exceptions.HTTPError,
    http.client.HTTPException,
    OSError,
    ValueError,
)


def _respond(
    blocks: Iterable[bytes],
) -> tuple[requests.Response, transport.NetworkCall] | None:
    """What a request brings over which connection comes this; ``None`` where no response."""
    call = transport.NetworkCall(_NEVER, streaming=True)
    connection = Connection("fuzz")
    connection.sock = _Socket(blocks)
    try:
        with sending(call):
            call.begin()
            connection.request("POST", "/v1", preload_content=False, decode_content=False)
            return _ADAPTER.build_response(_REQUEST, connection.getresponse()), call
    except _NO_RESPONSE:
        return None


def wire(data: bytes) -> None:
    """Bytes of a connection into a response, its body, and its events."""
    header, stream = data[:HEADER].ljust(2, b"\0"), data[HEADER:]
    endpoint = _ENDPOINTS[header[0] % len(_ENDPOINTS)]
    outcomes: list[tuple[Any, ...]] = []
    for blocks in ways(header, stream):
        answered = _respond(blocks)
        if answered is None:
            outcomes.append((None, None))
            continue
        response, call = answered
        status = (response.status_code, response.reason, sorted(response.headers.items()))
        outcomes.append((status, _read_body(response, call, endpoint)))
        _check_body(blocks, stream)
    if any(status and _is_compressed(status) for status, _ in outcomes):
        # What zlib had decompressed of a block before it met nonsense, it does not tell.
        outcomes = [
            one for one in outcomes if not isinstance(one[1], _Outcome) or one[1].error is None
        ]
    for other in outcomes[1:]:
        check(other == outcomes[0], other, outcomes[0])


def _read_body(
    response: requests.Response, call: transport.NetworkCall, endpoint: Endpoint[Any, Any]
) -> _Outcome | str:
    headers = response.headers
    try:
        transport.check_codings(headers.get("content-encoding", ""), str)
    except OpenAIStreamError as error:
        return str(error)
    body = transport.Body(response, call)
    try:
        content_type = headers.get("content-type", "")
        outcome = _read(
            iter(body.read, b""), lambda: body.framed, endpoint, _LIMITS[0], content_type
        )
        body.finish()
        return outcome
    finally:
        body.close()


def _is_compressed(status: tuple[Any, ...]) -> bool:
    return any(name.lower() == "content-encoding" for name, _ in status[2])


def _check_body(blocks: Iterable[bytes], stream: bytes) -> None:
    """A chunked body is what the standard says it is, or refused."""
    answered = _respond(blocks)
    check(answered is not None)
    assert answered is not None
    response, call = answered
    if not response.raw.chunked or "content-encoding" in response.headers:
        response.close()
        return
    body = transport.Body(response, call)
    try:
        found: bytes | None = b"".join(body.blocks(len(stream)))
    except OpenAIStreamError:
        found = None
    finally:
        body.close()
    expected = _http_client(stream)
    strict = None if expected is None else unchunked(expected[0])
    if strict is not None:
        check(found == strict, found, strict)
    if found is not None and expected is not None and expected[1] is not None:
        check(found == expected[1], found, expected[1])


def _http_client(stream: bytes) -> tuple[bytes, bytes | None] | None:
    """What ``http.client`` makes of a response: what follows its headers, and its body."""

    class _File:
        def makefile(self, mode: str) -> io.BytesIO:
            return source

    source = io.BytesIO(stream)
    response = http.client.HTTPResponse(_File(), method="POST")  # type: ignore[arg-type]
    try:
        response.begin()
    except (http.client.HTTPException, ValueError, OSError):
        return None
    if not response.chunked:
        return None
    rest = stream[source.tell() :]
    try:
        return rest, response.read()
    except (http.client.HTTPException, ValueError, OSError):
        return rest, None


# Objects -------------------------------------------------------------------------------------


class Choices:
    """A fuzzer's bytes as one choice after another; when they are used up, each is 0."""

    def __init__(self, data: bytes) -> None:
        self._data = iter(data)
        self.over = False

    def below(self, count: int) -> int:
        """A number from 0 on."""
        byte = next(self._data, None)
        if byte is None:
            self.over = True
            return 0
        return byte % count

    def of(self, options: Sequence[Any]) -> Any:
        """One of them."""
        return options[self.below(len(options))]


#: What a server may send in the place of anything.
_ODD: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 2, 7, 1.0, 1.5, 1e308, 2**63, 10**30, "", "0", "null", "\ud800",
    "\0", "é\u2028𝄞", [], {}, [None], [[]], [{}], ["x"], [1, "x", None], {"": None}, {"index": 0},
    {"type": []}, {"a": {"b": [{}]}}, "x" * 10_000, list(range(100)),
    {str(number): number for number in range(100)},
)  # fmt: skip
_KINDS = (
    "response.output_text.delta", "response.output_text.done", "response.output_item.added",
    "response.output_item.done", "response.content_part.added", "response.content_part.done",
    "response.refusal.delta", "response.refusal.done", "response.reasoning_text.delta",
    "response.reasoning_summary_text.delta", "response.reasoning_summary_part.added",
    "response.reasoning_summary_part.done", "response.function_call_arguments.delta",
    "response.function_call_arguments.done", "response.mcp_call_arguments.delta",
    "response.custom_tool_call_input.delta", "response.code_interpreter_call_code.delta",
    "response.output_text.annotation.added", "response.web_search_call.searching",
    "response.web_search_call.completed", "response.created", "response.in_progress",
    "response.completed", "response.incomplete", "response.failed", "error", "response.",
)  # fmt: skip
_WORDS = (
    "", "a", "b", " word", "{\"x\": 1", "}", "message", "function", "custom", "function_call",
    "output_text", "refusal", "reasoning", "summary_text", "web_search_call", "completed", "stop",
    "tool_calls", "length", "assistant", "call_1", "call_2", "msg_1", "null", "é𝄞",
)  # fmt: skip
_LOOSE = (
    "type", "id", "call_id", "content", "summary", "text", "annotations", "status", "index", "name",
    "arguments", "output", "input", "code", "logprobs", "refusal", "reasoning_content", "error",
)  # fmt: skip
_DEPTH = 6


def shaped(cls: type[Model], choices: Choices, depth: int = 0) -> JSON:
    """A JSON object with fields of a class, most of them of the type that it documents."""
    made: JSON = {}
    for field in attrs.fields(cls):  # type: ignore[arg-type]
        chosen = choices.below(8)
        if chosen > 4:
            made[field.name] = _typed(field.name, field.type, choices, depth)
        elif chosen == 4:
            made[field.name] = choices.of(_ODD)
    if choices.below(4) == 3:
        made[choices.of(_LOOSE)] = choices.of(_ODD)
    if choices.below(8) == 7:
        made = dict(reversed(made.items()))
    return made


def _typed(name: str, hint: Any, choices: Choices, depth: int) -> Any:
    union = typing.get_origin(hint) in (typing.Union, types.UnionType)
    options = typing.get_args(hint) if union else (hint,)
    hint = choices.of(options)
    if typing.get_origin(hint) is list:
        (item,) = typing.get_args(hint)
        return [_typed(name, item, choices, depth + 1) for _ in range(choices.below(4))]
    if isinstance(hint, type) and issubclass(hint, Model):
        return shaped(hint, choices, depth + 1) if depth < _DEPTH else {}
    if hint is str:
        return choices.of(_KINDS if name == "type" else _WORDS)
    if hint is int or hint is float:
        return choices.below(4) if name.endswith("index") else hint(choices.below(256))
    if hint is bool:
        return choices.below(2) == 1
    if hint is types.NoneType:
        return None
    return _loose(choices, depth)  # a dict, or anything


def _loose(choices: Choices, depth: int) -> JSON:
    """An object as output items and their parts are."""
    made: JSON = {}
    for _ in range(choices.below(6)):
        value: Any
        chosen = choices.below(6)
        if chosen < 3 or depth >= _DEPTH:
            value = choices.of(_WORDS)
        elif chosen == 3:
            value = choices.of(_ODD)
        elif chosen == 4:
            value = _loose(choices, depth + 1)
        else:
            value = [_loose(choices, depth + 1) for _ in range(choices.below(3))]
        made[choices.of(_LOOSE)] = value
    return made


def _objects(data: bytes, cls: type[Model]) -> list[JSON]:
    """The objects that the bytes stand for: JSON, one a line, or choices."""
    if data[:1] != b"{":
        choices = Choices(data)
        found = [shaped(cls, choices)]
        while not choices.over and len(found) < 30:
            # Again what came before, or a part of it: what a server does, and what caches are for.
            again = choices.below(4)
            if again == 0:
                found.append(shaped(cls, choices))
            else:
                last = found[-1]
                keys = choices.below(2**again)
                fresh = shaped(cls, choices)
                found.append({**last, **dict(itertools.islice(fresh.items(), keys))})
        return [json.loads(json.dumps(one)) for one in found]
    found = []
    for line in data.splitlines():
        with contextlib.suppress(ValueError, RecursionError):
            value = json.loads(line)
            if isinstance(value, dict) and not _is_deep(value):
                found.append(value)
    return found


def _is_deep(value: Any) -> bool:
    level = [value]
    for _ in range(_DEEP):
        level = [
            inner
            for one in level
            for inner in (one.values() if isinstance(one, dict) else one)
            if isinstance(inner, (dict, list))
        ]
        if not level:
            return False
    return True


def objects(data: bytes) -> None:
    """JSON into an object of a class and back: the same text, and attributes as documented."""
    cls = _ROOTS[data[0] % len(_ROOTS)] if data else _ROOTS[0]
    for made in _objects(data[1:], cls):
        _check_object(cls, made)


def _check_object(cls: type[Model], made: JSON) -> None:
    text = json.dumps(made)
    one = cls.from_dict(made)
    given = one.to_dict()
    check(json.dumps(given) == text, given, text)
    check(json.dumps(made) == text, "reading has changed what was read")
    _check_attributes(one)
    check(len(repr(one)) < 50_000, "a repr too long for a loop")

    # By way of the function that is written for a shape, if there is one by now, and without it.
    plain = cls._wire.read(made, tuple(made))
    check(one == plain, one, plain)
    check(repr(one) == repr(plain), one, plain)
    check(attrs.asdict(one) == attrs.asdict(plain), one, plain)  # type: ignore[arg-type]

    other = pickle.loads(pickle.dumps(one))  # noqa: S301 - our own, of a moment ago
    check(other == one, other, one)
    check(type(other) is cls and json.dumps(other.to_dict()) == text, other, text)
    check(one != cls.from_dict({**made, "\0": 1}))
    check(
        text_of(one.extra) == text_of({k: v for k, v in made.items() if k not in cls._wire.fields}),
        one.extra,
    )


def _check_attributes(one: Model) -> None:
    for name, fits in _checks(type(one)):  # type: ignore[arg-type]  # classes have a hash
        value = getattr(one, name)
        check(fits(value), type(one), name, value)
        for part in value if isinstance(value, list) else [value]:
            if isinstance(part, Model):
                _check_attributes(part)


@functools.cache
def _checks(cls: type[Model]) -> list[tuple[str, Callable[[Any], bool]]]:
    return [(field.name, _fitting(field.type)) for field in attrs.fields(cls)]  # type: ignore[arg-type]


def _fitting(hint: Any) -> Callable[[Any], bool]:
    """Whether a value is of the type that an annotation says; plainer than the library's."""
    if hint is Any:
        return lambda value: True
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        options = [_fitting(option) for option in typing.get_args(hint)]
        return lambda value: any(fits(value) for fits in options)
    if typing.get_origin(hint) is list:
        fits_item = _fitting(typing.get_args(hint)[0])
        return lambda value: isinstance(value, list) and all(map(fits_item, value))
    if typing.get_origin(hint) is dict:
        return lambda value: isinstance(value, dict)
    if hint is float:
        return lambda value: type(value) in (int, float)
    return lambda value: type(value) is hint


def sums(data: bytes) -> None:
    """Chunks into the whole: whatever they are, and the same by the short cut and without."""
    endpoint = _ENDPOINTS[data[0] % 3] if data else _ENDPOINTS[0]
    cls = _ROOTS[(0, 2, 3)[data[0] % 3]] if data else _ROOTS[0]
    chunks = _objects(data[1:], cls)
    before = text_of(chunks)
    one, slow = endpoint.accumulator(), endpoint.accumulator()
    snapshots = []
    for made in chunks:
        one.add(made)
        for name in ("_width", "_choice_width"):  # of the chunk before, which spare a look at this
            if hasattr(slow, name):
                setattr(slow, name, -1)
        slow.add(made)
        snapshot = one.snapshot()
        check(snapshot == slow.snapshot(), snapshot, slow.snapshot())
        check(one.complete is slow.complete)
        snapshots.append((snapshot, text_of(snapshot)))
        event = endpoint.event(made)
        for index in (0, 1):
            piece = endpoint.text(event, index)
            check(piece is None or type(piece) is str, piece)
    check(text_of(chunks) == before, "adding has changed a chunk")
    for snapshot, text in snapshots:
        check(text_of(snapshot) == text, "a snapshot has changed afterwards")
        whole = endpoint.whole(snapshot)
        check(text_of(whole.to_dict()) == text, whole, text)
        _check_attributes(whole)


# What a server says -------------------------------------------------------------------------


def failures(data: bytes) -> None:
    """Any JSON through the rule for failures and the reader of what a server says."""
    for line in data.split(b"\n"):
        try:
            value = json.loads(line)
        except (ValueError, RecursionError):
            value = line.decode(errors="replace")
        said, kind, code = error_fields(value)
        for text in (said, kind, code):
            check(text is None or (isinstance(text, str) and text.strip() != ""), text)
        told = api_error(value, str)
        check((told.code, told.type) == (code, kind) or told.body is None, told)
        check(str(told).isprintable(), str(told))
        for known in (True, False):
            failed = says_failure(value, known=known)
            if isinstance(value, dict):
                # It depends on the value, not on how it is spelled, nor on what else is beside an
                # error; and what is unknown is no failure more often than what is known.
                check(failed == says_failure(dict(reversed(value.items())), known=known), value)
                check(says_failure({**value, "error": "m"}, known=known), value)
        check(says_failure(value) >= says_failure(value, known=False), value)


# Deltas --------------------------------------------------------------------------------------

_NAMES = ("f", "g", "get_weather", "get_time", "get")
_TEXTS = (
    "", " ", "a", "1", "11", "{}", "{", "}", '{"a":1}', '{"a":', '"', "\\", "\ud83d", "\ude00", "é",
)  # fmt: skip
_GROWN = ("reasoning", "reasoning_content", "reasoning_details", "thinking_blocks", "images", "x")


def deltas(data: bytes) -> None:
    """Deltas into a message: whatever they are, no harm; and what was cut well adds up again."""
    choices = Choices(data[1:])
    if data[:1] and data[0] % 2:
        _check_cut(choices)
    else:
        _check_odd(choices)


def _check_odd(choices: Choices) -> None:
    """Fragments and fields of any kind."""
    known = frozenset(name for name in _NAMES if choices.below(2))
    accumulator = ChatAccumulator(Asked(one_choice=choices.below(2) == 1, tools=known))
    texts = CHAT_COMPLETIONS.texts(Asked(one_choice=choices.below(2) == 1), 0)
    count = 0
    while not choices.over and count < 60:
        delta: JSON = {"content": choices.of(_TEXTS)} if choices.below(4) == 0 else {}
        if choices.below(2):
            delta["tool_calls"] = [_odd_fragment(choices) for _ in range(choices.below(4))]
            count += len(delta["tool_calls"])
        else:
            delta[choices.of(_GROWN)] = _odd_field(choices, 0)
            count += 1
        reason = choices.of((None, None, None, "stop", ""))
        made: JSON = {"delta": delta, "index": choices.below(3), "finish_reason": reason}
        chunk_of: JSON = json.loads(json.dumps({"choices": [made] * (1 + choices.below(2))}))
        before = text_of(chunk_of)
        accumulator.add(chunk_of)
        snapshot = accumulator.snapshot()
        check(text_of(chunk_of) == before, "adding has changed a chunk")
        check(text_of(accumulator.snapshot()) == text_of(snapshot))
        piece = texts(CHAT_COMPLETIONS.event(chunk_of))
        check(piece is None or type(piece) is str, piece)
        for choice in snapshot["choices"]:
            calls = choice["message"].get("tool_calls") or ()
            check(len(calls) <= 2 * count, "more calls than fragments", calls)


def _odd_fragment(choices: Choices) -> Any:
    if choices.below(16) == 0:
        return choices.of(_ODD)
    made: JSON = {}
    for key, options in (
        ("index", (None, 0, 0, 1, 2, -1, "0", 1.0, True, 10**30)),
        ("id", (None, "", "a", "b", "c", 5)),
        ("name", (None, "", *_NAMES, "get_", 5)),
        ("arguments", (None, *_TEXTS, {"a": 1}, 5)),
    ):
        value = choices.of(options)
        if value is None:
            continue
        kind = made if key in ("index", "id") else made.setdefault("function", {})
        kind[key] = value
    return made


def _odd_field(choices: Choices, depth: int) -> Any:
    chosen = choices.below(8)
    if chosen < 2 or depth > 3:
        return choices.of(_TEXTS)
    if chosen == 2:
        return choices.of(_ODD)
    if chosen < 5:
        return [_odd_field(choices, depth + 1) for _ in range(choices.below(4))]
    made: JSON = {}
    for _ in range(choices.below(4)):
        made[choices.of(("text", "thinking", "type", "signature", "data", "y"))] = _odd_field(
            choices, depth + 1
        )
    if choices.below(2):
        made["index"] = choices.below(3)
    return made


def _check_cut(choices: Choices) -> None:
    """A message as OpenAI's servers cut one, and as others do, adds up to what was cut."""
    repeats_id, repeats_name, has_void = (choices.below(2) == 1 for _ in range(3))
    whole = []
    rows: list[list[JSON]] = []
    for index in range(choices.below(4)):
        name = choices.of(_NAMES)
        arguments = json.dumps(_arguments(choices), ensure_ascii=choices.below(2) == 1)
        function = {"name": name, "arguments": arguments}
        whole.append({"id": f"c{index}", "type": "function", "function": function})
        pieces = _cut(choices, arguments)
        row: list[JSON] = [
            {
                "index": index,
                "id": f"c{index}",
                "type": "function",
                "function": {"name": name, "arguments": pieces[0]},
            }
        ]
        for piece in pieces[1:]:
            part: JSON = {"arguments": piece}
            fragment: JSON = {"index": index, "function": part}
            if repeats_id:
                fragment["id"] = f"c{index}"
            if repeats_name:
                part["name"] = name
            if has_void:
                fragment = {"id": choices.of((None, "")), "type": None, **fragment}
                part.setdefault("name", choices.of((None, "")))
            row.append(fragment)
        rows.append(row)
    said, thought = choices.of(("", "Hello", "a𝄞b")) * 2, choices.of(("I see", "é𝄞 1 11")) * 2
    deltas: list[JSON] = [{"role": "assistant", "content": None}]
    deltas += [{"content": piece} for piece in _cut(choices, said)] if said else []
    deltas += [
        {"reasoning_details": [{"type": "reasoning.text", "index": 0, "text": piece}]}
        for piece in _cut(choices, thought)
    ]
    # Calls begin in their order; after that any may go on.
    began = [row.pop(0) for row in rows]
    deltas += [{"tool_calls": began}] if choices.below(2) else [{"tool_calls": [b]} for b in began]
    while left := [row for row in rows if row]:
        deltas.append({"tool_calls": [choices.of(left).pop(0)]})
    accumulator = ChatAccumulator()
    for delta in deltas:
        accumulator.add({"choices": [{"index": 0, "delta": delta, "finish_reason": None}]})
    message = accumulator.snapshot()["choices"][0]["message"]
    check(message["content"] == (said or None), message, said)
    [details] = message["reasoning_details"]
    check(details["text"] == thought, details, thought)
    check(message.get("tool_calls", []) == whole, message, whole)


def _arguments(choices: Choices) -> JSON:
    keys = ("a", "", "{", '{"', "city", "}", ":1}")
    values: tuple[Any, ...] = (
        1,
        None,
        "",
        "}",
        '{"a":',
        "{",
        [],
        {},
        [{"a": 1}],
        {"a": {"a": 1}},
        "𝄞",
    )
    return {choices.of(keys): choices.of(values) for _ in range(choices.below(4))}


def _cut(choices: Choices, text: str) -> list[str]:
    """A text in pieces, none of them a repetition by accident of the way that it is cut."""
    pieces = []
    while text:
        size = 1 + choices.below(12)
        pieces.append(text[:size])
        text = text[size:]
    return pieces


TARGETS: dict[str, Callable[[bytes], None]] = {
    target.__name__: target
    for target in (
        *(fuzz_bodies.chunks, fuzz_bodies.content),
        *(frames, events, wire, objects, sums, deltas, failures),
    )
}

#: Words that the fuzzer may put in.
TOKENS = (
    b"data:", b"data: ", b"event: ", b"id: ", b"\n\n", b"\r\n\r\n", b"\r\r", b": ", b"[DONE]",
    b"error", b"ping", _BOM, b'"choices":', b'"delta":', b'"content":', b'"index":', b'"error":',
    b'"finish_reason":"stop"', b'"tool_calls":', b'"function":', b'"arguments":', b'"usage":',
    b'"type":"response.completed"', b'"response":', b'"output_index":', b'"item":', b'"part":',
    b'"object":"error"', b'"error":{', b'"message":', b'"code":', b'"detail":', b'"base_resp":',
    b'"status_code":', b'"success":false', b'"metadata":{"raw":', b"error: ", b"event: error\n\n",
    b"null", b"NaN", b"1e999", b"\\ud800", b"Transfer-Encoding: chunked\r\n",
    b"Content-Length: 10\r\n", b"Content-Encoding: gzip\r\n", b"0\r\n\r\n", b"HTTP/1.1 200 OK\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 103\r\n\r\n", b"Connection: close\r\n",
)  # fmt: skip


# Seeds ---------------------------------------------------------------------------------------


def _conversations() -> list[tuple[int, list[JSON]]]:
    """Answers as they really come, each with the number of its endpoint."""
    two = [
        {**one, "choices": [{**choice, "index": index} for choice in one["choices"]]}
        for one in chat_chunks("é𝄞")[1:]
        for index in (1, 0)
    ]
    named = {"id": "msg_1", "type": "message", "role": "assistant", "content": []}
    part = {"type": "output_text", "text": "", "annotations": []}
    place = {"item_id": "msg_1", "output_index": 0, "content_index": 0}
    whole = {"id": "resp_1", "object": "response", "output": [{**named, "content": [part]}]}
    response: list[JSON] = [
        {"type": "response.created", "response": {**whole, "output": []}},
        {"type": "response.output_item.added", "output_index": 0, "item": named},
        {"type": "response.content_part.added", **place, "part": part},
        {"type": "response.output_text.delta", **place, "delta": "Hello", "logprobs": []},
        {"type": "response.output_text.done", **place, "text": "Hello"},
        {"type": "response.output_item.done", "output_index": 0, "item": named},
        {"type": "response.completed", "response": whole},
    ]
    call = {"id": "fc_1", "call_id": "call_1", "type": "function_call", "name": "f"}
    called: list[JSON] = [
        {"type": "response.output_item.added", "output_index": 1, "item": call},
        {"type": "response.function_call_arguments.delta", "item_id": "fc_1", "delta": "{}"},
        {"type": "response.incomplete", "response": {"output": []}},
    ]
    return [
        (0, chat_chunks("Hello", usage=True)),
        (0, tool_call_chunks(("f", '{"x": 1}'))[1:]),
        (0, two),
        (0, [{"error": {"message": "overloaded", "type": "server_error", "code": 503}}]),
        (1, completion_chunks("Hello", usage=True)),
        (2, response),
        (2, called),
        (3, [{"any": "thing"}]),
    ]


def seeds(target: str) -> Iterator[bytes]:
    """Inputs that a fuzzer may begin with, the same each time."""
    source = random.Random(target)  # noqa: S311 - for variety
    if target in fuzz_bodies.SEEDS:
        yield from fuzz_bodies.SEEDS[target](source)
        return
    if target == "deltas":
        for _ in range(100):
            yield source.randbytes(source.randrange(10, 400))
        return
    for endpoint, chunks in _conversations():
        lines = b"\n".join(json.dumps(one).encode() for one in chunks)
        if target == "failures":
            yield lines
            yield b"\n".join(json.dumps({"error": one, "code": 5}).encode() for one in chunks)
            continue
        if target in ("objects", "sums"):
            for number in range(len(_ROOTS)):
                yield bytes([number]) + lines
            continue
        body = b"".join(frame(one) for one in chunks)
        odd = body.replace(b"\n\n", b"\r\n\r\n: comment\n\r\n", 2) + frame("[DONE]")
        for stream in (body, _BOM + odd, body + frame({"x": "y"}, event="error", id="1")):
            header = bytes([endpoint, 0]) + source.randbytes(HEADER - 2)
            if target != "wire":
                yield header + stream
                continue
            yield from (header + response for response in _responses(chunks, stream))
    if target in ("objects", "sums"):
        for _ in range(50):
            yield source.randbytes(source.randrange(10, 400))


def _responses(chunks: list[JSON], stream: bytes) -> Iterator[bytes]:
    for framing in ("chunked", "length", "close"):
        script = answer(chunks, framing=framing, events_per_chunk=2)
        yield b"".join(step for step in script if isinstance(step, bytes))
    head = b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nSet-Cookie: a=b\r\n"
    coded = b"Transfer-Encoding: gzip, chunked\r\nTrailer: x\r\n\r\n"
    yield head + coded + b"5;x=y\r\n" + stream[:5] + b"\r\n" + LAST_CHUNK[:3] + b"x: y\r\n\r\n"
    for name, packed in (
        ("gzip", gzip.compress(stream, mtime=0)),
        ("deflate", zlib.compress(stream)),
    ):
        encoded = f"Content-Encoding: {name}\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
        yield head + encoded + chunk(packed) + LAST_CHUNK
    yield b"HTTP/1.1 503 Busy\r\nRetry-After: 1\r\nContent-Length: 2\r\n\r\n{}"
