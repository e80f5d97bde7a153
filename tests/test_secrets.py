"""A server quotes the key wherever it can put a byte, and the key shows nowhere.

``secret_places.py`` knows the places in which it could. Each of them is also tested the other way
round: a key that is planted there is found.
"""

from __future__ import annotations

import base64
import functools
import json
import logging
import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn

import pytest
import requests
from secret_places import KEY, places

import openai_stream
from openai_stream import (
    APIStatusError,
    AzureClient,
    Client,
    ConfigurationError,
    OpenAIStreamError,
    StreamAPIError,
    StreamError,
    Timeout,
)
from openai_stream.recordings import Recorder
from openai_stream.testing import (
    Fin,
    Hang,
    Reset,
    ScriptedServer,
    Step,
    chat_chunks,
    chunk,
    error_answer,
    frame,
    head,
    json_answer,
    refused_url,
)

pytest.importorskip("opentelemetry.sdk", reason="the OpenTelemetry SDK is not installed")

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from openai_stream import otel

SOON = 10.0
CHUNKS = chat_chunks("Hello")
OTHER = "another-one-4711"
SSE = {"Content-Type": "text/event-stream"}
CHUNKED = {**SSE, "Transfer-Encoding": "chunked"}
RAW = KEY.encode()
PERCENT = KEY.replace("-", "%2D")
UNICODE = KEY.replace("-", "\\u002d")
IN_BASE64 = base64.b64encode(b"user:" + RAW).decode()


def said(status: int, text: str, kind: str = "text/plain", **headers: str) -> list[bytes]:
    own = {"Content-Type": kind, "Content-Length": str(len(text.encode()))}
    return [head(status, {**own, **headers}) + text.encode()]


def sent(*frames: bytes | str) -> list[Any]:
    """An event stream with these as they are, and an end that is in order."""
    body = b"".join(one.encode() if isinstance(one, str) else one for one in frames)
    return [head(200, CHUNKED), chunk(frame(CHUNKS[0])), chunk(body), b"0\r\n\r\n"]


#: By the place in which the server quotes it; each ends in an error.
QUOTES: dict[str, Sequence[Step | bytes]] = {
    # An error status
    "message": error_answer(401, f"Incorrect API key provided: {KEY}."),
    "code": error_answer(403, "no", code=KEY),
    "type": error_answer(404, "no", type=KEY),
    "name of a field": json_answer({"error": {"message": "no", KEY: 1}}, 400),
    "deep in the body": json_answer({"detail": [{"loc": ["header", KEY], "msg": "no"}]}, 422),
    "plain text": said(500, f"key {KEY} has no access"),
    "a page": said(502, f"<html><title>{KEY}</title>", "text/html"),
    "a page that escapes": said(502, f"<html>{KEY.replace('-', '&#45;')}", "text/html"),
    "text with escapes": said(400, f'not JSON: "{UNICODE}"'),
    "percent-encoded": said(400, f"no route for /v1/{PERCENT}"),
    "base64": said(401, f"bad credentials: Basic {IN_BASE64}"),
    "in other letters": said(401, f"no such key: {KEY.upper()}"),
    "behind a long text": error_answer(400, f"{'x' * 490} {KEY}"),
    "reason phrase": [f"HTTP/1.1 401 bad key {KEY}\r\nContent-Length: 0\r\n\r\n".encode()],
    "value of a header": error_answer(429, "no", headers={"x-request-id": KEY, "x-by": KEY}),
    "name of a header": error_answer(409, "no", headers={f"X-{KEY}": "1"}),
    "cookie": error_answer(401, "no", headers={"Set-Cookie": f"key={KEY}; Path=/"}),
    "Retry-After": error_answer(503, "no", headers={"Retry-After": KEY}),
    "body that is cut": [head(500, {"Content-Length": "99"}) + RAW, Fin()],
    "redirect": [head(307, {"Location": f"http://h/{KEY}?k={KEY}", "Content-Length": "0"})],
    "redirect, encoded": [head(302, {"Location": f"/{PERCENT}", "Content-Length": "0"})],
    "redirect, user": [head(302, {"Location": f"http://u:{KEY}@h/", "Content-Length": "0"})],
    # No HTTP
    "status line": [RAW + b"\r\n\r\n", Fin()],
    "status": [b"HTTP/1.1 %b OK\r\n\r\n" % RAW, Fin()],
    "header without a colon": [b"HTTP/1.1 200 OK\r\n%b\r\nContent-Length: 3\r\n\r\nabc" % RAW],
    "header that is folded": [b"HTTP/1.1 200 OK\r\n %b\r\nContent-Length: 3\r\n\r\nabc" % RAW],
    "Content-Length": [b"HTTP/1.1 200 OK\r\nContent-Length: 1, %b\r\n\r\n" % RAW, Fin()],
    "Transfer-Encoding": [head(200, {**SSE, "Transfer-Encoding": KEY}), RAW, Fin()],
    "interim response": [b"HTTP/1.1 103 %b\r\nLink: %b\r\n\r\n" % (RAW, RAW), Reset()],
    # The head of an answer
    "Content-Type": said(200, "x", f"application/x-{KEY}+json"),
    "parameter of Content-Type": said(200, "x", f"text/html; charset={KEY}"),
    "Content-Encoding": [head(200, {**CHUNKED, "Content-Encoding": KEY}), chunk(RAW)],
    # The transfer coding
    "size of a chunk": [head(200, CHUNKED), chunk(frame(CHUNKS[0])), RAW + b"\r\n"],
    "chunk without an end": [head(200, CHUNKED), b"2\r\n" + RAW + b"\r\n"],
    "chunk extension": [head(200, CHUNKED), b"3;%b\r\nabc\r\n" % RAW, Fin()],
    "trailer": [head(200, CHUNKED), chunk(b": 1\n\n"), b"0\r\nX-Key: %b\r\n\r\n" % RAW],
    "gzip": [head(200, {**CHUNKED, "Content-Encoding": "gzip"}), chunk(RAW), b"0\r\n\r\n"],
    # Events
    "name of an event's field": sent(f"{KEY}: 1\n\n{KEY}\n\n"),
    "event": sent(f"event: {KEY}\ndata: {KEY}\n\n"),
    "id": sent(f"id: {KEY}\ndata: rubbish\n\n"),
    "retry": sent(f"retry: {KEY}\ndata: rubbish\n\n"),
    "comment": [*sent(f": {KEY}\n\n")[:-1], Reset()],
    "data that is not JSON": sent(f"data: {KEY}\n\n"),
    "data that is not an object": sent(f'data: "{KEY}"\n\n'),
    "data with NaN": sent(f'data: {{"{KEY}": NaN}}\n\n'),
    "data that is not UTF-8": sent(b"data: \xff %b\n\n" % RAW),
    "data that is nested too deep": sent(f'data: {"[" * 100_000}"{KEY}"\n\n'),
    "error in the stream": sent(frame({"error": {"message": f"bad {KEY}", KEY: [KEY]}})),
    "code in the stream": sent(frame({"error": {"message": "no", "code": KEY, "type": KEY}})),
    "error event": sent(f"event: error\ndata: bad key {KEY}\n\n"),
    "error event with escapes": sent(f"event: error\ndata: bad key {UNICODE}\n\n"),
    "error object of vLLM": sent(frame({"object": "error", "message": KEY, "type": KEY})),
    "frame that is cut": [*sent(f"data: {KEY}")[:-1], Fin()],
    "answer that was not streamed": json_answer({"error": {"message": KEY}}),
    "JSON that is not an answer": json_answer([{KEY: KEY}]),
    "answer that is not UTF-8": [
        head(200, {"Content-Type": "application/json", "Content-Length": str(len(RAW) + 2)}),
        b"\xff" + RAW + b"}",
    ],
}  # fmt: skip


@pytest.fixture
def records(caplog: pytest.LogCaptureFixture) -> Callable[[], str]:
    """Everything that was logged, by whichever logger, with all that is in the records."""
    caplog.set_level(logging.DEBUG)

    def text() -> str:
        assert caplog.records, "nothing was logged: is DEBUG on?"
        return caplog.text + "".join(repr(vars(record)) for record in caplog.records)

    return text


@pytest.fixture
def spans() -> Iterator[Callable[[], str]]:
    """All that telemetry says, the content of messages included."""
    exporter, reader = InMemorySpanExporter(), InMemoryMetricReader()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    meters = MeterProvider([reader])
    otel.instrument(tracer_provider=provider, meter_provider=meters, content=True)

    def text() -> str:
        made = exporter.get_finished_spans()
        assert made, "no span was made"
        metrics = reader.get_metrics_data()
        assert metrics is not None
        return "".join(span.to_json() for span in made) + metrics.to_json()

    yield text
    otel.uninstrument()
    meters.shutdown()
    provider.shutdown()


def ask(client: Any, stream: bool, **arguments: Any) -> Any:
    """Make a call, and raise what goes wrong in it; this frame has no key."""
    made = client.create_chat_completion(model="m", messages=[], stream=stream, **arguments)
    return made.stream.result(SOON) if stream else made


def failure(client: Any, stream: bool, **arguments: Any) -> OpenAIStreamError:
    with pytest.raises(OpenAIStreamError) as caught:
        ask(client, stream, **arguments)
    return caught.value


@pytest.fixture(params=["own", "given"])
def session(request: pytest.FixtureRequest) -> Iterator[requests.Session | None]:
    if request.param == "own":
        yield None
        return
    with requests.Session() as session:
        yield session


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
@pytest.mark.parametrize("quote", QUOTES)
def test_the_key_shows_nowhere(
    server: ScriptedServer,
    records: Callable[[], str],
    spans: Callable[[], str],
    session: requests.Session | None,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    quote: str,
    stream: bool,
) -> None:
    server.play([*QUOTES[quote], Fin()])
    recording = tmp_path / "answer.rec"
    with (
        Recorder(recording) as recorder,
        Client(KEY, server.base_url, max_retries=0, session=session, timeout=5) as client,
    ):
        if session is None:
            recorder.watch(client)
        error = failure(client, stream)
        shown = repr(client)
    out, err = capfd.readouterr()
    texts = {"logged": records(), "spans": spans(), "client": shown, "out": out, "err": err}
    assert not places(error, **texts, recording=recording.read_bytes())


@pytest.mark.parametrize("quote", QUOTES)
def test_the_key_shows_nowhere_behind_a_stream(
    server: ScriptedServer, records: Callable[[], str], quote: str
) -> None:
    """In what callbacks, queues and restarts are given, which have no caller's frame."""
    server.always([*QUOTES[quote], Fin()])
    given: queue.Queue[Any] = queue.Queue()
    told: list[Any] = []
    with Client(KEY, server.base_url, max_retries=0, timeout=5) as client:
        ask_for: dict[str, Any] = {"model": "m", "messages": [], "stream": True, "nowait": True}
        client.create_chat_completion(**ask_for, queue=given, restarts=1)
        called = threading.Event()

        def on_error(error: BaseException) -> None:
            told.append(error)
            called.set()

        client.create_chat_completion(**ask_for, on_next=lambda event: None, on_error=on_error)
        while (item := given.get(timeout=SOON)) is not openai_stream.DONE:
            told.append(item)
        assert called.wait(SOON)
    errors = [one for one in told if isinstance(one, BaseException)]
    errors += [one.error for one in told if isinstance(one, openai_stream.Restarted)]
    assert len(errors) >= 2
    assert not set().union(*(places(error) for error in errors), places(logged=records()))


# How a secret is given -----------------------------------------------------------------------

Way = Callable[[ScriptedServer, pytest.MonkeyPatch], "tuple[Any, dict[str, Any]]"]
WAYS: dict[str, Way] = {}


def way(function: Way) -> Way:
    WAYS[function.__name__.replace("_", " ")] = function
    return function


@way
def a_header_of_the_client(server: ScriptedServer, _: pytest.MonkeyPatch) -> Any:
    return Client(OTHER, server.base_url, headers={"X-Gateway": KEY}), {}


@way
def a_header_of_the_call(server: ScriptedServer, _: pytest.MonkeyPatch) -> Any:
    return Client(OTHER, server.base_url), {"extra_headers": {"Helicone-Auth": f"Bearer {KEY}"}}


@way
def a_cookie(server: ScriptedServer, _: pytest.MonkeyPatch) -> Any:
    return Client(OTHER, server.base_url), {"extra_headers": {"Cookie": f"a=1; login={KEY}"}}


@way
def the_query_of_the_address(server: ScriptedServer, _: pytest.MonkeyPatch) -> Any:
    return Client(OTHER, f"{server.base_url}?a=b&api-key={KEY}"), {}


@way
def the_query_of_the_call(server: ScriptedServer, _: pytest.MonkeyPatch) -> Any:
    return Client(OTHER, server.base_url), {"extra_query": {"user": KEY}}


@way
def a_header_of_the_session(server: ScriptedServer, _: pytest.MonkeyPatch) -> Any:
    session = requests.Session()
    session.headers["X-Custom"] = KEY
    return Client(OTHER, server.base_url, session=session), {}


@way
def the_auth_of_the_session(server: ScriptedServer, _: pytest.MonkeyPatch) -> Any:
    session = requests.Session()
    session.auth = ("me", KEY)
    return Client(base_url=server.base_url, session=session), {}


@way
def a_cookie_of_the_session(server: ScriptedServer, _: pytest.MonkeyPatch) -> Any:
    session = requests.Session()
    session.cookies["login"] = KEY
    return Client(OTHER, server.base_url, session=session), {}


@way
def a_parameter_of_the_session(server: ScriptedServer, _: pytest.MonkeyPatch) -> Any:
    session = requests.Session()
    session.params = {"subscription-key": KEY}
    return Client(OTHER, server.base_url, session=session), {}


@way
def the_password_of_a_proxy(server: ScriptedServer, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("http_proxy", f"http://me:{KEY}@127.0.0.1:{server.port}")
    return Client(OTHER, "http://far.invalid/v1"), {}


@way
def a_proxy_of_the_session(server: ScriptedServer, _: pytest.MonkeyPatch) -> Any:
    session = requests.Session()
    session.proxies = {"http": f"http://{KEY}@127.0.0.1:{server.port}"}
    return Client(OTHER, "http://far.invalid/v1", session=session), {}


@way
def the_key_of_Azure(server: ScriptedServer, _: pytest.MonkeyPatch) -> Any:
    return AzureClient(KEY, server.base_url), {}


@way
def a_token_of_Azure(server: ScriptedServer, _: pytest.MonkeyPatch) -> Any:
    return AzureClient(endpoint=server.base_url, azure_ad_token=lambda: KEY), {}


@way
def a_key_that_was_set_later(server: ScriptedServer, _: pytest.MonkeyPatch) -> Any:
    client = Client(OTHER, server.base_url)
    client.api_key = KEY
    return client, {}


@way
def a_function_that_is_asked_for_the_key(server: ScriptedServer, _: pytest.MonkeyPatch) -> Any:
    return Client(lambda: KEY, server.base_url), {}


SOME = ["message", "name of a field", "name of a header", "status line", "size of a chunk", "gzip"]
SOME += ["event", "data that is not UTF-8", "text with escapes", "base64", "redirect"]


@pytest.mark.parametrize("quote", SOME)
@pytest.mark.parametrize("given", WAYS)
def test_a_secret_shows_nowhere_however_it_is_given(
    server: ScriptedServer,
    records: Callable[[], str],
    spans: Callable[[], str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    given: str,
    quote: str,
) -> None:
    server.always([*QUOTES[quote], Fin()])
    recording = tmp_path / "answer.rec"
    client, arguments = WAYS[given](server, monkeypatch)
    client.max_retries = 0
    with Recorder(recording) as recorder, client:
        if client.session is None:
            recorder.watch(client)
        errors = [
            _caught(functools.partial(ask, client, stream), dict(arguments))
            for stream in ((True, False) if client.session is None else (True,))
        ]
        if client.session is not None:
            client.session.close()
    for error in errors:
        assert not places(error, logged=records(), spans=spans(), recording=recording.read_bytes())


def _caught(call: Callable[..., Any], arguments: dict[str, Any]) -> Exception:
    """What the call raises, with the frames of the library and none of those that gave the key."""
    try:
        call(**arguments)
    except (OpenAIStreamError, TypeError) as error:
        ours = error.__traceback__
        while ours is not None and "/tests/" in ours.tb_frame.f_code.co_filename:
            ours = ours.tb_next
        return error.with_traceback(ours)
    raise AssertionError("it did not fail")


# No answer at all ----------------------------------------------------------------------------


def _refused(server: ScriptedServer) -> dict[str, Any]:
    with refused_url() as url:
        return {"base_url": f"{url}?api-key={KEY}"}


def _silent(server: ScriptedServer) -> dict[str, Any]:
    server.always([Hang()])
    return {"base_url": f"{server.base_url}?api-key={KEY}", "timeout": Timeout(total=0.2)}


def _unknown(server: ScriptedServer) -> dict[str, Any]:
    return {"base_url": f"http://unknown.invalid/v1?sig={KEY}"}


def _no_tls(server: ScriptedServer) -> dict[str, Any]:
    server.always([RAW])
    url = f"https://127.0.0.1:{server.port}?token={KEY}"
    return {"base_url": url, "timeout": Timeout(connect=0.3)}


def _tunnel(server: ScriptedServer) -> dict[str, Any]:
    server.always([f"HTTP/1.1 407 {KEY}\r\nProxy-Authenticate: {KEY}\r\n\r\n".encode(), Fin()])
    return {
        "base_url": "https://far.invalid/v1",
        "proxy": f"http://me:{KEY}@127.0.0.1:{server.port}",
    }


def _proxy_of_no_scheme(server: ScriptedServer) -> dict[str, Any]:
    return {"base_url": "http://far.invalid/v1", "proxy": f"weird://me:{KEY}@127.0.0.1:1"}


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
@pytest.mark.parametrize(
    "how", [_refused, _silent, _unknown, _no_tls, _tunnel, _proxy_of_no_scheme]
)
def test_the_key_shows_nowhere_without_an_answer(
    server: ScriptedServer,
    records: Callable[[], str],
    session: requests.Session | None,
    monkeypatch: pytest.MonkeyPatch,
    how: Callable[[ScriptedServer], dict[str, Any]],
    stream: bool,
) -> None:
    given = how(server)
    if (proxy := given.pop("proxy", None)) is not None:
        for name in ("http_proxy", "https_proxy"):
            monkeypatch.setenv(name, proxy)
    del proxy
    with Client(KEY, **given, max_retries=0, session=session) as client:
        del given
        error = failure(client, stream)
    logging.getLogger("test").debug("so that there is a record")
    assert not places(error, logged=records())


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
@pytest.mark.parametrize("quote", ["message", "status line", "size of a chunk"])
def test_what_the_caller_handles_meanwhile_is_the_callers(
    server: ScriptedServer, stream: bool, quote: str
) -> None:
    server.always([*QUOTES[quote], Fin()])
    request = requests.Request("POST", "http://h/", headers={"Authorization": "own"}).prepare()
    with Client(KEY, server.base_url, max_retries=0) as client:
        try:
            raise requests.ConnectionError("not found", request=request)
        except requests.ConnectionError as own:
            with pytest.raises(OpenAIStreamError):
                ask(client, stream)
            handled = own
    assert handled.request is request
    assert handled.__traceback__ is not None


# What is refused before anything is sent -----------------------------------------------------

BROKEN = f"{KEY}\n"
REFUSED: dict[str, Callable[[str], Any]] = {
    "a key with a line break": lambda url: Client(BROKEN, url),
    "a header with one": lambda url: Client(OTHER, url, headers={"X-Key": BROKEN}),
    "a header's name": lambda url: Client(OTHER, url, headers={f"Authorization: {KEY}": ""}),
    "headers that are a string": lambda url: Client(OTHER, url, headers=KEY),  # type: ignore[arg-type]
    "key and address exchanged": lambda url: Client(url, KEY),
    "a user in the address": lambda url: Client(OTHER, f"http://me:{KEY}@h/v1"),
    "a password with a slash": lambda url: Client(OTHER, f"http://me:x/{KEY}@h/v1"),
    "organization": lambda url: Client(OTHER, url, organization=BROKEN),
    "Azure's key": lambda url: AzureClient(BROKEN, url),
    "Azure's token": lambda url: AzureClient(endpoint=url, azure_ad_token=BROKEN),
    "headers of a call": lambda url: ask(Client(OTHER, url), False, extra_headers={"X": BROKEN}),
    "no headers of a call": lambda url: ask(Client(OTHER, url), False, extra_headers=KEY),
    "a query": lambda url: ask(Client(OTHER, url), False, extra_query=KEY),
    "a key that was set": lambda url: ask(_with_key(Client(OTHER, url), BROKEN), True),
    "a token that is asked for": lambda url: ask(
        AzureClient(endpoint=url, azure_ad_token=lambda: BROKEN), True
    ),
    "by the functions of the module": lambda url: openai_stream.create_chat_completion(
        client=Client(OTHER, url), model="m", messages=[], extra_headers={"X": BROKEN}
    ),
    "any endpoint": lambda url: Client(OTHER, url).stream(  # type: ignore[call-overload]
        "/x", {}, extra_headers={"X-Key": KEY}, unknown=1
    ),
    "a body": lambda url: ask(
        Client(OTHER, url), False, extra_headers={"X-Key": KEY}, seed=object()
    ),
    "arguments that do not go together": lambda url: ask(
        Client(OTHER, url), True, extra_headers={"X-Key": KEY}, tag=1
    ),
}


def _with_key(client: Client, key: str) -> Client:
    client.api_key = key
    return client


@pytest.mark.parametrize("refused", REFUSED)
def test_what_is_refused_does_not_show(server: ScriptedServer, refused: str) -> None:
    error = _caught(functools.partial(REFUSED[refused], server.base_url), {})
    assert isinstance(error, (ConfigurationError, TypeError))
    assert not places(error)
    assert not server.requests


# A key that is planted -----------------------------------------------------------------------


def _raised(error: BaseException) -> BaseException:
    try:
        raise error
    except BaseException as caught:
        return caught


def _with_cause(cause: BaseException) -> BaseException:
    error = _raised(StreamError("no"))
    error.__cause__ = cause
    return error


def _in_a_frame_that_raises() -> BaseException:
    def fail() -> NoReturn:
        key = KEY
        assert key
        raise StreamError("no")

    try:
        fail()
    except StreamError as error:
        return error


class _WithRequest(requests.ConnectionError):
    def __str__(self) -> str:
        return "no"


def _request() -> requests.PreparedRequest:
    return requests.Request("POST", "http://h/", headers={"Authorization": KEY}).prepare()


PLANTED: dict[str, tuple[Callable[[], BaseException], set[str]]] = {
    "message": (lambda: StreamError(f"bad {KEY}"), {"str", "repr", "traceback", "pickle"}),
    "escaped": (lambda: StreamError(f"bad {UNICODE}"), {"str"}),
    "percent-encoded": (lambda: StreamError(f"bad {PERCENT}"), {"str"}),
    "base64": (lambda: StreamError(f"bad {IN_BASE64}"), {"str"}),
    "a piece": (lambda: StreamError(f"bad {KEY[4:]}"), {"str"}),
    "an attribute": (lambda: StreamAPIError("no", body=[{"k": KEY}]), {"vars", "pickle"}),
    "a name of a field": (lambda: StreamAPIError("no", body={KEY: 1}), {"vars", "pickle"}),
    "headers": (lambda: APIStatusError("no", headers={"x": KEY}), {"vars", "pickle"}),
    "text of a cause": (lambda: _with_cause(OSError(KEY)), {"traceback", "pickle with tblib"}),
    "bytes of a cause": (
        lambda: _with_cause(UnicodeDecodeError("utf-8", RAW, 0, 1, "no")),
        {"reachable", "pickle with tblib"},
    ),
    "request of a cause": (
        lambda: _with_cause(_WithRequest(request=_request())),
        {"reachable", "pickle with tblib"},
    ),
    "a frame": (_in_a_frame_that_raises, {"locals"}),
}


@pytest.mark.parametrize("plant", PLANTED)
def test_a_planted_key_is_found(plant: str) -> None:
    make, where = PLANTED[plant]
    error = make()
    assert where <= places(error)


@pytest.mark.parametrize("text", [KEY, PERCENT, UNICODE, IN_BASE64, KEY.upper(), KEY[5:]])
def test_a_planted_key_is_found_in_what_leaves(
    records: Callable[[], str], tmp_path: Path, text: str
) -> None:
    logging.getLogger("urllib3.connectionpool").debug("%s", text)
    kept = tmp_path / "answer.rec"
    kept.write_text(json.dumps({"text": text}))
    recorded = kept.read_bytes()
    assert places(logged=records(), recording=recorded, out=f"{text}\n") == {
        "logged", "recording", "out",
    }  # fmt: skip
    assert not places(logged="nothing to be seen", recording=b"a sky that was blue")
