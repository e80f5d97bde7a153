"""The four limits by themselves: numbers, and a clock that stands still.

How a socket keeps to them, ``test_call`` and ``test_timeouts`` check.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

import openai_stream
from openai_stream import Timeout
from openai_stream.transport.deadlines import Deadlines, Expired


class Clock:
    """What the time is, as long as nobody says otherwise."""

    def __init__(self) -> None:
        self.time = 1000.0

    def __call__(self) -> float:
        return self.time


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("openai_stream.transport.deadlines.monotonic", clock)
    return clock


def deadlines(streaming: bool = True, **limits: float | None) -> Deadlines:
    never = dict.fromkeys(("connect", "idle", "gap", "total"))
    begun = Deadlines(Timeout(**{**never, **limits}), streaming=streaming)
    begun.begin()
    return begun


def test_gap_counts_all_waits_since_the_last_event(clock: Clock) -> None:
    one = deadlines(gap=10.0)
    for seconds in (4.0, 3.0):
        since = one.begin_read()
        clock.time += seconds
        one.end_read(since)
    assert one.waited == 7.0
    assert one.seconds_to_wait() == 3.0
    assert one.last_byte == clock.time
    one.restart_gap()
    assert one.seconds_to_wait() == 10.0


def test_a_flood_of_what_is_not_an_event_does_not_outrun_the_gap(clock: Clock) -> None:
    one = deadlines(gap=10.0)
    for _ in range(5):
        since = one.begin_read()
        one.end_read(since)  # it was there already
        clock.time += 2.0  # to parse it takes its time
    one.begin_read()
    assert one.seconds_to_wait() == 0.0
    with pytest.raises(Expired):
        one.timed_out()
    assert one.expired == "gap"


def test_the_time_of_a_consumer_does_not_count(clock: Clock) -> None:
    one = deadlines(gap=10.0)
    since = one.begin_read()
    one.end_read(since)
    clock.time += 100.0  # it takes the event that came
    one.restart_gap()
    one.begin_read()
    assert one.seconds_to_wait() == 10.0


def test_the_time_between_head_and_body_does_not_count(clock: Clock) -> None:
    one = deadlines(gap=10.0)
    since = one.begin_read()
    clock.time += 1.0
    one.end_read(since)
    clock.time += 100.0  # a hook has a look at it
    one.begin_body()
    one.begin_read()
    assert one.seconds_to_wait() == 9.0


def test_an_attempt_begins_with_nothing_that_has_passed(clock: Clock) -> None:
    one = deadlines(connect=4.0, total=100.0)
    one.begin_connecting()
    clock.time += 4.0
    with pytest.raises(Expired):
        one.seconds_to_connect()
    assert one.expired == "connect"
    one.begin()
    assert one.expired is None
    assert one.seconds_to_connect() == 96.0
    clock.time += 96.0
    with pytest.raises(Expired):
        one.begin()
    assert str(one.expired) == "total"  # for mypy, which knows it to be None


def test_what_a_limit_cut_short_is_forgiven(clock: Clock) -> None:
    one = deadlines()
    one.limit(1.0)
    clock.time += 1.0
    assert one.seconds_to_wait() == 0.0
    with pytest.raises(Expired):
        one.timed_out()
    one.forgive()
    assert one.expired is None


def test_between_two_events_total_may_be_up(clock: Clock) -> None:
    one = deadlines(total=5.0)
    assert not one.total_is_up()
    assert one.expired is None
    clock.time += 5.0
    assert one.total_is_up()
    assert str(one.expired) == "total"


@pytest.mark.usefixtures("clock")
@pytest.mark.parametrize(
    ("expire", "said"),
    [
        ({"deadline": "connect"}, "no connection within 1.0 s: is there a proxy in between?"),
        ({"deadline": "idle"}, "no progress for 2.0 s; Timeout(idle=…) allows more"),
        ({"deadline": "gap"}, "no event for 3.0 s; Timeout(gap=…) allows more"),
        ({"deadline": "total"}, "the total time of 4.0 s has passed"),
    ],
)
def test_says_which_deadline_has_passed(expire: dict[str, Any], said: str) -> None:
    one = deadlines(connect=1.0, idle=2.0, gap=3.0, total=4.0)
    with pytest.raises(Expired):
        one.expire(**expire)
    assert one.expiry().startswith(said)


def test_says_that_a_handshake_did_not_end() -> None:
    one = deadlines(connect=1.0)
    one.begin_connecting()
    one.in_handshake = True
    with pytest.raises(Expired):
        one.connecting_timed_out()
    assert "the TLS handshake did not end" in one.expiry()


def test_only_one_module_says_that_a_deadline_has_passed() -> None:
    package = Path(openai_stream.__file__).parent
    writers = {
        str(path.relative_to(package))
        for path in package.rglob("*.py")
        if re.search(r"\.expired\b[^=\n]* = ", path.read_text())
    }
    assert writers == {"transport/deadlines.py"}
