"""The deadlines of many, in one heap."""

from __future__ import annotations

import gc
import math
import weakref
from time import monotonic

from openai_stream.stream.alarms import Alarms


class Somebody:
    """Who has an alarm."""


def test_gives_each_in_the_order_of_its_moment() -> None:
    alarms: Alarms[str] = Alarms()
    now = monotonic()
    for when, who in ((now - 1, "second"), (now - 2, "first"), (now + 100, "later")):
        alarms.set(when, who)
    assert [*alarms.due()] == ["first", "second"]
    assert [*alarms.due()] == []


def test_what_was_put_off_does_not_come() -> None:
    alarms: Alarms[str] = Alarms()
    alarm = alarms.set(monotonic() - 1, "nobody")
    alarms.set(monotonic() - 1, "somebody")
    alarms.put_off(alarm)
    assert [*alarms.due()] == ["somebody"]


def test_those_of_one_moment_are_not_compared() -> None:
    alarms: Alarms[object] = Alarms()
    for _ in range(3):
        alarms.set(1.0, object())
    assert len([*alarms.due()]) == 3


def test_says_how_long_there_is_nothing_to_do() -> None:
    alarms: Alarms[str] = Alarms()
    assert alarms.seconds(5.0) == 5.0
    alarms.set(monotonic() + 100, "later")
    assert alarms.seconds(5.0) == 5.0
    alarms.set(monotonic() + 2, "sooner")
    assert 1.0 < alarms.seconds(5.0) <= 2.0
    alarms.set(-math.inf, "now")
    assert alarms.seconds(5.0) == 0.0


def test_holds_nobody_whose_alarm_was_put_off() -> None:
    """A stream that has ended leaves its deadline of two minutes later behind."""
    alarms: Alarms[Somebody] = Alarms()
    one = Somebody()
    known = weakref.ref(one)
    alarms.put_off(alarms.set(monotonic() + 100, one))
    del one
    gc.collect()
    assert known() is None


def test_takes_out_what_was_put_off() -> None:
    alarms: Alarms[int] = Alarms()
    alarms.set(monotonic() + 50, -1)
    for number in range(10_000):
        alarms.put_off(alarms.set(monotonic() + 100, number))
    assert len(alarms._heap) < 200
    assert alarms.seconds(1000.0) < 51


def test_keeps_the_others_when_it_takes_out() -> None:
    alarms: Alarms[int] = Alarms()
    kept = [number for number in range(500) if number % 5 == 0]
    for number in range(500):
        alarm = alarms.set(float(number), number)
        if number not in kept:
            alarms.put_off(alarm)
    assert [*alarms.due()] == kept
