"""What looks at the bytes of an attempt: a recorder, say."""

from __future__ import annotations

from typing import Literal, Protocol

__all__ = ["End", "Tap"]

#: How an attempt ended on the wire: the server closed the connection, it broke, the answer was
#: whole and the connection stays open, a deadline was over, or we closed it.
End = Literal["eof", "reset", "open", "timeout", "closed"]


class Tap(Protocol):
    """What looks at an attempt's bytes; called on the working thread. It must not raise."""

    def sent(self) -> None:
        """The request has been sent."""

    def received(self, data: bytes) -> None:
        """Bytes of the response, as they came over the wire, after TLS."""

    def ended(self, how: End) -> None:
        """It is over. What is told first is what counts."""
