"""Responses behind real web servers: whoever leaves, and whatever is not read, ends the stream."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest
from pages import messages

import openai_stream
from openai_stream.testing import Hang, ScriptedServer, answer, chat_chunks

WAIT = 30.0
CHUNKS = chat_chunks("one two")

#: It looks for its visitors more often than every 15 seconds.
APPLICATION = """
import os

from flask import Flask, Response

import openai_stream.web.events
import openai_stream.web.ui
from openai_stream import Client
from openai_stream.web import *

openai_stream.web.events.SILENCE = openai_stream.web.ui.SILENCE = 0.1
client = Client(api_key="none", base_url=os.environ["MODELS"])
held = []


application = Flask(__name__)


@application.get("/<path>")
def answer(path):
    events = client.create_chat_completion(model="m", messages=[], stream=True)
    held.append(events.stream)  # as a site with a Stop button does
    if path == "ui":
        return Response(ui_messages(events), headers=UI_MESSAGES_HEADERS)
    return Response(event_stream(events), headers=EVENT_STREAM_HEADERS)
"""

Serve = Callable[[str], tuple[str, int]]


@pytest.fixture
def serve(server: ScriptedServer, tmp_path: Path) -> Iterator[Serve]:
    """Starts gunicorn with a kind of worker, and gives its address."""
    (tmp_path / "site_of_test.py").write_text(APPLICATION)
    with ExitStack() as stack:

        def start(kind: str) -> tuple[str, int]:
            taken = socket.create_server(("127.0.0.1", 0))
            stack.enter_context(closing(taken))
            process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "gunicorn", "site_of_test:application"),
                    *("--bind", f"fd://{taken.fileno()}", "--worker-class", kind),
                    *("--workers", "1", "--threads", "4" if kind == "gthread" else "1"),
                    *("--graceful-timeout", "1", "--log-level", "warning"),
                ],
                cwd=tmp_path,
                env={
                    "MODELS": server.base_url,
                    "PYTHONPATH": str(Path(openai_stream.__file__).parents[1]),
                    "PATH": "/usr/bin:/bin",
                },
                pass_fds=[taken.fileno()],
                stderr=subprocess.PIPE,
                text=True,
            )
            stack.enter_context(process)
            stack.callback(process.terminate)
            return taken.getsockname()  # type: ignore[no-any-return]

        yield start


def ask(address: tuple[str, int], method: str, path: str) -> socket.socket:
    """A visitor, who has asked."""
    visitor = socket.create_connection(address, timeout=WAIT)
    visitor.sendall(f"{method} {path} HTTP/1.1\r\nHost: a.test\r\n\r\n".encode())
    return visitor


def read_until(visitor: socket.socket, wanted: bytes) -> bytes:
    got = b""
    while wanted not in got:
        block = visitor.recv(65536)
        assert block, got
        got += block
    return got


@pytest.mark.limit(120)
@pytest.mark.parametrize("kind", ["sync", "gthread", "gevent"])
def test_the_model_is_told_when_nobody_reads(
    server: ScriptedServer, serve: Serve, kind: str
) -> None:
    server.always(answer([*CHUNKS[:2], Hang()]))
    address = serve(kind)
    for number, path in enumerate(("/events", "/ui")):
        with ask(address, "GET", path) as visitor:
            head = read_until(visitor, b'"one"')
            assert b"text/event-stream" in head
            assert b"X-Accel-Buffering: no" in head
        connection = server.wait_for_connections(number + 1)[number]
        assert connection.client_closed.wait(WAIT), f"{path}: the stream outlives its visitor"


@pytest.mark.limit(120)
def test_head_leaves_no_stream(server: ScriptedServer, serve: Serve) -> None:
    server.always(answer([*CHUNKS[:2], Hang()]))
    with ask(serve("gthread"), "HEAD", "/events") as visitor:
        read_until(visitor, b"\r\n\r\n")
        assert server.wait_for_connections(1)[0].client_closed.wait(WAIT)


@pytest.mark.limit(120)
def test_events_arrive_one_by_one(server: ScriptedServer, serve: Serve) -> None:
    server.always(answer([*CHUNKS[:2], Hang()]))
    with ask(serve("gthread"), "GET", "/events") as visitor:
        got = read_until(visitor, b'"one"')
        blocks = [line for line in got.split(b"\r\n") if line.startswith(b"id: ")]
        assert [number for number, _ in messages(b"".join(blocks))] == ["1", "2"]
        before = time.monotonic()
        read_until(visitor, b": keep-alive")
        assert time.monotonic() - before < WAIT
