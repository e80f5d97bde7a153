"""Functions that a call cannot use, and the ones that only look like them."""

from __future__ import annotations

import asyncio
import contextlib
import functools
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any
from unittest import mock

import pytest

from openai_stream import Client
from openai_stream.testing import ScriptedServer, answer, chat_chunks

NAMES = ("on_next", "on_done", "on_error")
Function = Callable[..., Any]


async def coroutine(_: Any) -> None:
    pass


async def asynchronous_generator(_: Any) -> AsyncIterator[None]:
    yield


def generator(_: Any) -> Iterator[None]:
    yield


class Handler:
    async def method(self, _: Any) -> None:
        pass

    @classmethod
    async def of_the_class(cls, _: Any) -> None:
        pass

    @staticmethod
    async def of_nobody(_: Any) -> None:
        pass


class Callable_(Handler):
    async def __call__(self, _: Any) -> None:
        pass


RUN_LATER: dict[str, Function] = {
    "function": coroutine,
    "partial": functools.partial(coroutine),
    "partial of a partial": functools.partial(functools.partial(coroutine)),
    "bound method": Handler().method,
    "partial of a bound method": functools.partial(Handler().method),
    "class method": Handler.of_the_class,
    "static method": Handler.of_nobody,
    "callable object": Callable_(),
    "partial of a callable object": functools.partial(Callable_()),
    "AsyncMock": mock.AsyncMock(),
    "asynchronous generator": asynchronous_generator,
    "generator": generator,
}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("function", RUN_LATER.values(), ids=RUN_LATER)
def test_refuses_a_function_that_would_not_run(
    server: ScriptedServer, client: Client, name: str, function: Function
) -> None:
    """Called, it only makes a coroutine or a generator: every event would be lost in silence."""
    given: dict[str, Any] = {name: function}
    with pytest.raises(TypeError, match=f"{name} must be a plain function, not an? .* function"):
        client.create_chat_completion(model="m", messages=[], stream=True, **given)
    assert server.connections == []


def test_says_what_else_to_do(client: Client) -> None:
    with pytest.raises(TypeError, match="call_soon_threadsafe"):
        client.create_chat_completion(model="m", messages=[], stream=True, on_next=coroutine)


def _plain() -> dict[str, Callable[[list[Any]], Function]]:
    """Functions that run when they are called, by how they put an event on a list."""

    def wraps_a_coroutine(into: list[Any]) -> Function:
        async def note(event: Any) -> None:
            into.append(event)

        @functools.wraps(note)
        def run(event: Any) -> None:
            asyncio.run(note(event))

        return run

    def context_manager(into: list[Any]) -> Function:
        @contextlib.contextmanager
        def noting(event: Any) -> Iterator[None]:
            into.append(event)
            yield

        def run(event: Any) -> None:
            with noting(event):
                pass

        return run

    class Sink:
        def __init__(self, into: list[Any]) -> None:
            self._into = into

        def __call__(self, event: Any) -> None:
            self._into.append(event)

        async def aclose(self) -> None:
            pass

    return {
        "builtin method": lambda into: into.append,
        "partial": lambda into: functools.partial(list.append, into),
        "callable object": Sink,
        "Mock": lambda into: mock.Mock(side_effect=into.append),
        "class": lambda into: type(
            "Made", (), {"__init__": lambda self, event: into.append(event)}
        ),
        "wraps a coroutine function": wraps_a_coroutine,
        "runs a context manager": context_manager,
    }


@pytest.mark.parametrize("made", _plain().values(), ids=_plain())
def test_takes_every_function_that_runs(
    server: ScriptedServer, client: Client, made: Callable[[list[Any]], Function]
) -> None:
    server.play(answer(chat_chunks("Hello")))
    events: list[Any] = []
    stream = client.create_chat_completion(
        model="m", messages=[], stream=True, on_next=made(events)
    )
    assert stream.result(10).choices[0].message.content == "Hello"
    assert len(events) == stream.stats.events
