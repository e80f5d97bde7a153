"""What the tests of streams share."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

from helpers import SOON

from openai_stream import (
    ChatCompletion,
    Client,
)
from openai_stream.testing import (
    Connection,
    Repeat,
    ScriptedServer,
    chat_chunks,
    chunk,
    frame,
)

WHOLE = chat_chunks("one two three")
BODY: dict[str, Any] = {"model": "any", "messages": [{"role": "user", "content": "Count"}]}
# More than the buffers between a server and a reader that waits hold.
FLOOD = Repeat(chunk(frame(chat_chunks(["x" * 10_000])[1])))


class HeldQueue:
    """A queue of others whose ``put`` keeps the thread that reads, until it is let go."""

    def __init__(self) -> None:
        self.held = threading.Event()
        self.go = threading.Event()

    def put(self, item: object) -> None:
        self.held.set()
        self.go.wait(SOON)


def nothing(*_: object) -> None:
    """A callback."""


def content(whole: ChatCompletion) -> str | None:
    return whole.choices[0].message.content


def wait_until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + SOON
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def readers() -> list[threading.Thread]:
    return [one for one in threading.enumerate() if one.name.startswith("openai-stream-")]


def wait_for_readers(count: int = 0) -> None:
    wait_until(lambda: len(readers()) == count)


def wait_for_no_room(core: Any) -> None:
    """Until the reader of a full queue waits for room: a thread there, a crowd's is called."""
    room = core.room

    def is_waited_for() -> bool:
        queue = core.queue()
        return bool(room._waiters or (room.call and (queue is None or queue.crowded)))

    wait_until(is_waited_for)


def reading(server: ScriptedServer, readers: int) -> Client:
    """A client whose streams are read by so many threads together."""
    return Client(api_key="test", base_url=server.base_url, max_retries=0, readers=readers)


def saw_the_close(connection: Connection) -> None:
    assert connection.client_closed.wait(SOON)


class Log:
    """Callbacks that note what they were called with, and on which thread."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, Any]] = []
        self.threads: set[str] = set()
        self.ended = threading.Event()

    def _note(self, name: str, value: Any) -> None:
        self.threads.add(threading.current_thread().name)
        self.calls.append((name, value))
        if name != "next":
            self.ended.set()

    @property
    def callbacks(self) -> dict[str, Any]:
        return {
            "on_next": lambda event: self._note("next", event.to_dict()),
            "on_done": lambda whole: self._note("done", content(whole)),
            "on_error": lambda error: self._note("error", error),
        }

    @property
    def names(self) -> list[str]:
        return [name for name, _ in self.calls]
