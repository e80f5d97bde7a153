"""A real model as the last that is asked, after servers that fail, each in a way of its own.

A local server is what one falls back to if the cloud is down; so it is the last here.
"""

from __future__ import annotations

import queue
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any, NamedTuple

import pytest
from helpers import SOON
from machine import HELD_UP

from openai_stream import (
    DONE,
    APIConnectionError,
    APITimeoutError,
    Client,
    Fallback,
    OpenAIStreamError,
    RateLimitError,
    Restarted,
    StreamAPIError,
    StreamInterruptedError,
    StreamTimeoutError,
    Timeout,
    combine,
)
from openai_stream.local import LocalServer
from openai_stream.testing import (
    Fin,
    Hang,
    Script,
    ScriptedServer,
    answer,
    chat_chunks,
    cut,
    error_answer,
    error_event,
    head,
    json_answer,
    refused_url,
)

#: With which the model says the same each time.
EXACT = {"temperature": 0, "seed": 1, "cache_prompt": False}
ASKED: dict[str, Any] = {
    "messages": [{"role": "user", "content": "Name three colours."}],
    "max_completion_tokens": 12,
    **EXACT,
}
LONG = {"max_completion_tokens": 1900, "ignore_eos": True}
LIMIT = error_answer(429, "slow down", headers={"retry-after-ms": "1"})
VOID = "words that are void later"


class Failing(NamedTuple):
    """A server that fails.

    :param error: how that is told.
    :param streamed: what it plays to whoever asks for a stream.
    :param whole: and what otherwise.
    :param is_void: events come before.
    """

    error: type[OpenAIStreamError]
    streamed: Script
    whole: Script
    is_void: bool = False


OVERLOADED = error_event(after=2, type="overloaded_error", message="Overloaded")
FAILING = {
    "rate limit": Failing(RateLimitError, LIMIT, LIMIT),
    "cut": Failing(
        StreamInterruptedError,
        answer(VOID, fault=cut(after=2)),
        [head(headers={"Content-Length": "100"}), b'{"object": "chat', Fin()],
        is_void=True,
    ),
    "overloaded": Failing(
        StreamAPIError,
        answer(VOID, fault=OVERLOADED),
        json_answer({"error": {"type": "overloaded_error", "message": "Overloaded"}}),
        is_void=True,
    ),
}
#: One after the other, and each alone.
CHAINS = [["dead"], *([name] for name in FAILING), ["dead", *FAILING]]


Read = Callable[[Client, dict[str, Any]], tuple[Any, list[Any]]]


def whole(client: Client, arguments: dict[str, Any]) -> tuple[Any, list[Any]]:
    return client.create_chat_completion(**arguments), []


def result(client: Client, arguments: dict[str, Any]) -> tuple[Any, list[Any]]:
    return client.create_chat_completion(stream=True, **arguments).stream.result(SOON), []


def loop(client: Client, arguments: dict[str, Any]) -> tuple[Any, list[Any]]:
    events = client.create_chat_completion(stream=True, **arguments)
    items = list(events)
    return events.stream.result(SOON), items


def callback(client: Client, arguments: dict[str, Any]) -> tuple[Any, list[Any]]:
    items: list[Any] = []
    stream = client.create_chat_completion(stream=True, on_next=items.append, **arguments)
    return stream.result(SOON), items


def foreign(client: Client, arguments: dict[str, Any]) -> tuple[Any, list[Any]]:
    mine: queue.SimpleQueue[Any] = queue.SimpleQueue()
    stream = client.create_chat_completion(stream=True, queue=mine, **arguments)
    items = []
    while (item := mine.get(timeout=SOON)) is not DONE:
        items.append(item)
    return stream.result(SOON), items


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def local(stack: ExitStack, local_server: LocalServer) -> Client:
    return stack.enter_context(Client(base_url=local_server.base_url))


def failing(
    stack: ExitStack, name: str, stream: bool, readers: int | None = None
) -> tuple[Client, list[Any]]:
    """A client whose server fails, and what that server is sent."""
    if name == "dead":
        url = stack.enter_context(refused_url())
        return stack.enter_context(Client("k", url, max_retries=0, readers=readers)), []
    server = stack.enter_context(ScriptedServer())
    server.always(FAILING[name].streamed if stream else FAILING[name].whole)
    retries = 2 if name == "rate limit" else 0
    client = Client("k", server.base_url, max_retries=retries, readers=readers)
    stack.enter_context(client)
    return client, server.requests


@pytest.mark.parametrize("chain", CHAINS, ids="-".join)
@pytest.mark.parametrize(
    ("read", "readers"),
    [*((read, None) for read in (whole, result, loop, callback, foreign)), (loop, 2), (foreign, 2)],
)
def test_the_real_answer_comes_from_the_last(
    stack: ExitStack,
    local: Client,
    chain: list[str],
    read: Read,
    readers: int | None,
) -> None:
    real = local.create_chat_completion(model="any", **ASKED).choices[0].message.content
    assert real
    (first, sent), *others = (failing(stack, name, read is not whole, readers) for name in chain)
    fallbacks = [*(Fallback(client) for client, _ in others), Fallback(local, model="any")]
    made, items = read(first, {"model": "m", "fallbacks": fallbacks, "timeout": SOON, **ASKED})
    assert made.choices[0].message.content == real
    assert made.http.status_code == 200
    if chain == ["rate limit"]:
        assert len(sent) == 3  # its retries come first
    if items:
        assert combine(items).choices[0].message.content == real
        again = [item for item in items if isinstance(item, Restarted)]
        void = [number for number, name in enumerate(chain, 1) if name in ("cut", "overloaded")]
        assert [item.fallback for item in again] == void
        assert [type(item.error) for item in again] == [
            FAILING[chain[number - 1]].error for number in void
        ]
        said = [item.choices[0].delta.content for item in items if item not in again]
        assert bool(void) == ("words" in said)


@pytest.mark.parametrize("read", [whole, result, loop, callback, foreign])
def test_total_holds_over_all(
    stack: ExitStack,
    local: Client,
    read: Read,
) -> None:
    """It is up in the middle of the real answer, which would take far longer."""
    silent = stack.enter_context(ScriptedServer())
    silent.always(Hang() if read is whole else answer([chat_chunks(VOID)[0], Hang()]))
    limited, _ = failing(stack, "rate limit", read is not whole)
    asked = {**ASKED, **LONG, "timeout": Timeout(idle=1.5, gap=1.5 if read is whole else 600,
                                                 total=5)}  # fmt: skip
    # The real server keeps silent until its answer is whole.
    first = stack.enter_context(Client("k", silent.base_url, max_retries=0))
    fallbacks = [Fallback(limited), Fallback(local, model="any")]
    start = time.monotonic()
    with pytest.raises(OpenAIStreamError) as caught:
        read(first, {"model": "m", "fallbacks": fallbacks, **asked})
    assert time.monotonic() - start < 5.5 * HELD_UP
    error = caught.value
    if read is whole:
        assert isinstance(error, APITimeoutError)
    else:
        assert isinstance(error, StreamTimeoutError)
        assert error.deadline == "total"
        assert time.monotonic() - start > 4.9
        assert len(error.snapshot.choices[0].message.content) > 20  # what the model had said
    silence = APITimeoutError if read is whole else StreamTimeoutError
    assert [type(one) for one in error.earlier] == [silence, RateLimitError]


@pytest.mark.parametrize("stream", [False, True])
def test_a_real_server_that_has_gone_is_the_last_error(stack: ExitStack, stream: bool) -> None:
    limited, _ = failing(stack, "rate limit", stream)
    dead, _ = failing(stack, "dead", stream)
    with pytest.raises(APIConnectionError) as caught:
        limited.create_chat_completion(
            model="m", stream=stream, fallbacks=[Fallback(dead)], **ASKED
        )
    assert [type(one) for one in caught.value.earlier] == [RateLimitError]
