"""The faults that users play by name, each through the whole library."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator
from typing import Any, Literal

import pytest
from helpers import SOON

from openai_stream import (
    APIConnectionError,
    APITimeoutError,
    Client,
    InternalServerError,
    OpenAIStreamError,
    RateLimitError,
    StreamAPIError,
    StreamDecodeError,
    StreamInterruptedError,
    StreamTimeoutError,
    Timeout,
    api,
)
from openai_stream.testing import (
    FAULTS,
    Event,
    Fault,
    Hang,
    Pause,
    ScriptedServer,
    Step,
    answer,
    chat_chunks,
    corrupt_chunk,
    cut,
    error_event,
    faults,
    keep_alives,
    malformed,
    rate_limited,
    redirect,
    reset,
    server_error,
    stall,
    tool_call_chunks,
    trickle,
    truncated,
    whole_json,
)

#: For what would otherwise last for ever.
IMPATIENT = Timeout(idle=0.3, gap=0.3)
TEXT = "Hello you there"
ALL = chat_chunks(TEXT)
#: Of each fault with its defaults: how many events come, and the error behind them.
ENDS: dict[str, tuple[int, type[OpenAIStreamError] | None]] = {
    "corrupt_chunk": (2, StreamInterruptedError),
    "corrupt_gzip": (2, StreamDecodeError),
    "cut": (2, StreamInterruptedError),
    "endless_event": (2, StreamDecodeError),
    "error_event": (2, StreamAPIError),
    "html_page": (0, StreamDecodeError),
    "invalid_utf8": (2, StreamDecodeError),
    "keep_alives": (2, StreamTimeoutError),
    "malformed": (2, StreamDecodeError),
    "no_response": (0, APIConnectionError),
    "rate_limited": (0, RateLimitError),
    "redirect": (0, APIConnectionError),
    "reset": (2, StreamInterruptedError),
    "server_error": (0, InternalServerError),
    "short_length": (2, StreamInterruptedError),
    "stall": (2, StreamTimeoutError),
    "trickle": (len(ALL), None),
    "truncated": (2, StreamInterruptedError),
    "unanswered": (0, APITimeoutError),
    "whole_json": (0, StreamDecodeError),
}


@pytest.fixture
def client(server: ScriptedServer) -> Iterator[Client]:
    with Client(
        api_key="test",
        base_url=server.base_url,
        max_retries=0,
        max_event_bytes=300_000,
        timeout=Timeout(connect=SOON, idle=SOON, gap=SOON),
    ) as made:
        yield made


def stream(client: Client, **arguments: Any) -> tuple[list[Any], OpenAIStreamError | None]:
    """The events that come, and the error."""
    events: list[Any] = []
    try:
        stream = client.create_chat_completion(model="m", messages=[], stream=True, **arguments)
        for event in stream:
            events.append(event.to_dict())
    except OpenAIStreamError as error:
        return events, error
    return events, None


def test_the_table_has_them_all() -> None:
    assert list(FAULTS) == sorted(ENDS) == sorted(FAULTS)
    made = [getattr(faults, name) for name in faults.__all__ if name[0].islower()]
    assert {one for one in made if one is not faults.fault_of} == set(FAULTS.values())


@pytest.mark.parametrize("name", FAULTS)
def test_each_by_its_name(server: ScriptedServer, client: Client, name: str) -> None:
    server.play(answer(TEXT, fault=name))
    count, expected = ENDS[name]
    late = expected is not None and issubclass(expected, TimeoutError)
    events, error = stream(client, timeout=IMPATIENT if late else None)
    assert events == ALL[:count]
    assert type(error) is (expected or type(None))


@pytest.mark.parametrize("framing", ["chunked", "length", "close"])
@pytest.mark.parametrize("after", [0, 3, -2])
@pytest.mark.parametrize("make", [cut, truncated, error_event, malformed, corrupt_chunk])
def test_a_fault_comes_after_so_many_events_in_every_framing(
    server: ScriptedServer,
    client: Client,
    make: Any,
    after: int,
    framing: Literal["chunked", "length", "close"],
) -> None:
    server.play(answer(TEXT, fault=make(after=after), framing=framing))
    events, error = stream(client)
    # Two before the end is before the finish reason: the last one is [DONE].
    assert events == ALL[: after if after >= 0 else len(ALL) - 1]
    assert type(error) is ENDS[make.__name__][1]
    # Of a cut the client learns by the framing, where that tells the end; a good end is no break.
    broken = "the connection broke" in str(error)
    assert broken == (make is corrupt_chunk or (make is cut and framing != "close"))


@pytest.mark.parametrize("framing", ["chunked", "length", "close"])
@pytest.mark.parametrize("make", [stall, keep_alives, reset])
def test_what_ends_by_time_or_by_a_reset_in_every_framing(
    server: ScriptedServer,
    client: Client,
    make: Any,
    framing: Literal["chunked", "length", "close"],
) -> None:
    server.play(answer(TEXT, fault=make(after=1), framing=framing))
    events, error = stream(client, timeout=None if make is reset else IMPATIENT)
    assert events == ALL[:1]
    assert type(error) is ENDS[make.__name__][1]


def test_a_fault_goes_with_compression_and_with_every_cut(
    server: ScriptedServer, client: Client
) -> None:
    for cuts in ({}, {"bytes_per_chunk": 7}, {"events_per_chunk": 3}):
        server.play(answer(TEXT, fault=malformed(after=3), encoding="gzip", **cuts))  # type: ignore[arg-type]
        assert stream(client)[0] == ALL[:3]


def test_a_stall_may_end(server: ScriptedServer, client: Client) -> None:
    server.play(answer(TEXT, fault=stall(after=3, seconds=0.2)))
    handle = client.create_chat_completion(model="m", messages=[], stream=True).stream
    assert handle.result(30).choices[0].message.content == TEXT
    assert handle.stats.longest_gap_seconds > 0.15


def test_what_a_fault_says(server: ScriptedServer, client: Client) -> None:
    server.play(
        answer(fault=rate_limited(retry_after=90)),
        answer(fault=server_error(503)),
        answer(fault=redirect("http://there.invalid/")),
        answer(TEXT, fault=error_event(message="no room", type="t", code="c")),
        answer(fault=whole_json("Hi")),
    )
    errors: list[Any] = [stream(client)[1] for _ in range(5)]
    assert errors[0].retry_after == 90
    assert errors[1].status_code == 503
    assert "http://there.invalid/" in str(errors[2])
    assert (errors[3].type, errors[3].code) == ("t", "c")
    assert "no room" in str(errors[3])
    assert errors[4].snapshot.choices[0].message.content == "Hi"


def test_a_limit_on_the_rate_without_a_time(server: ScriptedServer, client: Client) -> None:
    server.play(answer(fault="rate_limited"))
    error = stream(client)[1]
    assert isinstance(error, RateLimitError)
    assert error.retry_after is None


def test_a_fault_of_ones_own(server: ScriptedServer, client: Client) -> None:
    server.play(answer(TEXT, fault=Fault("twice", 1, events=(b": one\n\n", b": two\n\n"))))
    handle = client.create_chat_completion(model="m", messages=[], stream=True).stream
    assert handle.result(30).choices[0].message.content == TEXT
    assert handle.stats.keep_alives == 2


def test_a_fault_beside_other_steps(server: ScriptedServer, client: Client) -> None:
    """What is no event does not count, and stays where it is."""
    events: list[Event] = [ALL[0], Pause(0), *ALL[1:]]
    script = answer(events, fault=cut(after=2), delay=0.001)
    assert script.index(Pause(0)) < script.index(Pause(0.001), 4)
    server.play(script)
    assert stream(client)[0] == ALL[:2]


def test_a_trickle_keeps_the_bytes() -> None:
    def sent(script: list[Step | bytes]) -> bytes:
        return b"".join(part if isinstance(part, bytes) else part.data for part in script)  # type: ignore[attr-defined]

    assert sent(answer(TEXT, fault=trickle())) == sent(answer(TEXT))


def test_tool_calls_that_break_off(server: ScriptedServer, client: Client) -> None:
    chunks = tool_call_chunks(("get_weather", '{"city": "Paris"}'))
    server.play(answer(chunks, fault=cut(after=3)))
    events, error = stream(client)
    assert events == chunks[:3]
    assert isinstance(error, StreamInterruptedError)
    assert error.snapshot.choices[0].message.tool_calls[0].function.name == "get_weather"


def test_an_unknown_fault_is_refused_with_the_known_ones() -> None:
    with pytest.raises(
        ValueError, match="no fault is named 'stal': did you mean 'stall'"
    ) as caught:
        answer(TEXT, fault="stal")
    assert all(name in str(caught.value) for name in FAULTS)
    with pytest.raises(ValueError, match=re.escape("named 'zzz'. There are corrupt_chunk, ")):
        answer(TEXT, fault="zzz")
    with pytest.raises(TypeError, match="fault must be a Fault or the name of one, not 5"):
        answer(TEXT, fault=5)  # type: ignore[arg-type]


def test_a_fault_behind_the_end_is_refused() -> None:
    count = len(ALL) + 1
    assert answer(TEXT, fault=stall(after=count))[-1] == Hang()
    for after in (count + 1, -count - 1):
        with pytest.raises(ValueError, match=f"stall is to come after {after} events.* {count}, "):
            answer(TEXT, fault=stall(after=after))
    assert answer(TEXT, fault=cut(after=-count))[1:2] == answer([], done=False, fault=cut(0))[1:]


def test_faults_are_data() -> None:
    assert dataclasses.replace(cut(), after=5).after == cut(after=5).after
    assert cut().name == "cut"


# The plugin ----------------------------------------------------------------------------------


def test_the_default_client_of_a_test(
    stream_server: ScriptedServer, stream_default_client: Client
) -> None:
    stream_server.play(answer(TEXT), answer(TEXT))
    handle = api.create_chat_completion(model="m", messages=[], stream=True).stream
    assert handle.result(30).choices[0].message.content == TEXT
    with Client() as other:
        assert stream(other) == (ALL, None)
    assert stream_default_client.max_retries == 2
