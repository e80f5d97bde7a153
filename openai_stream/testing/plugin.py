"""Fixtures for pytest, which finds them by itself where the library is installed."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from openai_stream import Client, api

from .server import ScriptedServer

__all__ = ["stream_client", "stream_default_client", "stream_server"]


@pytest.fixture
def stream_server() -> Iterator[ScriptedServer]:
    """A scripted server of the test's own; what its scripts raised fails the test."""
    with ScriptedServer() as server:
        yield server


@pytest.fixture
def stream_client(stream_server: ScriptedServer) -> Iterator[Client]:
    """A client that asks ``stream_server``, and each time once only (``max_retries=0``)."""
    with Client(api_key="test", base_url=stream_server.base_url, max_retries=0) as client:
        yield client


@pytest.fixture
def stream_default_client(
    stream_server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Client]:
    """The default client, as it is made of the environment, asks ``stream_server``.

    For code that is handed no client. ``OPENAI_BASE_URL`` and ``OPENAI_API_KEY`` are set, so that
    clients that it makes by itself ask the same server. It retries as any default client does: a
    fault that is retried wants an answer for each attempt.
    """
    monkeypatch.setenv("OPENAI_BASE_URL", stream_server.base_url)
    monkeypatch.setenv("OPENAI_API_KEY", "test")
    with Client() as client:
        monkeypatch.setattr(api, "_default", client)
        yield client
