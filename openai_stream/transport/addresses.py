"""Connecting: the addresses of a name, tried side by side, within one limit."""

from __future__ import annotations

import errno
import itertools
import os
import selectors
import socket
from functools import partial
from typing import Any

from urllib3.util import connection as families

from .call import NetworkCall
from .origin import Interrupted, by_handler
from .sockets import shut_all

__all__ = ["connect"]

_NEXT_ADDRESS = 0.25  # seconds that an address gets before the next one is tried beside it


def connect(
    call: NetworkCall,
    host: str,
    port: int,
    options: Any,
    source_address: tuple[str, int] | None,
) -> socket.socket:
    """``socket.create_connection``, with one limit for all addresses, and stoppable.

    While an address does not answer, the next one is tried beside it; the first that answers is
    taken (RFC 8305, section 5). So neither a route that swallows everything nor one that is slow
    costs more than a moment.

    :raises OSError: no address took the connection; of several errors, the last.
    """
    try:
        waiting = _by_turns(
            # Looked up here too: programs that want IPv4 alone put theirs in the place of it.
            socket.getaddrinfo(
                host.strip("[]"), port, families.allowed_gai_family(), socket.SOCK_STREAM
            )
        )
    except TimeoutError as error:  # a resolver has errors of its own
        raise Interrupted(error) from None
    failure = OSError("the name has no address")
    # Sockets are only added: ``abort`` may be looking at them. They are closed after it cannot.
    racing: list[socket.socket] = []
    pending = 0
    chosen: socket.socket | None = None
    call.enter_shut(partial(shut_all, racing))
    try:
        # Looked up here: gevent and eventlet put theirs in the place of it.
        with selectors.DefaultSelector() as selector:
            while chosen is None and (waiting or pending):
                if waiting:
                    try:
                        started = _start(waiting.pop(0), racing, options, source_address)
                    except OSError as error:
                        if by_handler(error):
                            raise Interrupted(error) from None
                        failure = error
                        continue
                    selector.register(started, selectors.EVENT_WRITE)
                    pending += 1
                # A stop that came before the socket had begun to connect has not woken it.
                left = call.seconds_to_connect()
                turn = min(_NEXT_ADDRESS, left / (1 + len(waiting)))
                try:
                    ready = selector.select(turn)
                except OSError as error:  # it has no time-out, and no network to fail
                    raise Interrupted(error) from None
                for key, _ in ready:
                    sock: Any = key.fileobj
                    number = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                    if not number:
                        chosen = sock
                        break
                    failure = OSError(number, os.strerror(number))
                    selector.unregister(sock)
                    pending -= 1
        if chosen is None:
            call.check()
            raise failure
        call.enter(chosen)
        racing.remove(chosen)
        chosen.settimeout(call.seconds_to_connect())
        return chosen
    except BaseException:
        call.leave()
        if chosen is not None:
            chosen.close()
        raise
    finally:
        for sock in racing:
            sock.close()


def _by_turns(found: list[Any]) -> list[Any]:
    """The addresses, those of the two families by turns (RFC 8305, section 4)."""
    first = [address for address in found if address[0] == found[0][0]]
    others = [address for address in found if address[0] != found[0][0]]
    turns = itertools.zip_longest(first, others)
    return [address for turn in turns for address in turn if address is not None]


def _start(
    address: Any, racing: list[socket.socket], options: Any, source: tuple[str, int] | None
) -> socket.socket:
    """Begin to connect a socket, which is added to ``racing``.

    :raises OSError: the address cannot be reached.
    """
    family, kind, protocol, _, target = address
    sock = socket.socket(family, kind, protocol)
    racing.append(sock)
    for option in options or ():
        sock.setsockopt(*option)
    if source:
        sock.bind(source)
    sock.setblocking(False)
    number = sock.connect_ex(target)
    if number not in (0, errno.EINPROGRESS, errno.EWOULDBLOCK, errno.EINTR):
        raise OSError(number, os.strerror(number))
    return sock
