"""What is set on each socket, and how one is shut from another thread."""

from __future__ import annotations

import _socket
import contextlib
import socket
import ssl
from traceback import walk_tb
from typing import Any

import urllib3.connection

__all__ = ["BLOCK", "close_half_made", "shut", "shut_all", "socket_options"]

BLOCK = 65536  # bytes asked for at once: what the kernel holds mostly fits

_KEEP_ALIVE = 45  # seconds of silence before the kernel asks whether the other side is there


def shut(sock: Any) -> None:
    """``shutdown`` of the descriptor, whatever the socket is.

    A TLS socket's own drops the TLS object on the way, and the reader, once awake, would take
    ciphertext for text. gevent's and eventlet's sockets are of classes of their own, which may have
    come after this module.
    """
    if isinstance(sock, _socket.socket):
        _socket.socket.shutdown(sock, socket.SHUT_RDWR)
        return
    plain = _socket.socket(fileno=sock.fileno())
    try:
        plain.shutdown(socket.SHUT_RDWR)
    finally:
        plain.detach()


def shut_all(socks: list[socket.socket]) -> None:
    for sock in socks:
        with contextlib.suppress(OSError, ValueError):  # one that has failed already
            shut(sock)


def close_half_made(error: BaseException) -> None:
    """Close the socket that ``ssl`` began to make when it raised.

    If the other end is gone before the handshake, some Pythons raise out of a socket that nobody
    has yet, and that has taken the descriptor over.
    """
    for frame, _ in walk_tb(error.__traceback__):
        if frame.f_globals is vars(ssl):  # to look at the locals of others would keep them alive
            made = frame.f_locals.get("self")
            if isinstance(made, ssl.SSLSocket):
                made.close()


def socket_options() -> list[tuple[int, int, int]]:
    """What is set on each socket of ours.

    A model may think for minutes without a byte on the wire, and address translators and firewalls
    forget a connection that is silent: AWS after 350 s, Azure after 240 s, many routers after 60 s.
    """
    options = [*urllib3.connection.HTTPConnection.default_socket_options]
    options.append((socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1))
    for name, value in (
        ("TCP_KEEPIDLE", _KEEP_ALIVE),
        ("TCP_KEEPALIVE", _KEEP_ALIVE),  # the same on macOS
        ("TCP_KEEPINTVL", _KEEP_ALIVE),
    ):
        if hasattr(socket, name):
            options.append((socket.IPPROTO_TCP, getattr(socket, name), value))
    return options
