"""``fallbacks``: another client, or another model, is asked if the call brings no answer."""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import pickle
import queue
import time
from collections.abc import Iterator
from typing import Any

import pytest
from asking import CHUNKS, GOOD, WHOLE
from helpers import SOON
from machine import HELD_UP

from openai_stream import (
    DONE,
    APIConnectionError,
    APIStatusError,
    APITimeoutError,
    AzureClient,
    BadRequestError,
    Client,
    ConfigurationError,
    EventQueue,
    Fallback,
    InternalServerError,
    OpenAIStreamError,
    RateLimitError,
    Restarted,
    StreamAPIError,
    StreamDecodeError,
    StreamInterruptedError,
    StreamTimeoutError,
    Timeout,
    combine,
)
from openai_stream.testing import (
    Fin,
    Hang,
    Script,
    ScriptedServer,
    answer,
    chat_chunks,
    error_answer,
    json_answer,
    response_events,
)

BROKEN = chat_chunks("four five six", seed=2)[:3]
CUT = answer([*BROKEN, Fin()])
EMPTY_CUT = answer([Fin()])
STREAM = answer(CHUNKS)
OVERLOADED: dict[str, Any] = {"error": {"type": "overloaded_error", "message": "Overloaded"}}
LIMIT = error_answer(429, "slow down", headers={"Retry-After": "3600"})
KEYS = ("sk-first-0123456789abcdef", "sk-second-fedcba9876543210", "sk-third-00ff11ee22dd33cc")


@pytest.fixture
def servers() -> Iterator[list[ScriptedServer]]:
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(ScriptedServer()) for _ in range(3)]


@pytest.fixture
def clients(servers: list[ScriptedServer]) -> Iterator[list[Client]]:
    with contextlib.ExitStack() as stack:
        yield [
            stack.enter_context(Client(key, server.base_url, max_retries=0))
            for key, server in zip(KEYS, servers, strict=True)
        ]


def dead(key: str = KEYS[0], **arguments: Any) -> Client:
    """A client whose server is gone."""
    with ScriptedServer() as server:
        url = server.base_url
    return Client(key, url, max_retries=0, **arguments)


def ask(client: Client | AzureClient, *others: Fallback, **arguments: Any) -> Any:
    body: dict[str, Any] = {"model": "m", "messages": [], **arguments}
    return client.create_chat_completion(fallbacks=others, **body)


def whole(made: Any) -> Any:
    """The whole answer of a call, streamed or not."""
    return made.stream.result(SOON) if isinstance(made, EventQueue) else made


def dicts(items: list[Any]) -> list[Any]:
    return [item.to_dict() for item in items]


# What leads to the next one --------------------------------------------------------------------


@pytest.mark.parametrize("status", [408, 409, 429, 500, 501, 503, 529])
@pytest.mark.parametrize("stream", [False, True])
def test_asks_the_next_after_a_status_that_another_may_not_have(
    servers: list[ScriptedServer], clients: list[Client], status: int, stream: bool
) -> None:
    servers[0].play(error_answer(status, "no"))
    servers[1].play(STREAM if stream else GOOD)
    got = ask(clients[0], Fallback(clients[1]), stream=stream)
    if stream:
        assert dicts(list(got)) == CHUNKS
    else:
        assert got.to_dict() == WHOLE


@pytest.mark.parametrize("status", [400, 401, 403, 404, 422])
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.own_thread("it has no stream")
def test_asks_nobody_else_after_a_request_that_is_wrong(
    servers: list[ScriptedServer], clients: list[Client], status: int, stream: bool
) -> None:
    servers[0].play(error_answer(status, "no"))
    with pytest.raises(APIStatusError) as caught:
        ask(clients[0], Fallback(clients[1]), stream=stream)
    assert caught.value.status_code == status
    assert caught.value.earlier == ()
    assert servers[1].requests == []


@pytest.mark.parametrize("nowait", [False, True])
def test_asks_the_next_if_the_server_is_dead(
    servers: list[ScriptedServer], clients: list[Client], nowait: bool
) -> None:
    servers[1].play(STREAM)
    events = ask(dead(), Fallback(clients[1]), stream=True, nowait=nowait)
    assert dicts(list(events)) == CHUNKS  # nothing had come, so nothing is void


def test_a_limit_of_rate_for_ever_is_left_for_the_next(
    servers: list[ScriptedServer], clients: list[Client]
) -> None:
    servers[0].always(LIMIT)
    servers[1].play(GOOD, STREAM)
    first = Client(KEYS[0], servers[0].base_url, max_retries=2)
    assert ask(first, Fallback(clients[1])).to_dict() == WHOLE
    assert dicts(list(ask(first, Fallback(clients[1]), stream=True))) == CHUNKS
    used_up = error_answer(429, "no credit", code="insufficient_quota")
    servers[0].always(used_up)
    servers[1].play(GOOD)
    assert ask(first, Fallback(clients[1])).to_dict() == WHOLE


@pytest.mark.parametrize(
    ("script", "kind"),
    [
        (CUT, StreamInterruptedError),
        (answer([*BROKEN, OVERLOADED]), StreamAPIError),
        (answer([*BROKEN, {"error": {"code": "insufficient_quota", "message": "!"}}]),
         StreamAPIError),
        (answer([*BROKEN, {"error": {"type": "server_error", "message": "!"}}]), StreamAPIError),
        (answer([*BROKEN, b"data: {\n\n"]), StreamDecodeError),
        (answer([*BROKEN, Hang()]), StreamTimeoutError),
    ],
)  # fmt: skip
def test_an_answer_that_breaks_off_begins_anew_at_the_next(
    servers: list[ScriptedServer], clients: list[Client], script: Script, kind: type[Exception]
) -> None:
    servers[0].play(script)
    servers[1].play(STREAM)
    events = ask(clients[0], Fallback(clients[1]), stream=True, timeout=Timeout(idle=0.3))
    items = list(events)
    again = items[len(BROKEN)]
    assert isinstance(again, Restarted)
    assert (again.attempt, again.fallback) == (1, 1)
    assert isinstance(again.error, kind)
    assert dicts(items[: len(BROKEN)]) == BROKEN
    assert dicts(items[len(BROKEN) + 1 :]) == CHUNKS
    assert combine(items).choices[0].message.content == "Hello big world"
    answered = events.stream.result(SOON)
    assert answered.choices[0].message.content == "Hello big world"
    assert answered.http.status_code == 200


@pytest.mark.parametrize(
    "script",
    [
        answer([*BROKEN, {"error": {"type": "invalid_request_error", "message": "no"}}]),
        answer(headers={"Content-Type": "text/html"}, events=[]),
    ],
)
def test_asks_nobody_else_after_an_error_that_is_the_requests(
    servers: list[ScriptedServer], clients: list[Client], script: Script
) -> None:
    servers[0].play(script)
    with pytest.raises((StreamAPIError, StreamDecodeError)):
        list(ask(clients[0], Fallback(clients[1]), stream=True))
    assert servers[1].requests == []


@pytest.mark.parametrize(
    "script",
    [json_answer(OVERLOADED), error_answer(503, "no"), answer([Fin()]), json_answer(["?"])],
)
@pytest.mark.own_thread("it has no stream")
def test_a_whole_answer_may_come_from_the_next(
    servers: list[ScriptedServer], clients: list[Client], script: Script
) -> None:
    servers[0].play(script)
    servers[1].play(GOOD)
    assert ask(clients[0], Fallback(clients[1])).to_dict() == WHOLE


# What is asked ---------------------------------------------------------------------------------


@pytest.mark.own_thread("it has no stream")
def test_sends_the_fields_of_the_fallback(
    servers: list[ScriptedServer], clients: list[Client]
) -> None:
    servers[0].play(error_answer(500, "no"), GOOD)
    servers[1].play(error_answer(500, "no"))
    ask(
        clients[0],
        Fallback(clients[1], {"x-b": "2"}, {"q": "2"}, model="other", seed=None, top_p=1),
        Fallback(model="third", extra_headers={"x-c": "3"}),
        seed=5,
        temperature=None,
        extra_body={"top_p": 0.5},
        extra_headers={"x-a": "1"},
        extra_query={"p": "1"},
    )
    own, third = servers[0].requests
    (other,) = servers[1].requests
    assert own.json == {"model": "m", "messages": [], "seed": 5, "temperature": None, "top_p": 0.5}
    assert other.json == {"model": "other", "messages": [], "temperature": None, "top_p": 1}
    assert third.json == {**own.json, "model": "third"}
    assert "x-a" not in other.headers
    assert other.headers["x-b"] == "2"
    assert other.headers["authorization"] == f"Bearer {KEYS[1]}"
    assert (own.target, other.target) == (
        "/v1/chat/completions?p=1",
        "/v1/chat/completions?q=2",
    )
    assert (third.headers["x-a"], third.headers["x-c"]) == ("1", "3")
    assert third.target == own.target


def test_any_endpoint_has_fallbacks(servers: list[ScriptedServer], clients: list[Client]) -> None:
    servers[0].always(error_answer(503, "no"))
    servers[1].play(answer([{"a": 1}]), json_answer({"b": 2}))
    other = Fallback(clients[1], more=True)
    events = clients[0].stream("/x", {"y": 1}, fallbacks=[other])
    assert events.stream.result(SOON) == {"a": 1}
    assert clients[0].post("/x", {}, fallbacks=[other]) == {"b": 2}
    assert servers[1].requests[0].json == {"y": 1, "more": True}
    with pytest.raises(TypeError, match="no fields for a list"):
        clients[0].post("/x", [], fallbacks=[other])


@pytest.mark.own_thread("it has no stream")
def test_azure_is_asked_at_its_own_address(
    servers: list[ScriptedServer], clients: list[Client]
) -> None:
    servers[1].play(GOOD)
    azure = AzureClient(KEYS[1], servers[1].base_url.removesuffix("/v1"), max_retries=0)
    assert ask(dead(), Fallback(azure, model="deployed")).to_dict() == WHOLE
    (request,) = servers[1].requests
    assert request.target.startswith("/openai/deployments/deployed/chat/completions?")
    assert request.headers["api-key"] == KEYS[1]


# What cannot be --------------------------------------------------------------------------------


@pytest.mark.own_thread("it has no stream")
def test_refuses_what_cannot_be_asked_before_anything_is_sent(
    servers: list[ScriptedServer], clients: list[Client]
) -> None:
    azure = AzureClient(KEYS[1], servers[1].base_url.removesuffix("/v1"))
    with pytest.raises(ConfigurationError, match=r"fallbacks\[0\]: AzureClient has no /responses"):
        clients[0].create_response(model="m", input="x", fallbacks=[Fallback(azure)])
    with pytest.raises(ConfigurationError, match=r"fallbacks\[1\]: model must be"):
        ask(clients[0], Fallback(clients[1]), Fallback(azure, model=None))
    keyless = Client(KEYS[1])
    keyless.api_key = None
    with pytest.raises(ConfigurationError, match=r"fallbacks\[0\]: no API key"):
        ask(clients[0], Fallback(keyless), stream=True)
    with pytest.raises(ConfigurationError, match="JSON cannot carry"):
        ask(clients[0], Fallback(model=object()))
    assert servers[0].requests == servers[1].requests == []


@pytest.mark.own_thread("it has no stream")
def test_refuses_what_is_not_a_fallback(clients: list[Client]) -> None:
    call: Any = clients[0].create_chat_completion
    for wrong in ("x", Fallback(), 5, None, [{"model": "x"}], {"model": "x"}):
        with pytest.raises(TypeError, match="fallbacks must be a list of Fallback"):
            call(model="m", fallbacks=wrong)
    stranger: Any = object()
    with pytest.raises(TypeError, match="client must be a Client or an AzureClient"):
        call(model="m", fallbacks=[Fallback(stranger)])
    make: Any = Fallback
    for name in ("timeout", "stream", "extra_body", "restarts", "fallbacks"):
        with pytest.raises(TypeError, match=f"takes no argument '{name}'"):
            make(**{name: 1})
    with pytest.raises(ConfigurationError, match="extra_headers"):
        Fallback(extra_headers={"x": "a\nb"})
    resume: Any = clients[0].resume_response
    with pytest.raises(TypeError, match="no fallbacks"):
        resume("resp_1", fallbacks=[])
    assert KEYS[0] not in repr(Fallback(clients[0], {"x-key": KEYS[0]}, {"key": KEYS[0]}))


# When all fail ---------------------------------------------------------------------------------


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.own_thread("it has no stream")
def test_the_last_error_knows_those_before(
    servers: list[ScriptedServer], clients: list[Client], stream: bool
) -> None:
    servers[1].play(error_answer(429, "no"))
    servers[2].play(error_answer(400, "no such thing"))
    with pytest.raises(BadRequestError) as caught:
        ask(dead(), Fallback(clients[1]), Fallback(clients[2]), stream=stream)
    for error in (caught.value, pickle.loads(pickle.dumps(caught.value))):  # noqa: S301
        assert isinstance(error.earlier, tuple)
        first, second = error.earlier
        assert type(first) is APIConnectionError
        assert isinstance(second, RateLimitError)
        assert first.earlier == ()


def test_a_stream_that_fails_everywhere_keeps_what_had_come(
    servers: list[ScriptedServer], clients: list[Client]
) -> None:
    servers[0].play(CUT)
    servers[1].play(error_answer(500, "no"))
    servers[2].play(CUT)
    mine: queue.SimpleQueue[Any] = queue.SimpleQueue()
    stream = ask(clients[0], Fallback(clients[1]), Fallback(clients[2]), stream=True, queue=mine)
    error = stream.exception(SOON)
    assert isinstance(error, StreamInterruptedError)
    assert [type(one) for one in error.earlier] == [StreamInterruptedError, InternalServerError]
    assert error.snapshot.choices[0].message.content == "four five"
    first = error.earlier[0]
    assert isinstance(first, StreamInterruptedError)
    assert first.snapshot.choices[0].message.content == "four five"
    items = [mine.get(timeout=SOON) for _ in range(2 * len(BROKEN) + 3)]
    again = items[len(BROKEN)]
    assert (again.attempt, again.fallback) == (2, 2)
    assert isinstance(again.error, StreamInterruptedError)  # which made void what had come
    assert items[-2:] == [error, DONE]


@pytest.mark.parametrize("stream", [False, True])
def test_hides_the_keys_of_all_clients(
    servers: list[ScriptedServer], stream: bool, caplog: pytest.LogCaptureFixture
) -> None:
    said = f"not these: {' '.join(KEYS)} nor hidden-query-value-1"
    for server in servers:
        server.always(error_answer(500, said))
    first, *others = (
        Client(key if number < 2 else (lambda: KEYS[2]), server.base_url, max_retries=0)
        for number, (key, server) in enumerate(zip(KEYS, servers, strict=True))
    )
    with pytest.raises(InternalServerError) as caught, caplog.at_level(logging.WARNING):
        ask(
            first,
            Fallback(others[0], extra_query={"key": "hidden-query-value-1"}),
            Fallback(others[1]),
            stream=stream,
        )
    shown = []
    for error in (caught.value, *caught.value.earlier):
        assert isinstance(error, InternalServerError)
        shown += [str(error), str(error.body), str(vars(error))]
        shown.append(pickle.dumps(error).decode("latin-1"))
    assert len(caught.value.earlier) == 2
    for secret in (*KEYS, "hidden-query-value-1"):
        assert not any(secret in text for text in shown)
        assert secret == KEYS[2] or secret not in caplog.text  # that one was asked for later


# Limits ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("stream", [False, True])
def test_total_is_one_over_all(
    servers: list[ScriptedServer], clients: list[Client], stream: bool
) -> None:
    for server in servers:
        server.always(answer([Hang()]) if stream else Hang())
    limits = Timeout(total=1, idle=0.4, gap=0.4)
    others = (Fallback(clients[1]), Fallback(clients[2]), Fallback(clients[1]))
    start = time.monotonic()
    with pytest.raises((StreamTimeoutError, APITimeoutError)) as caught:
        whole(ask(clients[0], *others, timeout=limits, stream=stream))
    assert 0.95 < time.monotonic() - start < 1.5 * HELD_UP
    assert isinstance(caught.value, OpenAIStreamError)
    assert len(caught.value.earlier) == 2
    assert len(servers[1].requests) == 1  # it is not asked again


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_has_its_own_limits_if_the_call_has_none(
    servers: list[ScriptedServer], stream: bool
) -> None:
    for server in servers[:2]:
        server.always(answer([CHUNKS[0], Hang()]) if stream else Hang())
    first = Client(KEYS[0], servers[0].base_url, max_retries=0, timeout=Timeout(idle=0.2, gap=0.2))
    other = Client(KEYS[1], servers[1].base_url, max_retries=0, timeout=Timeout(total=0.8))
    start = time.monotonic()
    with pytest.raises((StreamTimeoutError, APITimeoutError), match=r"0\.8 s") as caught:
        whole(ask(first, Fallback(other), stream=stream))
    assert 0.75 < time.monotonic() - start < 1.3 * HELD_UP  # from the first call
    assert isinstance(caught.value, OpenAIStreamError)
    assert len(caught.value.earlier) == 1


# Restarts, and who reads -----------------------------------------------------------------------


def test_retries_and_restarts_come_first(
    servers: list[ScriptedServer], clients: list[Client]
) -> None:
    servers[0].play(error_answer(500, "no", headers={"retry-after-ms": "1"}), CUT, CUT)
    servers[1].play(CUT, STREAM)
    first = Client(KEYS[0], servers[0].base_url, max_retries=1)
    items = list(ask(first, Fallback(clients[1]), stream=True, restarts=1))
    again = [item for item in items if isinstance(item, Restarted)]
    assert [(one.attempt, one.fallback) for one in again] == [(1, 0), (2, 1), (3, 1)]
    assert (len(servers[0].requests), len(servers[1].requests)) == (3, 2)
    assert dicts(items[-len(CHUNKS) :]) == CHUNKS


def test_a_restart_that_finds_no_server_leads_to_the_next(
    servers: list[ScriptedServer], clients: list[Client]
) -> None:
    servers[0].play(CUT, error_answer(503, "no"))
    servers[1].play(STREAM)
    items = list(ask(clients[0], Fallback(clients[1]), stream=True, restarts=1))
    (again,) = (item for item in items if isinstance(item, Restarted))
    assert (again.attempt, again.fallback) == (2, 1)
    assert isinstance(again.error, StreamInterruptedError)  # which made void what had come


def test_every_way_of_reading(servers: list[ScriptedServer], clients: list[Client]) -> None:
    servers[0].always(CUT)
    servers[1].always(STREAM)
    other = Fallback(clients[1])
    calls: list[Any] = []
    done: queue.SimpleQueue[Any] = queue.SimpleQueue()
    ask(
        clients[0],
        other,
        stream=True,
        on_next=calls.append,
        on_done=done.put,
    )
    made = done.get(timeout=SOON)
    assert isinstance(calls[len(BROKEN)], Restarted)
    assert dicts(calls[len(BROKEN) + 1 :]) == CHUNKS
    assert made.choices[0].message.content == "Hello big world"
    events = ask(clients[0], other, stream=True, replay=True, maxsize=0)
    events.stream.result(SOON)
    items = list(events.stream.subscribe())
    assert dicts([item for item in items if not isinstance(item, Restarted)]) == CHUNKS
    with pytest.raises(StreamInterruptedError):  # it cannot take back what it gave
        list(ask(clients[0], other, stream=True).text())
    with pytest.raises(StreamInterruptedError):
        list(ask(clients[0], other, stream=True).parts())
    servers[0].always(EMPTY_CUT)
    assert "".join(ask(clients[0], other, stream=True).text()) == "Hello big world"
    assert list(ask(clients[0], other, stream=True).parts())


def test_closed_before_its_end_asks_nobody_else(
    servers: list[ScriptedServer], clients: list[Client]
) -> None:
    servers[0].always(answer([*BROKEN, Hang()]))
    events = ask(clients[0], Fallback(clients[1]), stream=True)
    events.get(timeout=SOON)
    events.close()
    assert events.stream.cancelled()
    assert servers[1].requests == []


def test_the_sum_is_of_what_the_fallback_was_asked_for(
    servers: list[ScriptedServer], clients: list[Client]
) -> None:
    choices = chat_chunks("one"), chat_chunks("two")
    for chunk in choices[1]:
        for choice in chunk["choices"]:
            choice["index"] = 1
    servers[0].always(error_answer(503, "no"))
    servers[1].play(answer([*choices[0], *choices[1]]))
    both = ask(clients[0], Fallback(clients[1], n=2), stream=True).stream.result(SOON)
    assert [choice.message.content for choice in both.choices] == ["one", "two"]


def test_a_background_response_is_cancelled_first(
    servers: list[ScriptedServer], clients: list[Client]
) -> None:
    created, *rest = response_events("one two")
    servers[0].play(
        answer([created, OVERLOADED]), json_answer({"object": "response", "output": []})
    )
    servers[1].play(answer([created, *rest]))
    events = clients[0].create_response(
        model="m", input="x", background=True, stream=True, fallbacks=[Fallback(clients[1])]
    )
    items = list(events)
    assert any(isinstance(item, Restarted) for item in items)
    ident = created["response"]["id"]
    assert [request.target for request in servers[0].requests] == [
        "/v1/responses",
        f"/v1/responses/{ident}/cancel",
    ]


def _take(mine: Any, back: Any) -> None:
    items = []
    while (item := mine.get()) is not DONE:
        items.append(item)
    again = next(item for item in items if isinstance(item, Restarted))
    back.put((len(items), again.attempt, again.fallback, type(again.error).__name__))


def test_the_news_crosses_to_another_process(
    servers: list[ScriptedServer], clients: list[Client]
) -> None:
    servers[0].play(CUT)
    servers[1].play(STREAM)
    context = multiprocessing.get_context("spawn")
    mine, back = context.Queue(), context.Queue()
    process = context.Process(target=_take, args=(mine, back), daemon=True)
    process.start()
    ask(clients[0], Fallback(clients[1]), stream=True, queue=mine)
    expected = (len(BROKEN) + 1 + len(CHUNKS), 1, 1, "StreamInterruptedError")
    assert back.get(timeout=SOON) == expected
    process.join(SOON)


def test_says_so_in_the_log(
    servers: list[ScriptedServer], clients: list[Client], caplog: pytest.LogCaptureFixture
) -> None:
    servers[0].play(error_answer(503, "no"))
    servers[1].play(GOOD)
    with caplog.at_level(logging.WARNING):
        ask(clients[0], Fallback(clients[1]))
    (record,) = (one for one in caplog.records if "instead" in one.getMessage())
    assert f"Asking {servers[1].base_url}/chat/completions instead" in record.getMessage()
    assert record.getMessage().endswith("(fallback 1 of 1)")
