"""The network side of one call: a socket that can be stopped and timed from outside.

Why the sockets are ours: a ``requests`` timeout starts anew with each byte, so a server that
trickles evades it, and nothing in ``requests`` wakes a thread that waits for a handshake or for
headers. Here each wait of a connection goes through its call, which knows how long it may last, and
the call knows the socket, which ``shutdown()`` wakes within a millisecond. What the bytes mean is
left to others.

The modules, each of which imports only from those above it:

=============== ==================================================================================
``deadlines``   the limits of a call: how long the next wait may be, which one has passed
``tap``         what looks at the bytes of an attempt
``origin``      whether the network raised an exception, or code of the user's
``causes``      what the exceptions of ``requests``, ``urllib3`` and SOCKS mean
``sockets``     what is set on each socket, and how one is shut from another thread
``call``        the call over all its attempts; any thread may abort it
``turns``       a socket that is never waited for, but watched by who watches many
``current``     which call is being sent on this thread
``wire``        a socket's receiving side, where each wait passes the deadlines
``chunks``      bytes in, data out: chunked bodies, and where a chunk's size is read
``framing``     the same for bodies of a length, and for those that the connection's end ends
``decoding``    compressed bytes in, content out, and whether it was cut
``content``     the two together: what arrives behind the headers, into the bytes of an answer
``head``        what ``http.client`` gets to read of a response's head
``response``    a response of ``http.client``'s that reads through the wire
``addresses``   the addresses of a name, tried side by side
``connection``  connections of ``urllib3`` that a call times and stops, and their pools
``session``     a ``requests`` session whose connections are such
``sources``     where a body's bytes come from: a wire, ``urllib3``, or anything that iterates
``body``        a response as a source of bytes: what has arrived, now
``given``       the wait for the headers on a connection that is not ours
``sending``     an attempt's request, sent through a session of ours or of the user's
=============== ==================================================================================

``chunks``, ``framing``, ``decoding`` and ``content`` do no I/O. They are fed, and give what became
whole, to whoever has the socket: the thread of a stream, an event loop, a test, the fuzzer.
"""

from __future__ import annotations

from .body import Body, can_take_turns, settle
from .call import Aborted, NetworkCall
from .causes import LEAKING, Cause, cause_of, drop_tracebacks, reason
from .deadlines import Deadline, Expired
from .decoding import check_codings
from .origin import Interrupted, of_user
from .sending import send
from .session import Session, leave_alone, proxies_of, proxy_of
from .sockets import close_half_made
from .tap import End, Tap
from .turns import Turns

__all__ = [
    "LEAKING",
    "Aborted",
    "Body",
    "Cause",
    "Deadline",
    "End",
    "Expired",
    "Interrupted",
    "NetworkCall",
    "Session",
    "Tap",
    "Turns",
    "can_take_turns",
    "cause_of",
    "check_codings",
    "close_half_made",
    "drop_tracebacks",
    "leave_alone",
    "of_user",
    "proxies_of",
    "proxy_of",
    "reason",
    "send",
    "settle",
]
