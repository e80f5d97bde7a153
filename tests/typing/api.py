"""What type checkers make of the calls. Only read by mypy, never run."""

from __future__ import annotations

import queue
from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from typing import Any, Literal

from typing_extensions import assert_never, assert_type

from openai_stream import (
    DONE,
    APIStatusError,
    AzureClient,
    ChatCompletion,
    ChatCompletionChunk,
    Client,
    Completion,
    Done,
    EventQueue,
    Fallback,
    OpenAIStreamError,
    RateLimitError,
    Response,
    ResponseEvent,
    Restarted,
    ServerEvent,
    Stats,
    Stream,
    StreamAPIError,
    StreamError,
    Tagged,
    Timeout,
    cancel_response,
    combine,
    create_chat_completion,
    create_completion,
    create_response,
    resume_response,
    retrieve_response,
)
from openai_stream.parts import Call, CallDelta, Finish, Reasoning, Refusal, Text
from openai_stream.recordings import RecordedExchange, Recorder, read_recording
from openai_stream.testing import Fault, ScriptedServer, Step, answer, cut, recorded
from openai_stream.web import EVENT_STREAM_HEADERS, Body, event_stream, ui_messages

ChatQueue = EventQueue[ChatCompletionChunk, ChatCompletion]
TextQueue = EventQueue[Completion, Completion]
ResponseQueue = EventQueue[ResponseEvent, Response]
ChatStream = Stream[ChatCompletionChunk, ChatCompletion]

client = Client(api_key="k", timeout=Timeout(connect=1, idle=None, gap=2.5, total=3))
azure = AzureClient(api_key="k", endpoint="https://e", azure_ad_token=lambda: "t", readers=1)


# The calls -----------------------------------------------------------------------------------


def without_stream() -> None:
    assert_type(create_chat_completion(model="m", messages=[]), ChatCompletion)
    assert_type(create_chat_completion(model="m", messages=[], stream=False), ChatCompletion)
    assert_type(create_completion(model="m", prompt="p", client=client), Completion)
    assert_type(create_response(model="m", input="i", timeout=5), Response)
    assert_type(client.create_chat_completion(model="m", messages=[]), ChatCompletion)
    assert_type(client.create_completion(model="m", prompt="p"), Completion)
    assert_type(client.create_response(model="m", input="i"), Response)
    assert_type(client.resume_response("id"), EventQueue[ResponseEvent, Response])
    assert_type(
        resume_response("id", 7, client=client, on_next=lambda event: None),
        Stream[ResponseEvent, Response],
    )
    assert_type(client.retrieve_response("id", timeout=1), Response)
    assert_type(client.cancel_response("id", extra_headers={"a": None}), Response)
    assert_type(retrieve_response("id", client=client), Response)
    assert_type(cancel_response("id", extra_query={"a": 1}), Response)
    assert_type(azure.create_chat_completion(model="m", messages=[]), ChatCompletion)


def into_a_queue() -> None:
    assert_type(create_chat_completion(model="m", messages=[], stream=True), ChatQueue)
    assert_type(
        create_chat_completion(
            model="m",
            messages=[],
            stream=True,
            on_done=print,
            on_error=print,
            stream_close=True,
            maxsize=8,
            nowait=True,
            timeout=Timeout(),
            client=azure,
            temperature=0.5,
        ),
        ChatQueue,
    )
    assert_type(create_completion(model="m", prompt="p", stream=True), TextQueue)
    assert_type(create_response(model="m", input="i", stream=True), ResponseQueue)
    assert_type(client.create_chat_completion(model="m", messages=[], stream=True), ChatQueue)
    assert_type(client.create_completion(model="m", stream=True), TextQueue)
    assert_type(client.create_response(model="m", stream=True), ResponseQueue)
    assert_type(azure.create_chat_completion(model="m", stream=True), ChatQueue)


def to_a_callback() -> None:
    def on_next(event: ChatCompletionChunk) -> None: ...

    def on_done(whole: ChatCompletion) -> int:
        return len(whole.choices)

    def on_error(error: BaseException) -> None: ...

    assert_type(
        create_chat_completion(
            model="m",
            messages=[],
            stream=True,
            on_next=on_next,
            on_done=on_done,
            on_error=on_error,
            nowait=True,
        ),
        ChatStream,
    )
    assert_type(create_chat_completion(model="m", stream=True, on_next=print), ChatStream)
    assert_type(
        create_completion(model="m", stream=True, on_next=print), Stream[Completion, Completion]
    )
    assert_type(
        client.create_response(model="m", stream=True, on_next=lambda event: print(event.type)),
        Stream[ResponseEvent, Response],
    )


def into_a_foreign_queue() -> None:
    class Mine:
        def put(self, item: object) -> None: ...

    assert_type(create_chat_completion(model="m", stream=True, queue=Mine()), ChatStream)
    assert_type(
        create_chat_completion(model="m", stream=True, queue=queue.Queue[Any](), tag=1),
        ChatStream,
    )


def where_stream_is_a_variable(wanted: bool) -> None:
    assert_type(
        create_chat_completion(model="m", messages=[], stream=wanted), ChatCompletion | ChatQueue
    )
    assert_type(client.create_response(model="m", stream=wanted), Response | ResponseQueue)


def what_may_be_sent(message: ChatCompletion, strings: list[dict[str, str]]) -> None:
    create_chat_completion(messages=strings, extra_body={"top_k": 5})
    create_chat_completion(messages=[{"role": "user", "content": [{"type": "text", "text": "x"}]}])
    create_chat_completion(messages=[*strings, message.choices[0].message])
    create_completion(prompt=["a", "b"], n=2, stop="x")
    create_response(input=[{"role": "user", "content": "x"}], reasoning={"effort": "low"})


def any_endpoint() -> None:
    assert_type(client.stream("/x", {"a": 1}), EventQueue[ServerEvent, Any])
    assert_type(
        client.stream("/x", [], restarts=1, timeout=3), EventQueue[ServerEvent | Restarted, Any]
    )
    assert_type(client.stream("/x", {}, on_next=print), Stream[ServerEvent, Any])
    assert_type(client.stream("/x", {}, queue=queue.Queue[Any]()), Stream[ServerEvent, Any])


def with_restarts() -> None:
    events = create_chat_completion(model="m", stream=True, restarts=2)
    assert_type(events, EventQueue[ChatCompletionChunk | Restarted, ChatCompletion])
    for event in events:
        if isinstance(event, Restarted):
            assert_type(event.attempt, int)
            assert_type(event.error, StreamError)
        else:
            assert_type(event, ChatCompletionChunk)


def with_fallbacks(wanted: bool) -> None:
    others = [Fallback(client, model="n"), Fallback(azure, {"x": "y"}, n=1), Fallback()]
    assert_type(create_chat_completion(model="m", fallbacks=others), ChatCompletion)
    events = create_chat_completion(model="m", stream=True, fallbacks=others)
    assert_type(events, EventQueue[ChatCompletionChunk | Restarted, ChatCompletion])
    again = next(event for event in events if isinstance(event, Restarted))
    assert_type(again.fallback, int)
    assert_type(again.error.earlier, tuple[OpenAIStreamError, ...])
    both = create_response(model="m", stream=True, restarts=2, fallbacks=others)
    assert_type(both, EventQueue[ResponseEvent | Restarted, Response])
    assert_type(
        create_completion(model="m", stream=wanted, fallbacks=others),
        Completion | EventQueue[Completion | Restarted, Completion],
    )
    assert_type(
        create_completion(model="m", stream=True, fallbacks=others, queue=queue.Queue[Any]()),
        Stream[Completion, Completion],
    )
    assert_type(client.stream("/x", {}, fallbacks=others), EventQueue[ServerEvent | Restarted, Any])

    def on_next(event: ChatCompletionChunk | Restarted) -> None:
        """Takes both."""

    assert_type(
        create_chat_completion(model="m", stream=True, fallbacks=others, on_next=on_next),
        Stream[ChatCompletionChunk, ChatCompletion],
    )


# What comes back -----------------------------------------------------------------------------


def done_narrows(events: ChatQueue) -> None:
    assert_type(events.get(), ChatCompletionChunk | Done)
    assert_type(events.get_nowait(), ChatCompletionChunk | Done)
    assert_type(events.get(timeout=1.5), ChatCompletionChunk | Done)
    while (event := events.get()) is not DONE:
        assert_type(event, ChatCompletionChunk)
        for choice in event.choices:
            assert_type(choice.delta.content or "", str)
    assert_type(event, Literal[Done.DONE])


def a_queue(events: ChatQueue) -> None:
    for event in events:
        assert_type(event, ChatCompletionChunk)
    assert_type(events.text(), Iterator[str])
    assert_type(events.text(choice=1), Iterator[str])
    for part in events.parts(choice=1):
        match part:
            case Call(index, ident, name, arguments):
                assert_type((index, ident), tuple[int, str | None])
                assert_type((name, arguments), tuple[str, str])
            case CallDelta():
                assert_type(part.name, str | None)
            case Text(text) | Reasoning(text) | Refusal(text) | Finish(text):
                assert_type(text, str)
            case _:
                assert_never(part)
    assert_type(events.partials(call=0), Iterator[Any])
    assert_type(events.stream, ChatStream)
    assert_type(events.stream.result(), ChatCompletion)
    with events as same:
        assert_type(same, ChatQueue)
    plain: queue.Queue[Any] = events
    plain.qsize()


def a_stream(stream: ChatStream) -> None:
    assert_type(stream.result(), ChatCompletion)
    assert_type(stream.result(timeout=1), ChatCompletion)
    assert_type(stream.snapshot(), ChatCompletion)
    assert_type(stream.exception(), BaseException | None)
    assert_type(stream.done(), bool)
    assert_type(stream.cancelled(), bool)
    assert_type(stream.running(), bool)
    assert_type(stream.status_code, int | None)
    assert_type(stream.headers, Mapping[str, str] | None)
    assert_type(stream.request_id, str | None)
    assert_type(stream.future(), Future[ChatCompletion])
    stream.add_done_callback(lambda over: print(over.result().choices))
    assert_type(stream.subscribe(after=3), ChatQueue)
    with stream as same:
        assert_type(same, ChatStream)


def figures(stats: Stats) -> None:
    assert_type(stats.connect_seconds, float | None)
    assert_type(stats.first_event_seconds, float | None)
    assert_type(stats.longest_gap_seconds, float)
    assert_type(stats.seconds, float)
    assert_type(stats.events, int)
    assert_type(stats.keep_alives, int)
    assert_type(stats.bytes, int)


def a_completion(whole: ChatCompletion, response: Response) -> None:
    assert_type(whole.choices[0].message.content, str | None)
    assert_type(whole.choices[0].finish_reason, str | None)
    assert_type(whole.id, str | None)
    assert_type(whole.created, int | None)
    if whole.usage is not None:
        assert_type(whole.usage.total_tokens, int | None)
    assert_type(whole.to_dict(), dict[str, Any])
    assert_type(ChatCompletion.from_dict({}), ChatCompletion)
    assert_type(response.id, str | None)
    assert_type(whole.choices[0].message.to_param(), dict[str, Any])
    assert_type(response.to_input(), list[dict[str, Any]])


def combined(
    chunks: list[ChatCompletionChunk],
    texts: Iterator[Completion],
    restarted: list[ResponseEvent | Restarted],
    events: ChatQueue,
    dicts: list[dict[str, Any]],
) -> None:
    assert_type(combine(chunks), ChatCompletion)
    assert_type(combine([*chunks, DONE]), ChatCompletion)
    assert_type(combine(texts), Completion)
    assert_type(combine(restarted), Response)
    assert_type(combine(events), ChatCompletion)
    assert_type(combine(dicts), Any)


def a_tagged(item: Tagged) -> None:
    assert_type(item.tag, Any)


def errors() -> None:
    try:
        create_chat_completion(model="m", messages=[])
    except RateLimitError as error:
        assert_type(error.retry_after, float | None)
        assert_type(error.status_code, int)
    except APIStatusError as error:
        assert_type(error.code, str | None)
        assert_type(error.type, str | None)
        assert_type(error.request_id, str | None)
        assert_type(error.headers, Mapping[str, str])
    except StreamAPIError as error:
        assert_type(error.code, str | None)


# Recordings and tests ------------------------------------------------------------------------


def a_recording(server: ScriptedServer) -> None:
    with Recorder("answer.rec") as recorder:
        recorder.watch(client)
        recorder.watch(azure)
    for exchange in read_recording("answer.rec"):
        assert_type(exchange, RecordedExchange)
        assert_type(exchange.data, bytes)
        server.play(recorded(exchange, speed=None))
    server.answer_from(read_recording("answer.rec"), match="turn", speed=2)
    server.answer_from([], match="best")  # type: ignore[arg-type]


def a_fault(server: ScriptedServer) -> None:
    assert_type(cut(after=3), Fault)
    assert_type(answer("Hello", fault=cut()), list[Step | bytes])
    server.play(answer("Hello", fault="stall"), lambda request: answer(request.path))


# What is refused -----------------------------------------------------------------------------


def refused() -> None:
    create_chat_completion("m")  # type: ignore[call-overload]
    create_chat_completion(model="m", mesages=[])  # type: ignore[call-overload]
    create_chat_completion(model="m", messages="Hello")  # type: ignore[arg-type]
    create_chat_completion(model="m", temperature="hot")  # type: ignore[call-overload]
    create_chat_completion(model="m", client=5)  # type: ignore[call-overload]
    create_chat_completion(model="m", timeout="soon")  # type: ignore[call-overload]
    create_chat_completion(model="m", stream=True, maxsise=3)  # type: ignore[call-overload]
    create_chat_completion(model="m", stream=True, on_next=takes_two)  # type: ignore[call-overload]
    create_chat_completion(model="m", stream=True, on_done=takes_an_int)  # type: ignore[call-overload]
    create_chat_completion(model="m", stream=True, queue=[])  # type: ignore[call-overload]
    create_chat_completion(model="m", on_next=print)  # type: ignore[call-overload]
    create_response(input="i", client=azure)  # type: ignore[call-overload]
    client.create_completion(prompt="p", client=client)  # type: ignore[call-overload]
    client.stream("/x", {}, temperature=1)  # type: ignore[call-overload]
    client.stream("/x", {}, on_next=takes_two)  # type: ignore[arg-type]
    Timeout(idle="5")  # type: ignore[arg-type]
    Client(timeout="5")  # type: ignore[arg-type]
    Client(readers="2")  # type: ignore[arg-type]


def takes_two(event: object, more: object) -> None: ...


def takes_an_int(whole: int) -> None: ...


# Web pages -----------------------------------------------------------------------------------


def pages(chat: ChatQueue, text: TextQueue, response: ResponseQueue, header: str | None) -> None:
    assert_type(event_stream(chat, header), Body)
    assert_type(event_stream(text, after=3, error_text=lambda error: None), Body)
    assert_type(ui_messages(response, error_text=str), Body)
    for block in event_stream(chat):
        assert_type(block, bytes)
    assert_type(EVENT_STREAM_HEADERS, dict[str, str])
    event_stream(chat.stream)  # type: ignore[arg-type]
    event_stream(chat, after=b"1")  # type: ignore[arg-type]
    ui_messages(chat, error_text="Sorry")  # type: ignore[arg-type]
