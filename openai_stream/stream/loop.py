"""The thread of a crowd: who has a turn, and when.

::

    call() ──► a turn ──► its socket: the selector, until a deadline
      ▲          │  ▲───► room in its queue: until it is called, or a deadline
      │          │  └───► another turn, behind the others
      └──────────┴─────── somebody calls: there is room, it was closed

What a turn does is the member's own business; here is only known what each waits for. Nothing waits
on this thread but the selector.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import selectors
import socket
import threading
from collections import deque
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from time import monotonic
from typing import Any, Protocol

from openai_stream.logged import log_raised
from openai_stream.transport import Turns

from .alarms import Alarm, Alarms
from .exit import Exit
from .reading import Wait

__all__ = ["Loop", "Member", "Seat"]

_numbers = itertools.count(1)

_TOGETHER = 64  # sockets that are read before the first of them has its turn
_LONGEST = 3600.0  # seconds in a selector; systems do not take any number
_FAILURES = 3  # so often a selector may fail before its streams are given threads of their own

_BYTES, _ROOM = Wait.BYTES, Wait.ROOM

Lock = AbstractContextManager[Any]


class Member(Protocol):
    """What has turns in a crowd. All is called on the crowd's thread, but for :meth:`sit`."""

    def sit(self, seat: Seat) -> None:
        """It has a place: from now on :meth:`Seat.call` may be called. By who adds it."""

    def rise(self) -> None:
        """It has none any more: when this has returned nothing calls."""

    def turn(self) -> Wait | None:
        """Do what can be done now. Does not wait, nor raise.

        :returns: what it waits for then; ``None`` if it has ended, or goes on elsewhere.
        """

    def seconds_left(self) -> float:
        """For how long it may wait for room."""

    def fail(self, error: BaseException) -> None:
        """End it: its crowd has a bug."""

    def go_alone(self) -> None:
        """Go on without a crowd."""


class _ForkedError(BaseException):
    """What a member called has forked, and come back in the child: what is watched is the parent's,
    and the copy of this thread ends without touching it.
    """


class Seat:
    """The place of a member in a crowd."""

    __slots__ = ("alarm", "loop", "mask", "member", "number", "queued", "turns")

    def __init__(self, member: Member, loop: Loop) -> None:
        self.member = member
        #: Its thread; ``None`` once it has left.
        self.loop: Loop | None = loop
        #: Its socket, from its first turn on.
        self.turns: Turns | None = None
        #: What it is watched for now, and its descriptor then.
        self.mask = 0
        self.number = -1
        #: It has another turn behind the others.
        self.queued = False
        #: When it has a turn though nothing comes.
        self.alarm: Alarm[Seat] | None = None

    def call(self) -> None:
        """It has a turn soon. From any thread; waits for nothing, and does not raise."""
        loop = self.loop
        if loop is not None:
            loop.call(self)

    def watch(self, turns: Turns) -> None:
        """This is its socket."""
        self.turns = turns
        turns.unwatch = self.unwatch

    def unwatch(self) -> None:
        """Its socket is about to be closed, or somebody else's."""
        if self.loop is not None:
            self.loop.watch(self, 0)

    def leave(self) -> None:
        """It is empty from now on. On the crowd's thread; twice is harmless."""
        loop = self.loop
        if loop is not None:
            try:
                self.member.rise()
            finally:
                try:
                    loop.forget(self)
                finally:
                    self.loop = None


class Loop:
    """One thread of a crowd.

    :param lock: for who joins.
    :param loops: those that run, under that lock.
    :raises OSError: the system has no more descriptors.
    """

    #: What watches the sockets.
    selector = selectors.DefaultSelector

    def __init__(self, lock: Lock, loops: list[Loop]) -> None:
        self._lock = lock
        self._loops = loops
        self._pid = os.getpid()
        self._selector = self.selector()
        self._woken, self._waker = socket.socketpair()
        self._woken.setblocking(False)
        self._waker.setblocking(False)
        self._selector.register(self._woken, selectors.EVENT_READ)
        #: Those that have a place, called ones too.
        self.seats: set[Seat] = set()
        # Those that somebody calls. Whoever appends looks at the flag afterwards; the thread, which
        # clears it before it waits, looks at these afterwards: one of the two sees the other.
        self._called: deque[Seat] = deque()
        self._is_awake = True
        self._again: deque[Seat] = deque()
        self._alarms: Alarms[Seat] = Alarms()
        self._thread: threading.Thread | None = None
        self._failures = 0

    def load(self) -> int:
        """Streams that it has."""
        return len(self.seats)

    # -- any thread ---------------------------------------------------------------------------

    def is_here(self) -> bool:
        """Whether this is its thread."""
        return threading.current_thread() is self._thread

    def start(self) -> bool:
        """Begin, if it has not; with the crowd's lock held.

        :returns: whether it runs.
        """
        if self._thread is not None:
            return True
        self._thread = threading.Thread(
            target=self._run, name=f"openai-stream-readers-{next(_numbers)}", daemon=Exit.daemon
        )
        self._loops.append(self)
        try:
            self._thread.start()
        except BaseException as error:
            # After a Ctrl-C it may be running, or about to: then it waits for this lock.
            self._loops.remove(self)
            self._thread = None
            self._close()
            if isinstance(error, RuntimeError):
                return False
            raise
        return True

    def call(self, seat: Seat) -> None:
        """See :meth:`Seat.call`."""
        self._called.append(seat)
        if not self._is_awake and self._pid == os.getpid():
            # Only the thread says that it is awake: a Ctrl-C may keep the byte from being sent.
            with contextlib.suppress(OSError):  # it is full of calls
                self._waker.send(b"\0")

    # -- the thread ---------------------------------------------------------------------------

    def _run(self) -> None:
        with self._lock:
            if self._thread is not threading.current_thread():
                return  # nobody thinks that it runs
        while True:
            try:
                while self._goes_on():
                    self._round()
                return
            except _ForkedError:
                return
            except BaseException as error:
                self._recover(error)

    def _goes_on(self) -> bool:
        """Whether it has a stream; otherwise nobody can give it one any more."""
        if self.seats:
            return True
        with self._lock:
            # First, for the lock does not keep out a finalizer that begins a stream right here.
            self._loops.remove(self)
            if self.seats:
                self._loops.append(self)
                return True
            self._close()
            return False

    def _close(self) -> None:
        self._selector.close()
        self._woken.close()
        self._waker.close()

    def _round(self) -> None:
        """Wait, and give a turn to each that has something to do."""
        self._is_awake = False
        at_once = self._called or self._again
        ready = self._selector.select(0.0 if at_once else self._alarms.seconds(_LONGEST))
        self._is_awake = True
        self._failures = 0
        for first in range(0, len(ready), _TOGETHER):
            together: list[Seat | None] = [key.data for key, _ in ready[first : first + _TOGETHER]]
            for seat in together:
                self._fetch(seat)
            for seat in together:
                if seat is not None and not seat.queued:
                    self._turn(seat)
            self._answer()  # who closes a stream is not to wait for a thousand others
        self._answer()
        for _ in range(len(self._again)):
            seat = self._again.popleft()
            seat.queued = False
            self._turn(seat)
        for seat in self._alarms.due():
            seat.alarm = None
            turns = seat.turns
            if seat.mask and turns is not None and turns.until > monotonic():
                seat.alarm = self._alarms.set(turns.until, seat)
            else:
                self._turn(seat)

    def _fetch(self, seat: Seat | None) -> None:
        """Read what has arrived for a seat; for none: somebody called."""
        if seat is None:
            with contextlib.suppress(BlockingIOError):
                self._woken.recv(4096)
            return
        try:
            if seat.turns is not None:
                seat.turns.fetch()
        except BaseException as bug:
            self._fail(seat, bug)

    def _answer(self) -> None:
        """Give those that somebody called for their turns."""
        for _ in range(len(self._called)):
            self._turn(self._called.popleft())

    def _turn(self, seat: Seat) -> None:
        if seat.loop is None:  # it has left
            return
        try:
            wait = seat.member.turn()
            if wait is None:
                if self._pid != os.getpid():
                    raise _ForkedError
                seat.leave()
            elif wait is _BYTES:
                turns = seat.turns
                assert turns is not None
                wanted = selectors.EVENT_READ
                if turns.wants_write:
                    wanted |= selectors.EVENT_WRITE
                if seat.mask != wanted:
                    self.watch(seat, wanted)
                alarm = seat.alarm
                if alarm is None or turns.until < alarm.when:
                    self._set_alarm(seat, turns.until)
            elif wait is _ROOM:
                self.watch(seat, 0)
                self._set_alarm(seat, monotonic() + seat.member.seconds_left())
            elif not seat.queued:
                seat.queued = True
                self._again.append(seat)
        except _ForkedError:
            raise
        except BaseException as bug:
            self._fail(seat, bug)

    def _set_alarm(self, seat: Seat, until: float) -> None:
        """It has a turn then. It may have one earlier, and nothing to do in it."""
        alarm = seat.alarm
        if alarm is not None:
            if until >= alarm.when:
                return
            self._alarms.put_off(alarm)
        seat.alarm = self._alarms.set(until, seat)

    def watch(self, seat: Seat, wanted: int) -> None:
        """Watch a seat's socket for this, and for nothing else."""
        mask = seat.mask
        if mask == wanted:
            return
        if not mask:
            assert seat.turns is not None
            seat.number = seat.turns.fileno()
        number = seat.number  # which its socket forgets when it is closed
        seat.mask = 0
        if not wanted:
            self._selector.unregister(number)
        elif mask:
            self._selector.modify(number, wanted, seat)
        else:
            try:
                self._selector.register(number, wanted, seat)
            except KeyError:  # that of one that could not be taken out
                self._selector.unregister(number)
                self._selector.register(number, wanted, seat)
        seat.mask = wanted

    def forget(self, seat: Seat) -> None:
        """It is about to leave."""
        self.seats.discard(seat)
        if seat.alarm is not None:
            self._alarms.put_off(seat.alarm)
            seat.alarm = None
        turns, mask = seat.turns, seat.mask
        if turns is not None:
            turns.unwatch = bool
            if mask:
                self.watch(seat, 0)
            seat.turns = None

    # -- what should not be -------------------------------------------------------------------

    def _fail(self, seat: Seat, bug: BaseException) -> None:
        """One stream ends by it; the others go on."""
        for step in (seat.leave, partial(seat.member.fail, bug)):
            self._try(step)
        self.seats.discard(seat)
        seat.loop = None

    @staticmethod
    def _try(step: Callable[[], object]) -> None:
        try:
            step()
        except BaseException as error:
            log_raised("a thread that reads streams has a bug", error)

    def _recover(self, error: BaseException) -> None:
        """The selector has failed: all streams are watched by another one. If those fail too, each
        is given a thread of its own.
        """
        log_raised("a thread that reads streams needs another selector", error)
        self._failures += 1
        self._is_awake = True
        self._try(self._selector.close)
        try:
            if self._failures > _FAILURES:
                raise error
            self._selector = self.selector()
            self._selector.register(self._woken, selectors.EVENT_READ)
        except BaseException:
            for seat in list(self.seats):
                seat.mask = 0
                self._try(seat.leave)
                self.seats.discard(seat)
                try:
                    seat.member.go_alone()
                except BaseException as bug:
                    self._try(partial(seat.member.fail, bug))
            return
        self._again.clear()
        for seat in list(self.seats):
            seat.mask = 0
            seat.queued = False  # it may have failed between a turn and its note
            self._called.append(seat)
