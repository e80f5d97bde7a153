"""One response, read to its end: what has arrived is fed to the protocol, and delivered.

Whoever drives it calls :meth:`Reading.go_on` until that says :attr:`Wait.OVER`: the thread of one
stream, which waits for the network inside, or a crowd's, which nothing may keep waiting.
"""

from __future__ import annotations

import enum
from collections import deque
from collections.abc import Callable
from typing import Any

import requests

from openai_stream.candidates import Candidate
from openai_stream.errors import StreamDecodeError, StreamInterruptedError, StreamTimeoutError
from openai_stream.protocol import StreamProtocol
from openai_stream.redaction import Secrets
from openai_stream.transport import Body, Expired, NetworkCall, Turns, check_codings

from .items import Restarted
from .sinks import Sink
from .state import Core

__all__ = ["Reading", "Wait", "timed_out"]

#: Bytes of an answer that are delivered in one turn, before it is the turn of others.
_SHARE = 16384


class Wait(enum.Enum):
    """What a reading needs before it can go on."""

    #: Its next turn: there is more, but others are waiting.
    TURN = enum.auto()
    #: Something arrives on its socket.
    BYTES = enum.auto()
    #: Somebody takes from the queue, which is full.
    ROOM = enum.auto()
    #: Nothing: the answer is complete, and the connection was kept or closed.
    OVER = enum.auto()


# Looked up once an event otherwise, which takes its time before Python 3.12.
_TURN, _BYTES, _ROOM, _OVER = Wait.TURN, Wait.BYTES, Wait.ROOM, Wait.OVER


def timed_out(call: NetworkCall) -> StreamTimeoutError:
    """The error for the deadline that has passed."""
    return StreamTimeoutError(call.expiry(), deadline=call.expired)


class Reading:
    """Reads one response.

    :param core: the stream.
    :param sink: where its events go.
    :param candidate: who was asked.
    :param again: what is to be told before the first event: what came before is void.
    :param secrets: what must show nowhere.
    :param begun: called when the first event is there, before it is delivered.
    """

    def __init__(
        self,
        core: Core[Any, Any],
        sink: Sink,
        candidate: Candidate,
        again: Restarted | None,
        secrets: Secrets,
        begun: Callable[[], object],
    ) -> None:
        response = core.response
        assert response is not None
        self._core = core
        self._sink = sink
        try:
            self._body = Body(response, core.call)
        except BaseException:
            response.close()
            raise
        self._response: requests.Response = response
        self._broke: Exception | None = None  # why it ends, once there is room for what came
        self._at_end = False
        self._checked = False
        self._most: float = float("inf")
        accumulator = core.begin_sum(candidate.asked, goes_on=again is None)
        figures = core.figures.of_answer(core.call)

        def on_first() -> None:
            figures.note_first()
            begun()
            if again is not None:  # only now is what came before void
                core.count(accumulator, candidate.asked)
                sink.restart(again)

        self._protocol = StreamProtocol(
            core.endpoint,
            accumulator,
            candidate.max_bytes,
            response.headers.get("content-type", ""),
            secrets,
            on_first,
            figures.looking(core.endpoint.carries, candidate.background),
        )
        figures.protocol = self._protocol
        core.figures.begin(figures)
        self._secrets = secrets
        self._deliver = figures.timed(sink.deliver)
        self._note_wait = figures.note_wait

    def take_turns(self) -> Turns | None:
        """From now on nothing here waits, but for a ``put`` of a queue that is not ours.

        :returns: the socket that is to be watched; ``None`` if this cannot be.
        """
        turns = self._body.take_turns()
        if turns is not None:
            self._sink.waits = False
            self._most = _SHARE
        return turns

    def wait_again(self) -> None:
        """From now on it waits by itself, as in the beginning."""
        self._body.wait_again()
        self._sink.waits = True
        self._most = float("inf")

    def go_on(self) -> Wait:
        """Do what can be done now.

        :returns: what it needs before it can go on.
        :raises OpenAIStreamError: the answer ends, but not well.
        :raises Aborted: the stream was closed.
        :raises SinkFailed: the user's own function did.
        """
        try:
            if self._broke is None:
                try:
                    wait = self._read()
                except Exception as error:
                    self._sink.flush()  # what was parsed before it went wrong
                    if not self._sink.is_full:
                        raise
                    self._broke = error
                    return _ROOM
                if wait is _OVER:
                    self.close()
                return wait
            self._sink.flush()
            if self._sink.is_full:
                return _ROOM
            broke, self._broke = self._broke, None
            try:
                raise broke
            finally:
                del broke
        except Expired:
            self.close()
            raise timed_out(self._core.call) from None
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Have done with it, and with its connection. Twice is harmless."""
        try:
            self._sink.release()
        finally:
            self._body.close()

    def _read(self) -> Wait:
        """Read what has arrived, feed it, deliver what came, flush; again.

        A burst is delivered before the network is waited for again, and its first event at once.
        """
        body, protocol, sink = self._body, self._protocol, self._sink
        deliver, flush, note_wait = self._deliver, sink.flush, self._note_wait
        read, feed = body.take, protocol.feed
        most = self._most
        if not self._checked:
            self._checked = True
            header = self._response.headers.get("content-encoding", "")
            check_codings(header, self._secrets)
        try:
            while True:
                note_wait()
                flush()
                if sink.is_full:
                    return _ROOM
                if protocol.ended or self._at_end:
                    break
                if most <= 0:
                    return _TURN
                try:
                    block = read()
                except (StreamInterruptedError, StreamDecodeError) as error:
                    if (instead := protocol.broken(error)) is error:
                        raise
                    raise instead from None
                if block is None:
                    return _BYTES
                if block:
                    events = feed(block)
                    most -= len(block)
                else:
                    self._at_end = True
                    events = protocol.end(body.framed)
                deque(map(deliver, events), 0)  # a loop, without a step of ours between two
            protocol.finish()
        finally:
            note_wait()
        # What came is delivered before the connection's farewell, which may take a moment.
        return _OVER if body.finish() else _BYTES
