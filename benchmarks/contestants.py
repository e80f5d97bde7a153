"""The ways to read a stream: ours, and what a user would pick instead, each at its best.

Each imports its library when it is made, in a process of its own. What "at its best" means is said
where it is not the plainest use: nobody is measured in a way that its users are warned of.
"""

from __future__ import annotations

import json
import os
import queue
import re
import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any
from urllib.parse import urlsplit

from .events import END, chunk

Take = Callable[[Any], object]

MESSAGES = [{"role": "user", "content": "Why is the sea salty?"}]


class Contestant:
    """A way to read streams. One object is one client: it keeps its connections.

    :param base_url: the server's.
    """

    #: What the tables call it.
    title: str
    #: The extra of ``setup.cfg`` that it needs an environment of its own for.
    extra: str | None = None

    def __init__(self, base_url: str) -> None:
        raise NotImplementedError

    def events(self, model: str) -> Iterable[Any]:
        """The events of one answer, as its user loops over them."""
        raise NotImplementedError

    def read(self, model: str, take: Take) -> None:
        """Give each event of one answer to a function, on a thread of the contestant's choice."""
        for event in self.events(model):
            take(event)

    def drain(self, model: str) -> None:
        """Read one answer to its end, at the least cost."""
        for _ in self.events(model):
            pass

    def read_many(self, model: str, streams: int, take: Callable[[int, Any], object]) -> None:
        """Read as many answers at once, a thread each, to their ends.

        :param take: called with the number of the stream and the event.
        """

        def read(number: int) -> None:
            self.read(model, lambda event: take(number, event))

        threads = [threading.Thread(target=read, args=(n,)) for n in range(streams)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def start(self, model: str) -> tuple[Iterable[Any], Callable[[], object]]:
        """A stream, and what its Stop button would call, on another thread than the consumer's."""
        raise NotImplementedError

    @staticmethod
    def text(event: Any) -> str:
        """The text of an event; empty where it is none of the server's."""
        choices = event.choices
        return choices[0].delta.content or "" if choices else ""


class Ours(Contestant):
    title = "openai-stream, queue"

    #: How many threads read all streams together.
    readers: int | None = None

    def __init__(self, base_url: str) -> None:
        import openai_stream  # noqa: PLC0415

        self._done = openai_stream.DONE
        client = openai_stream.Client(api_key="none", base_url=base_url, readers=self.readers)
        self._create: Any = client.create_chat_completion

    def events(self, model: str) -> Iterator[Any]:
        events = self._create(model=model, messages=MESSAGES, stream=True)
        done = self._done
        while (event := events.get()) is not done:
            yield event

    def drain(self, model: str) -> None:
        events = self._create(model=model, messages=MESSAGES, stream=True)
        done = self._done
        while events.get() is not done:
            pass

    def start(self, model: str, maxsize: int = 0) -> tuple[Iterable[Any], Callable[[], object]]:
        events = self._create(model=model, messages=MESSAGES, stream=True, maxsize=maxsize)
        return events, events.close


class OursWithResult(Ours):
    title = "openai-stream, queue and result()"

    def drain(self, model: str) -> None:
        events = self._create(model=model, messages=MESSAGES, stream=True)
        done = self._done
        while events.get() is not done:
            pass
        events.stream.result()


class OursIterated(Ours):
    title = "openai-stream, iteration"

    def events(self, model: str) -> Iterator[Any]:
        return iter(self._create(model=model, messages=MESSAGES, stream=True))

    drain = Contestant.drain


class OursCalledBack(Ours):
    title = "openai-stream, callback"

    def read(self, model: str, take: Take) -> None:
        stream = self._create(model=model, messages=MESSAGES, stream=True, on_next=take)
        if error := stream.exception():
            raise error

    def drain(self, model: str) -> None:
        self.read(model, lambda event: None)

    def read_many(self, model: str, streams: int, take: Callable[[int, Any], object]) -> None:
        handles = [
            self._create(
                model=model,
                messages=MESSAGES,
                stream=True,
                nowait=True,
                on_next=lambda event, n=n: take(n, event),
            )
            for n in range(streams)
        ]
        for handle in handles:
            handle.result()


class OursSharedQueue(Ours):
    title = "openai-stream, one queue for all"

    def begin_many(self, models: Iterable[str], shared: queue.SimpleQueue[Any]) -> list[Any]:
        """Begin a stream of each, all of them into one queue, tagged with its number.

        :returns: their handles.
        """
        return [
            self._create(
                model=model, messages=MESSAGES, stream=True, nowait=True, queue=shared, tag=n
            )
            for n, model in enumerate(models)
        ]

    def read_many(self, model: str, streams: int, take: Callable[[int, Any], object]) -> None:
        shared: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self.begin_many([model] * streams, shared)
        running = streams
        while running:
            tagged = shared.get()
            if tagged.item is self._done:
                running -= 1
            elif isinstance(tagged.item, Exception):
                raise tagged.item
            else:
                take(tagged.tag, tagged.item)


class OpenAI(Contestant):
    title = "openai"

    def __init__(self, base_url: str) -> None:
        import openai  # noqa: PLC0415

        self._completions: Any = openai.OpenAI(api_key="none", base_url=base_url).chat.completions

    def events(self, model: str) -> Iterable[Any]:
        chunks: Iterable[Any] = self._completions.create(
            model=model, messages=MESSAGES, stream=True
        )
        return chunks

    def start(self, model: str) -> tuple[Iterable[Any], Callable[[], object]]:
        stream = self._completions.create(model=model, messages=MESSAGES, stream=True)
        return stream, stream.close


class OpenAIWithFinal(OpenAI):
    title = "openai .stream() and its final completion"

    def drain(self, model: str) -> None:
        with self._completions.stream(model=model, messages=MESSAGES) as stream:
            for _ in stream:
                pass
            stream.get_final_completion()


class LiteLLM(Contestant):
    """It wants another ``openai`` than the newest: an environment of its own."""

    title = "litellm"
    extra = "bench-litellm"

    def __init__(self, base_url: str) -> None:
        # Otherwise it fetches a list of prices, which is no part of reading a stream.
        os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
        import litellm  # noqa: PLC0415

        litellm.suppress_debug_info = True
        self._litellm: Any = litellm
        self._base_url = base_url

    def events(self, model: str) -> Iterable[Any]:
        chunks: Iterable[Any] = self._litellm.completion(
            model=f"openai/{model}",
            api_base=self._base_url,
            api_key="none",
            messages=MESSAGES,
            stream=True,
        )
        return chunks


class LiteLLMWithFinal(LiteLLM):
    title = "litellm and its stream_chunk_builder()"

    def drain(self, model: str) -> None:
        chunks = list(self.events(model))
        self._litellm.stream_chunk_builder(chunks, messages=MESSAGES)


class _Plain(Contestant):
    """Plain dicts."""

    @staticmethod
    def text(event: Any) -> str:
        choices = event["choices"]
        return choices[0]["delta"].get("content") or "" if choices else ""


class HttpxSSE(_Plain):
    title = "httpx-sse + json"

    def __init__(self, base_url: str) -> None:
        import httpx  # noqa: PLC0415
        import httpx_sse  # noqa: PLC0415

        self._connect = httpx_sse.connect_sse
        self._client = httpx.Client()
        self._url = f"{base_url}/chat/completions"

    def events(self, model: str) -> Iterator[Any]:
        body = {"model": model, "messages": MESSAGES, "stream": True}
        with self._connect(self._client, "POST", self._url, json=body) as source:
            for event in source.iter_sse():
                if event.data == "[DONE]":
                    break
                yield json.loads(event.data)


class _Requests(_Plain):
    def __init__(self, base_url: str) -> None:
        import requests  # noqa: PLC0415

        self._session = requests.Session()
        self._url = f"{base_url}/chat/completions"

    def _post(self, model: str) -> Any:
        body = {"model": model, "messages": MESSAGES, "stream": True}
        response = self._session.post(self._url, json=body, stream=True)
        response.raise_for_status()
        return response


class SSEClient(_Requests):
    """``raw.stream(65536)`` gives each chunk as it comes.

    ``SSEClient(response)``, its documented use, reads 128 bytes at a time: slower, and it holds
    the end of an event back until more bytes come.
    """

    title = "requests + sseclient + json"

    def __init__(self, base_url: str) -> None:
        super().__init__(base_url)
        import sseclient  # noqa: PLC0415

        self._parse = sseclient.SSEClient

    def events(self, model: str) -> Iterator[Any]:
        response = self._post(model)
        for event in self._parse(response.raw.stream(65536)).events():
            if event.data == "[DONE]":
                break
            yield json.loads(event.data)


class IterLines(_Requests):
    """``chunk_size=None`` gives each chunk as it comes; the default waits for 512 bytes."""

    title = "requests + iter_lines + json"

    def events(self, model: str) -> Iterator[Any]:
        for line in self._post(model).iter_lines(chunk_size=None):
            if line.startswith(b"data: "):
                data = line[6:]
                if data == b"[DONE]":
                    break
                yield json.loads(data)


class ThreadAndQueue(SSEClient):
    """The thread and the queue that people write around :class:`SSEClient`, errors left out."""

    title = "requests + sseclient + json, a thread and a queue"

    def events(self, model: str) -> Iterator[Any]:
        events, _ = self.start(model)
        yield from events

    def start(self, model: str) -> tuple[Iterable[Any], Callable[[], object]]:
        events: queue.Queue[Any] = queue.Queue()
        response = self._post(model)
        stopped = False

        def read() -> None:
            try:
                for event in self._parse(response.raw.stream(65536)).events():
                    if stopped or event.data == "[DONE]":
                        break
                    events.put(json.loads(event.data))
            finally:
                events.put(None)

        def stop() -> None:
            nonlocal stopped
            stopped = True
            response.close()

        threading.Thread(target=read).start()
        return iter(events.get, None), stop


class KeptSSEClient(SSEClient):
    """It reads on behind ``[DONE]``, to the end of the body: only then is the connection kept."""

    title = "requests + sseclient + json, connection kept"

    def events(self, model: str) -> Iterator[Any]:
        response = self._post(model)
        for event in self._parse(response.raw.stream(65536)).events():
            if event.data != "[DONE]":
                yield json.loads(event.data)


class KeptThreadAndQueue(KeptSSEClient):
    title = "requests + sseclient + json, a thread and a queue, connection kept"

    def events(self, model: str) -> Iterator[Any]:
        events: queue.Queue[Any] = queue.Queue()
        response = self._post(model)

        def read() -> None:
            try:
                for event in self._parse(response.raw.stream(65536)).events():
                    if event.data != "[DONE]":
                        events.put(json.loads(event.data))
            finally:
                events.put(None)

        threading.Thread(target=read).start()
        yield from iter(events.get, None)


class BareSocket(Contestant):
    """``recv`` and nothing else: the bytes of each event, for an event a chunk and a pace."""

    title = "bare blocking socket"

    def __init__(self, base_url: str) -> None:
        url = urlsplit(base_url)
        self._path = f"{url.path}/chat/completions"
        self._host = url.netloc
        self._sock = socket.create_connection((url.hostname or "", url.port or 80))
        self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def events(self, model: str) -> Iterator[Any]:
        body = json.dumps({"model": model, "messages": MESSAGES, "stream": True})
        self._sock.sendall(
            f"POST {self._path} HTTP/1.1\r\nHost: {self._host}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()
        )
        end = chunk(b"data: [DONE]\n\n") + END
        ended = False
        while not ended:
            received = self._sock.recv(65536)
            ended = received.endswith(end)
            # Where the machine stalled, several have come at once.
            if received != end:
                yield received

    @staticmethod
    def text(event: Any) -> str:
        found = re.search(rb'"content":"([^"]+)"', event)
        return found[1].decode() if found else ""


#: Those whose events are timed one by one.
ONE_BY_ONE = (
    "BareSocket",
    "Ours",
    "OursCalledBack",
    "SSEClient",
    "ThreadAndQueue",
    "OpenAI",
    "HttpxSSE",
    "LiteLLM",
)
