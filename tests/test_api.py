"""The module functions: the default client, and one that is given."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from helpers import SOON

import openai_stream
from openai_stream import (
    AzureClient,
    ChatCompletion,
    Client,
    Completion,
    ConfigurationError,
    EventQueue,
    Response,
    Stream,
    api,
    create_chat_completion,
    create_completion,
    create_response,
)
from openai_stream.testing import (
    ScriptedServer,
    answer,
    chat_chunks,
    completion_chunks,
    json_answer,
)

CHUNKS = chat_chunks("Hello world")
WHOLE = {"object": "chat.completion", "choices": []}


@pytest.fixture(autouse=True)
def _no_default_client(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Each test begins as a process does, and leaves no connections."""
    monkeypatch.setattr(api, "_default", None)
    yield
    if api._default is not None:
        api._default.close()


@pytest.fixture
def environment(server: ScriptedServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-default")
    monkeypatch.setenv("OPENAI_BASE_URL", server.base_url)


def ask(**arguments: Any) -> Any:
    given: dict[str, Any] = {"model": "m", "messages": [], **arguments}
    return create_chat_completion(**given)


@pytest.mark.usefixtures("environment")
def test_the_default_client_is_made_of_the_environment(server: ScriptedServer) -> None:
    server.play(answer(CHUNKS), answer(CHUNKS), json_answer(WHOLE))
    events = ask(stream=True)
    assert isinstance(events, EventQueue)
    assert [event.to_dict() for event in events] == CHUNKS
    got: list[Any] = []
    handle = ask(stream=True, on_next=got.append)
    assert isinstance(handle, Stream)
    handle.result(SOON)
    assert [event.to_dict() for event in got] == CHUNKS
    assert isinstance(ask(), ChatCompletion)
    for request in server.requests:
        assert request.target == "/v1/chat/completions"
        assert request.headers["authorization"] == "Bearer sk-default"
    assert len(server.connections) == 1  # of one client


@pytest.mark.usefixtures("environment")
def test_the_other_calls(server: ScriptedServer) -> None:
    chunks = completion_chunks("Hello world")
    server.play(answer(chunks), json_answer(WHOLE), json_answer({"output": []}))
    events = create_completion(model="m", prompt="p", stream=True)
    assert [event.to_dict() for event in events] == chunks
    assert isinstance(create_completion(model="m", prompt="p"), Completion)
    assert isinstance(create_response(model="m", input="i"), Response)
    assert [request.path for request in server.requests] == [
        "/v1/completions",
        "/v1/completions",
        "/v1/responses",
    ]


def test_a_failure_to_make_the_default_client_is_not_remembered(
    server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(2):
        with pytest.raises(ConfigurationError, match="OPENAI_API_KEY"):
            ask(stream=True)
    monkeypatch.setenv("OPENAI_BASE_URL", "nonsense")
    with pytest.raises(ConfigurationError, match="base_url"):
        ask()
    monkeypatch.setenv("OPENAI_BASE_URL", server.base_url)
    server.play(json_answer(WHOLE))
    assert ask().to_dict() == WHOLE


@pytest.mark.usefixtures("environment")
def test_the_default_client_is_made_at_its_first_use_and_kept(
    server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.always(json_answer(WHOLE))
    ask()
    monkeypatch.setenv("OPENAI_API_KEY", "sk-later")
    ask()
    assert {request.headers["authorization"] for request in server.requests} == {
        "Bearer sk-default"
    }


@pytest.mark.usefixtures("environment")
def test_threads_that_are_first_at_the_same_time(server: ScriptedServer) -> None:
    server.always(json_answer(WHOLE))
    with ThreadPoolExecutor(20) as pool:
        list(pool.map(lambda _: ask(), range(40)))
        used = set(pool.map(lambda _: id(api._client(None)), range(40)))
    assert len(used) == 1


def test_a_client_that_is_given(server: ScriptedServer) -> None:
    server.play(answer(CHUNKS), json_answer(WHOLE))
    with Client("sk-given", server.base_url) as client:
        assert len(list(ask(stream=True, client=client))) == len(CHUNKS)
        create_completion(model="m", prompt="p", client=client)
    for request in server.requests:
        assert request.headers["authorization"] == "Bearer sk-given"
        assert "client" not in request.json
    assert api._default is None  # nobody needed one


@pytest.mark.parametrize("client", ["sk-key", {"api_key": "sk-key"}, Client, 0, False])
@pytest.mark.parametrize("call", [create_chat_completion, create_completion, create_response])
def test_what_is_no_client(call: Any, client: Any) -> None:
    with pytest.raises(TypeError, match="client"):
        call(model="m", client=client)


def test_azure_has_no_responses() -> None:
    azure: Any = AzureClient("k", "https://name.openai.azure.com")
    with pytest.raises(TypeError, match="AzureClient"):
        create_response(model="m", client=azure)


@pytest.mark.parametrize("call", [create_chat_completion, create_completion, create_response])
def test_all_arguments_are_keywords(call: Any) -> None:
    with pytest.raises(TypeError):
        call("m")
    with pytest.raises(TypeError):
        call({"model": "m"}, stream=True)


def test_everything_that_is_promised_is_there() -> None:
    for name in openai_stream.__all__:
        assert getattr(openai_stream, name) is not None
        assert name in dir(openai_stream)
    assert openai_stream.__all__ == sorted(
        openai_stream.__all__, key=lambda name: (not name.isupper(), name[0].islower(), name)
    )


SCRIPT = """
import sys, threading
import openai_stream
from openai_stream import DONE, ConfigurationError, create_chat_completion

assert threading.active_count() == 1
import logging
assert not logging.getLogger("openai_stream").handlers
import os
try:
    create_chat_completion(model="m", messages=[], stream=True)
except ConfigurationError:
    pass
else:
    sys.exit("no error")
os.environ["OPENAI_API_KEY"] = "sk-script"
os.environ["OPENAI_BASE_URL"] = sys.argv[1]
events = create_chat_completion(model="m", messages=[], stream=True)
while (event := events.get()) is not DONE:
    for choice in event.choices:
        print(choice.delta.content or "", end="", flush=True)
"""


def test_a_script_of_its_own(server: ScriptedServer) -> None:
    server.play(answer(CHUNKS))
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-W", "error", "-c", SCRIPT, server.base_url],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (done.stdout, done.stderr, done.returncode) == ("Hello world", "", 0)
