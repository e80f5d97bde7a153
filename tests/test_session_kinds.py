"""Other people's sessions, adapters and mocks, the real ones: what works over each.

``docs/howto/sessions.rst`` says the same in words.
"""

from __future__ import annotations

import contextlib
import datetime
import io
import json
import os
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import google.auth.credentials
import google.auth.transport.requests
import pytest
import requests
import requests_cache
import requests_mock
import requests_oauthlib
import responses
import trustme
import urllib3
import vcr
from machine import HELD_UP

from openai_stream import APIConnectionError, Client, NotFoundError, StreamInterruptedError
from openai_stream.testing import (
    Hang,
    ScriptedServer,
    answer,
    chat_chunks,
    error_answer,
    json_answer,
)

CHUNKS = chat_chunks("Hello big world")
WHOLE = {"object": "chat.completion", "choices": []}
BODY = b"".join(b"data: " + json.dumps(one).encode() + b"\n\n" for one in CHUNKS)
DONE = b"data: [DONE]\n\n"
URL = "http://host.test/v1"
KEY = "sk-kinds"


@pytest.fixture
def session() -> Iterator[requests.Session]:
    with requests.Session() as made:
        yield made


def client_of(url: str, session: requests.Session | None, **arguments: Any) -> Client:
    return Client(
        **{"api_key": KEY, "base_url": url, "session": session, "max_retries": 0, **arguments}
    )


def ask(client: Client, **arguments: Any) -> Any:
    return client.create_chat_completion(model="m", messages=[], **arguments)


def streamed(client: Client) -> list[Any]:
    return [event.to_dict() for event in ask(client, stream=True)]


# Mocks ---------------------------------------------------------------------------------------


def test_responses(session: requests.Session) -> None:
    with responses.RequestsMock() as mock:
        headers = {"Content-Type": "text/event-stream"}
        mock.post(f"{URL}/chat/completions", body=BODY + DONE, headers=headers)
        mock.post(f"{URL}/chat/completions", json=WHOLE)
        mock.post(f"{URL}/chat/completions", json={"error": {"message": "no"}}, status=404)
        mock.post(f"{URL}/chat/completions", body=BODY[:-40], headers=headers)
        mock.post(f"{URL}/chat/completions", body=requests.ConnectionError("no network"))
        with client_of(URL, session) as client:
            assert streamed(client) == CHUNKS
            assert ask(client).to_dict() == WHOLE
            with pytest.raises(NotFoundError, match="no"):
                ask(client)
            with pytest.raises(StreamInterruptedError):
                streamed(client)
            with pytest.raises(APIConnectionError, match="no network"):
                ask(client)
        assert [call.request.headers["Authorization"] for call in mock.calls] == [
            f"Bearer {KEY}"
        ] * 5


def test_responses_reaches_a_session_of_our_own_too() -> None:
    with responses.RequestsMock() as mock:
        mock.post(
            f"{URL}/chat/completions",
            body=BODY + DONE,
            headers={"Content-Type": "text/event-stream"},
        )
        with client_of(URL, None) as client:
            assert streamed(client) == CHUNKS


@pytest.mark.parametrize("where", ["content", "raw"])
def test_an_adapter_that_answers_from_memory(session: requests.Session, where: str) -> None:
    class Canned(requests.adapters.HTTPAdapter):
        def send(self, request: requests.PreparedRequest, *_: Any, **__: Any) -> requests.Response:
            response = requests.Response()
            response.status_code, response.url = 200, request.url or ""
            response.headers["Content-Type"] = "text/event-stream"
            if where == "content":
                response._content = BODY + DONE
            else:
                response.raw = io.BytesIO(BODY + DONE)
            return response

    session.mount("http://", Canned())
    with client_of(URL, session) as client:
        assert streamed(client) == CHUNKS


def test_requests_mock(session: requests.Session) -> None:
    for given in (session, None):
        with requests_mock.Mocker() as mock, client_of(URL, given) as client:
            mock.post(
                f"{URL}/chat/completions",
                [
                    {"content": BODY + DONE, "headers": {"Content-Type": "text/event-stream"}},
                    {"json": WHOLE},
                    {"json": {"error": {"message": "no"}}, "status_code": 404},
                    {"exc": requests.ConnectTimeout("slow")},
                ],
            )
            assert streamed(client) == CHUNKS
            assert ask(client).to_dict() == WHOLE
            with pytest.raises(NotFoundError, match="no"):
                ask(client)
            with pytest.raises(APIConnectionError, match="slow"):
                ask(client)
            assert mock.last_request.json()["model"] == "m"


def test_vcr(session: requests.Session, server: ScriptedServer, tmp_path: Path) -> None:
    cassette = str(tmp_path / "cassette.yaml")
    recorder = vcr.VCR(filter_headers=["authorization"])
    server.play(answer(CHUNKS), json_answer(WHOLE), error_answer(404, "no"))
    for _ in range(2):  # recorded, then played
        with recorder.use_cassette(cassette), client_of(server.base_url, session) as client:
            assert streamed(client) == CHUNKS
            assert ask(client).to_dict() == WHOLE
            with pytest.raises(NotFoundError, match="no"):
                ask(client)
    assert len(server.requests) == 3


# Caches --------------------------------------------------------------------------------------


def test_requests_cache(server: ScriptedServer) -> None:
    server.play(json_answer(WHOLE), answer(CHUNKS), error_answer(404, "no"))
    with (
        requests_cache.CachedSession(backend="memory", allowable_methods=["POST"]) as session,
        client_of(server.base_url, session) as client,
    ):
        for _ in range(2):
            assert ask(client).to_dict() == WHOLE
            assert streamed(client) == CHUNKS
        with pytest.raises(NotFoundError):
            ask(client, extra_body={"other": 1})
    assert len(server.requests) == 3


@pytest.mark.parametrize("settings", [{}, {"expire_after": 0}, {"allowable_methods": ["GET"]}])
def test_requests_cache_that_does_not_keep_the_answer(
    server: ScriptedServer, settings: dict[str, Any]
) -> None:
    """As it is without settings: it keeps no answer to a POST, but gives another class of it."""
    server.play(json_answer(WHOLE), answer(CHUNKS), error_answer(404, "no"))
    with (
        requests_cache.CachedSession(backend="memory", **settings) as session,
        client_of(server.base_url, session) as client,
    ):
        assert ask(client).to_dict() == WHOLE
        assert streamed(client) == CHUNKS
        with pytest.raises(NotFoundError):
            ask(client)


# Tokens --------------------------------------------------------------------------------------


class Credentials(google.auth.credentials.Credentials):  # type: ignore[misc]
    def refresh(self, request: Any) -> None:
        self.token = "ya29.token-of-google"  # noqa: S105
        self.expiry = datetime.datetime.now(datetime.timezone.utc).replace(
            tzinfo=None
        ) + datetime.timedelta(hours=1)


def test_google_auth(server: ScriptedServer) -> None:
    server.play(error_answer(401, "expired"), answer(CHUNKS), json_answer(WHOLE))
    with (
        google.auth.transport.requests.AuthorizedSession(Credentials()) as session,
        client_of(server.base_url, session, api_key=None) as client,
    ):
        assert streamed(client) == CHUNKS  # it refreshes, and asks again by itself
        assert ask(client).to_dict() == WHOLE
    assert [request.headers["authorization"] for request in server.requests] == [
        "Bearer ya29.token-of-google"
    ] * 3


def test_requests_oauthlib(server: ScriptedServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OAUTHLIB_INSECURE_TRANSPORT", "1")
    server.play(answer(CHUNKS), json_answer(WHOLE), error_answer(401, "token-of-oauth is wrong"))
    token = {"access_token": "token-of-oauth", "token_type": "Bearer"}
    with (
        requests_oauthlib.OAuth2Session(client_id="c", token=token) as session,
        client_of(server.base_url, session, api_key=None) as client,
    ):
        assert streamed(client) == CHUNKS
        assert ask(client).to_dict() == WHOLE
        with pytest.raises(Exception, match="401") as caught:
            ask(client)
    assert "token-of-oauth" not in str(caught.value)
    assert {request.headers["authorization"] for request in server.requests} == {
        "Bearer token-of-oauth"
    }


# A Unix socket -------------------------------------------------------------------------------


class UnixConnection(urllib3.connection.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("localhost")
        self.path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(self.path)


class UnixPool(urllib3.HTTPConnectionPool):
    def __init__(self, path: str) -> None:
        super().__init__("localhost")
        self.path = path

    def _new_conn(self) -> Any:
        return UnixConnection(self.path)


class UnixAdapter(requests.adapters.HTTPAdapter):
    """The ten lines that are found everywhere."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self.path = path

    def get_connection_with_tls_context(self, *_: Any, **__: Any) -> Any:
        return UnixPool(self.path)


def test_a_unix_socket(session: requests.Session, server: ScriptedServer, tmp_path: Path) -> None:
    server.play(answer(CHUNKS), json_answer(WHOLE))
    path = str(tmp_path / "http.sock")
    session.mount("http://unix.test", UnixAdapter(path))
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        forwarder = Forwarder(listener, server.port)
        try:
            with client_of("http://unix.test/v1", session) as client:
                assert streamed(client) == CHUNKS
                assert ask(client).to_dict() == WHOLE
        finally:
            forwarder.close()


class Forwarder:
    """Hands each connection on to a port of this machine."""

    def __init__(self, listener: socket.socket, port: int) -> None:
        self._listener, self._port = listener, port
        self._sockets: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._run(self._accept)

    def _run(self, target: Any, *args: Any) -> None:
        thread = threading.Thread(target=target, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                here, _ = self._listener.accept()
            except OSError:
                return
            there = socket.create_connection(("127.0.0.1", self._port))
            self._sockets += [here, there]
            self._run(pump, here, there)
            self._run(pump, there, here)

    def close(self) -> None:
        for sock in (self._listener, *self._sockets):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            sock.close()
        for thread in self._threads:
            thread.join()


def pump(here: socket.socket, there: socket.socket) -> None:
    try:
        while data := here.recv(65536):
            there.sendall(data)
        there.shutdown(socket.SHUT_WR)
    except OSError:
        pass


# TLS of others -------------------------------------------------------------------------------

PYOPENSSL = """\
import sys, warnings
warnings.simplefilter("ignore")
import urllib3.contrib.pyopenssl
urllib3.contrib.pyopenssl.inject_into_urllib3()
import requests
from openai_stream import Client, Timeout
for session in (None, requests.Session()):
    with Client("key", sys.argv[1], max_retries=0, session=session) as client:
        def ask(**arguments):
            return client.create_chat_completion(model="m", messages=[], **arguments)

        long = [{"role": "user", "content": "x" * 300_000}]
        events = client.create_chat_completion(model="m", messages=long, stream=True)
        print("".join(events.text()))
        print(ask().to_dict())
        waiting = ask(stream=True)
        waiting.get(timeout=30)
        waiting.close()
        try:
            ask(stream=True, timeout=Timeout(idle=0.2)).stream.result(30)
        except Exception as error:
            print(type(error).__name__)
"""


def test_pyopenssl_in_urllib3(tmp_path: Path) -> None:
    """Other libraries put it there for the whole process; its sockets lack some methods."""
    pytest.importorskip("urllib3.contrib.pyopenssl")
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    said = "".join(chunk["choices"][0]["delta"].get("content") or "" for chunk in CHUNKS)
    stalled = answer([CHUNKS[0], Hang()])
    with ScriptedServer(ssl_context=context) as server:
        server.play(*[answer(CHUNKS), json_answer(WHOLE), stalled, stalled] * 2)
        run = subprocess.run(
            [sys.executable, "-c", PYOPENSSL, server.base_url],
            env={**os.environ, "REQUESTS_CA_BUNDLE": str(tmp_path / "ca.pem")},
            capture_output=True,
            text=True,
            timeout=60.0 * HELD_UP,
            check=False,
        )
        assert len(server.requests[0].body) > 300_000
        for connection in server.connections:
            assert connection.client_closed.wait(30)
    assert run.stdout == f"{said}\n{WHOLE}\nStreamTimeoutError\n" * 2, run.stderr
