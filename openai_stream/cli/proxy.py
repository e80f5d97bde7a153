"""A server on this machine that passes on what it is asked, and records what comes back."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from urllib.parse import urlsplit

import click

from openai_stream import Client
from openai_stream.recordings import Recorder
from openai_stream.recordings.upstream import Upstream
from openai_stream.redaction import shown
from openai_stream.testing import ScriptedServer
from openai_stream.testing.passing import passed_on

from .failures import Failure, told
from .files import File, open_stream
from .notes import remark
from .targets import Target

__all__ = ["address_of", "listening", "record_others", "serve_for_ever"]

_FORGET_EVERY = 10.0  # seconds
_HERE = ("127.0.0.1", "localhost", "::1")


def serve_for_ever(server: ScriptedServer) -> None:
    """Go on until Ctrl-C."""
    while True:
        time.sleep(_FORGET_EVERY)
        server.forget()


@contextmanager
def listening(flag: str, port: int) -> Iterator[ScriptedServer]:
    """A server on a port of this machine.

    :param flag: the option that named it.
    """
    try:
        server = ScriptedServer(port=port)
    except OSError as error:
        raise Failure(f"{flag} {port}: {error.strerror or told(error)}") from error
    try:
        yield server
    finally:
        server.close()


def address_of(base_url: str | None, server: ScriptedServer) -> str:
    """The base URL of the server to pass requests on to.

    :param base_url: that of the command line; otherwise the environment's, or OpenAI's.
    :param server: our own, which cannot be meant.
    :raises openai_stream.ConfigurationError: it is not a URL.
    """
    # The key is that of whoever asks.
    with Client("none", Target(base_url).with_address().base_url) as client:
        url = client.base_url
    assert url is not None
    there = urlsplit(url)
    if there.hostname in _HERE and there.port == server.port:
        raise click.UsageError(
            f"{shown(url)} is this server itself: name the one to pass requests on to with "
            "--base-url"
        )
    return url


def record_others(file: File, port: int, base_url: str | None) -> None:
    """Pass on the requests of any program, and record the answers, until Ctrl-C.

    :param file: of the recording.
    """
    with ExitStack() as stack:
        server = stack.enter_context(listening("--proxy", port))
        url = address_of(base_url, server)
        stream = open_stream(file)
        recorder = stack.enter_context(Recorder(str(file.path) if stream is None else stream))
        upstream = Upstream(url, recorder)
        stack.callback(upstream.close)
        stack.callback(server.close)  # before the recording
        server.always(passed_on(upstream))
        # Standard output may be the recording.
        click.echo(f"{server.base_url} passes on to {shown(url)}", err=True)
        try:
            serve_for_ever(server)
        finally:
            server.close()
            count = "1 answer" if upstream.answers == 1 else f"{upstream.answers} answers"
            remark(f"{count} in {recorder.path}")
