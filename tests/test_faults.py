"""The rows of ``faults``, each over a real socket, and what a table cannot tell.

A fault is played to a queue and to callbacks; a whole answer to both, one after the other; and what
gets no response also to a call without ``stream=True``, and to one with ``nowait``.
"""

from __future__ import annotations

import gzip
import json
import pickle
import queue
import re
import threading
import time
import traceback
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest
import requests
import urllib3.exceptions
from fault_table import DOCUMENT, document
from faults import ROWS, Certificates, Row, Script, serving
from faults.bodies import WHOLE
from faults.row import CHUNKS, CUT, LIMIT, PATIENT, part
from helpers import SOON
from machine import HELD_UP

from openai_stream import (
    DONE,
    ChatCompletion,
    ChatCompletionChunk,
    Client,
    OpenAIStreamError,
    Stream,
    StreamAPIError,
    StreamDecodeError,
    StreamError,
    StreamInterruptedError,
    StreamTimeoutError,
    Timeout,
    combine,
)
from openai_stream.testing import (
    Fin,
    Hang,
    Reset,
    ScriptedServer,
    Wait,
    answer,
    head,
    json_answer,
)

KEY = "sk-not-to-be-seen-anywhere"
ALL = len(CHUNKS)


@pytest.fixture(scope="module")
def certificates() -> Certificates:
    return Certificates()


@pytest.fixture
def row() -> Row:
    """For the tests that are of none: plain HTTP, and no greeting."""
    return Row("", (), 0)


@pytest.fixture
def server(
    row: Row, certificates: Certificates, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[ScriptedServer]:
    if row.certificate is not None:
        certificates.authority.cert_pem.write_to_path(tmp_path / "ca.pem")
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "ca.pem"))
    with serving(row, certificates) as scripted:
        yield scripted


@pytest.fixture
def client(server: ScriptedServer) -> Iterator[Client]:
    with Client(
        api_key=KEY,
        base_url=server.base_url,
        max_retries=0,
        max_event_bytes=LIMIT,
        timeout=PATIENT,
    ) as made:
        yield made


#: What a given session's ``http.client`` reads more leniently, or waits for with each byte anew.
OWN_SESSION = re.compile(
    r"transfer-encoding|interim|trickle|endless|too slowly|chunk size of b'-|last chunk's line end"
    r"|FIN (after the status line|in a header|between headers|in the headers)"
    r"|close_notify in the headers"
)


def rows(wanted: list[Row], *more: str) -> pytest.MarkDecorator:
    """The rows as parameters, each read in further ways too, if that can do as much."""
    cases = [
        (way, row)
        for way in ("own", *more)
        for row in wanted
        if not (way == "given" and OWN_SESSION.search(row.name))
    ]
    return pytest.mark.parametrize(
        ("_way", "row"),
        cases,
        indirect=["_way"],
        ids=[row.name if way == "own" else f"{row.name}, {way}" for way, row in cases],
    )


REFUSED = [row for row in ROWS if row.refused]
BROKEN = [row for row in ROWS if row.error is not None and not row.refused]
COMPLETE = [row for row in ROWS if row.error is None]


def test_the_rows_are_many_and_have_different_names() -> None:
    assert len(REFUSED) + len(BROKEN) + len(COMPLETE) == len(ROWS) >= 120
    assert len({row.name for row in ROWS}) == len(ROWS)


def test_the_table_is_up_to_date() -> None:
    assert DOCUMENT.read_text(encoding="utf-8") == document(), "run: python tests/fault_table.py"


# What is true of each ------------------------------------------------------------------------


def ready(row: Row, taken: threading.Event) -> Script:
    """The row's script, which waits where it is to wait for the last of its events."""
    if not row.events:
        taken.set()
    return row.played(Wait(taken))


def into_queue(
    server: ScriptedServer, client: Client, row: Row
) -> tuple[Stream[Any, ChatCompletion], OpenAIStreamError | None]:
    """Play the row and read it with ``get()``: exactly its events, and then its end."""
    taken = threading.Event()
    server.play(ready(row, taken))
    events = client.create_chat_completion(
        model="m", messages=[], stream=True, timeout=row.timeout, **row.asked
    )
    delivered: list[ChatCompletionChunk] = []
    for number, expected in enumerate(row.events, 1):
        event = events.get(timeout=SOON)
        assert event is not DONE
        assert event.to_dict() == expected
        delivered.append(event)
        if number == len(row.events):
            taken.set()
    error = None
    if row.error is None:
        assert events.get(timeout=SOON) is DONE
    else:
        with pytest.raises(row.error) as caught:
            events.get(timeout=SOON)
        error = caught.value
    # Once, and from here on it is an empty queue.
    with pytest.raises(queue.Empty):
        events.get_nowait()
    for _ in range(2):
        if error is None:
            assert list(events) == []
        else:
            with pytest.raises(type(error)) as again:
                list(events)
            assert again.value is error
    # A failing event is in the snapshot and was not delivered.
    if delivered and not isinstance(error, StreamAPIError):
        assert combine(delivered) == events.stream.snapshot()
    return events.stream, error


def into_callbacks(
    server: ScriptedServer, client: Client, row: Row
) -> tuple[Stream[Any, ChatCompletion], OpenAIStreamError | None]:
    """Play the row to callbacks: exactly its events, and then its end."""
    taken = threading.Event()
    server.play(ready(row, taken))
    calls: list[tuple[str, Any]] = []

    def on_next(event: ChatCompletionChunk) -> None:
        calls.append(("next", event.to_dict()))
        if len(calls) == len(row.events):
            taken.set()

    stream = client.create_chat_completion(
        model="m",
        messages=[],
        stream=True,
        on_next=on_next,
        on_done=lambda whole: calls.append(("done", whole)),
        on_error=lambda error: calls.append(("error", error)),
        timeout=row.timeout,
        **row.asked,
    )
    error = stream.exception(SOON)
    end = ("done", stream.result()) if error is None else ("error", error)
    assert calls == [*(("next", one) for one in row.events), end]
    assert error is None or isinstance(error, OpenAIStreamError)
    return stream, error


def assert_held(whole: Any, row: Row) -> None:
    assert isinstance(whole, ChatCompletion)
    held = {
        choice.index: (choice.message.content or "", choice.finish_reason)
        for choice in whole.choices
    }
    assert held == row.held
    if row.events and "id" in row.events[0]:
        assert whole.id == row.events[0]["id"]
        assert whole.object == "chat.completion"
        assert all(choice.message.role == "assistant" for choice in whole.choices)


def assert_told(error: OpenAIStreamError, row: Row, stream: Stream[Any, ChatCompletion]) -> None:
    """What is true of each error of a stream."""
    assert isinstance(error, StreamError)
    assert type(error) is row.error
    assert_readable(error)
    assert_as_said(error, row)
    assert_held(error.snapshot, row)
    assert stream.snapshot() == error.snapshot
    for _ in range(2):
        with pytest.raises(type(error)) as caught:
            stream.result(SOON)
        assert caught.value is error
    assert stream.exception(SOON) is error
    assert stream.done()
    assert not stream.cancelled()
    assert not stream.running()
    assert_counted(stream, row)
    copy = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own
    assert type(copy) is row.error
    assert str(copy) == str(error)
    assert copy.snapshot == error.snapshot
    assert vars(copy) == vars(error)


def assert_as_said(error: BaseException, row: Row) -> None:
    assert row.said in str(error)
    assert isinstance(error.__cause__, row.cause)
    for name, value in row.attributes.items():
        assert getattr(error, name) == value


def assert_readable(error: BaseException) -> None:
    assert isinstance(error, OpenAIStreamError)
    message = str(error)
    assert "object at 0x" not in message
    assert "\n" not in message
    assert 20 < len(message) < 700
    assert KEY not in "".join(traceback.format_exception(error))


def assert_counted(stream: Stream[Any, ChatCompletion], row: Row) -> None:
    assert stream.stats.events == len(row.events)
    assert row.keep_alives in (None, stream.stats.keep_alives)


def assert_not_kept(server: ScriptedServer) -> None:
    """The connection is closed, although the client and the stream are still there."""
    for connection in server.connections:
        assert connection.closed.wait(SOON)


# Each row ------------------------------------------------------------------------------------


@rows(COMPLETE, "readers")
def test_whole_in_a_queue_and_in_callbacks(
    server: ScriptedServer, client: Client, row: Row
) -> None:
    # One after the other: nothing of the first is left on the connection, if it is kept.
    for play in (into_queue, into_callbacks):
        stream, error = play(server, client, row)
        assert error is None
        assert stream.exception(SOON) is None
        assert stream.result() == stream.snapshot()
        assert_held(stream.result(), row)
        assert_counted(stream, row)
    kept = len(server.connections) == 1
    assert row.kept in (None, kept)


@rows(BROKEN, "given", "readers")
def test_fault_in_a_queue(server: ScriptedServer, client: Client, row: Row) -> None:
    stream, error = into_queue(server, client, row)
    assert error is not None
    assert_told(error, row, stream)
    assert_not_kept(server)


@rows(BROKEN)
def test_fault_in_callbacks(server: ScriptedServer, client: Client, row: Row) -> None:
    stream, error = into_callbacks(server, client, row)
    assert error is not None
    assert_told(error, row, stream)
    assert_not_kept(server)


@rows(REFUSED, "given")
@pytest.mark.parametrize("stream", [True, False])
def test_no_response(server: ScriptedServer, client: Client, row: Row, stream: Any) -> None:
    # ``idle`` does not run while a whole answer is made.
    if not stream and row.timeout.idle == 0.2:
        row = attrs.evolve(
            row,
            timeout=Timeout(total=0.2),
            said="the total time of 0.2 s has passed",
            # With a given session, its own time-out or whoever shuts the socket comes first.
            cause=(requests.exceptions.RequestException, TimeoutError),
        )
    server.play(row.script)
    assert row.error is not None
    with pytest.raises(row.error) as caught:
        client.create_chat_completion(model="m", messages=[], stream=stream, timeout=row.timeout)
    assert type(caught.value) is row.error
    assert_readable(caught.value)
    assert_as_said(caught.value, row)
    assert f"127.0.0.1:{server.port}" in str(caught.value)
    assert_not_kept(server)


@rows(REFUSED)
def test_no_response_under_nowait(server: ScriptedServer, client: Client, row: Row) -> None:
    server.play(row.script)
    events = client.create_chat_completion(
        model="m", messages=[], stream=True, nowait=True, timeout=row.timeout
    )
    assert row.error is not None
    with pytest.raises(row.error) as caught:
        events.get(timeout=SOON)
    assert type(caught.value) is row.error
    assert_as_said(caught.value, row)
    with pytest.raises(queue.Empty):
        events.get_nowait()
    for read in (list, lambda _: events.stream.result(SOON)):
        with pytest.raises(row.error) as again:
            read(events)
        assert again.value is caught.value
    assert events.stream.status_code is None
    assert_held(events.stream.snapshot(), row)
    assert_not_kept(server)


def test_a_whole_answer_instead_of_a_stream_is_the_snapshot(
    server: ScriptedServer, client: Client
) -> None:
    server.play(json_answer(WHOLE))
    events = client.create_chat_completion(model="m", messages=[], stream=True)
    with pytest.raises(StreamDecodeError, match="ignores stream=True") as caught:
        events.get(timeout=SOON)
    assert caught.value.snapshot.to_dict() == WHOLE
    assert_not_kept(server)


def test_json_nested_as_deep_as_can_just_be_read(server: ScriptedServer, client: Client) -> None:
    # Somewhere between what is read and what is not, code that walks over it might give up.
    for depth in range(900, 1000, 2):
        nested = b"[" * depth + b"]" * depth
        server.play(answer([b'data: {"error": %b}\n\n' % nested], done=False))
        server.play(answer([b'data: {"x": %b}\n\n' % nested, *CHUNKS]))
        error = client.create_chat_completion(model="m", messages=[], stream=True)
        assert type(error.stream.exception(SOON)) in (StreamAPIError, StreamDecodeError)
        extra = client.create_chat_completion(model="m", messages=[], stream=True)
        if extra.stream.exception(SOON) is None:
            assert len([event.to_dict() for event in extra]) == ALL + 1
            assert extra.stream.result(SOON).choices[0].message.content == "Hello big wörld"
        else:
            assert type(extra.stream.exception(SOON)) is StreamDecodeError


# Memory --------------------------------------------------------------------------------------


def test_a_decompression_bomb_is_bounded(server: ScriptedServer, client: Client) -> None:
    bomb = gzip.compress(b"x" * 100_000_000)
    assert len(bomb) < 200_000
    server.play(answer([bomb], done=False, headers={"Content-Encoding": "gzip"}))
    tracemalloc.start()
    try:
        events = client.create_chat_completion(model="m", messages=[], stream=True)
        with pytest.raises(StreamDecodeError, match=f"more than {LIMIT} bytes"):
            events.get(timeout=SOON)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 10_000_000


@pytest.mark.own_thread("it has no stream")
def test_a_bomb_instead_of_a_whole_answer_is_bounded(
    server: ScriptedServer, client: Client
) -> None:
    bomb = gzip.compress(b" " * 100_000_000)
    server.play(answer([bomb], done=False, headers={"Content-Encoding": "gzip"}))
    tracemalloc.start()
    try:
        with pytest.raises(StreamDecodeError, match=f"longer than {LIMIT} bytes"):
            client.create_chat_completion(model="m", messages=[])
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 10_000_000


def test_events_within_the_limit_are_not_bounded_together(
    server: ScriptedServer, client: Client
) -> None:
    chunks = [{**one, "padding": "x" * (LIMIT - 1000)} for one in CHUNKS]
    server.play(answer(chunks, encoding="gzip", events_per_chunk=ALL))
    events = client.create_chat_completion(model="m", messages=[], stream=True)
    assert [event.to_dict() for event in events] == chunks


# Without stream ------------------------------------------------------------------------------

BODY = json.dumps(WHOLE).encode()
JSON = {"Content-Type": "application/json"}


@pytest.mark.parametrize(
    ("script", "error", "said", "cause"),
    [
        ([*part([BODY]), Fin()], StreamInterruptedError, "the connection broke", CUT),
        ([*part([BODY]), Reset()], StreamInterruptedError, "the connection broke", CUT),
        ([*part([BODY[:50]]), Fin()], StreamInterruptedError, "the connection broke", CUT),
        (
            [head(200, {**JSON, "Content-Length": "9999"}), BODY, Fin()],
            StreamInterruptedError,
            "the connection broke",
            CUT,
        ),
        (
            [head(200, {"Transfer-Encoding": "chunked"}), b"zz\r\n"],
            StreamInterruptedError,
            "the connection broke",
            CUT,
        ),
        (answer([BODY[:-1]], done=False), StreamDecodeError, "not JSON", ValueError),
        (answer([], done=False), StreamDecodeError, "not JSON", ValueError),
        ([head(204)], StreamDecodeError, "not JSON", ValueError),
        (answer([b"<html>"], done=False), StreamDecodeError, "base URL", ValueError),
        (answer([b'{"a": NaN}'], done=False), StreamDecodeError, "not JSON", ValueError),
        (answer([b"[" * 100_000], done=False), StreamDecodeError, "not JSON", RecursionError),
        (answer([b'"\xff"'], done=False), StreamDecodeError, "not UTF-8", UnicodeDecodeError),
        (json_answer([WHOLE]), StreamDecodeError, "not an object", None),
        (json_answer("x" * 1000), StreamDecodeError, "not an object", None),
        (json_answer({"x": "y" * LIMIT}), StreamDecodeError, "longer than 200000 bytes", None),
        (
            answer([BODY], done=False, headers={"Content-Encoding": "gzip"}),
            StreamDecodeError,
            "cannot be decompressed",
            urllib3.exceptions.DecodeError,
        ),
        (json_answer({"error": {"message": "overloaded"}}), StreamAPIError, "overloaded", None),
        (json_answer({"error": "overloaded"}), StreamAPIError, "overloaded", None),
    ],
)
@pytest.mark.own_thread("it has no stream")
def test_fault_without_stream(
    server: ScriptedServer,
    client: Client,
    script: Script,
    error: type[StreamError],
    said: str,
    cause: type[BaseException] | None,
) -> None:
    server.play(script)
    with pytest.raises(error) as caught:
        client.create_chat_completion(model="m", messages=[])
    assert type(caught.value) is error
    assert said in str(caught.value)
    assert_readable(caught.value)
    if cause is None:
        assert caught.value.__cause__ is None
    else:
        assert isinstance(caught.value.__cause__, cause)
    assert caught.value.snapshot is None


@pytest.mark.own_thread("it has no stream")
def test_a_stall_without_stream(server: ScriptedServer, client: Client) -> None:
    server.play([*part([BODY[:20]]), Hang()])
    start = time.monotonic()
    with pytest.raises(StreamTimeoutError, match=r"no progress for 0\.2 s"):
        client.create_chat_completion(model="m", messages=[], timeout=0.2)
    assert time.monotonic() - start < 0.7 + HELD_UP


@pytest.mark.own_thread("it has no stream")
def test_an_error_beside_choices_is_one_without_stream_too(
    server: ScriptedServer, client: Client
) -> None:
    whole = {**WHOLE, "error": {"message": "moderated"}}
    server.play(json_answer(whole))
    with pytest.raises(StreamAPIError, match="moderated") as caught:
        client.create_chat_completion(model="m", messages=[])
    assert caught.value.snapshot.to_dict() == whole
