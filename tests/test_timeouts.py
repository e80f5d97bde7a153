"""The four deadlines: each is met, by the class that it should be, and not before its time."""

from __future__ import annotations

import json
import queue
import ssl
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import attrs
import pytest
import trustme
from helpers import SOON
from machine import HELD_UP

from openai_stream import (
    DONE,
    APIConnectionError,
    APITimeoutError,
    ChatCompletionChunk,
    Client,
    ConfigurationError,
    StreamTimeoutError,
    Timeout,
)
from openai_stream.testing import (
    LAST_CHUNK,
    Drip,
    Hang,
    Pause,
    Receive,
    Repeat,
    ScriptedServer,
    Step,
    Wait,
    answer,
    blackhole_url,
    chat_chunks,
    chunk,
    error_answer,
    frame,
    head,
    json_answer,
)

KEY = "sk-test"
LIMIT = 0.25 + HELD_UP / 8  # of a deadline under test
LATEST = LIMIT + 0.5  # the contract's "within half a second"
CHUNKS = chat_chunks("Hello big world")
FRAMES = [frame(one) for one in CHUNKS]
WHOLE = {"object": "chat.completion", "choices": []}

Script = list[Step | bytes]


def client_of(url: str, **arguments: Any) -> Client:
    return Client(**{"api_key": KEY, "base_url": url, "max_retries": 0, **arguments})


@pytest.fixture
def client(server: ScriptedServer) -> Iterator[Client]:
    with client_of(server.base_url) as made:
        yield made


def ask(client: Client, timeout: Any = None, **arguments: Any) -> Any:
    return client.create_chat_completion(model="m", messages=[], timeout=timeout, **arguments)


def stream(client: Client, timeout: Any = None, **arguments: Any) -> Any:
    return ask(client, timeout, stream=True, **arguments)


@contextmanager
def in_time(least: float = LIMIT, most: float = LATEST) -> Iterator[None]:
    start = time.monotonic()
    yield
    # What is timed may have begun before this thread came to look at the clock.
    assert least * 0.8 - (HELD_UP - 1) <= time.monotonic() - start < most + HELD_UP


def begun(*events: Any, framing: Any = "chunked") -> Script:
    """A stream's headers and these events; its end never comes."""
    script = answer(events, done=False, framing=framing)
    if framing == "length":
        assert isinstance(script[0], bytes)
        script[0] = script[0].replace(b"Content-Length: ", b"Content-Length: 9")
        return script
    return script[:-1]


# The values ----------------------------------------------------------------------------------


def test_defaults() -> None:
    defaults = {"connect": 10, "idle": 120, "gap": 600, "total": None, "first": None}
    assert attrs.asdict(Timeout()) == {**defaults, "content": None}
    assert Timeout(1, 2, 3, 4) == Timeout(connect=1, idle=2, gap=3, total=4)


def test_a_timeout_is_a_value() -> None:
    assert Timeout(idle=1) == Timeout(idle=1)
    assert hash(Timeout(idle=1)) == hash(Timeout(idle=1))
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        Timeout().idle = 1  # type: ignore[misc]


@pytest.mark.parametrize("name", ["connect", "idle", "gap", "total", "first", "content"])
def test_what_a_deadline_may_be(name: str) -> None:
    values: list[Any] = [1, 0.5, None, 10**9]
    for value in values:
        given: Any = {name: value}
        assert getattr(Timeout(**given), name) == value
    never: Any = {name: float("inf")}
    assert getattr(Timeout(**never), name) is None
    for wrong in (0, -1, -0.5, float("nan"), float("-inf"), -(10**400), "1", True, [], object()):
        bad: Any = {name: wrong}
        with pytest.raises(ConfigurationError, match=f"timeout.*{name}") as caught:
            Timeout(**bad)
        assert isinstance(caught.value, ValueError)


def test_never(server: ScriptedServer, client: Client) -> None:
    server.always(answer(CHUNKS, delay=0.01))
    never = Timeout(connect=None, idle=None, gap=None, total=None)
    assert len(list(stream(client, never))) == len(CHUNKS)
    assert len(list(stream(client, Timeout(10**9, 10**9, 10**9, 10**9)))) == len(CHUNKS)


@pytest.mark.own_thread("it never comes to read a stream")
def test_the_calls_timeout_goes_before_the_clients(server: ScriptedServer) -> None:
    server.always([Hang()])
    with client_of(server.base_url, timeout=Timeout(idle=LIMIT)) as client:
        with in_time(), pytest.raises(APITimeoutError):
            stream(client)
        with pytest.raises(APITimeoutError), in_time(0.1, 0.25):
            stream(client, 0.1)
        with in_time(2 * LIMIT, 2 * LIMIT + 0.5), pytest.raises(APITimeoutError):
            stream(client, Timeout(idle=2 * LIMIT))


def test_both_classes_are_timeouts() -> None:
    assert issubclass(APITimeoutError, (TimeoutError, APIConnectionError))
    assert issubclass(StreamTimeoutError, TimeoutError)


# connect -------------------------------------------------------------------------------------


def assert_no_connection(client: Client, **timeout: Any) -> None:
    limits = Timeout(**{"connect": LIMIT, **timeout})
    for streams in (True, False):
        with in_time(), pytest.raises(APITimeoutError, match=f"no connection within {LIMIT} s"):
            ask(client, limits, stream=streams)
    with in_time():
        events = stream(client, limits, nowait=True)
        with pytest.raises(APITimeoutError, match="no connection within"):
            events.get(timeout=SOON)


def test_connect_where_nobody_answers() -> None:
    with blackhole_url() as url, client_of(url) as client:
        assert_no_connection(client)


def test_connect_counts_each_attempt_anew() -> None:
    attempts: list[Any] = []
    with (
        blackhole_url() as url,
        client_of(url, max_retries=1, trace=lambda *attempt: attempts.append(attempt)) as client,
        in_time(2 * LIMIT + 0.37, 2 * LIMIT + 1),
        pytest.raises(APITimeoutError),
    ):
        stream(client, Timeout(connect=LIMIT))
    assert len(attempts) == 2


@pytest.fixture
def tls_url(server: ScriptedServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The plain server's address, for clients that expect TLS there."""
    trustme.CA().cert_pem.write_to_path(tmp_path / "ca.pem")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "ca.pem"))
    return server.base_url.replace("http:", "https:")


@pytest.mark.own_session("its handshake is timed by requests")
@pytest.mark.own_thread("it never comes to read a stream")
def test_connect_while_a_handshake_stalls(server: ScriptedServer, tls_url: str) -> None:
    server.on_connect(*[[Hang()]] * 3)
    with client_of(tls_url) as client:
        assert_no_connection(client)


@pytest.mark.own_session("its handshake is timed by requests, anew with each byte")
@pytest.mark.own_thread("it never comes to read a stream")
def test_connect_while_a_handshake_trickles(server: ScriptedServer, tls_url: str) -> None:
    # The header of a TLS record that is large, and then a byte of it now and then.
    record: Script = [Receive(1), b"\x16\x03\x03\x40\x00", Repeat(b"\x02", delay=0.05)]
    server.on_connect(*[record] * 3)
    with client_of(tls_url) as client:
        assert_no_connection(client)


def test_connect_is_over_when_the_connection_stands(server: ScriptedServer, client: Client) -> None:
    server.play([Pause(1.2 * LIMIT), *answer(CHUNKS, delay=0.02)])
    assert len(list(stream(client, Timeout(connect=LIMIT)))) == len(CHUNKS)


def test_connect_over_tls_is_over_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "ca.pem"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    with (
        ScriptedServer(ssl_context=context) as secure,
        client_of(secure.base_url) as client,
    ):
        secure.always([Pause(1.2 * LIMIT), *answer(CHUNKS)])
        for _ in range(2):
            assert len(list(stream(client, Timeout(connect=LIMIT)))) == len(CHUNKS)


# idle ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "start",
    [b"", b"HTTP/1.1 200", b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"],
    ids=["nothing", "half a status line", "half of the headers"],
)
@pytest.mark.own_thread("it never comes to read a stream")
def test_idle_before_the_response(server: ScriptedServer, client: Client, start: bytes) -> None:
    server.always([start, Hang()])
    with in_time(), pytest.raises(APITimeoutError, match=f"no progress for {LIMIT} s"):
        stream(client, LIMIT)
    with in_time(), pytest.raises(APITimeoutError, match="no progress"):
        stream(client, LIMIT, nowait=True).get(timeout=SOON)


@pytest.mark.parametrize("framing", ["chunked", "length", "close"])
@pytest.mark.parametrize("count", [0, 2])
def test_idle_in_the_body(server: ScriptedServer, client: Client, framing: Any, count: int) -> None:
    server.play([*begun(*CHUNKS[:count], framing=framing), Hang()])
    events = stream(client, LIMIT)
    with in_time():
        for _ in range(count):
            events.get(timeout=SOON)
        with pytest.raises(StreamTimeoutError, match=f"no progress for {LIMIT} s"):
            events.get(timeout=SOON)


def test_idle_starts_anew_with_each_byte(server: ScriptedServer, client: Client) -> None:
    body = b"".join(FRAMES) + frame("[DONE]")
    pieces = [body[at : at + 200] for at in range(0, len(body), 200)]
    script: Script = [head(200, {"Content-Length": str(len(body))})]
    for piece in pieces:
        script += [Pause(LIMIT / 3), piece]
    server.play(script)
    with in_time(LIMIT, 60):  # longer than idle as a whole
        assert len(list(stream(client, LIMIT))) == len(CHUNKS)


def test_keep_alives_are_progress(server: ScriptedServer, client: Client) -> None:
    server.play(
        [*begun(), Repeat(chunk(b": x\n\n"), times=8, delay=LIMIT / 4), *answer(CHUNKS)[1:]]
    )
    assert len(list(stream(client, LIMIT))) == len(CHUNKS)


@pytest.mark.own_session("requests sends within connect")
@pytest.mark.parametrize("streams", [True, False])
def test_idle_while_the_request_cannot_be_sent(streams: bool) -> None:
    with ScriptedServer(receive_buffer=4096) as server, client_of(server.base_url) as client:
        server.on_connect([Receive(1000), Hang()])
        with in_time(), pytest.raises(APITimeoutError, match=f"no progress for {LIMIT} s"):
            ask(client, LIMIT, stream=streams, extra_body={"x": "y" * 20_000_000})


@pytest.mark.own_session("requests sends within connect")
@pytest.mark.parametrize("streams", [True, False])
def test_a_request_that_goes_out_slowly_makes_progress(streams: bool) -> None:
    limit = LIMIT * float(HELD_UP)  # the server must come to read meanwhile
    with ScriptedServer(receive_buffer=4096) as server, client_of(server.base_url) as client:
        slowly: Script = []
        for size in range(1, 9):
            slowly += [Receive(size * 1_000_000), Pause(limit / 4)]
        server.on_connect(slowly)
        server.play(answer(CHUNKS) if streams else json_answer(WHOLE))
        with in_time(2 * limit, 60 * float(HELD_UP)):  # longer than connect and idle
            got = ask(
                client,
                Timeout(connect=limit, idle=limit),
                stream=streams,
                extra_body={"x": "y" * 10_000_000},
            )
            assert len(list(got)) == len(CHUNKS) if streams else got.to_dict() == WHOLE


@pytest.mark.own_thread("it has no stream")
def test_idle_of_a_whole_answer_counts_in_its_body_only(
    server: ScriptedServer, client: Client
) -> None:
    # A whole answer is made before its first byte comes.
    server.play([Pause(2 * LIMIT), *json_answer(WHOLE)])
    assert ask(client, Timeout(idle=LIMIT)).to_dict() == WHOLE
    server.play([head(200, {"Content-Length": "100"}), b"{", Hang()])
    with in_time(), pytest.raises(StreamTimeoutError, match=f"no progress for {LIMIT} s"):
        ask(client, LIMIT)


@pytest.mark.own_thread("it has no stream")
def test_the_body_of_an_error_is_waited_for_no_longer_than_idle(
    server: ScriptedServer, client: Client
) -> None:
    server.play([head(403, {"Content-Length": "100"}), Hang()])
    with pytest.raises(Exception, match="403"), in_time():
        stream(client, LIMIT)


@pytest.mark.parametrize("of", ["the call", "the client"])
@pytest.mark.own_thread("it has no stream")
def test_a_bare_number_bounds_the_wait_for_the_headers_of_a_whole_answer(
    server: ScriptedServer, of: str
) -> None:
    server.always([Hang()])
    with client_of(server.base_url, timeout=LIMIT if of == "the client" else 60) as client:
        with in_time(), pytest.raises(APITimeoutError):
            ask(client, LIMIT if of == "the call" else None)
        assert client.timeout == Timeout(idle=client.timeout.idle)


def test_a_bare_number_leaves_the_gap_of_a_stream_alone(
    server: ScriptedServer, client: Client
) -> None:
    # Bytes come all the time, an event only after a while.
    keep_alives = Repeat(chunk(b": keep-alive\n\n"), times=12, delay=LIMIT / 4)
    script = answer(CHUNKS)
    server.play([script[0], keep_alives, *script[1:]])
    assert len(list(stream(client, LIMIT))) == len(CHUNKS)


# gap -----------------------------------------------------------------------------------------

KEEP_ALIVES = {
    "comments": chunk(b": keep-alive\n\n"),
    "line ends": chunk(b"\n"),
    "events without data": chunk(b"event: ping\n\n"),
    "pings": chunk(b"event: ping\ndata: {}\n\n"),
    "a comment's bytes": chunk(b":"),
}


@pytest.mark.parametrize("kind", KEEP_ALIVES)
@pytest.mark.parametrize("count", [0, 2])
def test_gap_while_only_keep_alives_come(
    server: ScriptedServer, client: Client, kind: str, count: int
) -> None:
    server.play([*begun(*CHUNKS[:count]), Repeat(KEEP_ALIVES[kind], delay=0.03)])
    events = stream(client, Timeout(gap=LIMIT))
    with in_time():
        for _ in range(count):
            events.get(timeout=SOON)
        with pytest.raises(StreamTimeoutError, match=f"no event for {LIMIT} s"):
            events.get(timeout=SOON)


def test_gap_while_an_event_trickles(server: ScriptedServer, client: Client) -> None:
    server.play([*begun(framing="close"), Drip(FRAMES[0], delay=0.03)])
    with in_time(), pytest.raises(StreamTimeoutError, match=f"no event for {LIMIT} s"):
        list(stream(client, Timeout(gap=LIMIT)))


@pytest.mark.own_session("http.client waits for a whole line")
def test_gap_while_a_chunk_size_trickles(server: ScriptedServer, client: Client) -> None:
    server.play([*begun(CHUNKS[0]), Repeat(b"0", delay=0.03)])
    events = stream(client, Timeout(gap=LIMIT))
    events.get(timeout=SOON)
    with in_time(), pytest.raises(StreamTimeoutError, match=f"no event for {LIMIT} s"):
        events.get(timeout=SOON)


@pytest.mark.parametrize("streams", [True, False])
@pytest.mark.own_thread("it never comes to read a stream")
def test_gap_while_headers_trickle(server: ScriptedServer, client: Client, streams: bool) -> None:
    server.play([b"HTTP/1.1 200 OK\r\n", Repeat(b"X-A: b\r\n", delay=LIMIT / 20)])
    with in_time(), pytest.raises(APITimeoutError, match=f"no event for {LIMIT} s"):
        ask(client, Timeout(gap=LIMIT), stream=streams)


@pytest.mark.own_thread("it has no stream")
def test_gap_of_a_whole_answer_bounds_the_wait_for_its_headers(
    server: ScriptedServer, client: Client
) -> None:
    server.play([Hang()])
    with in_time(), pytest.raises(APITimeoutError, match=f"no event for {LIMIT} s"):
        ask(client, Timeout(idle=0.1, gap=LIMIT))
    # And not the body.
    (whole,) = json_answer(WHOLE)
    assert isinstance(whole, bytes)
    script: Script = [whole[:-20]]
    for byte in whole[-20:-16], whole[-16:-12], whole[-12:-8], whole[-8:]:
        script += [Pause(0.7 * LIMIT), byte]
    server.play(script)
    assert ask(client, Timeout(gap=LIMIT)).to_dict() == WHOLE


def test_gap_starts_anew_with_each_event(server: ScriptedServer, client: Client) -> None:
    chunks = chat_chunks(["x"] * 6)
    script: Script = begun()
    for one in chunks:
        # None of the pauses is as long as the gap, all of them are.
        script += [Pause(LIMIT / 4), chunk(b": x\n\n"), Pause(LIMIT / 4), chunk(frame(one))]
    server.play([*script, chunk(frame("[DONE]")), LAST_CHUNK])
    with in_time(3 * LIMIT, 60):
        assert len(list(stream(client, Timeout(gap=LIMIT)))) == len(chunks)


@pytest.mark.parametrize("name", ["gap", "total"])
def test_a_last_byte_shortly_before_the_deadline_does_not_put_it_off(
    server: ScriptedServer, client: Client, name: str
) -> None:
    server.play([*begun(), Pause(0.65), chunk(b": x\n\n"), Hang()])
    limit: Any = {name: 0.75}
    events = stream(client, Timeout(**limit))
    with in_time(0.6, 1.15), pytest.raises(StreamTimeoutError):
        events.get(timeout=SOON)


def test_gap_is_retried_before_the_response(server: ScriptedServer) -> None:
    server.play([Repeat(b"HTTP/1.1 100 Continue\r\n\r\n", delay=0.03)], answer(CHUNKS))
    with client_of(server.base_url, max_retries=1) as client:
        assert len(list(stream(client, Timeout(gap=LIMIT)))) == len(CHUNKS)


# total ---------------------------------------------------------------------------------------

TOTAL = Timeout(total=LIMIT)


def test_total_while_connecting() -> None:
    with blackhole_url() as url, client_of(url, max_retries=5) as client:
        for streams in (True, False):
            with in_time(), pytest.raises(APITimeoutError, match=f"total time of {LIMIT} s"):
                ask(client, TOTAL, stream=streams)


@pytest.mark.own_thread("it never comes to read a stream")
def test_total_in_a_handshake(server: ScriptedServer, tls_url: str) -> None:
    server.on_connect([Hang()])
    with client_of(tls_url) as client, in_time(), pytest.raises(APITimeoutError, match="total"):
        stream(client, TOTAL)


@pytest.mark.parametrize(
    "script",
    [[Hang()], [b"HTTP/1.1 200 OK\r\n", Repeat(b"X-A: b\r\n", delay=LIMIT / 20)]],
    ids=["stalls", "trickles"],
)
@pytest.mark.parametrize("streams", [True, False])
@pytest.mark.own_thread("it never comes to read a stream")
def test_total_before_the_response(server: ScriptedServer, streams: bool, script: Script) -> None:
    server.always(script)
    with (
        client_of(server.base_url, max_retries=5) as client,
        in_time(),
        pytest.raises(APITimeoutError, match=f"total time of {LIMIT} s"),
    ):
        ask(client, TOTAL, stream=streams)
    assert len(server.requests) == 1


@pytest.mark.own_session("requests sends within connect")
def test_total_while_a_request_is_sent() -> None:
    with ScriptedServer(receive_buffer=4096) as server, client_of(server.base_url) as client:
        server.on_connect([Receive(1000), Hang()])
        with in_time(), pytest.raises(APITimeoutError, match="total"):
            stream(client, TOTAL, extra_body={"x": "y" * 20_000_000})


@pytest.mark.own_thread("it never comes to read a stream")
def test_total_over_retries_and_the_waits_between(server: ScriptedServer) -> None:
    limit = LIMIT + HELD_UP / 4  # for three requests, however busy the machine is now
    # The third of three waits is not over by then: it ends in that one.
    server.always(error_answer(500, "later", headers={"retry-after-ms": str(int(350 * limit))}))
    with client_of(server.base_url, max_retries=1000) as client:
        with (
            in_time(limit, limit + 0.5),
            pytest.raises(APITimeoutError, match=r"total time .* retries"),
        ):
            stream(client, Timeout(total=limit))
        assert len(server.requests) == 3
    server.always(error_answer(500, "later", headers={"Retry-After": "50"}))
    with client_of(server.base_url, max_retries=1000) as client:
        for nowait in (True, False):
            with in_time(), pytest.raises(APITimeoutError, match="total"):
                stream(client, TOTAL, nowait=nowait).stream.result(SOON)


@pytest.mark.parametrize("framing", ["chunked", "close"])
def test_total_of_a_stream_that_goes_on(
    server: ScriptedServer, client: Client, framing: Any
) -> None:
    piece = frame(CHUNKS[1])
    piece = chunk(piece) if framing == "chunked" else piece
    server.play([*begun(framing=framing), Repeat(piece, delay=0.01)])
    events = stream(client, TOTAL)
    with in_time(0.9 * LIMIT), pytest.raises(StreamTimeoutError, match=f"total time of {LIMIT} s"):
        list(events)
    assert events.stream.stats.events > 5


def test_total_of_a_stream_that_floods(server: ScriptedServer, client: Client) -> None:
    server.play([*begun(), Repeat(chunk(frame(CHUNKS[1]) * 50))])
    with in_time(0.9 * LIMIT), pytest.raises(StreamTimeoutError, match="total"):
        list(stream(client, TOTAL))


@pytest.mark.own_thread("it has no stream")
def test_total_of_a_body_that_trickles(server: ScriptedServer, client: Client) -> None:
    server.play([head(200, {"Content-Length": "1000"}), Repeat(b" ", delay=0.03)])
    with in_time(), pytest.raises(StreamTimeoutError, match="total"):
        ask(client, TOTAL)


def test_total_though_nobody_reads_a_full_queue(server: ScriptedServer, client: Client) -> None:
    chunks = chat_chunks(["x"] * 50)
    server.play(answer(chunks))
    events = stream(client, TOTAL, maxsize=4)
    with in_time(), pytest.raises(StreamTimeoutError, match="total"):
        events.stream.result(SOON)
    # What had arrived is not lost, and the end is there although the queue was full.
    count = events.qsize() - 1
    assert count >= 4
    assert [events.get(timeout=SOON).to_dict() for _ in range(count)] == chunks[:count]
    with pytest.raises(StreamTimeoutError):
        events.get(timeout=SOON)
    assert server.connections[0].closed.wait(SOON)


def test_total_counts_from_the_call(server: ScriptedServer, client: Client) -> None:
    server.play([Pause(LIMIT * 0.7), *begun(CHUNKS[0]), Hang()])
    with in_time():
        events = stream(client, TOTAL)
        events.get(timeout=SOON)
        with pytest.raises(StreamTimeoutError, match="total"):
            events.get(timeout=SOON)


@pytest.mark.own_thread("it has callbacks, and so a thread of its own")
def test_total_reached_in_a_callback_is_told_after_it(
    server: ScriptedServer, client: Client
) -> None:
    server.play([*begun(CHUNKS[0]), Hang()])
    over = threading.Event()

    def on_next(event: ChatCompletionChunk) -> None:
        assert not over.wait(2 * LIMIT)  # it is not interrupted

    handle = stream(client, TOTAL, on_next=on_next)
    with in_time(2 * LIMIT, 2 * LIMIT + 0.5), pytest.raises(StreamTimeoutError, match="total"):
        handle.result(SOON)


# Who does not trip them ----------------------------------------------------------------------

SLOW = 2 * LIMIT
BOTH = Timeout(idle=LIMIT, gap=LIMIT)


def test_a_slow_consumer(server: ScriptedServer, client: Client) -> None:
    # The queue is full, so the reader does not read, and the server waits to send.
    chunks = [{**one, "padding": "x" * 400_000} for one in chat_chunks(["x"] * 20)]
    server.play(answer(chunks))
    events = stream(client, BOTH, maxsize=1)
    assert server.connections[0].wait_until_blocked(0.05)
    time.sleep(SLOW)
    assert [event.to_dict() for event in events] == chunks


@pytest.mark.own_thread("it has callbacks, and so a thread of its own")
def test_a_slow_callback(server: ScriptedServer, client: Client) -> None:
    server.play(answer(CHUNKS[:2]))
    never = threading.Event()
    handle = stream(client, BOTH, on_next=lambda event: never.wait(SLOW))
    with in_time(2 * SLOW, 60):
        handle.result(SOON)


@pytest.mark.own_thread("it has callbacks, and so a thread of its own")
def test_a_slow_callback_while_the_server_goes_on(server: ScriptedServer, client: Client) -> None:
    # Something has come whenever the callback is over: no waiting, no deadline.
    called = threading.Event()
    never = threading.Event()
    server.play([*begun(CHUNKS[0]), Wait(called), *answer(CHUNKS[1:])[1:]])

    def on_next(event: ChatCompletionChunk) -> None:
        called.set()
        never.wait(SLOW if event.choices[0].delta.role else 0)

    assert stream(client, BOTH, on_next=on_next).result(SOON).choices[0].finish_reason == "stop"


def test_a_foreign_queue_that_takes_its_time(server: ScriptedServer, client: Client) -> None:
    full: queue.Queue[Any] = queue.Queue(1)
    server.play(answer(CHUNKS))
    handle = stream(client, BOTH, queue=full)
    time.sleep(SLOW)
    got = []
    while (item := full.get(timeout=SOON)) is not DONE:
        got.append(item.to_dict())
    assert got == CHUNKS
    handle.result(SOON)


@pytest.mark.own_thread("it has callbacks, and so a thread of its own")
def test_waiting_counts_on_after_a_slow_callback(server: ScriptedServer, client: Client) -> None:
    # The deadline starts when the reader waits again, not when the event came.
    server.play([*begun(CHUNKS[0]), Hang()])
    never = threading.Event()
    handle = stream(client, BOTH, on_next=lambda event: never.wait(SLOW))
    with in_time(SLOW + LIMIT, SLOW + LATEST), pytest.raises(StreamTimeoutError):
        handle.result(SOON)


def test_a_queue_that_nobody_reads(server: ScriptedServer, client: Client) -> None:
    server.play(answer(CHUNKS))
    events = stream(client, BOTH)
    events.stream.result(SOON)
    time.sleep(SLOW)
    assert len(list(events)) == len(CHUNKS)


# What is measured ----------------------------------------------------------------------------


def test_the_longest_gap_is_the_networks(server: ScriptedServer, client: Client) -> None:
    script = begun(CHUNKS[0])
    script += [chunk(b": x\n\n"), Pause(0.1), chunk(b": x\n\n"), Pause(0.1)]
    script += answer(CHUNKS[1:])[1:]
    server.play(script)
    never, held = threading.Event(), float(HELD_UP)
    once: Callable[[Any], object] = lambda event: never.wait(  # noqa: E731
        0 if event.choices[0].finish_reason is None else 0.2 + held
    )
    handle = stream(client, on_next=once)
    handle.result(SOON + held)
    assert 0.19 < handle.stats.longest_gap_seconds < 0.2 + held
    assert handle.stats.keep_alives == 2
    assert handle.stats.seconds > 0.38 + held


def test_the_first_event_is_timed_when_it_arrives(server: ScriptedServer, client: Client) -> None:
    server.play([Pause(0.1), *begun(), Pause(0.1), *answer(CHUNKS)[1:]])
    held = float(HELD_UP)
    slow = iter([0.2 + held])
    handle = stream(client, on_next=lambda event: time.sleep(next(slow, 0)))
    handle.result(SOON + held)
    assert handle.stats.first_event_seconds is not None
    assert 0.19 < handle.stats.first_event_seconds < 0.2 + held


@pytest.mark.parametrize(
    "flood", [b": ka\n\n" * 2000, b"data: null\n\n" * 2000, b"data: \n\n" * 2000]
)
def test_gap_while_no_event_comes_in_a_flood(
    server: ScriptedServer, client: Client, flood: bytes
) -> None:
    server.play(begun(Repeat(chunk(flood))))
    events = stream(client, Timeout(gap=LIMIT))
    with in_time(), pytest.raises(StreamTimeoutError, match="event"):
        list(events)


@pytest.mark.own_session("http.client takes a hundred of them, from Python 3.14 on")
@pytest.mark.own_thread("it never comes to read a stream")
def test_gap_in_a_flood_of_interim_responses(server: ScriptedServer, client: Client) -> None:
    server.play([Repeat(b"HTTP/1.1 100 Continue\r\n\r\n" * 500)])
    with in_time(), pytest.raises(APITimeoutError):
        stream(client, Timeout(gap=LIMIT))


@pytest.mark.parametrize("huge", [10**400, 1e300, sys.maxsize])
def test_a_huge_number_is_no_limit(server: ScriptedServer, client: Client, huge: float) -> None:
    server.play(answer(chat_chunks("one")))
    limits = Timeout(connect=huge, idle=huge, gap=huge, total=huge)
    assert limits == Timeout(connect=None, idle=None, gap=None, total=None)
    assert list(stream(client, limits))


@pytest.mark.own_session("a read of it brings no more than 8 KiB")
def test_total_loses_nothing_that_had_arrived(server: ScriptedServer, client: Client) -> None:
    # Which one read of the socket brings, also where it is the turn of others after 16 KiB.
    chunks = chat_chunks(["a"] * 40)
    assert 8192 < len(json.dumps(chunks)) < 16384
    server.play(answer(chunks, events_per_chunk=300))
    limit = LIMIT + HELD_UP  # for all to arrive
    events = stream(client, Timeout(total=limit), maxsize=1)
    with in_time(limit, limit + 0.5):
        assert isinstance(events.stream.exception(limit + SOON), StreamTimeoutError)
    taken = [events.get_nowait() for _ in chunks]
    assert [event.to_dict() for event in taken if event is not DONE] == chunks
    with pytest.raises(StreamTimeoutError):
        events.get_nowait()
