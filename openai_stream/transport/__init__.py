"""The network side of one call: a socket that can be stopped and timed from outside.

:class:`Exchange` is the call as the network sees it, over all its attempts: it keeps the deadlines,
and any thread may abort it. :class:`Session` is a ``requests`` session whose connections obey an
exchange. :class:`Body` is a response as a source of bytes: what has arrived, now. What the bytes
mean is left to others.

Why the sockets are ours: a ``requests`` timeout starts anew with each byte, so a server that
trickles evades it, and nothing in ``requests`` wakes a thread that waits for a handshake or for
headers. Here each wait of a connection goes through its exchange, which knows how long it may last,
and the exchange knows the socket, which ``shutdown()`` wakes within a millisecond.
"""

from .body import ASK_AGAIN, Body, settle
from .call import Exchange
from .causes import NO_TLS, Cause, cause_of, drop_tracebacks, reason
from .deadlines import Aborted, Deadline, Expired
from .decoding import codings_of
from .origin import Interrupted, of_user
from .sending import send
from .session import Session, proxy_of
from .tap import End, Tap

__all__ = [
    "ASK_AGAIN",
    "NO_TLS",
    "Aborted",
    "Body",
    "Cause",
    "Deadline",
    "End",
    "Exchange",
    "Expired",
    "Interrupted",
    "Session",
    "Tap",
    "cause_of",
    "codings_of",
    "drop_tracebacks",
    "of_user",
    "proxy_of",
    "reason",
    "send",
    "settle",
]
