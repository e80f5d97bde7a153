"""Addresses on loopback where no server answers."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

__all__ = ["blackhole_url", "refused_url"]


@contextmanager
def refused_url() -> Iterator[str]:
    """A base URL on loopback at which every connection is refused.

    .. versionadded:: 0.1
    """
    # Bound and not listening: nobody else can come to listen there in the meantime.
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{bound.getsockname()[1]}/v1"


@contextmanager
def blackhole_url() -> Iterator[str]:
    """A base URL on loopback at which connecting takes for ever: nothing is ever answered.

    .. versionadded:: 0.1
    """
    with ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        address = listener.getsockname()
        # The kernel drops what comes once the queue of connections to accept is full.
        connected = True
        while connected:
            filler = stack.enter_context(socket.socket())
            filler.settimeout(0.1)
            try:
                filler.connect(address)
            except TimeoutError:
                connected = False
        yield f"http://127.0.0.1:{address[1]}/v1"
