"""The long proofs, in short: a few hundred streams of the soak, and what the fuzzer begins with."""

from __future__ import annotations

import json
import random
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import pytest
from machine import HELD_UP

from openai_stream import Client, StreamInterruptedError
from openai_stream.models import ChatCompletionChunk, Response
from openai_stream.sse import Frames
from openai_stream.testing import ScriptedServer, answer, chat_chunks

sys.path.insert(0, str(Path(__file__).parent.parent))

from proofs import fuzz_targets, held_up, plays, scenarios, soak

SEED = 7
Target = Callable[[bytes], None]


# The soak ------------------------------------------------------------------------------------


# Of a connection that ends just before the handshake, ``ssl`` forgets the socket (CPython's fault).
@pytest.mark.filterwarnings("ignore:unclosed <ssl.SSLSocket:ResourceWarning")
@pytest.mark.limit(180)
def test_a_short_soak() -> None:
    report = soak.soak(SEED, streams=300, workers=8, herd=20)
    assert report.deviations == []
    assert report.streams - report.kinds["long"] == 300
    assert report.kinds["long"] >= 40
    assert set(report.kinds) == {*scenarios._KINDS, "long"}
    assert report.stops > 10
    assert report.threads_after <= report.threads_before


def test_a_scenario_is_the_same_each_time() -> None:
    for number in range(50):
        (one, source), (other, same) = scenarios.draw(SEED, number), scenarios.draw(SEED, number)
        for scenario in (one, other):
            assert scenario.number == number
        assert [a.script for a in one.attempts if plain(a)] == [
            a.script for a in other.attempts if plain(a)
        ]
        assert source.random() == same.random()


def plain(attempt: Any) -> bool:
    return isinstance(attempt.script, list) and all(isinstance(s, bytes) for s in attempt.script)


class _NoControl:
    """In the place of what asks the server; these scenarios have nothing to ask."""

    def seen(self, number: int, closing: bool = False) -> Any:
        return {"attempts": 1, "closed_at": None, "sent_at": None}


def play(played: Any, expected: scenarios.Answer, seed: int) -> None:
    """Play one thing, expect another."""
    scenario = scenarios.Scenario(0, "whole", "chat", [expected])
    source = random.Random(seed)  # noqa: S311
    with ScriptedServer() as server, Client(api_key="sk-test", base_url=server.base_url) as client:
        server.play(played)
        one = plays.Play(client, _NoControl(), scenario, source)  # type: ignore[arg-type]
        one.run()


CHUNKS = chat_chunks("Hello world")


@pytest.mark.parametrize("seed", range(12))
def test_the_soak_notices_whatever_differs(seed: int) -> None:
    whole = scenarios.Answer(answer(CHUNKS), CHUNKS)
    play(whole.script, whole, seed)
    other_text = json.loads(json.dumps(CHUNKS).replace("world", "World"))
    cut = attrs.evolve(whole, events=CHUNKS[:-1])
    for expected in (
        attrs.evolve(whole, events=other_text),
        attrs.evolve(whole, events=CHUNKS[::-1] if seed % 2 else [*CHUNKS[:2], *CHUNKS[1:]]),
        attrs.evolve(cut, error=StreamInterruptedError),
    ):
        with pytest.raises(plays.Deviation):
            play(whole.script, expected, seed)


LEVEL = [90.0] * 200


@pytest.mark.parametrize(
    ("last", "rises"),
    [
        ([90.0] * 100, False),
        # A peak, and what the allocator gives back of it as time goes by.
        ([90.0] * 30 + [136 - n * 0.4 for n in range(70)], False),
        ([90.0] * 60 + [136 - n * 0.4 for n in range(40)], False),
        ([90.0] * 95 + [136.0] * 5, False),
        ([90 + n * 0.03 for n in range(100)], True),
        ([90 + n // 20 for n in range(100)], True),
        ([90 + n % 7 + n * 0.03 for n in range(100)], True),
    ],
)
def test_a_leak_is_told_from_a_peak(last: list[float], rises: bool) -> None:
    assert (soak.Report(memory=LEVEL + last).rise > soak._LEVEL) is rises


def test_how_much_the_process_is_held_up_is_measured() -> None:
    with held_up.HeldUp() as machine:
        time.sleep(0.1)
        begin = time.monotonic()
        usual = sys.getswitchinterval()
        sys.setswitchinterval(0.5)  # the interpreter's lock is given up no sooner
        try:
            while time.monotonic() < begin + 0.4:
                pass
        finally:
            sys.setswitchinterval(usual)
        assert 0.3 < machine.since(begin) < 0.5 + HELD_UP
        assert machine.since(time.monotonic()) < 0.0 + HELD_UP
    assert machine.since(begin) == 0  # it no longer looks


# The fuzzer's targets ------------------------------------------------------------------------


@pytest.mark.parametrize("target", fuzz_targets.TARGETS)
def test_what_the_fuzzer_begins_with(target: str) -> None:
    seeds = list(fuzz_targets.seeds(target))
    assert len(seeds) > 10
    assert seeds == list(fuzz_targets.seeds(target))
    for seed in seeds:
        fuzz_targets.TARGETS[target](seed)


@pytest.mark.parametrize("target", fuzz_targets.TARGETS)
def test_any_bytes_will_do(target: str) -> None:
    source = random.Random(SEED)  # noqa: S311
    for size in [*range(12), *[source.randrange(200) for _ in range(60)]]:
        fuzz_targets.TARGETS[target](source.randbytes(size))


def broken_frames(monkeypatch: pytest.MonkeyPatch) -> None:
    def lossy(self: Frames, block: bytes) -> Any:
        return iter([frames[1:] for frames in original(self, block)])

    original = Frames.feed
    monkeypatch.setattr(Frames, "feed", lossy)


def broken_objects(monkeypatch: pytest.MonkeyPatch) -> None:
    def sorted_keys(self: Any) -> dict[str, Any]:
        return dict(sorted(original(self).items()))

    original = ChatCompletionChunk.to_dict
    monkeypatch.setattr(ChatCompletionChunk, "to_dict", sorted_keys)


def broken_sums(monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing(self: Any) -> dict[str, Any]:
        return {}

    monkeypatch.setattr(Response, "to_dict", nothing)


@pytest.mark.parametrize(
    ("target", "break_it"),
    [
        ("frames", broken_frames),
        ("events", broken_frames),
        ("objects", broken_objects),
        ("sums", broken_sums),
    ],
)
def test_the_targets_notice(
    target: str, break_it: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    break_it(monkeypatch)
    noticed = 0
    for seed in fuzz_targets.seeds(target):
        try:
            fuzz_targets.TARGETS[target](seed)
        except AssertionError:
            noticed += 1
    assert noticed
