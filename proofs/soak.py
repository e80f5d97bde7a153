"""A soak: half an hour of streams that are answered, cut, stopped and dropped, each one checked.

``make soak``, or ``python -m proofs.soak [--seconds 1800] [--workers 12] [--seed N] [--play N]``.
Some threads play :mod:`scenarios <proofs.scenarios>` with one client, as fast as they come, each
in a way that is drawn too: into a queue, a callback that may be slow or a queue of others, beside
subscribers, over a session of the library's or one that is given, read to the end or stopped, kept
or dropped. What was played is known, so what comes of it is: the events and the
whole, the error's class, the end, told once; that the server sees a stop at once; and at last that
no thread and no descriptor is left, and that memory is level.

Anything else is a deviation. It ends the run with status 1, and names the number of the scenario:
``--seed`` and ``--play`` play it again.
"""

from __future__ import annotations

import argparse
import contextlib
import faulthandler
import gc
import http.client
import importlib.metadata
import itertools
import json
import os
import platform
import queue
import random
import statistics
import sys
import threading
import time
import traceback
import weakref
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import CancelledError
from multiprocessing import resource_tracker
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import attrs
import requests
import requests.adapters

from openai_stream import (
    DONE,
    Client,
    EventQueue,
    Restarted,
    ShutDown,
    Stream,
    StreamError,
    Tagged,
)
from proofs.held_up import HeldUp
from proofs.scenarios import MAX_EVENT_BYTES, Answer, Scenario, draw, served

__all__ = ["Report", "soak"]

JSON = dict[str, Any]
Item = Any

_HANG = 180.0  # seconds that a scenario may take: none of its own waits is longer than some
# Seconds that are said to be enough; those by which the machine holds us up meanwhile are added.
_SOON = 5.0  # in which the server must see a stop
_MOMENT = 1.0  # for what takes a few bytecodes
_LATE = 0.5  # by which a busy machine, at the server or here, may spoil a short deadline
_GIVEN = 0.2  # of the scenarios are played with a session that is given
_SAMPLE = 5.0  # seconds between two looks at memory
_LEVEL = 2.0  # MiB by which the memory may rise over the last third
_STATM = Path("/proc/self/statm")
_DESCRIPTORS = Path("/proc/self/fd")


#: How much the run in this process is held up.
_held_up = HeldUp()


class Deviation(Exception):
    """Something came of a scenario that should not have."""


class TooLate(Exception):
    """The machine was so busy that a short deadline was over before anything could come."""


def check(promise: bool, *what: Any) -> None:
    """An ``assert`` that ``python -O`` leaves in."""
    if not promise:
        raise Deviation(*what)


# What should come ----------------------------------------------------------------------------


def merged(chunks: Iterable[JSON]) -> list[JSON]:
    """The choices of the whole that chunks add up to; plainer than the library's way."""
    choices: dict[int, JSON] = {}
    for one in chunks:
        for choice in one["choices"]:
            index = choice["index"]
            whole = choices.setdefault(
                index, {"index": index, "text": "", "calls": {}, "finish_reason": None}
            )
            delta = choice.get("delta", choice)
            whole["text"] += delta.get("content") or delta.get("text") or ""
            for piece in delta.get("tool_calls") or ():
                call = whole["calls"].setdefault(piece["index"], ["", ""])
                call[0] += piece["function"].get("name") or ""
                call[1] += piece["function"]["arguments"]
            whole["finish_reason"] = choice["finish_reason"] or whole["finish_reason"]
    return [choices[index] for index in sorted(choices)]


def choices_of(whole: Any) -> list[JSON]:
    """The same of what the library has made of them."""
    found = []
    for choice in whole.to_dict()["choices"]:
        message = choice.get("message", choice)
        calls = [call["function"] for call in message.get("tool_calls") or ()]
        found.append(
            {
                "index": choice["index"],
                "text": message.get("content") or message.get("text") or "",
                "calls": {i: [call["name"], call["arguments"]] for i, call in enumerate(calls)},
                "finish_reason": choice["finish_reason"],
            }
        )
    return found


def check_events(found: list[JSON], answer: Answer, to_the_end: bool) -> None:
    """They are those of the answer, in order: all of them, or the first ones."""
    events = answer.events
    if answer.endless and events:
        again = len(found) - len(events)
        events = events + [events[-1]] * again
    if not to_the_end:
        events = events[: len(found)]
    check(found == events, "other events", found, events)


def check_items(items: list[Item], scenario: Scenario, to_the_end: bool) -> list[JSON]:
    """Events of each answer, and the restarts between them.

    :returns: the events of the newest answer that brought any.
    """
    parts: list[tuple[int, list[JSON]]] = [(0, [])]
    for item in items:
        if isinstance(item, Restarted):
            check(item.attempt > parts[-1][0], "restarts out of order", items)
            error = scenario.answers[item.attempt - 1].error
            check(type(item.error) is error, "restarted by", item.error, error)
            parts.append((item.attempt, []))
        else:
            parts[-1][1].append(item.to_dict())
    newest, events = parts[-1]
    found = dict(parts)
    for number, answer in enumerate(scenario.answers):
        over = to_the_end or number < newest
        check_events(found.pop(number, []), answer, over and answer.exact)
    check(not any(found.values()), "events of no answer", found)
    return events


# How it is taken -----------------------------------------------------------------------------


class Control:
    """Asks the server what it has seen; for one thread."""

    def __init__(self, base_url: str) -> None:
        url = urlsplit(base_url)
        self._path = f"{url.path}/seen"
        self._connection = http.client.HTTPConnection(url.netloc)

    def seen(self, number: int, closing: bool = False) -> JSON:
        """Of a scenario: how many requests, and when.

        :param closing: wait until the connection is closed.
        """
        body = json.dumps({"number": number, "closing": closing})
        self._connection.request("POST", self._path, body)
        seen: JSON = json.loads(self._connection.getresponse().read())
        return seen

    def close(self) -> None:
        self._connection.close()


class Play:
    """A scenario as a client takes it, in a way that is drawn."""

    def __init__(
        self, client: Client, control: Control, scenario: Scenario, source: random.Random
    ) -> None:
        self._client = client
        self._control = control
        self._scenario = scenario
        self._source = source
        self._nowait = source.random() < 0.3
        #: What ``on_done`` and ``on_error`` were given.
        self._told: list[Any] = []
        self._over = threading.Event()
        #: Events that a callback was given although it was closed.
        self._after_close: list[Item] = []
        self._started = time.monotonic()
        #: How it was taken, for the figures.
        self.way = ""
        #: Seconds from a stop to when the server saw it.
        self.stop_seconds: float | None = None

    def run(self) -> None:
        """Play it.

        :raises Deviation: something is not as it should be.
        :raises TooLate: nothing can be said.
        """
        ways: tuple[Callable[[Play], None], ...] = (
            _STOPS if self._scenario.kind == "stopped" else _WAYS
        )
        if self._scenario.restarts:
            ways = tuple(way for way in ways if way not in (Play._text, Play._subscribed))
        way = self._source.choice(ways)
        self.way = way.__name__.strip("_")
        try:
            way(self)
            self._check_server()
            # The reader is gone by now, where the server was waited for.
            check(self._after_close == [], "a callback after close()", self._after_close)
        except Exception as error:
            if self._scenario.kind == "stalling" and self._is_late():
                raise TooLate from error
            if self._scenario.is_refused and not self._nowait and not isinstance(error, Deviation):
                check(type(error) is self._scenario.error, "raised", error)
                self._check_server()
            else:
                raise

    def _is_late(self) -> bool:
        sent_at = self._control.seen(self._scenario.number)["sent_at"]
        if sent_at is None:
            return True
        late: float = sent_at - self._started + _held_up.since(self._started)
        return late > _LATE

    def _check_server(self) -> None:
        """The server was asked as often as it should, and learned of the end."""
        scenario = self._scenario
        if scenario.kind in ("whole", "stopped") and not scenario.answers[-1].closes:
            return  # nothing to see, and it costs a request
        closes = bool(scenario.answers) and scenario.answers[-1].closes
        seen = self._control.seen(scenario.number, closes)
        if seen["attempts"] == 0:
            check(scenario.kind == "stopped" and self._nowait, "the server was not asked")
            return
        check(seen["attempts"] == len(scenario.attempts), "requests", seen["attempts"])
        if closes:
            check(seen["closed_at"] is not None, "the server does not see that it is over")
            if scenario.kind == "stopped":
                # Whoever had it closed before the stop would have ended the stream himself.
                self.stop_seconds = max(0.0, seen["closed_at"] - self._stopped_at)
                most = _SOON + _held_up.since(self._stopped_at)
                check(self.stop_seconds < most, "seconds until the server saw", self.stop_seconds)

    def _call(self, **sink: Any) -> Any:
        """Make the call; returns the queue or the stream."""
        if self._scenario.endpoint == "chat":
            create: Callable[..., Any] = self._client.create_chat_completion
            sink["messages"] = []
        else:
            create = self._client.create_completion
            sink["prompt"] = ""

        def tell(what: Any) -> None:
            self._told.append(what)
            self._over.set()

        return create(
            model="m",
            user=self._scenario.number,
            n=self._scenario.choices,
            stream=True,
            timeout=self._scenario.timeout,
            restarts=self._scenario.restarts,
            nowait=self._nowait,
            on_done=tell,
            on_error=tell,
            **sink,
        )

    def _queue(self, **arguments: Any) -> EventQueue[Any]:
        """A queue of any size, where nothing else is wanted."""
        maxsize = self._source.choice((0, 0, 1, 3))
        found: EventQueue[Any] = self._call(**(arguments or {"maxsize": maxsize}))
        return found

    # -- to the end -------------------------------------------------------------------------------

    def _get(self) -> None:
        stream_close = self._source.random() < 0.2
        events = self._queue(**{"stream_close": True} if stream_close else {})
        items, error = take(events)
        self._check_end(events.stream, items, error)
        try:
            left = events.get_nowait()
        except (queue.Empty, ShutDown) as empty:
            check(isinstance(empty, ShutDown) is stream_close, "after the end", empty)
        else:
            check(False, "after the end", left)

    def _loop(self) -> None:
        events = self._queue()
        items: list[Item] = []
        error: BaseException | None = None
        try:
            items.extend(events)  # which keeps what came before an error
        except self._failures as caught:
            error = caught.with_traceback(None)
        self._check_end(events.stream, items, error)
        with contextlib.suppress(*self._failures):
            check(list(events) == [], "a second loop over the queue")

    @property
    def _failures(self) -> tuple[type[Exception], ...]:
        """What may end a stream, a refusal included: with ``nowait`` it comes there."""
        return (StreamError, self._scenario.error or StreamError)

    def _text(self) -> None:
        events = self._queue()
        stream = events.stream
        pieces: list[str] = []
        error: BaseException | None = None
        try:
            for piece in events.text():
                pieces.append(piece)
        except Exception as caught:
            error = caught.with_traceback(None)
        self._check_end(stream, None, error)
        said = (
            merged(one for one in self._scenario.answers[-1].events)
            if self._scenario.answers
            else []
        )
        expected = said[0]["text"] if said else ""
        exact = all(answer.exact for answer in self._scenario.answers)
        found = "".join(pieces)
        check(found == expected if exact else expected.startswith(found), found, expected)

    def _callback(self) -> None:
        items: list[Item] = []
        stream: Stream[Any, Any] = self._call(on_next=items.append)
        error = stream.exception()
        self._check_end(stream, items, error)

    def _callback_unheld(self) -> None:
        items: list[Item] = []
        self._call(on_next=items.append)
        self._over.wait()
        (told,) = self._told
        error = told if isinstance(told, BaseException) else None
        self._check_whole(items, error, told)

    def _foreign(self) -> None:
        foreign: queue.Queue[Any] = queue.Queue()
        tag = self._source.choice((None, "a", self._scenario.number))
        stream: Stream[Any, Any] = self._call(queue=foreign, tag=tag)
        items = take_foreign(foreign, tag)
        error = items.pop() if items and isinstance(items[-1], BaseException) else None
        self._check_end(stream, items, error)
        check(foreign.empty(), "after the end")

    def _result(self) -> None:
        """Nobody takes the events, and the queue is gone."""
        events: Any = self._queue()
        stream, ref = events.stream, weakref.ref(events)
        del events
        check_gone(ref)
        self._check_end(stream, None, stream.exception())

    def _subscribed(self) -> None:
        events = self._queue(replay=True)
        early = events.stream.subscribe()
        few = self._source.randrange(4)
        items, error, over = take_some(events, few)
        later = events.stream.subscribe()
        if not over:
            rest, error = take(events)
            items += rest
        after = events.stream.subscribe()
        self._check_end(events.stream, items, error)
        for subscriber in (early, later, after):
            found, their_error = take(subscriber)
            check(found == items, "a subscriber got", found, items)
            check(their_error is error, "a subscriber was told", their_error, error)

    def _slow_callback(self) -> None:
        """A function that takes its time with some events, beside subscribers, or none."""
        items: list[Item] = []
        made = threading.Event()
        behind: list[EventQueue[Any]] = []
        subscribers: list[EventQueue[Any]] = []

        def on_next(event: Item) -> None:
            made.wait()
            items.append(event)
            if self._source.random() < 0.1:
                time.sleep(self._source.random() * 0.01)
            for subscriber in subscribers:
                # What this function is given was given to them before.
                behind.extend([subscriber] * (subscriber.qsize() < len(items)))

        replay = self._source.random() < 0.5
        stream: Stream[Any, Any] = self._call(on_next=on_next, replay=replay)
        if replay:
            subscribers.append(stream.subscribe())
        made.set()
        error = stream.exception()
        self._check_end(stream, items, error)
        check(not behind, "the callback came first", items)
        for subscriber in subscribers:
            found, their_error = take(subscriber)
            check(found == items, "a subscriber got", found, items)
            check(their_error is error, "a subscriber was told", their_error, error)

    # -- stopped ----------------------------------------------------------------------------------

    def _some(self) -> int:
        """After how many events; not more than there are."""
        return self._source.randrange(len(self._scenario.answers[-1].events) + 1)

    def _stop(self, close: Callable[[], object]) -> None:
        self._stopped_at = time.monotonic()
        close()

    def _later(self, close: Callable[[], object]) -> threading.Timer:
        """Stop it from another thread, at some moment of the next milliseconds."""
        seconds = self._source.choice((0.0, 0.0003, 0.003, 0.02)) * self._source.random()
        timer = threading.Timer(seconds, self._stop, [close])
        timer.start()
        return timer

    def _close(self) -> None:
        events = self._queue()
        items, _, over = take_some(events, self._some())
        self._stop(events.close)
        if not over:
            rest, error = take(events)
            check(error is None, "after close()", error)
            items += rest
        self._check_stopped(events.stream, items)

    def _close_unread(self) -> None:
        events = self._queue()
        self._stop(events.close)
        items, error = take(events)
        check(error is None, "after close()", error)
        self._check_stopped(events.stream, items)

    def _close_elsewhere(self) -> None:
        events = self._queue()
        timer = self._later(events.close)
        items, error = take(events)
        timer.join()
        check(error is None, "after close()", error)
        self._check_stopped(events.stream, items)

    def _close_in_callback(self) -> None:
        items: list[Item] = []
        some = self._some()
        made = threading.Event()
        handle: list[Stream[Any, Any]] = []

        def on_next(event: Item) -> None:
            items.append(event)
            if len(items) > some:
                made.wait()
                self._stop(handle[0].close)

        handle.append(self._call(on_next=on_next))
        made.set()
        stream = handle[0]
        if self._scenario.answers[-1].endless:
            # There may be no further event to stop it.
            self._later(stream.close).join()
        with contextlib.suppress(CancelledError):
            stream.exception()
        check(len(items) <= some + 1, "a callback after close()", len(items), some)
        self._check_stopped(stream, items)

    def _close_callback_elsewhere(self) -> None:
        items: list[Item] = []
        closed: list[float] = []

        def on_next(event: Item) -> None:
            (self._after_close if closed else items).append(event)

        stream: Stream[Any, Any] = self._call(on_next=on_next)

        def close() -> None:
            stream.close()
            closed.append(time.monotonic())

        self._later(close).join()
        self._check_stopped(stream, items)

    def _close_slow_callback(self) -> None:
        """Stopped while the function takes its time; subscribers have what it was given."""
        items: list[Item] = []
        closed: list[float] = []

        def on_next(event: Item) -> None:
            (self._after_close if closed else items).append(event)
            time.sleep(0.002)

        stream: Stream[Any, Any] = self._call(on_next=on_next, replay=True)
        early = stream.subscribe()

        def close() -> None:
            stream.close()
            closed.append(time.monotonic())

        self._later(close).join()
        for subscriber in (early, stream.subscribe()):
            found, error = take(subscriber)
            check(error is None, "after close()", error)
            check(found[: len(items)] == items, "a subscriber got", found, items)
        self._check_stopped(stream, items)

    def _close_foreign(self) -> None:
        foreign: queue.Queue[Any] = queue.Queue(self._source.choice((0, 0, 1)))
        stream: Stream[Any, Any] = self._call(queue=foreign)
        timer = self._later(stream.close)
        items = take_foreign(foreign, None)
        timer.join()
        self._check_stopped(stream, items)

    def _leave(self) -> None:
        with self._queue() as events:
            items, _, over = take_some(events, self._some())
            self._stopped_at = time.monotonic()
        if not over:
            rest, error = take(events)
            check(error is None, "after with", error)
            items += rest
        self._check_stopped(events.stream, items)

    def _drain(self) -> None:
        events = self._queue()
        stream = events.stream
        items, _, over = take_some(events, self._some())
        self._stop(lambda: events.close(drain=True))
        if not over:
            rest, error = take(events)
            check(error is None, "after close(drain=True)", error)
            items += rest
        check_items(items, self._scenario, to_the_end=False)
        if self._scenario.answers[-1].endless:
            check(stream.running(), "it drains")
            self._stop(events.close)
            self._check_stopped(stream, items)
        else:
            self._check_end(stream, None, None)

    def _drop(self) -> None:
        events: Any = self._queue()
        items, error, _ = take_some(events, self._some())
        check(error is None, "an error", error)
        check_items(items, self._scenario, to_the_end=False)
        in_a_cycle = self._source.random() < 0.02
        if in_a_cycle:
            cycle = [events]
            cycle.append(cycle)
            del cycle
        self._stopped_at = time.monotonic()
        ref = weakref.ref(events)
        del events
        if in_a_cycle:
            gc.collect()
        check_gone(ref)

    def _drop_queue(self) -> None:
        events: Any = self._queue()
        stream, ref = events.stream, weakref.ref(events)
        items, error, _ = take_some(events, self._some())
        check(error is None, "an error", error)
        check_items(items, self._scenario, to_the_end=False)
        del events
        check_gone(ref)
        if self._scenario.answers[-1].endless:
            self._stop(stream.close)
            self._check_stopped(stream, items)
        else:
            self._check_end(stream, None, None)

    # -- what came of it --------------------------------------------------------------------------

    def _check_whole(
        self, items: list[Item] | None, error: BaseException | None, whole: Any
    ) -> None:
        """All that was played has come, and the end is the one that was played."""
        scenario = self._scenario
        expected = scenario.error
        check(type(error) is (type(None) if expected is None else expected), "ended by", error)
        if items is not None:
            events = check_items(items, scenario, to_the_end=True)
        else:
            answers = [one for one in scenario.answers if one.events]
            events = answers[-1].events if answers else []
            if not all(one.exact for one in scenario.answers):
                return
        if isinstance(error, StreamError):
            deadline = scenario.answers[-1].deadline
            check(getattr(error, "deadline", None) == deadline, "the deadline", error)
            whole = error.snapshot
        if error is None or isinstance(error, StreamError):
            check(choices_of(whole) == merged(events), "the whole", whole, events)

    def _check_end(
        self, stream: Stream[Any, Any], items: list[Item] | None, error: BaseException | None
    ) -> None:
        """The stream has ended as it should, and says so in the same way everywhere."""
        check(stream.exception() is error, "exception()", stream.exception(), error)
        check(stream.done() and not stream.cancelled() and not stream.running(), stream)
        whole = None
        if error is None:
            whole = stream.result()
            check(self._told == [whole], "on_done", self._told)
        else:
            check(len(self._told) == 1 and self._told[0] is error, "on_error", self._told)
            try:
                stream.result()
            except Exception as raised:
                check(raised is error, "result() raised", raised, error)
                raised.__traceback__ = None
            else:
                check(False, "result() of a stream that failed")
        self._check_whole(items, error, whole)

    def _check_stopped(self, stream: Stream[Any, Any], items: list[Item]) -> None:
        """It was closed and says so, or had ended before."""
        if not stream.cancelled():
            check(not self._scenario.answers[-1].endless, "close() has not ended it", stream)
            self._check_end(stream, None, None)
            check_items(items, self._scenario, to_the_end=False)
            return
        check(stream.done() and not stream.running(), stream)
        try:
            stream.result()
        except CancelledError:
            pass
        else:
            check(False, "result() of a stream that was closed")
        check(self._told == [], "close() was told", self._told)
        check_items(items, self._scenario, to_the_end=False)


_WAYS = (
    *(Play._get, Play._get, Play._get, Play._loop, Play._loop, Play._text, Play._subscribed),
    *(Play._callback, Play._callback_unheld, Play._foreign, Play._foreign, Play._result),
    *(Play._slow_callback, Play._slow_callback),
)
_STOPS = (
    *(Play._close, Play._close_unread, Play._close_elsewhere, Play._close_in_callback),
    *(Play._close_callback_elsewhere, Play._close_foreign, Play._leave, Play._drain),
    *(Play._drop, Play._drop, Play._drop_queue, Play._close_slow_callback),
)


def check_gone(ref: weakref.ref[Any]) -> None:
    """It is no longer referenced: at once, and not after the next garbage collection."""
    begin = time.monotonic()
    while ref() is not None and time.monotonic() < begin + _MOMENT + _held_up.since(begin):
        time.sleep(0.001)  # the reader may hold it for a moment
    check(ref() is None, "what was dropped is referenced", gc.get_referrers(ref()))


def take(events: EventQueue[Any]) -> tuple[list[Item], BaseException | None]:
    """All to the end, and the error in its place."""
    items: list[Item] = []
    try:
        while (item := events.get()) is not DONE:
            items.append(item)
    except Exception as error:
        return items, error.with_traceback(None)  # which would be garbage, in a circle
    return items, None


def take_some(events: EventQueue[Any], count: int) -> tuple[list[Item], BaseException | None, bool]:
    """So many of them, and whether the end came before."""
    items: list[Item] = []
    while len(items) < count:
        try:
            item = events.get()
        except Exception as error:
            return items, error.with_traceback(None), True
        if item is DONE:
            return items, None, True
        items.append(item)
    return items, None, False


def take_foreign(foreign: queue.Queue[Any], tag: Any) -> list[Item]:
    """All to the end out of a queue that is not the library's, an error among them."""
    items: list[Item] = []
    while True:
        item = foreign.get()
        if tag is not None:
            check(isinstance(item, Tagged) and item.tag == tag, "the tag", item)
            item = item.item
        if item is DONE:
            return items
        items.append(item)


# The run -------------------------------------------------------------------------------------


@attrs.define
class Report:
    """What a soak has shown."""

    streams: int = 0
    kinds: Counter[str] = attrs.field(factory=Counter)
    ways: Counter[str] = attrs.field(factory=Counter)
    given: int = 0  # of the streams, with a session of the user's
    too_late: int = 0
    stops: int = 0
    stop_seconds: float = 0.0
    longest_stop: float = 0.0
    deviations: list[str] = attrs.field(factory=list)
    #: MiB resident, every few seconds.
    memory: list[float] = attrs.field(factory=list)
    threads_before: int = 0
    threads_after: int = 0
    descriptors_before: int = 0
    descriptors_after: int = 0
    seconds: float = 0.0
    held_up: float = 0.0  # of them, those by which the machine held a thread up that only sleeps

    @property
    def rise(self) -> float:
        """MiB by which the memory rises over the last third: the median slope between two looks.

        Least squares would take one peak for a slope: where the machine holds all readers up for
        seconds, what a flood has sent meanwhile is taken at once. A leak goes on and on.
        """
        last = self.memory[len(self.memory) * 2 // 3 :]
        slopes = [
            (later - one) / (at_later - at)
            for (at, one), (at_later, later) in itertools.combinations(enumerate(last), 2)
        ]
        return statistics.median(slopes) * (len(last) - 1) if slopes else 0.0


class _Soak:
    def __init__(self, seed: int, base_url: str, streams: int | None) -> None:
        self.report = Report()
        self.over = threading.Event()
        self._seed = seed
        self._base_url = base_url
        self._numbers = iter(itertools.count() if streams is None else range(streams))
        self._lock = threading.Lock()
        # A session that is given, and is not closed by its client.
        self._session = requests.Session()
        self._session.mount("http://", requests.adapters.HTTPAdapter(pool_maxsize=64))
        self._client, self._given = (
            Client(
                api_key="sk-soak",
                base_url=base_url,
                max_event_bytes=MAX_EVENT_BYTES,
                session=session,
            )
            for session in (None, self._session)
        )
        #: By worker, what it plays and since when.
        self._playing: dict[str, tuple[int, float]] = {}

    def work(self) -> None:
        """Play one scenario after another."""
        control = Control(self._base_url)
        me = threading.current_thread().name
        while not self.over.is_set():
            with self._lock:
                number = next(self._numbers, None)
            if number is None:
                break
            self._playing[me] = number, time.monotonic()
            self.play(number, control)
        self._playing.pop(me, None)
        control.close()

    def play(self, number: int, control: Control) -> None:
        """Play the scenario of that number, and note what came of it."""
        scenario, source = draw(self._seed, number)
        given = source.random() < _GIVEN
        play = Play(self._given if given else self._client, control, scenario, source)
        deviation = None
        late = False
        try:
            play.run()
        except TooLate:
            late = True
        except Exception:
            deviation = (
                f"scenario {number}, {scenario.kind}, {play.way}: {traceback.format_exc()[-4000:]}"
            )
        with self._lock:
            report = self.report
            report.streams += 1
            report.kinds[scenario.kind] += 1
            report.ways[play.way] += 1
            report.given += given
            report.too_late += late
            if play.stop_seconds is not None:
                report.stops += 1
                report.stop_seconds += play.stop_seconds
                report.longest_stop = max(report.longest_stop, play.stop_seconds)
            if deviation is not None:
                report.deviations.append(deviation)
                self.over.set()

    def hanging(self) -> list[int]:
        """The scenarios that take too long."""
        now = time.monotonic()
        return [number for number, since in self._playing.copy().values() if now - since > _HANG]

    def close(self) -> None:
        self._client.close()
        self._given.close()
        self._session.close()


def _memory() -> float:
    """MiB that are resident; 0 where the system does not tell."""
    if not _STATM.exists():
        return 0.0
    pages = int(_STATM.read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def _descriptors() -> int:
    return len(os.listdir(_DESCRIPTORS)) if _DESCRIPTORS.exists() else 0


def soak(
    seed: int,
    *,
    seconds: float = 1e9,
    streams: int | None = None,
    workers: int = 12,
    say: Callable[[str], object] = lambda line: None,
) -> Report:
    """Play scenarios for so long, or so many.

    :param say: called with a line a minute.
    """
    # Nothing may depend on when the garbage is collected: it is now and then, and by no chance.
    gc.disable()
    try:
        return _soak(seed, seconds, streams, workers, say)
    finally:
        gc.enable()


def _soak(
    seed: int, seconds: float, streams: int | None, workers: int, say: Callable[[str], object]
) -> Report:
    gc.collect()
    resource_tracker.ensure_running()  # it stays, and has a descriptor
    threads, descriptors = threading.active_count(), _descriptors()
    with _held_up, served(seed) as (base_url, failures):
        run = _Soak(seed, base_url, streams)
        report = run.report
        report.threads_before, report.descriptors_before = threads, descriptors
        start = minute = time.monotonic()
        crew = [
            threading.Thread(target=run.work, name=f"worker-{number}", daemon=True)
            for number in range(workers)
        ]
        for worker in crew:
            worker.start()
        while any(worker.is_alive() for worker in crew):
            run.over.wait(_SAMPLE if streams is None else 0.05)
            now = time.monotonic()
            if now - start > seconds:
                run.over.set()
            if run.over.is_set() or run.hanging():
                break
            if streams is None:
                gc.collect()
                report.memory.append(_memory())
            if now - minute >= 60:
                minute = now
                say(
                    f"{now - start:6.0f} s  {report.streams:8,} streams  {_memory():6.1f} MiB  "
                    f"{threading.active_count():4} threads  {_descriptors():4} descriptors"
                )
        for worker in crew:
            while worker.is_alive() and not run.hanging():
                worker.join(0.1)
        if hanging := run.hanging():
            faulthandler.dump_traceback(all_threads=True)
            report.deviations.append(f"scenarios {hanging} hang")
        run.close()
        report.seconds = time.monotonic() - start
        report.held_up = _held_up.since(start)
    report.deviations += failures
    _look_behind(report)
    return report


def _look_behind(report: Report) -> None:
    """Nothing is left, after some time to end by itself."""
    until = time.monotonic() + 5.0
    while time.monotonic() < until:
        gc.collect()
        report.threads_after = threading.active_count()
        report.descriptors_after = _descriptors()
        if (
            report.threads_after <= report.threads_before
            and report.descriptors_after <= report.descriptors_before
        ):
            return
        time.sleep(0.05)
    names = sorted(thread.name for thread in threading.enumerate())
    report.deviations.append(
        f"left behind: {report.threads_after} threads of {report.threads_before}, "
        f"{report.descriptors_after} descriptors of {report.descriptors_before}: {names}"
    )


def _play_again(seed: int, number: int) -> int:
    with served(seed) as (base_url, _):
        run = _Soak(seed, base_url, 0)
        control = Control(base_url)
        run.play(number, control)
        control.close()
        run.close()
    for deviation in run.report.deviations:
        print(deviation)
    print(dict(run.report.kinds), dict(run.report.ways))
    return 1 if run.report.deviations else 0


def main() -> int:
    """Soak, and tell; 1 where there was a deviation."""
    parser = argparse.ArgumentParser(prog="python -m proofs.soak", description=__doc__)
    parser.add_argument("--seconds", type=float, default=1800)
    parser.add_argument("--workers", type=int, default=12)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    parser.add_argument("--play", type=int, metavar="NUMBER", help="one scenario, once")
    given = parser.parse_args()
    if given.play is not None:
        return _play_again(given.seed, given.play)

    versions = ", ".join(
        f"{name} {importlib.metadata.version(name)}"
        for name in ("requests", "urllib3", "sseclient-py", "attrs")
    )
    print(f"Python {platform.python_version()} on {platform.machine()}, {versions}")
    print(f"seed {given.seed}, {given.workers} workers", flush=True)
    report = soak(
        given.seed,
        seconds=given.seconds,
        workers=given.workers,
        say=lambda line: print(line, flush=True),
    )
    if len(report.memory) >= 60 and report.rise > _LEVEL:
        report.deviations.append(f"the memory rises: {report.rise:.1f} MiB over the last third")
    for deviation in report.deviations:
        print(deviation)
    print(
        f"{report.streams:,} streams in {report.seconds:.0f} s: "
        + ", ".join(f"{count:,} {kind}" for kind, count in report.kinds.most_common())
    )
    print(", ".join(f"{count:,} {way}" for way, count in report.ways.most_common()))
    print(f"{report.given:,} with a session that was given")
    mean = report.stop_seconds / max(1, report.stops)
    print(
        f"{report.stops:,} stops that the server saw, after {mean * 1000:.1f} ms on average and "
        f"{report.longest_stop * 1000:.0f} ms at most; {report.too_late} short deadlines spoilt; "
        f"held up for {report.held_up:.0f} s"
    )
    if report.memory:
        print(
            f"memory {report.memory[0]:.1f} MiB at first, {max(report.memory):.1f} at most, "
            f"{report.memory[-1]:.1f} at last, "
            f"{report.rise:+.2f} over the last third"
        )
    print(
        f"threads {report.threads_before} before, {report.threads_after} after; "
        f"descriptors {report.descriptors_before} before, {report.descriptors_after} after"
    )
    print(f"{len(report.deviations)} deviations, seed {given.seed}")
    return 1 if report.deviations else 0


if __name__ == "__main__":
    sys.exit(main())
