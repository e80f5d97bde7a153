"""``EventQueue`` as the ``queue.Queue`` that it is, and the ways in which it ends."""

from __future__ import annotations

import copy
import enum
import gc
import pickle
import queue
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Future
from contextlib import contextmanager
from typing import Any

import pytest
from helpers import SOON, Chat
from streaming import wait_for_no_room

from openai_stream import (
    DONE,
    Client,
    Done,
    EventQueue,
    ShutDown,
    Stream,
    StreamInterruptedError,
)
from openai_stream.stream import taking
from openai_stream.testing import (
    Call,
    Hang,
    Reset,
    ScriptedServer,
    Wait,
    answer,
    chat_chunks,
    completion_chunks,
)

WHOLE = chat_chunks("one two three")
BODY: dict[str, Any] = {"model": "any", "messages": [{"role": "user", "content": "Count"}]}


@pytest.fixture
def chat(client: Client) -> Chat:
    def stream(**arguments: Any) -> Any:
        return client.create_chat_completion(**BODY, stream=True, **arguments)

    return stream


@contextmanager
def threads(count: int, function: Callable[[], Any]) -> Iterator[list[Future[Any]]]:
    """Call it in so many threads at once; they have ended when the block is left.

    A test that fails in the block does not wait for them: some may be blocked for ever.
    """
    futures: list[Future[Any]] = [Future() for _ in range(count)]

    def call(future: Future[Any]) -> None:
        try:
            future.set_result(function())
        except BaseException as error:
            future.set_exception(error)

    started = [threading.Thread(target=call, args=(future,), daemon=True) for future in futures]
    for thread in started:
        thread.start()
    yield futures
    for thread in started:
        thread.join(SOON)
        assert not thread.is_alive()


def wait_for_waiters(condition: threading.Condition, count: int) -> None:
    """Until so many threads wait on it."""
    deadline = time.monotonic() + SOON
    while len(condition._waiters) < count:  # type: ignore[attr-defined]
        assert time.monotonic() < deadline
        time.sleep(0.001)


def wait_for_takers(events: EventQueue[Any], count: int) -> None:
    """Until so many threads are blocked in ``get()`` or a loop."""
    wait_for_waiters(events.not_empty, count)


def taken(events: EventQueue[Any]) -> list[Any]:
    """What ``get()`` gives, to the end, which comes last."""
    items: list[Any] = []
    while not items or items[-1] is not DONE:
        items.append(events.get(timeout=SOON))
    return items


def as_dicts(items: list[Any]) -> list[Any]:
    return [item if isinstance(item, Done) else item.to_dict() for item in items]


# Taking --------------------------------------------------------------------------------------


def test_it_is_a_queue(server: ScriptedServer, chat: Chat) -> None:
    server.play(answer(WHOLE))
    events: EventQueue[Any] = chat()
    assert isinstance(events, queue.Queue)
    assert isinstance(events.stream, Stream)
    assert as_dicts(taken(events)) == [*WHOLE, DONE]


def test_after_the_end_it_is_an_empty_queue(server: ScriptedServer, chat: Chat) -> None:
    server.play(answer(WHOLE))
    events = chat()
    taken(events)
    assert (events.qsize(), events.empty()) == (0, True)
    with pytest.raises(queue.Empty):
        events.get_nowait()
    with pytest.raises(queue.Empty):
        events.get(block=False)
    start = time.monotonic()
    with pytest.raises(queue.Empty):
        events.get(timeout=0.05)
    assert time.monotonic() - start >= 0.045
    with threads(1, events.get) as (getting,):  # blocks, as an empty queue does
        wait_for_takers(events, 1)
        assert not getting.done()
        events.put("released")
        assert getting.result(SOON) == "released"


def test_an_error_is_raised_once_in_the_place_of_done(server: ScriptedServer, chat: Chat) -> None:
    server.play(answer([*WHOLE[:3], Reset()]))
    events = chat()
    assert events.stream.exception(SOON) is not None
    got = [events.get(timeout=SOON) for _ in range(3)]
    assert as_dicts(got) == WHOLE[:3]
    with pytest.raises(StreamInterruptedError) as caught:
        events.get()
    assert caught.value is events.stream.exception()
    assert events.empty()
    with pytest.raises(queue.Empty):
        events.get_nowait()
    with pytest.raises(queue.Empty):
        events.get(timeout=0.01)


def test_get_nowait_raises_the_error_too(server: ScriptedServer, chat: Chat) -> None:
    server.play(answer([Reset()]))
    events = chat()
    events.stream.exception(SOON)
    with pytest.raises(StreamInterruptedError):
        events.get_nowait()


def test_before_anything_has_come_it_is_empty(server: ScriptedServer, chat: Chat) -> None:
    go = threading.Event()
    server.play(answer([Wait(go), *WHOLE]))
    events = chat()
    with pytest.raises(queue.Empty):
        events.get_nowait()
    with pytest.raises(queue.Empty):
        events.get(timeout=0.02)
    with pytest.raises(queue.Empty):
        events.get(timeout=0)
    with pytest.raises(ValueError, match=r"^'timeout' must be a non-negative number$"):
        events.get(timeout=-1)
    with pytest.raises(queue.Empty):
        events.get(block=False, timeout=-1)  # of no meaning there, as in queue.Queue
    go.set()
    assert as_dicts(taken(events)) == [*WHOLE, DONE]


def test_get_takes_what_comes_while_it_waits(server: ScriptedServer, chat: Chat) -> None:
    go = threading.Event()
    server.play(answer([Wait(go), WHOLE[0], Hang()]))
    with chat() as events, threads(1, events.get) as (getting,):
        wait_for_takers(events, 1)
        go.set()
        assert getting.result(SOON).to_dict() == WHOLE[0]


def test_events_that_come_together_wake_as_many_threads(server: ScriptedServer, chat: Chat) -> None:
    go = threading.Event()
    server.play(answer([Wait(go), *WHOLE, Hang()], events_per_chunk=len(WHOLE)))
    with chat() as events, threads(len(WHOLE), events.get) as getting:
        wait_for_takers(events, len(WHOLE))
        with pytest.raises(queue.Empty):  # one that gives up is no longer counted, the others are
            events.get(timeout=0.01)
        go.set()
        got = [future.result(SOON).to_dict() for future in getting]
        assert all(event in got for event in WHOLE)


# stream_close --------------------------------------------------------------------------------


def test_the_name_of_shutdown() -> None:
    assert issubclass(ShutDown, Exception)
    assert getattr(queue, "ShutDown", ShutDown) is ShutDown


@pytest.mark.parametrize("script", [WHOLE, [*WHOLE[:2], Reset()]], ids=["done", "error"])
def test_stream_close_shuts_the_queue_down_behind_its_end(
    server: ScriptedServer, chat: Chat, script: list[Any]
) -> None:
    server.play(answer(script))
    events = chat(stream_close=True)
    try:
        taken(events)
    except StreamInterruptedError:
        assert len(script) == 3
    for _ in range(2):
        with pytest.raises(ShutDown):
            events.get()
        with pytest.raises(ShutDown):
            events.get(timeout=SOON)
        with pytest.raises(ShutDown):
            events.get_nowait()
    with pytest.raises(ShutDown):
        events.put("late")
    with pytest.raises(ShutDown):
        events.put_nowait("late")


def test_stream_close_after_close(server: ScriptedServer, chat: Chat) -> None:
    server.play(answer([WHOLE[0], Hang()]))
    events = chat(stream_close=True)
    first = events.get(timeout=SOON)
    events.close()
    assert first.to_dict() == WHOLE[0]
    assert events.get(timeout=SOON) is DONE
    with pytest.raises(ShutDown):
        events.get()


def test_stream_close_releases_every_thread_that_is_blocked(
    server: ScriptedServer, chat: Chat
) -> None:
    go = threading.Event()
    server.play(answer([Wait(go), *WHOLE]))
    events = chat(stream_close=True)

    def get() -> Any:
        try:
            return events.get()
        except ShutDown as error:
            return error

    with threads(10, get) as getting:
        wait_for_takers(events, 10)
        go.set()
        got = [future.result(SOON) for future in getting]
    assert got.count(DONE) == 1
    assert sum(isinstance(item, ShutDown) for item in got) == 10 - 1 - len(WHOLE)


def test_without_stream_close_one_thread_gets_done_and_the_others_wait(
    server: ScriptedServer, chat: Chat
) -> None:
    go = threading.Event()
    server.play(answer([Wait(go)]))
    events = chat()
    with threads(3, events.get) as getting:
        wait_for_takers(events, 3)
        events.close()
        wait_for_takers(events, 2)
        assert sum(future.done() for future in getting) <= 1
        events.put("more")
        events.put("and more")
        got = [future.result(SOON) for future in getting]
    assert sorted(map(str, got)) == ["DONE", "and more", "more"]


# What queue.Queue has besides -----------------------------------------------------------------


def test_where_queue_queue_is_not_pythons_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """As after gevent's monkey-patching, which puts a compiled class there."""
    compiled = type("Queue", (), {"__module__": "gevent._gevent_cqueue"})
    assert taking.queue_class() is queue.Queue
    monkeypatch.setattr(queue, "Queue", compiled)
    plain = taking.queue_class()
    assert plain.__module__ == "queue"
    numbers = plain(1)
    numbers.put(1)
    assert numbers.full()
    assert numbers.queue == deque([1])


def test_one_that_could_not_be_made_is_dropped_without_a_word() -> None:
    with pytest.raises(TypeError, match="argument"):
        EventQueue()  # type: ignore[call-arg]
    gc.collect()


def test_sizes(server: ScriptedServer, chat: Chat) -> None:
    server.play(answer(WHOLE), answer(WHOLE), answer(WHOLE))
    events = chat()
    events.stream.result(SOON)
    assert (events.qsize(), events.empty(), events.full()) == (6, False, False)
    assert events.maxsize == 0

    bounded = chat(maxsize=5)
    bounded.stream.result(SOON)  # all fits, and for DONE there is always room
    assert (bounded.qsize(), bounded.full(), bounded.maxsize) == (6, True, 5)
    bounded.get()
    assert bounded.full()
    bounded.get()
    assert not bounded.full()

    unbounded = chat(maxsize=-1)
    unbounded.stream.result(SOON)
    assert (unbounded.qsize(), unbounded.full()) == (6, False)


def test_putting_something_of_ones_own(server: ScriptedServer, chat: Chat) -> None:
    go = threading.Event()
    server.play(answer([Wait(go), *WHOLE]))
    events = chat()
    events.put("mine")
    events.put_nowait(None)
    go.set()
    items = taken(events)
    assert items[:2] == ["mine", None]
    assert as_dicts(items[2:]) == [*WHOLE, DONE]


def test_putting_into_a_full_queue(server: ScriptedServer, chat: Chat) -> None:
    server.play(answer([Hang()]))
    with chat(maxsize=1) as events:
        events.put(1)
        with pytest.raises(queue.Full):
            events.put_nowait(2)
        with pytest.raises(queue.Full):
            events.put(2, block=False, timeout=-1)
        with pytest.raises(queue.Full):
            events.put(2, timeout=0)
        start = time.monotonic()
        with pytest.raises(queue.Full):
            events.put(2, timeout=0.05)
        assert time.monotonic() - start >= 0.045
        with pytest.raises(ValueError, match=r"^'timeout' must be a non-negative number$"):
            events.put(2, timeout=-1)
        with threads(2, lambda: events.put(2)) as putting:
            assert not any(future.done() for future in putting)
            assert [events.get(timeout=SOON) for _ in range(3)] == [1, 2, 2]
            for future in putting:
                future.result(SOON)


class Hasty(deque[Any]):
    """Whoever asks how much is in it finds that another thread took an item right after."""

    def __len__(self) -> int:
        size = super().__len__()
        if size:
            self.popleft()
        return size


def test_an_item_taken_while_put_looks_for_room_makes_room(
    server: ScriptedServer, chat: Chat
) -> None:
    server.play(answer([Hang()]))
    with chat(maxsize=1) as events:
        events.put(1)
        events._bursts.items = events.queue = Hasty(events.queue)
        events.put(2, timeout=SOON)
        assert events.get(timeout=SOON) == 2


def test_join_counts_what_was_put(server: ScriptedServer, chat: Chat) -> None:
    server.play(answer([Hang()]))
    with chat() as events:
        for number in range(3):
            events.put(number)
        with threads(1, events.join) as (joining,):
            wait_for_waiters(events.all_tasks_done, 1)
            events.task_done()
            events.task_done()
            assert not joining.done()
            events.task_done()
            joining.result(SOON)
        with pytest.raises(ValueError, match="too many"):
            events.task_done()


def test_join_waits_for_every_item_to_be_done_with(server: ScriptedServer, chat: Chat) -> None:
    server.play(answer(WHOLE))
    events = chat()
    items = [events.get(timeout=SOON) for _ in range(len(WHOLE))]
    assert events.get(timeout=SOON) is DONE
    with threads(1, events.join) as (joining,):
        for _ in items:
            events.task_done()
        assert not joining.done()
        events.task_done()  # that was DONE
        joining.result(SOON)
    with pytest.raises(ValueError, match="too many"):
        events.task_done()


def test_join_does_not_wait_for_an_error_that_was_raised(
    server: ScriptedServer, chat: Chat
) -> None:
    server.play(answer([WHOLE[0], Reset()]))
    events = chat()
    events.get(timeout=SOON)
    with pytest.raises(StreamInterruptedError):
        events.get(timeout=SOON)
    events.task_done()
    with threads(1, events.join) as (joining,):
        joining.result(SOON)


def test_shutdown_lets_what_is_there_be_taken(server: ScriptedServer, chat: Chat) -> None:
    server.play(answer([WHOLE[0], Hang()]))
    events = chat()
    while events.empty():
        time.sleep(0.001)
    events.shutdown()
    assert events.stream.cancelled()
    assert as_dicts([events.get(), events.get()]) == [WHOLE[0], DONE]
    for call in (events.get, events.get_nowait, lambda: events.put(1)):
        with pytest.raises(ShutDown):
            call()
    assert server.connections[0].client_closed.wait(SOON)


def test_immediate_shutdown_drops_what_is_there(server: ScriptedServer, chat: Chat) -> None:
    server.play(answer([WHOLE[0], Hang()]))
    events = chat()
    while events.empty():
        time.sleep(0.001)
    with threads(1, events.join) as (joining,):
        events.shutdown(immediate=True)
        joining.result(SOON)
    assert events.empty()
    with pytest.raises(ShutDown):
        events.get()
    assert list(events) == []  # closed, as by close()


def test_join_after_immediate_shutdown_waits_for_what_was_taken(
    server: ScriptedServer, chat: Chat
) -> None:
    server.play(answer([Hang()]))
    events = chat()
    for number in range(3):
        events.put(number)
    events.get(timeout=SOON)
    events.shutdown(immediate=True)
    with threads(1, events.join) as (joining,):
        wait_for_waiters(events.all_tasks_done, 1)
        assert not joining.done()
        events.task_done()
        joining.result(SOON)


def test_gives_an_event_to_the_next_one_if_who_was_woken_for_it_is_interrupted(
    server: ScriptedServer, chat: Chat
) -> None:
    class Interrupt(BaseException):
        pass

    def interrupt(*_: object) -> None:
        raise Interrupt

    server.play(answer([Hang()]))
    events = chat()
    this = threading.get_ident()

    def second() -> Any:
        wait_for_takers(events, 1)
        with threads(1, events.get) as (next_one,):
            wait_for_takers(events, 2)
            # The first runs only when this thread waits: it is woken then, but has not taken it.
            events.put("an item")
            signal.pthread_kill(this, signal.SIGUSR1)
            return next_one.result(SOON)

    usual, handler = sys.getswitchinterval(), signal.signal(signal.SIGUSR1, interrupt)
    sys.setswitchinterval(1.0)
    try:
        with threads(1, second) as (asked,):
            with pytest.raises(Interrupt):
                events.get()
            assert asked.result(SOON) == "an item"
    finally:
        sys.setswitchinterval(usual)
        signal.signal(signal.SIGUSR1, handler)
    events.close()


def test_has_all_that_a_queue_has(server: ScriptedServer, chat: Chat) -> None:
    server.play(answer([]))
    events = chat(maxsize=3)
    plain: queue.Queue[Any] = queue.Queue(3)
    for name, value in vars(plain).items():
        assert type(getattr(events, name)) is type(value) or name in ("mutex", "not_full")
    assert events.maxsize == plain.maxsize
    taken(events)


def test_shutdown_releases_who_puts_and_who_takes(server: ScriptedServer, chat: Chat) -> None:
    server.play(answer([Hang()]), answer([Hang()]))
    full, empty = chat(maxsize=1), chat()
    full.put(1)
    with threads(1, lambda: full.put(2)) as (putting,), threads(2, empty.get) as getting:
        wait_for_takers(empty, 2)
        full.shutdown()
        with pytest.raises(ShutDown):
            putting.result(SOON)
        empty.shutdown()
        ends = [future.exception(SOON) or future.result() for future in getting]
    assert sum(end is DONE for end in ends) == 1
    assert sum(isinstance(end, ShutDown) for end in ends) == 1


@pytest.mark.parametrize("duplicate", [pickle.dumps, copy.copy, copy.deepcopy])
def test_there_is_no_second_one(
    server: ScriptedServer, chat: Chat, duplicate: Callable[[Any], Any]
) -> None:
    server.play(answer([Hang()]))
    with (
        chat() as events,
        pytest.raises(
            TypeError, match=r"^a stream's queue has a lock, and cannot be copied or pickled$"
        ),
    ):
        duplicate(events)


def test_repr(server: ScriptedServer, chat: Chat) -> None:
    server.play(answer(WHOLE))
    events = chat()
    events.stream.result(SOON)
    assert repr(events) == "<EventQueue of 6, done>"


# Loops ---------------------------------------------------------------------------------------


def test_a_loop_runs_to_the_end(server: ScriptedServer, chat: Chat) -> None:
    server.play(answer(WHOLE))
    events = chat()
    assert as_dicts(list(events)) == WHOLE
    assert list(events) == []  # and is over at once from then on
    with pytest.raises(queue.Empty):
        events.get_nowait()


def test_a_loop_after_get_took_the_end(server: ScriptedServer, chat: Chat) -> None:
    server.play(answer(WHOLE), answer(WHOLE))
    events = chat()
    taken(events)
    assert list(events) == []
    shut = chat(stream_close=True)
    taken(shut)
    assert list(shut) == []


def test_an_error_is_raised_from_every_loop(server: ScriptedServer, chat: Chat) -> None:
    server.play(answer([*WHOLE[:2], Reset()]))
    events = chat()
    got: list[Any] = []
    with pytest.raises(StreamInterruptedError) as first:
        got.extend(events)
    assert as_dicts(got) == WHOLE[:2]
    for _ in range(2):
        with pytest.raises(StreamInterruptedError) as again:
            list(events)
        assert again.value is first.value
    with pytest.raises(queue.Empty):
        events.get_nowait()


def test_an_error_that_get_took_is_raised_from_a_loop(server: ScriptedServer, chat: Chat) -> None:
    server.play(answer([Reset()]))
    events = chat()
    with pytest.raises(StreamInterruptedError):
        events.get(timeout=SOON)
    with pytest.raises(StreamInterruptedError):
        list(events)


@pytest.mark.parametrize("stream_close", [False, True])
def test_loops_in_many_threads_all_finish(
    server: ScriptedServer, chat: Chat, stream_close: bool
) -> None:
    for _ in range(20):
        go = threading.Event()
        server.play(answer([Wait(go), *WHOLE]))
        events = chat(stream_close=stream_close)
        with threads(8, lambda events=events: list(events)) as loops:  # type: ignore[misc]
            wait_for_takers(events, 8)
            go.set()
            got = [event for loop in loops for event in loop.result(SOON)]
        assert len(got) == len(WHOLE)


def test_loops_in_many_threads_all_raise(server: ScriptedServer, chat: Chat) -> None:
    go = threading.Event()
    server.play(answer([Wait(go), Reset()]))
    events = chat()
    with threads(8, lambda: list(events)) as loops:
        wait_for_takers(events, 8)
        go.set()
        errors = {loop.exception(SOON) for loop in loops}
    assert errors == {events.stream.exception()}


def test_a_waiting_loop_ends_when_get_takes_the_end(server: ScriptedServer, chat: Chat) -> None:
    server.play(answer([Hang()]))
    events = chat()
    with threads(1, events.get) as (getting,), threads(1, lambda: list(events)) as (loop,):
        wait_for_takers(events, 2)
        events.close()
        assert loop.result(SOON) == []
        if not getting.done():  # the loop was first
            events.put(DONE)
        assert getting.result(SOON) is DONE


def test_a_loop_over_a_shut_down_queue_never_sees_shutdown(
    server: ScriptedServer, chat: Chat
) -> None:
    """Whoever takes the end, between that and the next look at the queue nothing may be seen."""
    for _ in range(100):
        server.play(answer([Hang()]))
        events = chat(stream_close=True)
        with threads(4, lambda events=events: list(events)) as loops:  # type: ignore[misc]
            events.close()
            assert [loop.result(SOON) for loop in loops] == [[], [], [], []]


def test_leaving_the_loop_early_does_not_close(server: ScriptedServer, chat: Chat) -> None:
    go = threading.Event()
    server.play(answer([*WHOLE[:2], Wait(go), *WHOLE[2:]]))
    events = chat()
    for event in events:
        assert event.to_dict() == WHOLE[0]
        break
    assert events.stream.running()
    go.set()
    assert as_dicts(list(events)) == WHOLE[1:]
    assert events.stream.result(SOON).choices[0].message.content == "one two three"


def test_leaving_the_with_block_closes(server: ScriptedServer, chat: Chat) -> None:
    server.play(answer([*WHOLE[:2], Hang()]))
    with chat() as events:
        assert events.get(timeout=SOON).to_dict() == WHOLE[0]
        assert events.get(timeout=SOON).to_dict() == WHOLE[1]
        assert events.stream.running()
    assert events.stream.cancelled()
    assert server.connections[0].client_closed.wait(SOON)
    assert events.get() is DONE


def test_leaving_the_with_block_by_an_exception_closes(server: ScriptedServer, chat: Chat) -> None:
    server.play(answer([*WHOLE[:2], Hang()]))
    with pytest.raises(KeyError), chat() as events:
        raise KeyError
    assert events.stream.cancelled()


# Text ----------------------------------------------------------------------------------------


def test_text(server: ScriptedServer, chat: Chat) -> None:
    server.play(answer(WHOLE))
    assert list(chat().text()) == ["one", " two", " three"]


def test_text_of_another_choice(server: ScriptedServer, chat: Chat) -> None:
    def of_choice(index: int, text: str) -> list[dict[str, Any]]:
        chunks = copy.deepcopy(chat_chunks(text))
        for chunk in chunks:
            chunk["choices"][0]["index"] = index
        return chunks

    both = of_choice(0, "one two") + of_choice(1, "three four")
    server.play(answer(both), answer(both), answer(both))
    assert list(chat().text()) == ["one", " two"]
    assert list(chat().text(choice=1)) == ["three", " four"]
    assert list(chat().text(2)) == []


def test_text_of_a_text_completion(server: ScriptedServer, client: Client) -> None:
    server.play(answer(completion_chunks("one two")))
    events = client.create_completion(model="any", prompt="Count", stream=True)
    assert list(events.text()) == ["one", " two"]


def test_text_raises_the_error_behind_the_text(server: ScriptedServer, chat: Chat) -> None:
    server.play(answer([*WHOLE[:3], Reset()]))
    text = chat().text()
    assert [next(text), next(text)] == ["one", " two"]
    with pytest.raises(StreamInterruptedError):
        next(text)


# Many consumers, bounds ----------------------------------------------------------------------


@pytest.mark.parametrize("maxsize", [0, 3])
def test_each_event_goes_to_one_of_many_threads_in_order(
    server: ScriptedServer, chat: Chat, maxsize: int
) -> None:
    whole = chat_chunks([f"{number} " for number in range(3000)])
    server.play(answer(whole, events_per_chunk=7))
    events = chat(maxsize=maxsize)

    def consume() -> list[int]:
        mine = []
        for event in events:
            text = event.choices[0].delta.content
            if text:
                mine.append(int(text))
        return mine

    with threads(8, consume) as consumers:
        shares = [consumer.result(SOON) for consumer in consumers]
    assert all(share == sorted(share) for share in shares)
    assert sorted(number for share in shares for number in share) == list(range(3000))


@pytest.mark.parametrize("maxsize", [1, 2, 64, 65])
def test_a_bound_keeps_order_and_number(server: ScriptedServer, chat: Chat, maxsize: int) -> None:
    whole = chat_chunks([f"{number} " for number in range(1000)])
    server.play(answer(whole, events_per_chunk=100))
    events = chat(maxsize=maxsize)
    most, items = 0, []
    for event in events:
        most = max(most, events.qsize())
        items.append(event)
    assert as_dicts(items) == whole
    assert most <= maxsize + 1  # DONE


def test_a_full_queue_holds_the_server_back() -> None:
    filling = "x" * 10_000
    whole = chat_chunks([filling] * 3000)  # 30 MB, more than all buffers on the way hold
    with (
        ScriptedServer(send_buffer=65536) as server,
        Client(api_key="test", base_url=server.base_url) as client,
    ):
        server.play(answer(whole))
        events: EventQueue[Any] = client.create_chat_completion(**BODY, stream=True, maxsize=8)
        (connection,) = server.wait_for_connections(1)
        assert connection.wait_until_blocked()
        sent = connection.sent
        assert sent < 20_000_000
        assert events.qsize() == 8
        assert events.stream.stats.events < 3000
        assert as_dicts(list(events)) == whole
        assert events.stream.result(SOON).choices[0].message.content == filling * 3000


def test_taking_from_a_full_queue_lets_the_next_one_in(server: ScriptedServer, chat: Chat) -> None:
    server.play(answer(WHOLE))
    events = chat(maxsize=1)
    for number in range(len(WHOLE)):
        deadline = time.monotonic() + SOON
        while not events.full():
            assert time.monotonic() < deadline
            time.sleep(0.001)
        assert events.get_nowait().to_dict() == WHOLE[number]
    assert events.get(timeout=SOON) is DONE


def test_who_drops_a_full_queue_frees_the_reader(server: ScriptedServer, chat: Chat) -> None:
    server.play(answer(WHOLE))
    events = chat(maxsize=1)
    stream = events.stream
    wait_for_no_room(stream._core)
    del events
    assert stream.result(SOON).choices[0].message.content == "one two three"


def test_done_has_room_in_a_full_queue(server: ScriptedServer, chat: Chat) -> None:
    sent = threading.Event()
    server.play(answer([*WHOLE[:4], Call(sent.set), Hang()]))
    events = chat(maxsize=2)
    assert sent.wait(SOON)
    deadline = time.monotonic() + SOON
    while events.qsize() < 2:
        assert time.monotonic() < deadline
        time.sleep(0.001)
    events.close()
    assert events.qsize() == 3
    assert as_dicts([events.get(), events.get(), events.get()]) == [*WHOLE[:2], DONE]
    with pytest.raises(CancelledError):
        events.stream.result()


def test_an_error_has_room_in_a_full_queue(server: ScriptedServer, chat: Chat) -> None:
    server.play(answer([*WHOLE[:2], Reset()]))
    events = chat(maxsize=2)
    assert isinstance(events.stream.exception(SOON), StreamInterruptedError)
    assert as_dicts([events.get(), events.get()]) == WHOLE[:2]
    with pytest.raises(StreamInterruptedError):
        events.get()


# DONE ----------------------------------------------------------------------------------------


def test_done_is_the_one_member_of_its_enum() -> None:
    assert isinstance(DONE, enum.Enum)
    assert list(Done) == [DONE]
    assert repr(DONE) == str(DONE) == "DONE"
    assert bool(DONE)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_done_survives_pickling(protocol: int) -> None:
    assert pickle.loads(pickle.dumps(DONE, protocol)) is DONE  # noqa: S301 - our own


def test_done_survives_copying() -> None:
    assert copy.copy(DONE) is DONE
    assert copy.deepcopy([DONE]) == [DONE]
    assert copy.deepcopy([DONE])[0] is DONE
