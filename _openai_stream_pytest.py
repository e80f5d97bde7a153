"""Fixtures and markers for pytest, which finds them by itself if the library is installed.

A module of its own beside the package, and not in it: pytest imports this in every project of the
environment, before that project's own ``conftest.py``. To import the package would bring
``requests`` into projects that never ask for it, and too early for gevent's monkey-patching. So
only pytest is imported here, until a fixture is used.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from openai_stream import Client
    from openai_stream.testing import ScriptedServer

__all__ = ["stream_client", "stream_default_client", "stream_environment", "stream_server"]


_MARKERS = (
    "stream_client(**arguments): what stream_client and stream_default_client are made with, "
    "such as max_retries=2.",
    "stream_recording(*paths, match='request', speed=None): stream_server answers from these "
    "recordings; the paths are relative to the test's file.",
    "stream_played: fails the test if stream_server has a script left, or had none for a request.",
)


def pytest_configure(config: pytest.Config) -> None:
    """Make the markers known."""
    for line in _MARKERS:
        config.addinivalue_line("markers", line)


_passed = pytest.StashKey[bool]()


@pytest.hookimpl(hookwrapper=True)  # as pytest 7 knows it
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """Remember whether the test itself passed."""
    outcome: Any = yield
    report = outcome.get_result()
    if report.when == "call":
        item.stash[_passed] = report.passed


@pytest.fixture
def stream_server(request: pytest.FixtureRequest) -> Iterator[ScriptedServer]:
    """A scripted server of the test's own; what its scripts raised fails the test.

    The markers ``stream_recording`` and ``stream_played`` are for it.
    """
    from openai_stream.testing import ScriptedServer  # noqa: PLC0415

    recording = request.node.get_closest_marker("stream_recording")
    with ScriptedServer() as server:
        if recording is not None:
            from openai_stream.recordings import read_recording  # noqa: PLC0415

            if not recording.args:
                raise pytest.UsageError("stream_recording wants the path of a recording")
            paths = [request.path.parent / path for path in recording.args]
            exchanges = [one for path in paths for one in read_recording(path)]
            server.answer_from(exchanges, **{"speed": None, **recording.kwargs})
        yield server
        # One that was skipped, or failed, has said why already.
        passed = request.node.stash.get(_passed, False)
        if passed and request.node.get_closest_marker("stream_played") is not None:
            server.assert_played()


def _arguments(request: pytest.FixtureRequest) -> dict[str, Any]:
    marker = request.node.get_closest_marker("stream_client")
    if marker is None:
        return {}
    if marker.args:
        raise pytest.UsageError("stream_client wants the client's arguments by name: max_retries=2")
    return dict(marker.kwargs)


@pytest.fixture
def stream_client(
    stream_server: ScriptedServer, request: pytest.FixtureRequest
) -> Iterator[Client]:
    """A client that asks ``stream_server``, and each time once only (``max_retries=0``).

    The marker ``stream_client(max_retries=2)`` gives it other arguments.
    """
    from openai_stream import Client  # noqa: PLC0415

    own = {"api_key": "test", "base_url": stream_server.base_url, "max_retries": 0}
    with Client(**{**own, **_arguments(request)}) as client:
        yield client


@pytest.fixture
def stream_default_client(
    stream_server: ScriptedServer,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> Iterator[Client]:
    """The default client, as it is made of the environment, asks ``stream_server``.

    For code that is handed no client. ``OPENAI_BASE_URL`` and ``OPENAI_API_KEY`` are set, so that
    clients that it makes by itself ask the same server. It retries as any default client does: a
    fault that is retried wants an answer for each attempt. The marker ``stream_client`` is for it
    too.
    """
    from openai_stream import Client, api  # noqa: PLC0415

    monkeypatch.setenv("OPENAI_BASE_URL", stream_server.base_url)
    monkeypatch.setenv("OPENAI_API_KEY", "test")
    with Client(**_arguments(request)) as client:
        monkeypatch.setattr(api, "_default", client)
        yield client


@pytest.fixture
def stream_environment(
    stream_server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> ScriptedServer:
    """``stream_server``, to which the environment leads every client that reads it.

    This library's, OpenAI's own and those that go by its variables: litellm, LangChain, Azure's.
    For programs that are run as processes too; each client retries as it always does.

    .. versionadded:: 0.1
    """
    root = stream_server.base_url.removesuffix("/v1")
    for names, value in (
        (("OPENAI_BASE_URL", "OPENAI_API_BASE", "OPENAI_API_ENDPOINT"), stream_server.base_url),
        (("AZURE_OPENAI_ENDPOINT", "AZURE_OPENAI_API_ENDPOINT", "AZURE_API_BASE"), root),
        (("OPENAI_API_KEY", "AZURE_OPENAI_API_KEY", "AZURE_API_KEY"), "test"),
        (("OPENAI_API_VERSION", "AZURE_API_VERSION"), "2024-10-21"),
        # A proxy of the environment knows another 127.0.0.1.
        (("NO_PROXY", "no_proxy"), "127.0.0.1"),
    ):
        for name in names:
            monkeypatch.setenv(name, value)
    for name in (
        "OPENAI_ORG_ID",
        "OPENAI_ORGANIZATION",
        "OPENAI_PROJECT_ID",
        "AZURE_OPENAI_AD_TOKEN",
    ):
        monkeypatch.delenv(name, raising=False)
    return stream_server
