"""How a scenario is taken by a client, in a way that is drawn, and what must come of it."""

from __future__ import annotations

import contextlib
import gc
import http.client
import json
import queue
import random
import threading
import time
import weakref
from collections.abc import Callable, Iterable
from concurrent.futures import CancelledError
from typing import Any
from urllib.parse import urlsplit

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
from proofs.scenarios import Answer, Scenario

__all__ = ["Control", "Deviation", "Item", "Play", "TooLate", "check", "held_up"]

JSON = dict[str, Any]
Item = Any

# Seconds that are said to be enough; those by which the machine holds us up meanwhile are added.
_SOON = 5.0  # in which the server must see a stop
_MOMENT = 1.0  # for what takes a few bytecodes
_LATE = 0.5  # by which a busy machine, at the server or here, may spoil a short deadline
_TOLD = (
    0.2  # of the streams that many threads read together have callbacks for the end all the same
)

#: How much the run in this process is held up.
held_up = HeldUp()


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
        self._stopped_at = 0.0
        # Callbacks for the end keep a stream on a thread of its own.
        self._tells = client.readers is None or source.random() < _TOLD
        #: How it was taken, for the figures.
        self.way = ""
        #: Seconds from a stop to when the server saw it.
        self.stop_seconds: float | None = None

    @property
    def kind(self) -> str:
        """Of the scenario, for the figures."""
        return self._scenario.kind

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
        late: float = sent_at - self._started + held_up.since(self._started)
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
                most = _SOON + held_up.since(self._stopped_at)
                check(self.stop_seconds < most, "seconds until the server saw", self.stop_seconds)

    # -- by who takes it himself ------------------------------------------------------------------

    def begin(self, **sink: Any) -> Any:
        """Make the call and return at once; the queue or the stream."""
        self._nowait = True
        return self._call(**sink)

    def stop(self, close: Callable[[], object]) -> None:
        """Stop it, and note when."""
        self._stopped_at = time.monotonic()
        close()

    @property
    def is_stopped(self) -> bool:
        """It was stopped, or is about to be."""
        return self._stopped_at > 0.0

    def check_end(
        self, stream: Stream[Any, Any], items: list[Item], error: BaseException | None
    ) -> None:
        """It has ended by itself: as it should?

        :raises Deviation: it has not.
        """
        self._check_end(stream, items, error)
        self._check_server()

    def check_stopped(self, stream: Stream[Any, Any], items: list[Item]) -> None:
        """It was stopped, or had ended before.

        :raises Deviation: something is not as it should be.
        """
        self._check_stopped(stream, items)

    # -- the call ---------------------------------------------------------------------------------

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

        if self._tells or "on_next" in sink:
            self._tells = True
            sink.update(on_done=tell, on_error=tell)
        return create(
            model="m",
            user=self._scenario.number,
            n=self._scenario.choices,
            stream=True,
            timeout=self._scenario.timeout,
            restarts=self._scenario.restarts,
            nowait=self._nowait,
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

    def _later(self, close: Callable[[], object]) -> threading.Timer:
        """Stop it from another thread, at some moment of the next milliseconds."""
        seconds = self._source.choice((0.0, 0.0003, 0.003, 0.02)) * self._source.random()
        timer = threading.Timer(seconds, self.stop, [close])
        timer.start()
        return timer

    def _close(self) -> None:
        events = self._queue()
        items, _, over = take_some(events, self._some())
        self.stop(events.close)
        if not over:
            rest, error = take(events)
            check(error is None, "after close()", error)
            items += rest
        self._check_stopped(events.stream, items)

    def _close_unread(self) -> None:
        events = self._queue()
        self.stop(events.close)
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
                self.stop(handle[0].close)

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
        self.stop(lambda: events.close(drain=True))
        if not over:
            rest, error = take(events)
            check(error is None, "after close(drain=True)", error)
            items += rest
        check_items(items, self._scenario, to_the_end=False)
        if self._scenario.answers[-1].endless:
            check(stream.running(), "it drains")
            self.stop(events.close)
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
            self.stop(stream.close)
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
            if self._tells:
                check(self._told == [whole], "on_done", self._told)
        else:
            if self._tells:
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
    while ref() is not None and time.monotonic() < begin + _MOMENT + held_up.since(begin):
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
