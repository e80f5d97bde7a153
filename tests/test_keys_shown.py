"""What a client shows: never a key."""

from __future__ import annotations

import json
import logging
import pickle
import traceback
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
import requests.adapters
from asking import CHUNKS, GOOD, KEY, ask, client_of, stream
from helpers import SOON

from openai_stream import (
    BadRequestError,
    Client,
    OpenAIStreamError,
)
from openai_stream.testing import (
    Answer,
    Fin,
    Reset,
    ScriptedServer,
    answer,
    error_answer,
    head,
    json_answer,
)


@pytest.fixture
def netrc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A password for each host, in both of the places where ``requests`` looks."""
    for name in (".netrc", "netrc"):
        file = tmp_path / name
        file.write_text("machine 127.0.0.1 login me password pw\ndefault login me password pw\n")
        file.chmod(0o600)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))


@pytest.mark.usefixtures("netrc")
@pytest.mark.parametrize("own_session", [True, False])
def test_netrc_is_ignored(server: ScriptedServer, own_session: bool) -> None:
    server.always(GOOD)
    with requests.Session() as session:
        session.get(server.base_url)  # the file is one that requests reads
        assert server.requests[0].headers["authorization"].startswith("Basic ")
        given = None if own_session else session
        with client_of(server, session=given) as client:
            ask(client)
        with client_of(server, session=given, api_key=None) as client:
            ask(client)
    _, with_key, without = server.requests
    assert with_key.headers["authorization"] == f"Bearer {KEY}"
    assert "authorization" not in without.headers


ECHOES: dict[str, Answer] = {
    "an error status": error_answer(401, f"Incorrect API key provided: {KEY}.", code=KEY),
    "an error of text": [head(500, {"Content-Length": "99"}), f"no: Bearer {KEY}".encode(), Fin()],
    "a redirect": [head(302, {"Location": f"http://h/{KEY}", "Content-Length": "0"})],
    "an error in the stream": answer([{"error": {"message": f"bad key {KEY}", "code": KEY}}]),
    "an error event": answer([f"event: error\ndata: bad key {KEY}\n\n".encode()]),
    "rubbish": answer([f"data: {KEY}\n\n".encode()]),
    "a page": answer([f"<html>{KEY}".encode()], done=False),
    "JSON": json_answer({"error": {"message": f"bad key {KEY}"}}),
    "a cut stream": [*answer([f": {KEY}\n\n".encode()])[:2], Reset()],
    "no HTTP": [f"{KEY}\r\n\r\n".encode(), Fin()],
    "a bad chunk": [head(200, {"Transfer-Encoding": "chunked"}), f"{KEY}\r\n".encode()],
    "a bad length": [f"HTTP/1.1 200 OK\r\nContent-Length: 1, {KEY}\r\n\r\n".encode(), Fin()],
}


@pytest.mark.parametrize("echo", ECHOES)
@pytest.mark.parametrize("streams", [True, False])
def test_the_key_shows_nowhere(
    server: ScriptedServer, caplog: pytest.LogCaptureFixture, echo: str, streams: bool
) -> None:
    caplog.set_level(logging.DEBUG)
    server.play(ECHOES[echo])
    with client_of(server) as client:
        with pytest.raises(OpenAIStreamError) as caught:
            ask(client, stream=streams).stream.result(SOON)
        assert KEY not in repr(client)
    error = caught.value
    escaped = json.dumps(KEY)[1:-1]
    for text in (
        str(error),
        repr(error),
        "".join(traceback.format_exception(error)),
        repr({name: value for name, value in vars(error).items() if name != "headers"}),
        caplog.text,
        repr([record.__dict__ for record in caplog.records]),
    ):
        assert KEY not in text
        assert escaped not in text
    pickled = pickle.dumps(error.with_traceback(None))
    assert KEY.encode() not in pickled


def test_the_key_shows_not_in_what_goes_well(
    server: ScriptedServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    server.play(answer(CHUNKS), GOOD)
    with client_of(server, headers={"X-Api-Key": "se-cret"}) as client:
        events = stream(client)
        items = list(events)
        whole = ask(client)
        shown = [client, events, events.stream, events.stream.stats, items, whole]
    assert any(record.name.startswith("urllib3") for record in caplog.records)
    for text in (*map(repr, shown), *map(str, shown), caplog.text):
        assert KEY not in text
        assert "se-cret" not in text
    assert KEY.encode() not in pickle.dumps([items, whole])


@pytest.mark.parametrize("key", ["x", "none", "e", "code", "error"])
def test_a_key_that_is_none_does_not_spoil_messages(server: ScriptedServer, key: str) -> None:
    server.play(error_answer(400, "There is an exceptional encoder.", code="exact"))
    with client_of(server, api_key=key) as client, pytest.raises(BadRequestError) as caught:
        ask(client)
    assert "There is an exceptional encoder." in str(caught.value)
    assert caught.value.code == "exact"


def test_a_client_is_not_pickled(client: Client) -> None:
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        with pytest.raises(TypeError, match="key"):
            pickle.dumps(client, protocol)


@pytest.fixture
def session() -> Iterator[requests.Session]:
    with requests.Session() as made:
        yield made
