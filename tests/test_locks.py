"""The lock that finalizers may use: nobody waits who must not, and nothing is forgotten."""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from helpers import SOON

from openai_stream import locks
from openai_stream.locks import HandoverLock


@pytest.fixture
def lock() -> HandoverLock:
    return HandoverLock()


class Holder:
    """A thread that holds the lock for as long as a ``with`` block lasts, or so many seconds."""

    def __init__(
        self,
        lock: HandoverLock,
        seconds: float = SOON,
        released: threading.Event | None = None,
    ) -> None:
        self._lock = lock
        self._seconds = seconds
        self._released = released or threading.Event()
        self._held = threading.Event()
        self._let_go = threading.Event()
        self.thread = threading.Thread(target=self._hold)

    def _hold(self) -> None:
        with self._lock:
            self._held.set()
            self._let_go.wait(self._seconds)
            self._released.set()

    def __enter__(self) -> Holder:
        self.thread.start()
        assert self._held.wait(SOON)
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._let_go.set()
        self.thread.join(SOON)
        assert not self.thread.is_alive()


class Dropped:
    """Something with a finalizer."""

    def __init__(self, finalizer: Callable[[], object]) -> None:
        self._finalizer = finalizer

    def __del__(self) -> None:
        self._finalizer()


def test_only_one_thread_at_a_time_is_inside(lock: HandoverLock) -> None:
    inside = most = total = 0
    start = threading.Barrier(8)

    def enter_often() -> None:
        nonlocal inside, most, total
        start.wait(SOON)
        for _ in range(500):
            with lock:
                inside += 1
                most = max(most, inside)
                before = total
                threading.Event().is_set()  # a call: room for another thread to come in between
                total = before + 1
                inside -= 1

    with ThreadPoolExecutor(8) as pool:
        for future in [pool.submit(enter_often) for _ in range(8)]:
            future.result(SOON)
    assert (most, total, lock.locked()) == (1, 4000, False)


def test_it_is_tried_and_timed_as_any_lock(lock: HandoverLock) -> None:
    with Holder(lock):
        assert lock.locked()
        assert not lock.acquire(False)
        assert not lock.acquire(timeout=0.01)
    assert not lock.locked()
    assert lock.acquire(False)
    assert lock.locked()
    lock.release()
    assert not lock.locked()
    with pytest.raises(RuntimeError):
        lock.release()


def test_work_is_done_at_once_when_the_lock_is_free(lock: HandoverLock) -> None:
    done: list[tuple[threading.Thread, bool]] = []
    lock.hand_over(lambda: done.append((threading.current_thread(), lock.locked())))
    assert done == [(threading.current_thread(), True)]
    assert not lock.locked()


def test_work_is_left_to_another_thread_that_holds_the_lock(lock: HandoverLock) -> None:
    done: list[tuple[threading.Thread, bool]] = []
    with Holder(lock) as holder:
        lock.hand_over(lambda: done.append((threading.current_thread(), lock.locked())))
        assert done == []
    assert done == [(holder.thread, True)]
    assert not lock.locked()


def test_work_of_a_finalizer_on_the_holding_thread_is_done_on_leaving(lock: HandoverLock) -> None:
    done: list[bool] = []
    dropped: Dropped | None = Dropped(lambda: lock.hand_over(lambda: done.append(lock.locked())))
    with lock:
        assert dropped is not None
        dropped = None  # the finalizer runs here: were it to wait, this would be the end
        assert done == []
    assert done == [True]
    assert not lock.locked()


def test_work_is_done_when_the_block_is_left_by_an_exception(lock: HandoverLock) -> None:
    done: list[int] = []
    with contextlib.suppress(KeyError), lock:
        lock.hand_over(lambda: done.append(1))
        raise KeyError
    assert done == [1]


def test_work_is_done_in_order_and_once(lock: HandoverLock) -> None:
    done: list[int] = []
    with lock:
        for number in range(5):
            lock.hand_over(lambda number=number: done.append(number))  # type: ignore[misc]
    with lock:
        pass
    assert done == [0, 1, 2, 3, 4]


def test_work_that_hands_over_work(lock: HandoverLock) -> None:
    done: list[str] = []

    def outer() -> None:
        lock.hand_over(lambda: done.append("inner"))  # what a finalizer in here would do
        done.append("outer")

    lock.hand_over(outer)
    assert done == ["outer", "inner"]
    assert not lock.locked()


class TestRun:
    """Done when it returns, but on a thread that holds the lock itself."""

    def test_on_a_free_lock(self, lock: HandoverLock) -> None:
        done: list[bool] = []
        lock.run(lambda: done.append(lock.locked()))
        assert done == [True]
        assert not lock.locked()

    def test_waits_for_another_thread(self, lock: HandoverLock) -> None:
        done: list[threading.Thread] = []
        released = threading.Event()
        with Holder(lock, 0.005, released):
            lock.run(lambda: done.append(threading.current_thread()))
            assert released.is_set()
            assert done == [threading.current_thread()]

    def test_waits_for_a_thread_that_is_long_held_up(self, lock: HandoverLock) -> None:
        """On a busy machine a moment of a thread's may last for a hundred of others'."""
        done: list[threading.Thread] = []
        with Holder(lock, 0.2):
            lock.run(lambda: done.append(threading.current_thread()))
            assert done == [threading.current_thread()]

    def test_leaves_the_work_to_a_holder_that_waits_for_it(
        self, lock: HandoverLock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A signal's handler that interrupted the holder may wait for a thread that closes."""
        monkeypatch.setattr(locks, "_PATIENCE", 0.05)
        done: list[bool] = []
        with Holder(lock):
            lock.run(lambda: done.append(lock.locked()))
            assert done == []
        assert done == [True]

    def test_in_a_signal_handler_that_interrupts_the_holder(self, lock: HandoverLock) -> None:
        done: list[bool] = []
        with lock:
            lock.run(lambda: done.append(lock.locked()))  # were it to wait, it would be for ever
            assert done == []
        assert done == [True]

    def test_many_at_once_are_done_when_they_return(self, lock: HandoverLock) -> None:
        """Also when somebody else does noted work just then."""
        start = threading.Barrier(4)
        usual = sys.getswitchinterval()

        def run_often() -> None:
            start.wait(SOON)
            for _ in range(1000):
                done: list[int] = []
                lock.run(lambda done=done: done.append(1))  # type: ignore[misc]
                assert done == [1]

        sys.setswitchinterval(1e-6)
        try:
            with ThreadPoolExecutor(4) as pool:
                for future in [pool.submit(run_often) for _ in range(4)]:
                    future.result(SOON)
        finally:
            sys.setswitchinterval(usual)
        assert not lock.locked()


def test_work_that_raises_leaves_the_lock_free(lock: HandoverLock) -> None:
    with pytest.raises(ZeroDivisionError):
        lock.hand_over(lambda: 1 // 0)
    assert not lock.locked()
    with lock:
        pass  # and is not done again


def test_nothing_is_forgotten_whoever_comes_first(lock: HandoverLock) -> None:
    rounds, done = 2000, []
    both = threading.Barrier(2)

    def hold() -> None:
        for _ in range(rounds):
            both.wait(SOON)
            with lock:
                pass
            both.wait(SOON)

    holder = threading.Thread(target=hold)
    holder.start()
    for number in range(rounds):
        both.wait(SOON)
        lock.hand_over(lambda number=number: done.append(number))  # type: ignore[misc]
        both.wait(SOON)
        # Both have come and gone: there is nobody left to do it later.
        assert done == list(range(number + 1))
    holder.join(SOON)


def test_nothing_is_forgotten_in_a_crowd(lock: HandoverLock) -> None:
    done: list[int] = []
    inside = 0
    start = threading.Barrier(6)

    def work(number: int) -> None:
        nonlocal inside
        inside += 1
        assert inside == 1
        done.append(number)
        inside -= 1

    def come_and_go(thread: int) -> None:
        nonlocal inside
        start.wait(SOON)
        for count in range(500):
            number = thread * 500 + count
            if count % 2:
                with lock:
                    inside += 1
                    assert inside == 1
                    lock.hand_over(lambda number=number: work(number))  # type: ignore[misc]
                    inside -= 1
            else:
                lock.hand_over(lambda number=number: work(number))  # type: ignore[misc]

    with ThreadPoolExecutor(6) as pool:
        for future in [pool.submit(come_and_go, thread) for thread in range(6)]:
            future.result(SOON)
    assert sorted(done) == list(range(3000))
    assert not lock.locked()


class TestUnderACondition:
    @pytest.fixture
    def condition(self, lock: HandoverLock) -> threading.Condition:
        return threading.Condition(lock)  # type: ignore[arg-type]

    def test_work_that_notifies_wakes_who_waits(
        self, lock: HandoverLock, condition: threading.Condition
    ) -> None:
        woken = threading.Event()
        waiting = threading.Event()

        def wait() -> None:
            with condition:
                waiting.set()
                assert condition.wait(SOON)
            woken.set()

        waiter = threading.Thread(target=wait)
        waiter.start()
        assert waiting.wait(SOON)
        with lock:
            pass  # now it has let go of the lock, and waits
        lock.hand_over(condition.notify_all)
        assert woken.wait(SOON)
        waiter.join(SOON)

    def test_work_that_was_noted_is_done_when_the_wait_begins(
        self, lock: HandoverLock, condition: threading.Condition
    ) -> None:
        """A waiter's own finalizers run before it waits, so they can still wake it."""
        with condition:
            lock.hand_over(condition.notify_all)
            assert condition.wait(SOON)

    def test_work_that_comes_during_a_notification(
        self, lock: HandoverLock, condition: threading.Condition
    ) -> None:
        done: list[int] = []
        with condition:
            condition.notify_all()
            lock.hand_over(lambda: done.append(1))
            assert done == []
        assert done == [1]

    def test_an_exception_that_comes_while_the_lock_is_taken_again_is_kept(
        self, lock: HandoverLock, condition: threading.Condition
    ) -> None:
        """A signal's handler may raise while a woken thread waits for the lock."""

        def wait_interrupted() -> None:
            with lock:
                lock.release()  # as a condition does while it waits
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            wait_interrupted()
        assert not lock.locked()

    def test_to_notify_the_lock_must_be_held(self, condition: threading.Condition) -> None:
        with pytest.raises(RuntimeError):
            condition.notify_all()
