"""The limits of a call, kept: how long the next wait may last, and which limit ended it.

Numbers and a clock: no socket, no thread, nothing waits here. :class:`~.call.NetworkCall` sets what
this says on its sockets; an event loop would put it into its heap.

What runs when: ``connect`` from :meth:`Deadlines.begin_connecting` to
:meth:`Deadlines.connected`; ``idle`` in each wait by itself; ``gap`` in all waits since the last
event together, :attr:`Deadlines.waited`, which :meth:`Deadlines.restart_gap` sets to 0; ``first``
from the beginning of an attempt, and ``content`` from the last event that carried content, in all
that was not a consumer's time; ``total`` from the beginning to the end.
"""

from __future__ import annotations

import math
from time import monotonic
from typing import Literal, NoReturn

import attrs

from openai_stream.timeouts import Timeout

__all__ = ["EARLY", "NO_TLS", "Deadline", "Deadlines", "Expired"]

#: Which of the limits of :class:`~openai_stream.Timeout` was reached.
Deadline = Literal["connect", "idle", "gap", "total", "first", "content"]

#: What to do about a server that does not answer TLS as one does that speaks it.
NO_TLS = "does the server speak https? Perhaps its URL begins with http://."

#: Seconds by which the system's clock may seem to be early.
EARLY = 0.05

_NEVER = 10_000_000.0  # seconds that a wait may last at most; the C library takes no infinity


class Expired(TimeoutError):
    """A deadline of the call has passed; :attr:`Deadlines.expired` says which one."""


class Deadlines:
    """When a call has waited enough. For the thread that works in it.

    :param timeout: the limits, from now.
    :param streaming: whether events will come; without them ``gap`` bounds the wait for the
        headers, and ``idle`` counts only before and after it.
    """

    __slots__ = (
        "_begun",
        "_connect_until",
        "_content",
        "_content_waited",
        "_content_why",
        "_quiet_since",
        "_total_until",
        "_until",
        "_why",
        "connect_seconds",
        "connecting",
        "expired",
        "in_body",
        "in_handshake",
        "last_byte",
        "started",
        "streaming",
        "timeout",
        "waited",
    )

    def __init__(self, timeout: Timeout, *, streaming: bool) -> None:
        self.timeout = timeout
        #: Events will come.
        self.streaming = streaming
        self._why: Deadline | None = None  # the limit that the wait has, of those that it could
        #: A connection of ours is being made.
        self.connecting = False
        self._connect_until = math.inf
        self._until = math.inf
        self._begun = 0.0  # the attempt
        # Seconds that may pass before the next event that carries content, and by which limit; in
        # a body, what has passed of them beside ``waited``.
        self._content: float | None = None
        self._content_why: Deadline = "first"
        self._content_waited = 0.0
        self._quiet_since = 0.0  # when the last bytes came, unless there was an event in them
        #: The deadline that has passed. It is set in this module alone.
        self.expired: Deadline | None = None
        #: A body is being read, so ``idle`` counts without ``streaming`` too.
        self.in_body = False
        #: A server of ours has taken the connection, and its answer to TLS is waited for.
        self.in_handshake = False
        #: Seconds waited for the network since the last event, or the connection.
        self.waited = 0.0
        #: When the last bytes came.
        self.last_byte = 0.0
        #: Seconds that the first attempt took for TCP, proxy and TLS; 0 on a kept connection.
        self.connect_seconds: float | None = None
        self.started = monotonic()
        self._total_until = self.started + (timeout.total or math.inf)

    # -- attempts -----------------------------------------------------------------------------

    def change(self, timeout: Timeout) -> None:
        """Another server is asked from now on, with its own limits.

        ``total`` is one, from the beginning, over all of them: the shortest that there was.
        """
        known = [one for one in (self.timeout.total, timeout.total) if one is not None]
        self.timeout = attrs.evolve(timeout, total=min(known, default=None))
        self._total_until = self.started + (self.timeout.total or math.inf)

    def begin(self) -> None:
        """Start an attempt, in which all but ``total`` begins anew.

        :raises Expired: ``total`` has passed.
        """
        self.check()
        self.expired = None
        self.waited = self._quiet_since = 0.0
        self.in_body = self.connecting = False
        self._until = self._connect_until = math.inf
        self._begun = monotonic()
        self._content = self.timeout.first if self.streaming else None
        self._content_why = "first"

    def check(self) -> None:
        """Raise if nothing more is to be done.

        :raises Expired: ``total`` has passed.
        """
        if self.seconds_of_total() <= 0:
            self.expire("total")

    def limit(self, seconds: float) -> None:
        """Allow what is left of this attempt no more than ``seconds``."""
        self._until = monotonic() + seconds

    def seconds_of_total(self) -> float:
        """Seconds until ``total`` has passed."""
        return min(self._total_until - monotonic(), _NEVER)

    def total_is_up(self) -> bool:
        """Between two events: whether ``total`` has passed. Then :attr:`expired` says so from now
        on, and nothing more is waited for.
        """
        if self.seconds_of_total() > 0:
            return False
        self.expired = "total"
        return True

    def expire(self, deadline: Deadline) -> NoReturn:
        """A deadline has passed.

        :raises Expired: that.
        """
        self.expired = deadline
        raise Expired(f"the {deadline} time is up")

    def expiry(self) -> str:
        """What the deadline that has passed says, and what to do about it."""
        limits = self.timeout
        if self.expired == "connect" and self.in_handshake:
            return (
                f"no connection within {limits.connect} s: connected, but the TLS handshake did "
                f"not end: {NO_TLS} Timeout(connect=…) allows more"
            )
        if self.expired == "connect":
            return (
                f"no connection within {limits.connect} s: is there a proxy in between? "
                "Timeout(connect=…) allows more"
            )
        if self.expired == "gap":
            return f"no event for {limits.gap} s; Timeout(gap=…) allows more"
        if self.expired == "first":
            return (
                f"nothing of the answer within {limits.first} s of asking; Timeout(first=…) allows "
                "more"
            )
        if self.expired == "content":
            return (
                f"nothing more of the answer for {limits.content} s, though it was not at its end; "
                "Timeout(content=…) allows more"
            )
        if self.expired == "total":
            return f"the total time of {limits.total} s has passed"
        return f"no progress for {limits.idle} s; Timeout(idle=…) allows more"

    def forgive(self) -> None:
        """What :attr:`expired` cut short is not missed, and the call goes on."""
        self.expired = None

    # -- connecting ---------------------------------------------------------------------------

    def begin_connecting(self) -> None:
        """A connection of ours is about to be made: ``connect`` counts until :meth:`connected`.

        Connections that are not ours (of a session that was given, through SOCKS) never come here:
        they are made within the time that :meth:`given_limits` states, and only they know when
        they stand.
        """
        self.connecting = True
        self.in_handshake = False
        self._connect_until = monotonic() + (self.timeout.connect or math.inf)

    def seconds_to_connect(self) -> float:
        """Seconds that connecting may still take.

        :raises Expired: none.
        """
        self.check()
        now = monotonic()
        left = min(self._connect_until - now, self._seconds_to_content(now))
        if left <= 0:
            self._expire_connecting(now)
        return min(left, self.seconds_of_total())

    def connecting_may_be_up(self) -> bool:
        """Whether a wait of :meth:`seconds_to_connect` can have timed out."""
        now = monotonic()
        left = min(self._connect_until - now, self._seconds_to_content(now))
        return min(left, self.seconds_of_total()) <= EARLY

    def _expire_connecting(self, now: float) -> NoReturn:
        first = self._seconds_to_content(now) < self._connect_until - now
        self.expire("first" if first else "connect")

    def connecting_timed_out(self) -> NoReturn:
        """A wait of :meth:`seconds_to_connect` timed out: raise accordingly."""
        self.check()
        self._expire_connecting(monotonic())

    def connected(self, seconds: float) -> None:
        """The connection stands, after ``seconds``; from here ``idle`` and ``gap`` count."""
        if self.connect_seconds is None:
            self.connect_seconds = seconds
        self.connecting = False
        self._connect_until = math.inf

    # -- waits --------------------------------------------------------------------------------

    def seconds_to_wait(self, sending: bool = False) -> float:
        """How long a wait that begins now may last; nought or less if no time is left.

        By which of the limits is kept for :meth:`timed_out`.
        """
        limits = self.timeout
        idle, gap, streaming = limits.idle, limits.gap, self.streaming
        progress = streaming or self.in_body or sending
        now = monotonic()
        seconds: float = _NEVER
        why: Deadline = "idle"
        if progress and idle is not None and idle < seconds:
            seconds = idle
        if gap is not None and (streaming or not progress):
            gap -= self.waited
            if gap < seconds:
                seconds, why = gap, "gap"
        # A proxy's answer is read before we are connected.
        until = min(self._until, self._connect_until, self._total_until)
        if until - now < seconds:
            seconds = until - now
            if until == self._until:
                why = "idle"
            else:
                why = "connect" if until == self._connect_until else "total"
        if self._content is not None:
            content = self._seconds_to_content(now)
            if content < seconds:
                seconds, why = content, self._content_why
        self._why = why
        return seconds

    def timed_out(self) -> NoReturn:
        """A wait of :meth:`seconds_to_wait` timed out.

        :raises Expired: for the deadline that was nearest as it began.
        """
        self.expire(self._why or "idle")

    def begin_read(self) -> float:
        """Bytes of the response are about to be waited for; the time, for :meth:`end_read`."""
        now = monotonic()
        if self._quiet_since:
            # What came was not an event either: a flood of it shall not outrun the gap.
            self.waited += now - self._quiet_since
            self._quiet_since = 0.0
        return now

    def end_read(self, since: float) -> None:
        """Bytes have come, or the wait for them ended otherwise.

        :param since: what :meth:`begin_read` returned.
        """
        self.last_byte = self._quiet_since = now = monotonic()
        self.waited += now - since

    def begin_body(self) -> None:
        """The headers are there, and a body is about to be read. What was done with them in
        between, by a hook, say, counts nowhere.
        """
        self.in_body = True
        self._quiet_since = 0.0
        if self._content is not None:
            # The last bytes of a connection that is not ours are not known.
            headers = self.last_byte if self.last_byte > self._begun else monotonic()
            self._content_waited = headers - self._begun - self.waited

    def restart_gap(self) -> None:
        """There was an event in what came: the next wait is the first since then. What the
        consumer has taken its time for does not count.
        """
        self.waited = self._quiet_since = 0.0

    # -- content ------------------------------------------------------------------------------

    @property
    def awaits_content(self) -> bool:
        """There is a limit for the first event that carries content, or for the next one."""
        return self.timeout.first is not None or self.timeout.content is not None

    def content_came(self, complete: bool) -> None:
        """An event that carries content has come since the last wait. Before :meth:`restart_gap`.

        :param complete: and nothing more is to come.
        """
        self._content = None if complete else self.timeout.content
        self._content_why = "content"
        self._content_waited = 0.0

    def no_content_came(self, consumed: float) -> None:
        """Events have come, but none that carries content. Before :meth:`restart_gap`.

        :param consumed: seconds since the last bytes that were the consumer's. The others count: a
            flood of such events leaves nothing to wait for, but shall not outrun the limit.
        """
        self._content_waited += self.waited + monotonic() - self.last_byte - consumed

    def _seconds_to_content(self, now: float) -> float:
        if self._content is None:
            return math.inf
        gone = self._content_waited + self.waited if self.in_body else now - self._begun
        return self._content - gone

    # -- connections that are not ours --------------------------------------------------------

    def given_limits(self) -> tuple[float, float]:
        """Seconds to connect and to wait for the headers, for connections that are not ours.

        ``requests`` takes these two numbers and no others. The first counts for each address of
        the name, each step of a proxy and each piece of the body that is sent; the second anew
        with each byte of the headers. Once these are there, each wait is timed again.
        """
        limits = self.timeout
        total = self.seconds_of_total()
        first = limits.first if self.streaming else None
        connect = min(limits.connect or _NEVER, first or _NEVER, total)
        waits = (limits.idle if self.streaming else None, limits.gap, first, total)
        wait = min(seconds for seconds in waits if seconds is not None)
        return max(connect, 0.001), max(wait, 0.001)

    def seconds_for_headers(self, waited: float) -> tuple[float, Deadline]:
        """Seconds that such a connection may still wait for the headers, whether bytes come or not,
        and by which of the limits.

        :param waited: seconds that it has waited for them already.
        """
        gap = _NEVER if self.timeout.gap is None else self.timeout.gap - waited
        limits: list[tuple[float, Deadline]] = [
            (gap, "gap"),
            (self._seconds_to_content(monotonic()), self._content_why),
            (self.seconds_of_total(), "total"),
        ]
        return min(limits)

    def given_waited_enough(self, deadline: Deadline) -> None:
        """Such a connection is shut, because this deadline has passed."""
        self.expired = deadline

    def given_timed_out(self, connecting: bool) -> None:
        """Such a connection took longer than :meth:`given_limits`: note which deadline is why."""
        if self.seconds_of_total() <= 0:
            self.expired = "total"
        elif connecting:
            first, connect = self.timeout.first, self.timeout.connect or math.inf
            is_first = self.streaming and first is not None and first < connect
            self.expired = "first" if is_first else "connect"
        else:
            self.seconds_to_wait()
            self.expired = self._why
