"""How the streams of a test are read: a test of behaviour is run once for each way.

``own``: the library's own session, a thread for each stream; ``given``: a plain
``requests.Session`` of the user's; ``readers``: the own session, and two threads for all streams
(``Client(readers=2)``). ``READERS=2 pytest …`` runs every test the last way, and none another way;
``WAYS="own given" pytest …`` leaves one out.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import pytest
import requests

from openai_stream.base_client import BaseClient

__all__ = ["MARKERS", "READERS", "read_in", "read_together", "ways_of"]

#: So many threads read the streams of each client that does not say so itself; 0: one a stream.
READERS = int(os.environ.get("READERS", "0"))
_WANTED = os.environ.get("WAYS", "own given readers").split()

MARKERS = {
    "own_session": "a given session cannot do as much",
    "own_thread": "it is about the thread that each stream has for itself, or has no stream",
}

_WITH_GIVEN_SESSIONS = {
    "test_callbacks",
    "test_close",
    "test_framing",
    "test_ownership",
    "test_quirks",
    "test_restarts",
    "test_result",
    "test_stream",
    "test_timeouts",
}
_WITH_READERS = {
    "test_background",
    "test_body",
    "test_close",
    "test_decoding",
    "test_faults",
    "test_fairness",
    "test_fallbacks",
    "test_first_content",
    "test_framing",
    "test_future",
    "test_otel_attempts",
    "test_ownership",
    "test_queues",
    "test_quirks",
    "test_races",
    "test_reports",
    "test_restarts",
    "test_result",
    "test_resuming",
    "test_sharing",
    "test_sinks",
    "test_stream",
    "test_subscribe",
    "test_timeouts",
    "test_unheld",
}
#: What tests of streams ask for.
_FIXTURES = {"chat", "client", "clients", "report", "server", "servers", "track"}


def ways_of(metafunc: pytest.Metafunc) -> list[str]:
    """The ways in which a test is run."""
    marked = set()
    for name in MARKERS:
        marker = metafunc.definition.get_closest_marker(name)
        if marker is None:
            continue
        if not (marker.args and isinstance(marker.args[0], str)):
            pytest.fail(f"the marker {name!r} needs a reason", pytrace=False)
        marked.add(name)
    ways, module = ["own"], metafunc.module.__name__
    if READERS:
        return ways
    if module in _WITH_GIVEN_SESSIONS and "own_session" not in marked:
        ways.append("given")
    if (
        module in _WITH_READERS
        and "own_thread" not in marked
        and _FIXTURES.intersection(metafunc.fixturenames)
    ):
        ways.append("readers")
    return [way for way in ways if way in _WANTED] or ways[:1]


def read_in(way: str, monkeypatch: pytest.MonkeyPatch) -> AbstractContextManager[None]:
    """Make the clients of a test such that their streams are read so."""
    if way == "given":
        return _given_sessions(monkeypatch)
    return _few_readers(monkeypatch) if way == "readers" else nullcontext()


def read_together() -> bool:
    """Whether the streams of the test that runs are read by a few threads."""
    return _now["together"]


_now = {"together": False}


@contextmanager
def _few_readers(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Each client that does not say how many readers it has gets two when it is made."""
    check = BaseClient._check

    def with_readers(self: BaseClient) -> None:
        if self.readers is None:
            self.readers = READERS or 2
        check(self)

    monkeypatch.setattr(BaseClient, "_check", with_readers)
    monkeypatch.setitem(_now, "together", True)
    yield


@contextmanager
def _given_sessions(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Each client without a session is given one at its first call."""
    made: list[requests.Session] = []

    def given(self: BaseClient) -> requests.Session:
        if self.session is None:
            self.session = requests.Session()
            made.append(self.session)
        return self.session

    monkeypatch.setattr(BaseClient, "_session", given)
    yield
    for session in made:
        for adapter in session.adapters.values():
            # What a response that is still held leads to is left open by its own ``close``.
            pools: Any = adapter.poolmanager.pools  # type: ignore[attr-defined]
            for key in pools.keys():  # noqa: SIM118 - it does not iterate by itself
                pools[key].close()
        session.close()
