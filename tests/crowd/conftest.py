"""Streams that are read in turns, by one thread unless a test asks for more."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme
from helpers import Chat
from streaming import BODY, reading

from openai_stream import Client
from openai_stream.testing import ScriptedServer


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with ScriptedServer() as server:
        yield server


@pytest.fixture
def tls_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ScriptedServer]:
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "ca.pem"))
    with ScriptedServer(ssl_context=context) as server:
        yield server


@pytest.fixture(params=["tcp", "tls"])
def either_server(request: pytest.FixtureRequest) -> ScriptedServer:
    """Over TCP, and again over TLS."""
    name = "server" if request.param == "tcp" else "tls_server"
    server: ScriptedServer = request.getfixturevalue(name)
    return server


@pytest.fixture
def client(server: ScriptedServer) -> Iterator[Client]:
    with reading(server, 1) as client:
        yield client


@pytest.fixture
def chat(client: Client) -> Chat:
    def stream(**arguments: Any) -> Any:
        return client.create_chat_completion(**BODY, stream=True, **arguments)

    return stream
