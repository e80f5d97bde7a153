"""Recordings: the bytes and times of what a server sent, and their way back through a server."""

from __future__ import annotations

import base64
import datetime
import itertools
import json
import logging
import os
import signal
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import requests
import trustme
from helpers import SOON

from openai_stream import (
    APIConnectionError,
    APITimeoutError,
    AzureClient,
    BadRequestError,
    Client,
    ConfigurationError,
    NotFoundError,
    OpenAIStreamError,
    RecordingError,
    StreamDecodeError,
    StreamInterruptedError,
    StreamTimeoutError,
    Timeout,
)
from openai_stream.recordings import RecordedExchange, RecordedRequest, Recorder, read_recording
from openai_stream.testing import (
    LAST_CHUNK,
    Fin,
    Handshake,
    Hang,
    Pause,
    Reset,
    Script,
    ScriptedServer,
    Step,
    Wait,
    answer,
    chat_chunks,
    chunk,
    cut,
    error_answer,
    frame,
    head,
    json_answer,
    recorded,
    redirect,
    reset,
    stall,
)

KEY = "sk-0123456789abcdef"
STARS = "*" * len(KEY)
TEXT = "Grüße an die Welt: 世界 🌍"
CHUNKS = chat_chunks(TEXT)
WHOLE = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "choices": [
        {"index": 0, "message": {"role": "assistant", "content": "Hi"}, "finish_reason": "stop"}
    ],
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "answer.rec"


@pytest.fixture
def recorder(path: Path) -> Iterator[Recorder]:
    with Recorder(path) as made:
        yield made


def client_of(server: ScriptedServer, recorder: Recorder | None = None, **more: Any) -> Client:
    arguments = {"api_key": KEY, "max_retries": 0, "timeout": Timeout(SOON, SOON, SOON), **more}
    client = Client(base_url=server.base_url, **arguments)
    if recorder is not None:
        recorder.watch(client)
    return client


def stream(client: Client, **arguments: Any) -> tuple[list[Any], OpenAIStreamError | None]:
    """The events of a stream, and its error."""
    events: list[Any] = []
    arguments = {"model": "m", "messages": [], **arguments}
    try:
        for event in client.create_chat_completion(stream=True, **arguments):
            events.append(event.to_dict())
    except OpenAIStreamError as error:
        return events, error
    return events, None


def bytes_of(script: Sequence[Step | bytes]) -> bytes:
    return b"".join(step for step in script if isinstance(step, bytes))


def only(path: Path) -> RecordedExchange:
    (exchange,) = read_recording(path)
    return exchange


# What is recorded ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "form",
    [
        {},
        {"framing": "length"},
        {"framing": "close"},
        {"encoding": "gzip"},
        {"bytes_per_chunk": 1},
        {"bytes_per_chunk": 3, "delay": 0.001},
        {"line_end": "\r\n", "events_per_chunk": 100},
    ],
    ids=str,
)
def test_every_byte_comes_and_goes(
    server: ScriptedServer, path: Path, recorder: Recorder, form: Any
) -> None:
    script = answer(CHUNKS, **form)
    server.play(script)
    with client_of(server, recorder) as client:
        assert stream(client) == (CHUNKS, None)
        exchange = only(path)  # while it is still open
        assert exchange.data == bytes_of(script)
        assert exchange.end == ("eof" if form.get("framing") == "close" else "open")

        server.play(recorded(exchange))
        assert stream(client) == (CHUNKS, None)
    first, second = read_recording(path)
    assert first == exchange
    assert second.data == exchange.data
    assert second.end == exchange.end


def test_the_request(server: ScriptedServer, path: Path, recorder: Recorder) -> None:
    server.play(json_answer(WHOLE))
    before = datetime.datetime.now(datetime.timezone.utc)
    with client_of(server, recorder, organization="org-1", project="proj-1") as client:
        client.create_chat_completion(
            model="m",
            messages=["ö"],  # type: ignore[list-item]
            extra_query={"a": "b c"},
            extra_headers={"X-Name": "ü"},
        )
    exchange = only(path)
    request = exchange.request
    assert (request.method, request.target) == ("POST", "/v1/chat/completions?a=b+c")
    assert request.path == "/v1/chat/completions"
    assert request.json == {"model": "m", "messages": ["ö"]}
    assert request.body == server.requests[0].body
    assert request.headers["X-Name"] == "ü"
    assert request.headers["Accept"] == "application/json"
    for name in ("Authorization", "OpenAI-Organization", "OpenAI-Project"):
        assert request.headers[name] == "***"
    assert before <= exchange.begun <= datetime.datetime.now(datetime.timezone.utc)
    assert exchange.data == bytes_of(json_answer(WHOLE))
    assert exchange.end == "open"


def test_times_are_of_the_arrival(server: ScriptedServer, path: Path, recorder: Recorder) -> None:
    server.play(answer([*CHUNKS[:2], Pause(0.2), *CHUNKS[2:], Pause(0.2)], framing="close"))
    with client_of(server, recorder) as client:
        client.create_chat_completion(model="m", messages=[], stream=True).stream.result(SOON)
    exchange = only(path)
    times = [at for at, _ in exchange.blocks]
    assert times == sorted(times)
    gap = max(later - sooner for sooner, later in itertools.pairwise(times))
    assert gap > 0.15
    assert exchange.end_at is not None
    assert exchange.end_at - times[-1] < gap  # nothing is read behind [DONE]


def test_text_stays_readable_and_the_rest_is_base64(
    server: ScriptedServer, path: Path, recorder: Recorder
) -> None:
    server.play(answer(CHUNKS), answer(CHUNKS, encoding="gzip"))
    with client_of(server, recorder) as client:
        stream(client)
        stream(client)
    text = path.read_text(encoding="utf-8")
    assert "世界" in text
    lines = [json.loads(line) for line in text.splitlines()]
    assert lines[0]["openai_stream_recording"] == 1
    packed = [line for line in lines if "base64" in line]
    assert packed
    assert {line["exchange"] for line in packed} == {2}


def test_each_attempt_is_an_exchange(server: ScriptedServer, path: Path) -> None:
    server.play(
        error_answer(500, "no"),
        answer(CHUNKS, fault=cut()),
        answer(CHUNKS),
        error_answer(400, "bad"),
    )
    with Recorder(path) as recorder, client_of(server, recorder, max_retries=1) as client:
        handle = client.create_chat_completion(model="m", messages=[], stream=True, restarts=1)
        assert handle.stream.result(SOON).choices[0].message.content == TEXT
        with pytest.raises(BadRequestError):
            client.create_chat_completion(model="m", messages=[])
    assert [exchange.end for exchange in read_recording(path)] == ["open", "eof", "open", "open"]
    starts = [exchange.data[:12] for exchange in read_recording(path)]
    assert starts == [b"HTTP/1.1 500", b"HTTP/1.1 200", b"HTTP/1.1 200", b"HTTP/1.1 400"]


def test_many_streams_at_once_in_one_file(
    server: ScriptedServer, path: Path, recorder: Recorder
) -> None:
    def script(request: Any) -> Script:
        return answer(chat_chunks(request.json["model"] * 20), bytes_per_chunk=50, delay=0.001)

    server.always(script)
    models = [f"m{number} " for number in range(20)]
    with client_of(server, recorder) as client:
        streams = [
            client.create_chat_completion(model=model, messages=[], stream=True, nowait=True)
            for model in models
        ]
        for model, events in zip(models, streams, strict=True):
            text = events.stream.result(SOON).choices[0].message.content
            assert text == model * 20
    exchanges = read_recording(path)
    assert sorted(exchange.request.json["model"] for exchange in exchanges) == sorted(models)
    for exchange in exchanges:
        assert exchange.data == bytes_of(
            answer(chat_chunks(exchange.request.json["model"] * 20), bytes_per_chunk=50)
        )


def test_interim_responses_are_kept(server: ScriptedServer, path: Path, recorder: Recorder) -> None:
    interim = b"HTTP/1.1 103 Early Hints\r\nSet-Cookie: a=b\r\n\r\n"
    server.play([interim, *answer(CHUNKS, headers={"Set-Cookie": "c=d"})])
    with client_of(server, recorder) as client:
        assert stream(client) == (CHUNKS, None)
    data = only(path).data
    assert data.startswith(
        b"HTTP/1.1 103 Early Hints\r\nSet-Cookie: ***\r\n\r\nHTTP/1.1 200 OK\r\n"
    )
    assert b"\r\nSet-Cookie: ***\r\n" in data[50:]


def test_the_answer_of_a_proxy_is_not_the_servers(
    path: Path, recorder: Recorder, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("server.test").configure_cert(context)
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "ca.pem"))
    with ScriptedServer() as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{proxy.port}")
        proxy.play([b"HTTP/1.1 200 Connection established\r\n\r\n", Handshake(context)])
        proxy.play(answer(CHUNKS))
        with Client(api_key=KEY, base_url="https://server.test/v1") as client:
            recorder.watch(client)
            assert stream(client) == (CHUNKS, None)
    assert only(path).data == bytes_of(answer(CHUNKS))


# How it ended --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("script", "end"),
    [
        pytest.param(answer(CHUNKS), "open", id="a whole answer"),
        pytest.param(json_answer(WHOLE), "closed", id="JSON instead of a stream"),
        pytest.param(answer(CHUNKS, fault="html_page"), "closed", id="a page"),
        pytest.param(answer(CHUNKS, fault=cut()), "eof", id="FIN"),
        pytest.param(answer(CHUNKS, fault=cut(), framing="close"), "eof", id="a close"),
        pytest.param(answer(CHUNKS, fault=reset()), "reset", id="RST"),
        pytest.param([Fin()], "eof", id="no response"),
        pytest.param([b"HTTP/1.1 200 OK\r\nX", Fin()], "eof", id="FIN in the headers"),
        pytest.param([b"HTTP/1.1 200 OK\r\nX", Reset()], "reset", id="RST in the headers"),
        pytest.param([b"HTTP/1.1 2x0 OK\r\n\r\n", Hang()], "closed", id="no HTTP"),
        pytest.param(answer(CHUNKS, fault="malformed"), "closed", id="no JSON"),
        pytest.param([*answer(CHUNKS)[:-1], Hang()], "closed", id="no end after [DONE]"),
        pytest.param(answer(fault=redirect()), "closed", id="a redirect"),
        pytest.param(
            [head(500, {"Content-Length": "9"}), b"x", Fin()], "eof", id="FIN in an error"
        ),
    ],
)
def test_the_end_is_told(
    server: ScriptedServer, path: Path, recorder: Recorder, script: Script, end: str
) -> None:
    server.play(script)
    with client_of(server, recorder) as client:
        told = stream(client)
        exchange = only(path)
        assert exchange.end == end
        assert exchange.end_at is not None
        # The same again, from the recording.
        server.play(recorded(exchange))
        again = stream(client)
    assert again[0] == told[0]
    assert (type(again[1]), str(again[1])) == (type(told[1]), str(told[1]))
    first, second = read_recording(path)
    assert (second.data, second.end) == (first.data, first.end)


@pytest.mark.parametrize("place", ["in the body", "in the headers"])
def test_a_deadline_is_told(
    server: ScriptedServer, path: Path, recorder: Recorder, place: str
) -> None:
    script = answer(CHUNKS, fault=stall()) if place == "in the body" else [Hang()]
    error = StreamTimeoutError if place == "in the body" else APITimeoutError
    with client_of(server, recorder, timeout=Timeout(idle=0.3)) as client:
        server.play(script)
        assert type(stream(client)[1]) is error
        exchange = only(path)
        assert exchange.end == "timeout"
        server.play(recorded(exchange))
        assert type(stream(client)[1]) is error


@pytest.mark.parametrize("place", ["in the body", "in the headers"])
def test_a_stop_is_told(server: ScriptedServer, path: Path, place: str) -> None:
    script = answer(CHUNKS, fault=stall()) if place == "in the body" else [Hang()]
    server.play(script)
    with Recorder(path) as recorder, client_of(server, recorder) as client:
        events = client.create_chat_completion(model="m", messages=[], stream=True, nowait=True)
        if place == "in the body":
            events.get(timeout=SOON)
        else:
            server.wait_for_requests(1)
        events.close()
        assert server.connections[0].client_closed.wait(SOON)
        until = time.monotonic() + SOON
        while [one.end for one in read_recording(path)] in ([], [None]):
            assert time.monotonic() < until
            time.sleep(0.01)
    assert only(path).end == "closed"


def test_what_goes_on_when_the_recording_ends(
    server: ScriptedServer, path: Path, recorder: Recorder
) -> None:
    go_on = threading.Event()
    server.play(answer([*CHUNKS[:2], Wait(go_on), *CHUNKS[2:]]), answer(CHUNKS))
    with client_of(server, recorder) as client:
        events = client.create_chat_completion(model="m", messages=[], stream=True)
        events.get(timeout=SOON)
        recorder.close()
        go_on.set()
        assert events.stream.result(SOON).choices[0].message.content == TEXT
        assert stream(client) == (CHUNKS, None)
    exchange = only(path)
    assert (exchange.end, exchange.end_at) == (None, None)
    assert bytes_of(answer(CHUNKS)).startswith(exchange.data)
    assert recorded(exchange)[-1] == Hang()


def test_no_connection_is_no_exchange(path: Path, recorder: Recorder) -> None:
    with ScriptedServer() as server:
        pass
    with client_of(server, recorder) as client:
        assert type(stream(client)[1]) is APIConnectionError
    assert read_recording(path) == []


# Secrets -------------------------------------------------------------------------------------


def test_no_key_is_in_a_recording(server: ScriptedServer, path: Path, recorder: Recorder) -> None:
    said = f"{KEY} and {KEY[:-1]}x and {KEY}"
    chunks = chat_chunks([said, KEY])
    server.play(answer(chunks, headers={"X-Echo": f"key {KEY}!", "OpenAI-Organization": "org-9"}))
    server.always(answer(chunks, bytes_per_chunk=7, delay=0.001))
    with client_of(server, recorder) as client:
        assert stream(client, user=KEY, extra_query={"key": KEY})[0] == chunks
        assert stream(client, extra_headers={"X-Key": KEY, "Cookie": "a=b"})[0] == chunks
    text = path.read_text(encoding="utf-8")
    assert KEY not in text
    first, second = read_recording(path)
    hidden = bytes_of(
        answer(chunks, headers={"X-Echo": f"key {KEY}!", "OpenAI-Organization": "*****"})
    ).replace(KEY.encode(), STARS.encode())
    assert first.data == hidden
    assert f"key={STARS}" in first.request.target
    assert first.request.json["user"] == STARS
    assert second.request.headers["X-Key"] == "***"
    assert second.request.headers["Cookie"] == "***"
    # Of the bytes of a key that chunks take apart nobody can tell; what is whole is hidden.
    assert len(second.data) == len(bytes_of(answer(chunks, bytes_per_chunk=7)))


@pytest.mark.parametrize("size", range(1, len(KEY) + 1))
def test_a_key_that_comes_in_two_reads_is_found(
    server: ScriptedServer, path: Path, recorder: Recorder, size: int
) -> None:
    """And the times are those at which the bytes came."""
    body = f": {KEY}{KEY[:3]} {KEY}\n\n".encode() + frame(CHUNKS[0])
    at = body.index(KEY.encode(), 10) + size
    headers = head(200, {"Content-Type": "text/event-stream", "X-Key": KEY, "Connection": "close"})
    split = headers.index(KEY.encode()) + size
    seen = [threading.Event(), threading.Event()]
    server.play(
        [
            headers[:split],
            Wait(seen[0]),
            headers[split:] + body[:at],
            Wait(seen[1]),
            body[at:] + frame("[DONE]"),
            Fin(),
        ]
    )
    with client_of(server, recorder) as client:
        events = client.create_chat_completion(model="m", messages=[], stream=True, nowait=True)
        _let_go_on(events, seen, [split, len(headers) + at])
        events.stream.result(SOON)
    hidden = (headers + body + frame("[DONE]")).replace(KEY.encode(), STARS.encode())
    exchange = only(path)
    assert exchange.data == hidden
    times = [at for at, _ in exchange.blocks]
    assert times == sorted(times)


def _let_go_on(events: Any, seen: list[threading.Event], counts: list[int]) -> None:
    """Let the server go on each time when the reader has so many bytes, and no more."""
    for event, count in zip(seen, counts, strict=True):
        until = time.monotonic() + SOON
        while events.stream.stats.bytes < count and time.monotonic() < until:
            time.sleep(0.001)
        assert events.stream.stats.bytes == count
        event.set()


def test_a_short_key_is_hidden_where_it_is_a_word(
    server: ScriptedServer, path: Path, recorder: Recorder
) -> None:
    """Local servers are given any: ``x``."""
    parts = [b": x, a", b"x, xa, x", b" x", b"\n\n", b"data: x"]
    seen = [threading.Event() for _ in parts]
    start = head(200, {"Content-Type": "text/event-stream", "X-X": "x xx", "Connection": "close"})
    script: list[Step | bytes] = [start]
    for event, part in zip(seen, parts, strict=True):
        script += [part, Wait(event)]
    server.play([*script, Fin()])
    with client_of(server, recorder, api_key="x") as client:
        events = client.create_chat_completion(model="m", messages=[], stream=True)
        _let_go_on(events, seen, [len(start) + len(b"".join(parts[:n])) for n in range(1, 6)])
        assert isinstance(events.stream.exception(SOON), StreamInterruptedError)
    data = only(path).data
    assert b"\r\nX-X: * xx\r\n" in data
    assert data.endswith(b"\r\n\r\n: *, ax, xa, * *\n\ndata: *")


def test_headers_that_are_no_business_of_others(
    server: ScriptedServer, path: Path, recorder: Recorder
) -> None:
    hidden = {
        "set-cookie": "a=b; Path=/",
        "OPENAI-ORGANIZATION": "org",
        "openai-project": "p",
        "anthropic-organization-id": "o",
        "X-Api-Key": "k",
        "X-Auth-Token": "t",
    }
    shown = {"X-Cookies": "2", "X-Request-Id": "req_1", "X-RateLimit-Limit-Tokens": "5"}
    folded = b"Set-Cookie: first\r\n second\r\n\tthird\r\nX-More: here\r\n"
    script = answer(CHUNKS, headers={**hidden, **shown})
    assert isinstance(script[0], bytes)
    script[0] = script[0].replace(b"\r\n", b"\r\n" + folded, 1)
    server.play(script)
    with client_of(server, recorder) as client:
        stream(client)
    data = only(path).data.decode()
    for name, value in hidden.items():
        stars = "".join("*" if one.strip() else one for one in value)
        assert f"\r\n{name}: {stars}\r\n" in data
    for name, value in shown.items():
        assert f"\r\n{name}: {value}\r\n" in data
    assert "\r\nSet-Cookie: *****\r\n ******\r\n\t*****\r\nX-More: here\r\n" in data
    assert len(data.encode()) == len(bytes_of(script))


@pytest.mark.parametrize(
    "name",
    [
        "Ocp-Apim-Subscription-Key",
        "X-RapidAPI-Key",
        "Helicone-Auth",
        "X-Auth",
        "X-Access-Key",
        "X-Session-Id",
        "x-portkey-virtual-key",
        "X-Nobody-Knows-This-One",
    ],
)
@pytest.mark.parametrize("length", [4, 30])
def test_hides_what_the_user_sends_under_any_name(
    server: ScriptedServer, path: Path, recorder: Recorder, name: str, length: int
) -> None:
    secret = "q7Z" * 10
    secret = secret[:length]
    server.always(answer(chat_chunks("Hello"), headers={"X-Echo": f"sent {secret}"}))
    with client_of(server, recorder, headers={name: secret}) as client:
        stream(client)
    with client_of(server, recorder) as client:
        stream(client, extra_headers={name: f"Bearer {secret}"}, extra_query={name: secret})
    for exchange in read_recording(path):
        assert exchange.request.headers[name] == "***"
        assert exchange.request.headers["Content-Type"] == "application/json"
        assert exchange.request.headers["User-Agent"].startswith("openai-stream/")
    assert secret not in path.read_text(encoding="utf-8") or length < 8


@pytest.mark.parametrize("name", ["X-Session-Id", "X-Auth", "Helicone-Auth", "x-virtual-key"])
def test_hides_what_the_server_sends_under_such_names(
    server: ScriptedServer, path: Path, recorder: Recorder, name: str
) -> None:
    server.play(answer(CHUNKS, headers={name: "abc 123", "X-Request-Id": "req-1"}))
    with client_of(server, recorder) as client:
        stream(client)
    data = only(path).data
    assert f"\r\n{name}: *** ***\r\n".encode() in data
    assert b"\r\nX-Request-Id: req-1\r\n" in data


@pytest.mark.parametrize("key", ["1", "a", "0", "null", "close", "chunked"])
def test_plays_again_whatever_word_the_key_is(
    server: ScriptedServer, path: Path, recorder: Recorder, key: str
) -> None:
    server.play(answer(CHUNKS))
    with client_of(server, recorder, api_key=key) as client:
        assert stream(client)[0] == CHUNKS
    with ScriptedServer() as again:
        again.answer_from([only(path)], match="turn", speed=0)
        with client_of(again) as client:
            assert stream(client)[0] == CHUNKS


def test_an_answer_that_is_no_http(server: ScriptedServer, path: Path, recorder: Recorder) -> None:
    server.play([b"SSH-2.0 " + KEY.encode(), Fin()])
    with client_of(server, recorder) as client:
        assert type(stream(client)[1]) is APIConnectionError
    exchange = only(path)
    assert exchange.data == b"SSH-2.0 " + STARS.encode()


def test_keys_in_the_address(server: ScriptedServer, path: Path, recorder: Recorder) -> None:
    """Some servers, and gateways before them, take them there."""
    server.always(answer(TEXT))
    hidden = "of-the-gateway-12345"
    for name in ("key", "api_key", "subscription-key", "sig", "access_token"):
        with Client(api_key="sk-1", base_url=f"{server.base_url}?a=b&{name}={hidden}") as client:
            recorder.watch(client)
            client.create_chat_completion(model="m", messages=[], stream=True).stream.result(SOON)
    recorder.close()
    assert hidden not in path.read_text()
    assert all("a=b&" in exchange.request.target for exchange in read_recording(path))


def test_the_keys_of_azure(server: ScriptedServer, path: Path, recorder: Recorder) -> None:
    tokens = iter(["token-number-one", "token-number-two"])
    server.always(answer(chat_chunks("token-number-one token-number-two")))
    endpoint = server.base_url.removesuffix("/v1")
    with AzureClient(endpoint=endpoint, azure_ad_token=lambda: next(tokens)) as client:
        recorder.watch(client)
        for _ in range(2):
            client.create_chat_completion(model="m", messages=[], stream=True).stream.result(SOON)
    with AzureClient(endpoint=endpoint, api_key=KEY) as client:
        recorder.watch(client)
        client.create_chat_completion(model="m", messages=[], stream=True).stream.result(SOON)
    exchanges = read_recording(path)
    assert [b"number-one" in exchange.data for exchange in exchanges] == [False, False, True]
    assert [b"number-two" in exchange.data for exchange in exchanges] == [True, False, True]
    assert exchanges[0].request.headers["Authorization"] == "***"
    assert exchanges[2].request.headers["api-key"] == "***"


# What cannot be recorded ---------------------------------------------------------------------


def test_a_session_of_the_users_is_refused(server: ScriptedServer, recorder: Recorder) -> None:
    with (
        requests.Session() as session,
        client_of(server, session=session) as client,
        pytest.raises(ConfigurationError, match="a session of its own cannot be recorded"),
    ):
        recorder.watch(client)


def test_one_recorder_a_client(
    server: ScriptedServer, recorder: Recorder, path: Path, tmp_path: Path
) -> None:
    other = Recorder(tmp_path / "other.rec")
    assert repr(other) == f"<Recorder of '{tmp_path}/other.rec'>"
    with client_of(server, recorder) as client:
        recorder.watch(client)
        with pytest.raises(ConfigurationError, match=r"recorded already, to .*answer\.rec"):
            other.watch(client)
        recorder.close()
        recorder.close()
        other.watch(client)
        other.close()
        with pytest.raises(RecordingError, match=r"other\.rec: the recording is closed"):
            other.watch(client)


def test_a_file_that_cannot_be(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Recorder(tmp_path / "nowhere" / "answer.rec")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a disk that is full")
def test_a_disk_that_is_full_ends_the_recording_and_no_stream(
    server: ScriptedServer, caplog: pytest.LogCaptureFixture
) -> None:
    server.always(answer(CHUNKS))

    def record(inside: Callable[[], object]) -> None:
        with Recorder("/dev/full") as recorder, client_of(server, recorder) as client:
            assert stream(client) == (CHUNKS, None)
            assert isinstance(recorder.error, OSError)
            inside()

    with caplog.at_level(logging.ERROR, "openai_stream"):
        with pytest.raises(RecordingError, match="/dev/full: the recording is not whole: No space"):
            record(lambda: None)
        (message,) = caplog.messages
        assert message == "/dev/full: recording ends here: No space left on device"
        # What went wrong first is not hidden.
        with pytest.raises(ZeroDivisionError):
            record(lambda: 1 / 0)


CHILD = """
import os, sys
from openai_stream import Client
from openai_stream.recordings import Recorder
path, url, what = sys.argv[1:]
recorder = Recorder(path)
client = Client(api_key="test", base_url=url)
recorder.watch(client)
def ask():
    return client.create_chat_completion(model="m", messages=[], stream=True)
if what == "fork":
    pid = os.fork()
    if not pid:
        ask().stream.result(30)
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0
    ask().stream.result(30)
else:
    events = ask()
    events.get()
    print("got one", flush=True)
    events.get()
"""


def child(path: Path, server: ScriptedServer, what: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", CHILD, str(path), server.base_url, what],
        stdout=subprocess.PIPE,
        text=True,
    )


def test_a_forked_child_records_nothing(server: ScriptedServer, path: Path) -> None:
    server.always(answer(CHUNKS))
    with child(path, server, "fork") as process:
        assert process.wait(SOON) == 0
    assert len(server.requests) == 2
    assert only(path).data == bytes_of(answer(CHUNKS))


def test_a_program_that_is_killed_leaves_what_had_come(server: ScriptedServer, path: Path) -> None:
    server.play(answer(CHUNKS, fault=stall(after=1)))
    with child(path, server, "stall") as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "got one\n"
        process.send_signal(signal.SIGKILL)
    exchange = only(path)
    assert exchange.data == bytes_of(answer(CHUNKS)[:2])
    assert exchange.end is None


# Reading -------------------------------------------------------------------------------------

FIRST = {"openai_stream_recording": 1, "library": "0.1.0"}
ASKED = {
    "exchange": 1,
    "begun": "2026-01-02T03:04:05+00:00",
    "request": {"method": "POST", "target": "/v1/x?y=1", "headers": {"A": "b"}, "text": "{}"},
}


def written(path: Path, *lines: Any, end: str = "\n") -> Path:
    texts = [line if isinstance(line, str) else json.dumps(line) for line in lines]
    path.write_text("\n".join(texts) + end, encoding="utf-8")
    return path


def test_a_recording_by_hand(path: Path) -> None:
    odd = b"\xff\x00"
    lines = [
        FIRST,
        ASKED,
        {"exchange": 1, "at": 0, "text": "ö\u2028"},
        {**ASKED, "exchange": 7},
        {"exchange": 1, "at": 0.5, "base64": base64.b64encode(odd).decode()},
        {"exchange": 1, "at": 1, "end": "eof"},
    ]
    first, second = read_recording(str(written(path, *lines)))
    assert first.blocks == ((0.0, "ö\u2028".encode()), (0.5, odd))
    assert (first.end, first.end_at) == ("eof", 1.0)
    assert first.begun == datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=datetime.timezone.utc)
    assert (first.request.target, first.request.path) == ("/v1/x?y=1", "/v1/x")
    assert first.request.headers == {"A": "b"}
    assert first.request.json == {}
    assert (second.blocks, second.end) == ((), None)


@pytest.mark.parametrize("torn", ["{", '{"exchange": 1, "at": 0.', "\x00"])
def test_a_last_line_that_is_torn(path: Path, torn: str) -> None:
    written(path, FIRST, ASKED, {"exchange": 1, "at": 0, "text": "x"}, torn, end="")
    assert only(path).data == b"x"


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ([""], "this is not a recording"),
        (["{"], "this is not a recording"),
        (["hello"], "this is not a recording"),
        ([[1]], "this is not a recording"),
        ([{"a": 1}], "this is not a recording"),
        ([{"openai_stream_recording": "1"}], "this is not a recording"),
        (
            [{"openai_stream_recording": 2, "library": "9.8"}],
            "is of format 2, made by openai-stream 9.8; .* a newer one is needed",
        ),
        ([FIRST, ASKED, "{"], "line 3: the recording is broken: this is not JSON"),
        ([FIRST, "{", ASKED], "line 2: the recording is broken: this is not JSON"),
        ([FIRST, ASKED, "5"], "line 3: the recording is broken"),
        ([FIRST, ASKED, "[" * 100_000], "line 3: the recording is broken"),
        (
            [FIRST, ASKED, {"exchange": 1, "at": float("inf"), "text": ""}],
            "line 3: the recording is broken",
        ),
        ([FIRST, {"exchange": 1, "at": 0, "text": ""}], "line 2: .* KeyError: 1"),
        ([FIRST, {**ASKED, "request": 5}], "line 2: .* TypeError"),
        ([FIRST, {**ASKED, "begun": "today"}], "line 2: .* ValueError"),
        ([FIRST, {**ASKED, "request": {**ASKED["request"], "method": 5}}], "a int instead"),  # type: ignore[dict-item]
        ([FIRST, ASKED, {"exchange": 1, "at": "x", "text": ""}], "line 3: .* ValueError"),
        ([FIRST, ASKED, {"exchange": 1, "at": 0, "text": 5}], "line 3: .* TypeError"),
        ([FIRST, ASKED, {"exchange": 1, "at": 0, "base64": "%"}], "line 3: .* Error"),
        ([FIRST, ASKED, {"exchange": 1, "at": 0}], "line 3: .* KeyError: 'base64'"),
        ([FIRST, ASKED, {"exchange": [], "at": 0, "text": ""}], "line 3: .* TypeError"),
        ([FIRST, ASKED, {"exchange": 1, "at": 0, "end": 5}], "line 3: .* TypeError"),
    ],
)
def test_what_is_no_recording(path: Path, lines: list[Any], said: str) -> None:
    with pytest.raises(RecordingError, match=rf"answer\.rec.*{said}"):
        read_recording(written(path, *lines))


def test_an_empty_file_and_none(path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_recording(path)
    path.touch()
    with pytest.raises(RecordingError, match="the file is empty, and not a recording"):
        read_recording(path)


# Playing it again ----------------------------------------------------------------------------


def exchange_of(*blocks: tuple[float, bytes], model: str = "m", **more: Any) -> RecordedExchange:
    """An exchange, of a server that has its API below /api/v1."""
    body = json.dumps({"messages": [], "model": model, "stream": True}).encode()
    request = RecordedRequest("POST", "/api/v1/chat/completions", {}, body)
    end = {"end": "open", "end_at": blocks[-1][0] if blocks else 0.0, **more}
    return RecordedExchange(request, datetime.datetime.now(datetime.timezone.utc), blocks, **end)


def said(text: str, model: str = "m") -> RecordedExchange:
    return exchange_of((0.0, bytes_of(answer(chat_chunks(text)))), model=model)


def text_of(client: Client, **arguments: Any) -> str | None:
    arguments = {"model": "m", "messages": [], "stream": True, **arguments}
    whole = client.create_chat_completion(**arguments).stream.result(SOON)
    return whole.choices[0].message.content  # type: ignore[no-any-return]


def test_adds_to_a_recording_that_is_there(path: Path) -> None:
    """Exchanges of another one too, as they are; half a line of before is cut off."""
    first, second = said("one"), exchange_of((0.1, b"HTTP/1.1 429 \xff"), end="reset", end_at=0.2)
    with Recorder(path) as recorder:
        recorder.add(first)
    with open(path, "ab") as file:
        file.write(b'{"exchange": 1, "at": 0')
    with Recorder(path, append=True) as recorder:
        recorder.add(second)
        recorder.add(first)
    assert read_recording(path) == [first, second, first]
    with Recorder(path) as recorder:  # without it, another takes its place
        recorder.add(second)
    assert read_recording(path) == [second]


def test_adds_to_a_recording_whose_last_line_has_no_end(path: Path) -> None:
    """An editor, or a copy, may have left it out: the line is whole."""
    with Recorder(path) as recorder:
        recorder.add(exchange := said("one"))
    path.write_bytes(path.read_bytes().rstrip(b"\n"))
    assert read_recording(path) == [exchange]
    with Recorder(path, append=True) as recorder:
        recorder.add(exchange)
    assert read_recording(path) == [exchange, exchange]


def test_passes_over_empty_lines(path: Path) -> None:
    with Recorder(path) as recorder:
        recorder.add(exchange := said("one"))
    path.write_bytes(path.read_bytes().replace(b"\n", b"\n\n") + b"\n \r\n")
    assert read_recording(path) == [exchange]


def test_adds_to_what_is_not_there_yet(path: Path) -> None:
    for _ in range(2):
        with Recorder(path, append=True):
            pass
    with Recorder(path, append=True) as recorder:
        recorder.add(exchange := said("one"))
    assert read_recording(path) == [exchange]


@pytest.mark.parametrize("content", ["mine\n", '{"openai_stream_recording": 99}\n', "{}"])
def test_adds_to_nothing_that_is_not_a_recording(path: Path, content: str) -> None:
    path.write_text(content)
    with pytest.raises(RecordingError):
        Recorder(path, append=True)
    assert path.read_text() == content
    with Recorder(path):  # the file is free again
        pass


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"HTTP/1.1 200 OK\r\n", 200),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 404 Not Found\r\n", 404),
        (b"HTTP/1.1 100 Continue\r\n\r\n", None),
        (b"HTTP/1.", None),
        (b"", None),
        (b"HTTP/1.1 503 x\r\n\r\n\r\n\r\nHTTP/1.1 200 OK", 503),
    ],
)
def test_knows_the_status_of_an_answer(data: bytes, status: int | None) -> None:
    assert exchange_of((0.0, data)).status == status


def test_the_pace_is_kept(server: ScriptedServer, path: Path) -> None:
    """Within ten per cent; where the machine was busy, another look."""
    frames = [chunk(one) for one in [*map(frame, CHUNKS), frame("[DONE]")]]
    blocks = [(0.1 * number, one) for number, one in enumerate(frames, 1)]
    script = answer(CHUNKS)
    assert isinstance(script[0], bytes)
    exchange = exchange_of((0.0, script[0]), *blocks, (0.1 * len(blocks), LAST_CHUNK))
    for speed, seconds in ((1.0, 0.1), (4.0, 0.025)):
        for _ in range(5):
            with Recorder(path) as recorder, client_of(server, recorder) as client:
                server.play(recorded(exchange, speed=speed))
                assert stream(client) == (CHUNKS, None)
            times = dict.fromkeys(at for at, _ in only(path).blocks)
            late = max(
                abs(at - number * seconds) for number, at in enumerate(list(times)[: len(blocks)])
            )
            if late < 0.1 * seconds * len(blocks):
                break
        else:
            pytest.fail(f"{late} s beside its time")
        assert only(path).data == exchange.data


@pytest.mark.parametrize("speed", [0, None])
def test_without_waits(server: ScriptedServer, speed: float | None) -> None:
    exchange = exchange_of((3600.0, bytes_of(answer(CHUNKS))), end="eof", end_at=7200.0)
    assert recorded(exchange, speed) == [bytes_of(answer(CHUNKS)), Fin()]
    server.play(recorded(exchange, speed))
    with client_of(server) as client:
        assert stream(client) == (CHUNKS, None)


def test_a_speed_that_cannot_be() -> None:
    with pytest.raises(ValueError, match="speed must not be negative: -1"):
        recorded(said(TEXT), -1)


def test_answers_by_what_is_asked(server: ScriptedServer) -> None:
    server.answer_from([said("one", "a"), said("two", "b"), said("three", "a")])
    with client_of(server) as client:
        assert text_of(client, model="b") == "two"
        assert [text_of(client, model="a") for _ in range(3)] == ["one", "three", "one"]
        assert text_of(client, model="b") == "two"
        # The order of the body's keys is the caller's.
        assert text_of(client, model="b", messages=[], stream=True) == "two"
        for arguments in ({"model": "c"}, {"model": "a", "seed": 1}):
            with pytest.raises(NotFoundError, match="none of the 3 recorded requests") as caught:
                text_of(client, **arguments)
            assert caught.value.code == "not_recorded"
        with pytest.raises(NotFoundError):
            client.stream("/other", {"messages": [], "model": "a", "stream": True})


def test_answers_in_turn(server: ScriptedServer) -> None:
    server.play(answer("first"))
    server.answer_from([said("one"), said("two")], match="turn", speed=None)
    with client_of(server) as client:
        texts = [text_of(client, model=str(number)) for number in range(4)]
    assert texts == ["first", "one", "two", "one"]


def test_answers_out_of_nothing(server: ScriptedServer) -> None:
    server.answer_from([], match="turn")
    with client_of(server) as client, pytest.raises(NotFoundError, match="none of the 0 recorded"):
        text_of(client)
    with pytest.raises(ValueError, match="match must be 'request' or 'turn', not 'best'"):
        server.answer_from([], match="best")  # type: ignore[arg-type]


def test_a_body_that_is_no_json_is_compared_as_it_is(server: ScriptedServer) -> None:
    request = RecordedRequest("POST", "/v1/x", {}, b"\xff")
    data = bytes_of(json_answer({}))
    now = datetime.datetime.now(datetime.timezone.utc)
    server.answer_from([RecordedExchange(request, now, ((0.0, data),), "open", 0.0)])
    url = f"{server.base_url}/x"
    assert requests.post(url, b"\xff", timeout=SOON).json() == {}
    assert requests.post(url, b"\xfe", timeout=SOON).status_code == 404


def test_a_recorded_answer_can_be_broken(server: ScriptedServer) -> None:
    """What is played is a script like any other."""
    exchange = exchange_of(*((0.0, step) for step in answer(CHUNKS) if isinstance(step, bytes)))
    server.play([*recorded(exchange)[:3], Fin()])
    with client_of(server) as client:
        events, error = stream(client)
    assert events == CHUNKS[:2]
    assert isinstance(error, StreamInterruptedError)
    assert not isinstance(error, StreamDecodeError)
