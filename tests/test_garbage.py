"""A stream that is over leaves nothing to the garbage collector: its memory is free at once."""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from asking import CHUNKS, GOOD, ask, client_of, stream
from helpers import SOON

from openai_stream import Client
from openai_stream.testing import ScriptedServer, answer


@contextmanager
def garbage() -> Iterator[list[str]]:
    """What of the library and those below it only the collector would find, by class."""
    found: list[str] = []
    gc.collect()
    gc.disable()
    try:
        yield found
        deadline = time.monotonic() + SOON
        while any(thread.name.startswith("openai-stream-") for thread in threading.enumerate()):
            assert time.monotonic() < deadline
            time.sleep(0.001)
        gc.set_debug(gc.DEBUG_SAVEALL)
        gc.collect()
        names = {f"{type(one).__module__}.{type(one).__qualname__}" for one in gc.garbage}
        ours = ("openai_stream.", "requests.", "urllib3.")
        found += sorted(
            name
            for name in names
            if name.startswith(ours) and not name.startswith("openai_stream.testing.")
        )
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()


def to_its_end(client: Client) -> None:
    assert len(list(stream(client))) == len(CHUNKS)


def result(client: Client) -> None:
    stream(client).stream.result()


def called_back(client: Client) -> None:
    stream(client, on_next=lambda event: None).result()


def kept_for_subscribers(client: Client) -> None:
    events = stream(client, replay=True)
    assert list(events.stream.subscribe()) == list(events)


@pytest.mark.parametrize("readers", [None, 1], ids=["own", "readers"])
@pytest.mark.parametrize(
    "use", [to_its_end, result, called_back, kept_for_subscribers], ids=lambda use: use.__name__
)
def test_a_stream_leaves_nothing(
    server: ScriptedServer, use: Callable[[Client], Any], readers: int | None
) -> None:
    server.always(answer(CHUNKS))
    with client_of(server, readers=readers) as client:
        use(client)
        with garbage() as found:
            use(client)
    assert found == []


def test_an_answer_in_one_piece_leaves_nothing(server: ScriptedServer) -> None:
    server.always(GOOD)
    with client_of(server) as client:
        ask(client)
        with garbage() as found:
            ask(client)
    assert found == []
