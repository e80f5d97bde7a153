"""The markers of the plugin: how a test chooses what its server and its client do."""

from __future__ import annotations

import pytest

from openai_stream import Client, create_chat_completion
from openai_stream.recordings import Recorder
from openai_stream.testing import ScriptedServer, answer, rate_limited

pytest_plugins = ["pytester"]


def ask(client: Client) -> str:
    return "".join(client.create_chat_completion(model="m", messages=[], stream=True).text())


@pytest.mark.stream_client(max_retries=1)
@pytest.mark.stream_played
def test_a_client_retries_if_asked_to(stream_server: ScriptedServer, stream_client: Client) -> None:
    stream_server.play(answer(fault=rate_limited(retry_after=0)), answer("Hello"))
    assert ask(stream_client) == "Hello"


@pytest.mark.stream_client(max_retries=0)
def test_the_default_client_is_made_so_too(
    stream_server: ScriptedServer, stream_default_client: Client
) -> None:
    stream_server.play(answer(fault=rate_limited(retry_after=0)), answer("Hello"))
    with pytest.raises(Exception, match="429"):
        create_chat_completion(model="m", messages=[], stream=True)


def run(pytester: pytest.Pytester, text: str) -> pytest.RunResult:
    pytester.makepyfile(text)
    return pytester.runpytest_subprocess("-p", "no:cacheprovider", "--strict-markers")


def test_a_script_that_is_left_fails_a_test_that_wants_all_played(
    pytester: pytest.Pytester,
) -> None:
    result = run(
        pytester,
        """
        import pytest

        @pytest.mark.stream_played
        def test_checked(stream_server):
            stream_server.play(b"")

        def test_unchecked(stream_server):
            stream_server.play(b"")
        """,
    )
    result.assert_outcomes(passed=2, errors=1)
    result.stdout.fnmatch_lines(["*AssertionError: 1 scripts were not played; 0 requests came"])


def test_a_script_that_is_left_says_nothing_of_a_test_that_has_not_passed(
    pytester: pytest.Pytester,
) -> None:
    result = run(
        pytester,
        """
        import pytest

        @pytest.mark.stream_played
        def test_skipped(stream_server):
            stream_server.play(b"")
            pytest.skip("not here")

        @pytest.mark.stream_played
        def test_failed(stream_server):
            stream_server.play(b"")
            assert False
        """,
    )
    result.assert_outcomes(skipped=1, failed=1)


def test_a_recording_beside_the_test_is_played(
    pytester: pytest.Pytester, stream_server: ScriptedServer
) -> None:
    for name in ("one", "two"):
        with (
            Recorder(pytester.path / f"{name}.rec") as recorder,
            Client(api_key="test", base_url=stream_server.base_url) as client,
        ):
            recorder.watch(client)
            stream_server.play(answer(f"Hello {name}", delay=0.1))
            list(client.create_chat_completion(model=name, messages=[], stream=True))
    result = run(
        pytester,
        """
        import time
        import pytest

        def ask(client, model):
            events = client.create_chat_completion(model=model, messages=[], stream=True)
            return "".join(events.text())

        @pytest.mark.stream_recording("one.rec", "two.rec")
        def test_both(stream_client):
            began = time.monotonic()
            assert ask(stream_client, "two") == "Hello two"
            assert ask(stream_client, "one") == "Hello one"
            assert time.monotonic() - began < 0.3

        @pytest.mark.stream_recording("one.rec", match="turn", speed=1)
        def test_options(stream_client):
            began = time.monotonic()
            assert ask(stream_client, "other") == "Hello one"
            assert time.monotonic() - began > 0.3

        @pytest.mark.stream_recording("missing.rec")
        def test_missing(stream_client):
            pass

        @pytest.mark.stream_recording
        def test_without_a_path(stream_client):
            pass

        @pytest.mark.stream_client(2)
        def test_without_a_name(stream_client):
            pass
        """,
    )
    result.assert_outcomes(passed=2, errors=3)
    result.stdout.fnmatch_lines(["*missing.rec*"])
    result.stdout.fnmatch_lines(["*stream_recording wants the path of a recording*"])
    result.stdout.fnmatch_lines(["*stream_client wants the client's arguments by name*"])
