"""CPU per event of one stream on loopback: ours, ``openai``, and a loop by hand.

``python -m benchmarks.cpu_per_event [events a chunk]``, in an environment with ``openai``. A server
in a process of its own sends the same answer to everybody; each way of reading it runs in a process
of its own, in turn, several passes, of which the best counts. Only the ratios mean anything: the
machines are noisy. The chunks differ as OpenAI's do, each with its own ``obfuscation``: equal ones
would reward caches that users never see.
"""

from __future__ import annotations

import json
import random
import socket
import string
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

EVENTS = 5000
PASSES = 6  # in each process
ROUNDS = 3  # of processes


def chunks(events_per_chunk: int) -> list[bytes]:
    """The answer as HTTP chunks."""
    source = random.Random(1)  # noqa: S311
    frames = []
    for n in range(EVENTS):
        last = n == EVENTS - 1
        event = {
            "id": "chatcmpl-CkT2hYq6m1d4fZ",
            "object": "chat.completion.chunk",
            "created": 1700000000,
            "model": "gpt-4o-mini-2024-07-18",
            "service_tier": "default",
            "system_fingerprint": "fp_44709d6fcb",
            "choices": [
                {
                    "index": 0,
                    "delta": {} if last else {"content": f" token{source.randrange(100)}"},
                    "logprobs": None,
                    "finish_reason": "stop" if last else None,
                }
            ],
            "usage": None,
            "obfuscation": "".join(source.choices(string.ascii_letters, k=source.randint(1, 16))),
        }
        frames.append(b"data: %b\n\n" % json.dumps(event, separators=(",", ":")).encode())
    frames.append(b"data: [DONE]\n\n")
    bodies = [
        b"".join(frames[i : i + events_per_chunk]) for i in range(0, len(frames), events_per_chunk)
    ]
    return [b"%x\r\n%b\r\n" % (len(body), body) for body in bodies] + [b"0\r\n\r\n"]


def serve(events_per_chunk: int) -> None:
    """Answer every request on every connection, one ``sendall`` a chunk, until killed."""
    answer = chunks(events_per_chunk)
    head = (
        b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
    )

    def talk(connection: socket.socket) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with connection, connection.makefile("rb") as requests:
            while requests.readline():
                size = 0
                while (line := requests.readline()) != b"\r\n":
                    name, _, value = line.partition(b":")
                    size = int(value) if name.lower() == b"content-length" else size
                requests.read(size)
                connection.sendall(head)
                for chunk in answer:
                    connection.sendall(chunk)

    listener = socket.create_server(("127.0.0.1", 0))
    print(listener.getsockname()[1], flush=True)
    while True:
        threading.Thread(target=talk, args=(listener.accept()[0],), daemon=True).start()


def ours(url: str, *, callback: bool = False, final: bool = False) -> Callable[[], object]:
    from openai_stream import DONE, Client  # noqa: PLC0415 - each process imports its own peer

    client = Client(api_key="none", base_url=url)

    def read() -> None:
        if callback:
            stream = client.create_chat_completion(
                model="m", messages=[], stream=True, on_next=lambda event: None
            )
            stream.exception()
        else:
            events = client.create_chat_completion(model="m", messages=[], stream=True)
            while events.get() is not DONE:
                pass
            stream = events.stream
        if final:
            stream.result()

    return read


def openai(url: str) -> Callable[[], object]:
    from openai import OpenAI  # noqa: PLC0415

    client = OpenAI(api_key="none", base_url=url)

    def read() -> None:
        for _ in client.chat.completions.create(model="m", messages=[], stream=True):
            pass

    return read


def by_hand(url: str) -> Callable[[], object]:
    """``requests``, ``sseclient`` and ``json.loads``, no thread: plain dicts, nothing checked."""
    import requests  # noqa: PLC0415
    import sseclient  # noqa: PLC0415

    session = requests.Session()

    def read() -> None:
        response = session.post(f"{url}/chat/completions", json={}, stream=True)
        for event in sseclient.SSEClient(response.raw.stream(65536)).events():
            if event.data == "[DONE]":
                break
            json.loads(event.data)

    return read


WAYS: dict[str, Callable[[str], Callable[[], object]]] = {
    "openai": openai,
    "requests + sseclient by hand": by_hand,
    "openai-stream, queue": ours,
    "openai-stream, queue and result()": lambda url: ours(url, final=True),
    "openai-stream, callback": lambda url: ours(url, callback=True),
}


def measure(way: str, url: str) -> None:
    """In a process of its own: the CPU of the best pass, in microseconds an event."""
    read = WAYS[way](url)
    read()
    best = float("inf")
    for _ in range(PASSES):
        start = time.process_time()
        read()
        best = min(best, time.process_time() - start)
    print(best / EVENTS * 1e6)


@contextmanager
def server(events_per_chunk: int) -> Iterator[str]:
    with subprocess.Popen(  # noqa: S603
        [sys.executable, "-m", __spec__.name, "serve", str(events_per_chunk)],
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        try:
            yield f"http://127.0.0.1:{int(process.stdout.readline())}/v1"
        finally:
            process.kill()


def main(events_per_chunk: int) -> None:
    best = dict.fromkeys(WAYS, float("inf"))
    with server(events_per_chunk) as url:
        for _ in range(ROUNDS):
            for way in WAYS:
                command = [sys.executable, "-m", __spec__.name, "measure", way, url]
                told = subprocess.run(  # noqa: S603
                    command, stdout=subprocess.PIPE, text=True, check=True
                )
                best[way] = min(best[way], float(told.stdout))
    print(f"{events_per_chunk} events a chunk, {EVENTS} events, Python {sys.version.split()[0]}")
    for way, cost in best.items():
        print(f"{way:36} {cost:7.2f} us an event   {best['openai'] / cost:5.1f} x less than openai")


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["serve", number]:
            serve(int(number))
        case ["measure", way, url]:
            measure(way, url)
        case [number]:
            main(int(number))
        case _:
            main(1)
            main(20)
