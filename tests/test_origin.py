"""Whose an exception is: the network's, or that of code of the user's in the middle of it."""

from __future__ import annotations

import errno
import os
import socket
import ssl
import time

import pytest

from openai_stream import Client
from openai_stream.testing import Hang, ScriptedServer, answer, chat_chunks
from openai_stream.transport.origin import Interrupted, by_handler, is_timeout, of_user

SOON = 10.0  # seconds; what is waited for happens at once
WHOLE = chat_chunks("one two three")


def test_a_time_out_of_the_system_is_a_broken_connection(
    server: ScriptedServer, client: Client
) -> None:
    """As after keep-alives that nobody answered: it has a number, and none of our time passed."""
    server.play(answer([WHOLE[0], Hang()]))
    error = TimeoutError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT))
    early = TimeoutError("timed out")
    users = TimeoutError("as gevent.Timeout raises it for its user")
    assert not is_timeout(error)
    events = client.create_chat_completion(model="any", messages=[], stream=True)
    events.get(timeout=SOON)
    call = events.stream._core.call
    for one in (error, early):
        with pytest.raises(TimeoutError) as caught:
            call.failed(one, time.monotonic())
        assert caught.value is one
        assert call.expired is None
    with pytest.raises(Interrupted) as interrupted:
        call.failed(users, time.monotonic())
    assert interrupted.value.error is users
    events.close()


def test_what_sockets_raise_when_time_is_up() -> None:
    here, there = socket.socketpair()
    with here, there:
        here.settimeout(0.01)
        with pytest.raises(TimeoutError) as plain:
            here.recv(1)
        with pytest.raises(TimeoutError) as tls:
            ssl.create_default_context().wrap_socket(here, server_hostname="localhost")
    for caught in (plain, tls):
        assert is_timeout(caught.value)
        assert not by_handler(caught.value)
        assert of_user(caught.value) is None
