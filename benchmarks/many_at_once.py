"""Ways to read many streams at once, beside those with a thread a stream.

The two bare loops are no clients: no errors, no TLS, no compression, nobody could use them. They
show what one thread can do at best on this machine.
"""

from __future__ import annotations

import asyncio
import json
import queue
import selectors
import socket
import threading
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from .contestants import MESSAGES, Contestant, OursSharedQueue, SSEClient

TakeOf = Callable[[int, Any], object]


class OursOneReader(OursSharedQueue):
    title = "openai-stream, readers=1"
    readers = 1


class OursTwoReaders(OursSharedQueue):
    title = "openai-stream, readers=2"
    readers = 2


class ThreadsAndQueue(SSEClient):
    """A thread a stream, and one queue for all, as people write it; errors left out."""

    title = "requests + sseclient + json, threads and a queue"

    def read_many(self, model: str, streams: int, take: TakeOf) -> None:
        shared: queue.SimpleQueue[Any] = queue.SimpleQueue()

        def read(number: int) -> None:
            try:
                for event in self.events(model):
                    shared.put((number, event))
            finally:
                shared.put(None)

        for number in range(streams):
            threading.Thread(target=read, args=(number,)).start()
        for _ in range(streams):
            while (item := shared.get()) is not None:
                take(*item)


class OpenAIAsync(Contestant):
    title = "openai, async"

    def __init__(self, base_url: str) -> None:
        import openai  # noqa: PLC0415

        self._make: Any = lambda: openai.AsyncOpenAI(api_key="none", base_url=base_url)

    def drain(self, model: str) -> None:
        self.read_many(model, 1, lambda number, event: None)

    def read_many(self, model: str, streams: int, take: TakeOf) -> None:
        asyncio.run(self._read_many(model, streams, take))

    async def _read_many(self, model: str, streams: int, take: TakeOf) -> None:
        async with self._make() as client:

            async def read(number: int) -> None:
                stream = await client.chat.completions.create(
                    model=model, messages=MESSAGES, stream=True
                )
                async for event in stream:
                    take(number, event)

            await asyncio.gather(*map(read, range(streams)))


class Loop(Contestant):
    """The thread that reads is the one that takes."""

    title = "a bare epoll loop"

    def __init__(self, base_url: str) -> None:
        url = urlsplit(base_url)
        self._path = f"{url.path}/chat/completions"
        self._host = url.netloc
        self._address = url.hostname or "", url.port or 80

    def drain(self, model: str) -> None:
        self.read_many(model, 1, lambda number, event: None)

    def read_many(self, model: str, streams: int, take: TakeOf) -> None:
        with selectors.DefaultSelector() as selector:
            for number in range(streams):
                selector.register(self._ask(model), selectors.EVENT_READ, [number, b""])
            while selector.get_map():
                for key, _ in selector.select():
                    sock: Any = key.fileobj
                    if not self._take(sock, key.data, take):
                        selector.unregister(sock)
                        sock.close()

    def _ask(self, model: str) -> socket.socket:
        sock = socket.create_connection(self._address)
        body = json.dumps({"model": model, "messages": MESSAGES, "stream": True})
        sock.sendall(
            f"POST {self._path} HTTP/1.1\r\nHost: {self._host}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()
        )
        sock.setblocking(False)
        return sock

    def _take(self, sock: socket.socket, state: list[Any], take: TakeOf) -> bool:
        """Take what has arrived; False if that was the end."""
        number, rest = state
        received = sock.recv(65536)
        *lines, state[1] = (rest + received).split(b"\n")
        for line in lines:  # those of the chunks' sizes are none of the events'
            if line.startswith(b"data: "):
                if line == b"data: [DONE]":
                    return False
                take(number, json.loads(line[6:]))
        return bool(received)

    @staticmethod
    def text(event: Any) -> str:
        return SSEClient.text(event)


class LoopAndQueue(Loop):
    """The loop hands over to another thread."""

    title = "a bare epoll loop and a queue"

    def read_many(self, model: str, streams: int, take: TakeOf) -> None:
        shared: queue.SimpleQueue[Any] = queue.SimpleQueue()

        def read() -> None:
            super(LoopAndQueue, self).read_many(
                model, streams, lambda number, event: shared.put((number, event))
            )
            shared.put(None)

        thread = threading.Thread(target=read)
        thread.start()
        while (item := shared.get()) is not None:
            take(*item)
        thread.join()
