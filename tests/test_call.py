"""A call on the network by itself: a clock that stands still, sockets that only take notes.

What becomes of them on a real socket, ``test_timeouts``, ``test_framing`` and ``test_faults`` tell;
here that is only what the messages say.
"""

from __future__ import annotations

import math
import os
import socket
import threading
from collections.abc import Callable
from typing import Any

import pytest
import requests
from helpers import SOON

from openai_stream import Timeout, transport
from openai_stream.transport import Aborted, Expired, NetworkCall
from openai_stream.transport.current import current_call


class Clock:
    """What the time is, as long as nobody says otherwise."""

    def __init__(self) -> None:
        self.time = 1000.0

    def __call__(self) -> float:
        return self.time


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    for module in ("call", "deadlines"):
        monkeypatch.setattr(f"openai_stream.transport.{module}.monotonic", clock)
    return clock


class Notes:
    """A socket that notes its timeouts, and sends a few bytes at a time."""

    def __init__(self, clock: Clock | None = None, *, takes: int = 5, seconds: float = 0.0) -> None:
        self.timeouts: list[float] = []
        self.sent = b""
        self._clock, self._takes, self._seconds = clock, takes, seconds

    def settimeout(self, seconds: float) -> None:
        self.timeouts.append(seconds)

    def send(self, data: memoryview) -> int:
        if self._clock is not None:
            self._clock.time += self._seconds
        if not self._takes:
            raise TimeoutError
        self.sent += data[: self._takes]
        return min(self._takes, len(data))


def begun_call(streaming: bool = True, **limits: float | None) -> NetworkCall:
    never = dict.fromkeys(("connect", "idle", "gap", "total"))
    begun = NetworkCall(Timeout(**{**never, **limits}), streaming=streaming)
    begun.begin()
    begun.connected(0.0)
    return begun


def timeout_of_a_wait(of: NetworkCall, *, sending: bool = False) -> float:
    sock = Notes()
    of.enter(None)  # another socket, as far as it knows: nothing is set on it yet
    of.arm(sock, sending=sending)
    (seconds,) = sock.timeouts
    return seconds


def abort(one: NetworkCall) -> None:
    with one.lock:
        one.abort()


def test_a_request_sent_from_within_another_gives_the_call_back() -> None:
    inside = []
    outer, inner = begun_call(), begun_call()

    class Nesting(requests.Session):
        def send(self, request: Any, **kwargs: Any) -> Any:
            inside.append(current_call())
            if request.url.endswith("outer"):
                made = requests.Request("GET", "http://localhost/inner")
                transport.send(self, made, made.prepare(), inner)
                inside.append(current_call())
            return requests.Response()

    with Nesting() as session:
        made = requests.Request("GET", "http://localhost/outer")
        transport.send(session, made, made.prepare(), outer)
    assert inside == [outer, inner, outer]
    assert current_call() is None


# How long a wait may be ----------------------------------------------------------------------


@pytest.mark.usefixtures("clock")
@pytest.mark.parametrize(
    ("limits", "wait", "deadline"),
    [
        ({"idle": 3.0, "gap": 5.0, "total": 9.0}, 3.0, "idle"),
        ({"idle": 7.0, "gap": 5.0, "total": 9.0}, 5.0, "gap"),
        ({"idle": 7.0, "gap": 5.0, "total": 2.0}, 2.0, "total"),
        ({"total": 2.0}, 2.0, "total"),
        ({"gap": 2.0}, 2.0, "gap"),
    ],
)
def test_the_nearest_deadline_bounds_the_wait_and_is_told(
    limits: dict[str, Any], wait: float, deadline: str
) -> None:
    one = begun_call(**limits)
    assert timeout_of_a_wait(one) == wait
    with pytest.raises(Expired, match=f"^the {deadline} time is up$"):
        one.timed_out()
    assert one.expired == deadline


@pytest.mark.usefixtures("clock")
def test_without_limits_a_wait_is_as_long_as_a_socket_can_bear() -> None:
    seconds = timeout_of_a_wait(begun_call())
    assert 3600 * 24 * 30 < seconds < math.inf
    with socket.socket() as sock:
        sock.settimeout(seconds)


def test_gap_and_total_run_on_and_idle_starts_anew(clock: Clock) -> None:
    one = begun_call(idle=10.0, gap=5.0, total=100.0)
    one.waited = 3.0
    assert timeout_of_a_wait(one) == 2.0
    one.waited = 0.0
    clock.time += 98.0
    assert timeout_of_a_wait(one) == 2.0
    one.waited = 4.0
    assert timeout_of_a_wait(one) == 1.0


def test_the_deadline_is_the_one_that_was_nearest_as_the_wait_began(clock: Clock) -> None:
    one = begun_call(idle=3.0, total=10.0)
    clock.time += 6.9
    assert timeout_of_a_wait(one) == 3.0
    clock.time += 3.0
    with pytest.raises(Expired, match=r"^the idle time is up$"):
        one.timed_out()


def test_where_no_time_is_left(clock: Clock) -> None:
    one = begun_call(gap=5.0, total=20.0)
    one.waited = 5.0
    sock = Notes()
    with pytest.raises(Expired):
        one.arm(sock)
    assert (one.expired, sock.timeouts) == ("gap", [])
    one.waited = 0.0
    clock.time += 20.0
    with pytest.raises(Expired):
        one.arm(sock)
    assert one.expired == "total"
    with pytest.raises(Expired, match=r"^the total time is up$"):
        one.check()


@pytest.mark.usefixtures("clock")
def test_without_events_gap_is_for_the_headers_and_idle_for_the_rest() -> None:
    one = begun_call(streaming=False, idle=3.0, gap=5.0)
    assert timeout_of_a_wait(one, sending=True) == 3.0
    assert timeout_of_a_wait(one) == 5.0
    one.in_body = True
    one.waited = 4.0
    assert timeout_of_a_wait(one) == 3.0
    with pytest.raises(Expired):
        one.timed_out()
    assert one.expired == "idle"


def test_what_is_left_can_be_limited_further(clock: Clock) -> None:
    one = begun_call(idle=3.0)
    one.limit(0.5)
    clock.time += 0.2
    assert timeout_of_a_wait(one) == pytest.approx(0.3)
    one.begin()  # the next attempt has its own limits
    one.connected(0.0)
    assert timeout_of_a_wait(one) == 3.0


def test_a_timeout_is_set_only_where_the_old_one_will_not_do(clock: Clock) -> None:
    one = begun_call(idle=3.0, total=10.0)
    sock = Notes()
    for _ in range(5):
        one.arm(sock)
    assert sock.timeouts == [3.0]
    clock.time += 7.1  # 2.9 are left: near enough
    one.arm(sock)
    assert sock.timeouts == [3.0]
    clock.time += 0.2
    one.arm(sock)
    assert sock.timeouts == [3.0, pytest.approx(2.7)]


@pytest.mark.usefixtures("clock")
def test_limits_of_connections_that_are_not_ours() -> None:
    assert begun_call(idle=3.0, gap=5.0, connect=2.0).given_limits() == (2.0, 3.0)
    assert begun_call(idle=7.0, gap=5.0).given_limits()[1] == 5.0
    assert begun_call(idle=7.0, gap=5.0, connect=3.0, total=2.0).given_limits() == (2.0, 2.0)
    assert begun_call(streaming=False, idle=3.0, gap=5.0).given_limits()[1] == 5.0
    assert min(begun_call().given_limits()) > 3600
    late = begun_call(gap=1e-9, connect=1e-9)
    assert late.given_limits() == (0.001, 0.001)  # 0 would be: do not wait


@pytest.mark.usefixtures("clock")
def test_connect_is_not_watched_before_a_connection_of_ours_begins(clock: Clock) -> None:
    one = NetworkCall(Timeout(connect=4.0, idle=9.0), streaming=True)
    one.begin()
    clock.time += 5.0
    assert one.seconds_to_connect() > 3600
    assert timeout_of_a_wait(one) == 9.0
    one.begin_connecting()
    assert one.seconds_to_connect() == 4.0


# Connecting ----------------------------------------------------------------------------------


def test_connecting_has_one_limit_for_each_attempt(clock: Clock) -> None:
    one = NetworkCall(Timeout(connect=4.0, total=10.0), streaming=True)
    one.begin()
    one.begin_connecting()
    assert one.seconds_to_connect() == 4.0
    clock.time += 3.0
    assert one.seconds_to_connect() == 1.0
    clock.time += 1.0
    with pytest.raises(Expired, match=r"^the connect time is up$"):
        one.seconds_to_connect()
    assert one.expired == "connect"
    one.begin()
    one.begin_connecting()
    assert one.seconds_to_connect() == 4.0
    clock.time += 3.5
    assert one.seconds_to_connect() == 0.5
    one.begin()
    one.begin_connecting()
    assert one.seconds_to_connect() == 2.5  # of total
    with pytest.raises(Expired):
        one.connecting_timed_out()
    assert one.expired == "connect"
    clock.time += 2.5
    for what in (one.seconds_to_connect, one.connecting_timed_out, one.begin, one.check):
        with pytest.raises(Expired):
            what()
        assert str(one.expired) == "total"  # no more what it was above
    assert one.attempts == 3


def test_a_proxys_answer_is_read_while_connecting(clock: Clock) -> None:
    one = NetworkCall(Timeout(connect=4.0, idle=9.0), streaming=True)
    one.begin()
    one.begin_connecting()
    assert one.begin_response() is False
    assert one.response_has_socket is False
    assert timeout_of_a_wait(one) == 4.0
    with pytest.raises(Expired):
        one.timed_out()
    assert one.expired == "connect"
    one.connected(1.5)
    assert timeout_of_a_wait(one) == 9.0
    assert one.begin_response() is True
    assert one.response_has_socket is True
    clock.time += 1.0
    one.begin()
    assert one.response_has_socket is False


def test_the_time_to_connect_is_the_first_attempts() -> None:
    one = begun_call()
    assert one.connect_seconds == 0.0
    one.connected(1.5)
    assert one.connect_seconds == 0.0


def test_each_attempt_begins_at_nought() -> None:
    one = begun_call(gap=5.0)
    one.waited, one.in_body = 4.0, True
    one.begin()
    assert (one.waited, one.in_body, one.attempts) == (0.0, False, 2)


# Between attempts ----------------------------------------------------------------------------


def test_a_sleep_ends_with_total() -> None:
    one = begun_call(total=0.02)
    with pytest.raises(Expired):
        one.sleep(60.0)
    assert one.expired == "total"


def test_a_sleep_is_woken_by_abort() -> None:
    one = begun_call()
    raised: list[BaseException] = []

    def sleep() -> None:
        try:
            one.sleep(60.0)
        except Aborted as aborted:
            raised.append(aborted)

    thread = threading.Thread(target=sleep, daemon=True)
    thread.start()
    while not one._wake._waiters:  # type: ignore[attr-defined]
        assert thread.is_alive()
    abort(one)
    thread.join(SOON)
    assert len(raised) == 1


# Stopping ------------------------------------------------------------------------------------


def test_abort_shuts_what_was_entered_once() -> None:
    one = begun_call()
    shut: list[str] = []
    one.enter_shut(lambda: shut.append("first"))
    one.enter_shut(lambda: shut.append("second"))
    abort(one)
    assert shut == ["second"]
    assert one.aborted is True
    calls: list[Callable[[], object]] = [
        one.begin,
        one.check,
        one.seconds_to_connect,
        one.connecting_timed_out,
        one.timed_out,
        lambda: one.sleep(0),
        lambda: one.arm(Notes()),
        lambda: one.enter(None),
        lambda: one.enter_shut(None),
    ]
    for work in calls:
        with pytest.raises(Aborted):
            work()
    assert one.expired is None
    assert one.leave() is False


def test_what_has_left_is_not_shut() -> None:
    one = begun_call()
    shut: list[str] = []
    one.enter_shut(lambda: shut.append("shut"))
    assert one.leave() is True
    abort(one)
    assert shut == []


@pytest.mark.parametrize("error", [OSError, ValueError, RuntimeError])
def test_what_cannot_be_shut_is_none_of_aborts_business(error: type[Exception]) -> None:
    def shut() -> None:
        raise error

    one = begun_call()
    one.enter_shut(shut)
    abort(one)
    assert one.aborted


def test_both_directions_are_shut() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.settimeout(SOON)
        theirs.settimeout(SOON)
        one = begun_call()
        one.enter(ours)
        abort(one)
        assert ours.recv(1) == b""
        assert theirs.recv(1) == b""


def test_a_forked_child_shuts_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    one = begun_call()
    shut: list[str] = []
    one.enter_shut(lambda: shut.append("shut"))
    monkeypatch.setattr(os, "getpid", lambda: -1)
    abort(one)
    assert one.aborted
    assert shut == []


# Sending -------------------------------------------------------------------------------------


def test_sending_takes_as_many_waits_as_it_needs(clock: Clock) -> None:
    one = begun_call(idle=3.0)
    sock = Notes(clock, takes=5, seconds=2.0)
    one.send(sock, b"a longer request")  # type: ignore[arg-type]
    assert sock.sent == b"a longer request"
    assert one.waited == 8.0  # four times, of which none was as long as idle


def test_a_request_that_cannot_be_sent(clock: Clock) -> None:
    one = begun_call(streaming=False, idle=3.0, gap=9.0)
    sock = Notes(clock, takes=0, seconds=3.0)
    with pytest.raises(Expired):
        one.send(sock, b"request")  # type: ignore[arg-type]
    assert sock.timeouts == [3.0]
    assert one.expired == "idle"


def test_without_events_a_slow_request_uses_up_nothing_of_the_wait_for_the_headers(
    clock: Clock,
) -> None:
    for streaming, waited in ((True, 8.0), (False, 0.0)):
        one = begun_call(streaming=streaming, idle=3.0, gap=9.0)
        one.send(Notes(clock, takes=5, seconds=2.0), b"a longer request")  # type: ignore[arg-type]
        assert one.waited == waited
