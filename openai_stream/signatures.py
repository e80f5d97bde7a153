"""What type checkers and editors see of the calls: what comes back depends on the arguments.

The same for a client's methods and the module's functions, but that only the functions take a
``client``. At run time there is one list of arguments, in :mod:`.arguments`; a test holds the two
against each other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypedDict, TypeVar, overload

from .bodies import ChatBody, CompletionBody, ResponseBody
from .fallbacks import Fallback
from .models import (
    ChatCompletion,
    ChatCompletionChunk,
    Completion,
    Response,
    ResponseEvent,
    ServerEvent,
)
from .stream.handles import EventQueue, Stream
from .stream.items import Restarted
from .timeouts import Timeout

if TYPE_CHECKING:
    from typing_extensions import Unpack  # in typing from Python 3.11 on

__all__ = [
    "CreateChatCompletion",
    "CreateCompletion",
    "CreateResponse",
    "ResumeResponse",
    "Sink",
    "StreamAny",
]

#: The clients that a call takes: ``NoReturn``, none, where it is a client's own method.
C_contra = TypeVar("C_contra", contravariant=True)


class Sink(Protocol):
    """What ``queue=`` takes."""

    def put(self, item: Any, /) -> Any:
        """Take in an item; may block."""


class CallArguments(TypedDict, total=False):
    """What goes with any call."""

    timeout: Timeout | float | None
    extra_headers: Mapping[str, str | None] | None
    extra_query: Mapping[str, Any] | None
    extra_body: Mapping[str, Any] | None


class StreamArguments(TypedDict, total=False):
    """What goes with any stream."""

    on_error: Callable[[BaseException], object] | None
    nowait: bool
    replay: bool


class ChatArguments(ChatBody, CallArguments, total=False):
    """What goes with any ``create_chat_completion``."""


class ChatStreamArguments(ChatArguments, StreamArguments, total=False):
    """What goes with one that streams."""

    on_done: Callable[[ChatCompletion], object] | None


class CreateChatCompletion(Protocol[C_contra]):
    """``create_chat_completion``; ``POST /chat/completions``."""

    @overload
    def __call__(
        self,
        *,
        stream: Literal[False] = False,
        client: C_contra | None = None,
        fallbacks: Iterable[Fallback] = (),
        **arguments: Unpack[ChatArguments],
    ) -> ChatCompletion: ...
    @overload
    def __call__(
        self,
        *,
        stream: Literal[True],
        client: C_contra | None = None,
        on_next: None = None,
        queue: None = None,
        maxsize: int = 0,
        stream_close: bool = False,
        restarts: Literal[0] = 0,
        fallbacks: tuple[()] = (),
        **arguments: Unpack[ChatStreamArguments],
    ) -> EventQueue[ChatCompletionChunk, ChatCompletion]: ...
    @overload
    def __call__(
        self,
        *,
        stream: Literal[True],
        client: C_contra | None = None,
        on_next: None = None,
        queue: None = None,
        maxsize: int = 0,
        stream_close: bool = False,
        restarts: int,
        fallbacks: Iterable[Fallback] = (),
        **arguments: Unpack[ChatStreamArguments],
    ) -> EventQueue[ChatCompletionChunk | Restarted, ChatCompletion]: ...
    @overload
    def __call__(
        self,
        *,
        stream: Literal[True],
        client: C_contra | None = None,
        on_next: None = None,
        queue: None = None,
        maxsize: int = 0,
        stream_close: bool = False,
        restarts: int = 0,
        fallbacks: Iterable[Fallback],
        **arguments: Unpack[ChatStreamArguments],
    ) -> EventQueue[ChatCompletionChunk | Restarted, ChatCompletion]: ...
    @overload
    def __call__(
        self,
        *,
        stream: Literal[True],
        client: C_contra | None = None,
        on_next: Callable[[ChatCompletionChunk], object],
        queue: None = None,
        restarts: Literal[0] = 0,
        fallbacks: tuple[()] = (),
        **arguments: Unpack[ChatStreamArguments],
    ) -> Stream[ChatCompletionChunk, ChatCompletion]: ...
    @overload
    def __call__(
        self,
        *,
        stream: Literal[True],
        client: C_contra | None = None,
        on_next: Callable[[ChatCompletionChunk | Restarted], object],
        queue: None = None,
        restarts: int,
        fallbacks: Iterable[Fallback] = (),
        **arguments: Unpack[ChatStreamArguments],
    ) -> Stream[ChatCompletionChunk, ChatCompletion]: ...
    @overload
    def __call__(
        self,
        *,
        stream: Literal[True],
        client: C_contra | None = None,
        on_next: Callable[[ChatCompletionChunk | Restarted], object],
        queue: None = None,
        restarts: int = 0,
        fallbacks: Iterable[Fallback],
        **arguments: Unpack[ChatStreamArguments],
    ) -> Stream[ChatCompletionChunk, ChatCompletion]: ...
    @overload
    def __call__(
        self,
        *,
        stream: Literal[True],
        client: C_contra | None = None,
        on_next: None = None,
        queue: Sink,
        tag: Any = None,
        restarts: int = 0,
        fallbacks: Iterable[Fallback] = (),
        **arguments: Unpack[ChatStreamArguments],
    ) -> Stream[ChatCompletionChunk, ChatCompletion]: ...
    @overload
    def __call__(
        self,
        *,
        stream: bool,
        client: C_contra | None = None,
        **arguments: Unpack[ChatArguments],
    ) -> ChatCompletion | EventQueue[ChatCompletionChunk, ChatCompletion]: ...
    @overload
    def __call__(
        self,
        *,
        stream: bool,
        client: C_contra | None = None,
        fallbacks: Iterable[Fallback],
        **arguments: Unpack[ChatArguments],
    ) -> ChatCompletion | EventQueue[ChatCompletionChunk | Restarted, ChatCompletion]: ...


class CompletionArguments(CompletionBody, CallArguments, total=False):
    """What goes with any ``create_completion``."""


class CompletionStreamArguments(CompletionArguments, StreamArguments, total=False):
    """What goes with one that streams."""

    on_done: Callable[[Completion], object] | None


class CreateCompletion(Protocol[C_contra]):
    """``create_completion``; ``POST /completions``."""

    @overload
    def __call__(
        self,
        *,
        stream: Literal[False] = False,
        client: C_contra | None = None,
        fallbacks: Iterable[Fallback] = (),
        **arguments: Unpack[CompletionArguments],
    ) -> Completion: ...
    @overload
    def __call__(
        self,
        *,
        stream: Literal[True],
        client: C_contra | None = None,
        on_next: None = None,
        queue: None = None,
        maxsize: int = 0,
        stream_close: bool = False,
        restarts: Literal[0] = 0,
        fallbacks: tuple[()] = (),
        **arguments: Unpack[CompletionStreamArguments],
    ) -> EventQueue[Completion, Completion]: ...
    @overload
    def __call__(
        self,
        *,
        stream: Literal[True],
        client: C_contra | None = None,
        on_next: None = None,
        queue: None = None,
        maxsize: int = 0,
        stream_close: bool = False,
        restarts: int,
        fallbacks: Iterable[Fallback] = (),
        **arguments: Unpack[CompletionStreamArguments],
    ) -> EventQueue[Completion | Restarted, Completion]: ...
    @overload
    def __call__(
        self,
        *,
        stream: Literal[True],
        client: C_contra | None = None,
        on_next: None = None,
        queue: None = None,
        maxsize: int = 0,
        stream_close: bool = False,
        restarts: int = 0,
        fallbacks: Iterable[Fallback],
        **arguments: Unpack[CompletionStreamArguments],
    ) -> EventQueue[Completion | Restarted, Completion]: ...
    @overload
    def __call__(
        self,
        *,
        stream: Literal[True],
        client: C_contra | None = None,
        on_next: Callable[[Completion], object],
        queue: None = None,
        restarts: Literal[0] = 0,
        fallbacks: tuple[()] = (),
        **arguments: Unpack[CompletionStreamArguments],
    ) -> Stream[Completion, Completion]: ...
    @overload
    def __call__(
        self,
        *,
        stream: Literal[True],
        client: C_contra | None = None,
        on_next: Callable[[Completion | Restarted], object],
        queue: None = None,
        restarts: int,
        fallbacks: Iterable[Fallback] = (),
        **arguments: Unpack[CompletionStreamArguments],
    ) -> Stream[Completion, Completion]: ...
    @overload
    def __call__(
        self,
        *,
        stream: Literal[True],
        client: C_contra | None = None,
        on_next: Callable[[Completion | Restarted], object],
        queue: None = None,
        restarts: int = 0,
        fallbacks: Iterable[Fallback],
        **arguments: Unpack[CompletionStreamArguments],
    ) -> Stream[Completion, Completion]: ...
    @overload
    def __call__(
        self,
        *,
        stream: Literal[True],
        client: C_contra | None = None,
        on_next: None = None,
        queue: Sink,
        tag: Any = None,
        restarts: int = 0,
        fallbacks: Iterable[Fallback] = (),
        **arguments: Unpack[CompletionStreamArguments],
    ) -> Stream[Completion, Completion]: ...
    @overload
    def __call__(
        self,
        *,
        stream: bool,
        client: C_contra | None = None,
        **arguments: Unpack[CompletionArguments],
    ) -> Completion | EventQueue[Completion, Completion]: ...
    @overload
    def __call__(
        self,
        *,
        stream: bool,
        client: C_contra | None = None,
        fallbacks: Iterable[Fallback],
        **arguments: Unpack[CompletionArguments],
    ) -> Completion | EventQueue[Completion | Restarted, Completion]: ...


class ResponseArguments(ResponseBody, CallArguments, total=False):
    """What goes with any ``create_response``."""


class ResponseStreamArguments(ResponseArguments, StreamArguments, total=False):
    """What goes with one that streams."""

    on_done: Callable[[Response], object] | None


class CreateResponse(Protocol[C_contra]):
    """``create_response``; ``POST /responses``."""

    @overload
    def __call__(
        self,
        *,
        stream: Literal[False] = False,
        client: C_contra | None = None,
        fallbacks: Iterable[Fallback] = (),
        **arguments: Unpack[ResponseArguments],
    ) -> Response: ...
    @overload
    def __call__(
        self,
        *,
        stream: Literal[True],
        client: C_contra | None = None,
        on_next: None = None,
        queue: None = None,
        maxsize: int = 0,
        stream_close: bool = False,
        restarts: Literal[0] = 0,
        fallbacks: tuple[()] = (),
        **arguments: Unpack[ResponseStreamArguments],
    ) -> EventQueue[ResponseEvent, Response]: ...
    @overload
    def __call__(
        self,
        *,
        stream: Literal[True],
        client: C_contra | None = None,
        on_next: None = None,
        queue: None = None,
        maxsize: int = 0,
        stream_close: bool = False,
        restarts: int,
        fallbacks: Iterable[Fallback] = (),
        **arguments: Unpack[ResponseStreamArguments],
    ) -> EventQueue[ResponseEvent | Restarted, Response]: ...
    @overload
    def __call__(
        self,
        *,
        stream: Literal[True],
        client: C_contra | None = None,
        on_next: None = None,
        queue: None = None,
        maxsize: int = 0,
        stream_close: bool = False,
        restarts: int = 0,
        fallbacks: Iterable[Fallback],
        **arguments: Unpack[ResponseStreamArguments],
    ) -> EventQueue[ResponseEvent | Restarted, Response]: ...
    @overload
    def __call__(
        self,
        *,
        stream: Literal[True],
        client: C_contra | None = None,
        on_next: Callable[[ResponseEvent], object],
        queue: None = None,
        restarts: Literal[0] = 0,
        fallbacks: tuple[()] = (),
        **arguments: Unpack[ResponseStreamArguments],
    ) -> Stream[ResponseEvent, Response]: ...
    @overload
    def __call__(
        self,
        *,
        stream: Literal[True],
        client: C_contra | None = None,
        on_next: Callable[[ResponseEvent | Restarted], object],
        queue: None = None,
        restarts: int,
        fallbacks: Iterable[Fallback] = (),
        **arguments: Unpack[ResponseStreamArguments],
    ) -> Stream[ResponseEvent, Response]: ...
    @overload
    def __call__(
        self,
        *,
        stream: Literal[True],
        client: C_contra | None = None,
        on_next: Callable[[ResponseEvent | Restarted], object],
        queue: None = None,
        restarts: int = 0,
        fallbacks: Iterable[Fallback],
        **arguments: Unpack[ResponseStreamArguments],
    ) -> Stream[ResponseEvent, Response]: ...
    @overload
    def __call__(
        self,
        *,
        stream: Literal[True],
        client: C_contra | None = None,
        on_next: None = None,
        queue: Sink,
        tag: Any = None,
        restarts: int = 0,
        fallbacks: Iterable[Fallback] = (),
        **arguments: Unpack[ResponseStreamArguments],
    ) -> Stream[ResponseEvent, Response]: ...
    @overload
    def __call__(
        self,
        *,
        stream: bool,
        client: C_contra | None = None,
        **arguments: Unpack[ResponseArguments],
    ) -> Response | EventQueue[ResponseEvent, Response]: ...
    @overload
    def __call__(
        self,
        *,
        stream: bool,
        client: C_contra | None = None,
        fallbacks: Iterable[Fallback],
        **arguments: Unpack[ResponseArguments],
    ) -> Response | EventQueue[ResponseEvent | Restarted, Response]: ...


class AnyStreamArguments(CallArguments, StreamArguments, total=False):
    """What goes with :meth:`Client.stream <openai_stream.Client.stream>`."""

    on_done: Callable[[Any], object] | None


class StreamAny(Protocol):
    """``Client.stream``: any endpoint."""

    @overload
    def __call__(
        self,
        path: str,
        body: object,
        *,
        on_next: None = None,
        queue: None = None,
        maxsize: int = 0,
        stream_close: bool = False,
        restarts: Literal[0] = 0,
        fallbacks: tuple[()] = (),
        **arguments: Unpack[AnyStreamArguments],
    ) -> EventQueue[ServerEvent, Any]: ...
    @overload
    def __call__(
        self,
        path: str,
        body: object,
        *,
        on_next: None = None,
        queue: None = None,
        maxsize: int = 0,
        stream_close: bool = False,
        restarts: int,
        fallbacks: Iterable[Fallback] = (),
        **arguments: Unpack[AnyStreamArguments],
    ) -> EventQueue[ServerEvent | Restarted, Any]: ...
    @overload
    def __call__(
        self,
        path: str,
        body: object,
        *,
        on_next: None = None,
        queue: None = None,
        maxsize: int = 0,
        stream_close: bool = False,
        restarts: int = 0,
        fallbacks: Iterable[Fallback],
        **arguments: Unpack[AnyStreamArguments],
    ) -> EventQueue[ServerEvent | Restarted, Any]: ...
    @overload
    def __call__(
        self,
        path: str,
        body: object,
        *,
        on_next: Callable[[ServerEvent], object],
        queue: None = None,
        restarts: Literal[0] = 0,
        fallbacks: tuple[()] = (),
        **arguments: Unpack[AnyStreamArguments],
    ) -> Stream[ServerEvent, Any]: ...
    @overload
    def __call__(
        self,
        path: str,
        body: object,
        *,
        on_next: Callable[[ServerEvent | Restarted], object],
        queue: None = None,
        restarts: int,
        fallbacks: Iterable[Fallback] = (),
        **arguments: Unpack[AnyStreamArguments],
    ) -> Stream[ServerEvent, Any]: ...
    @overload
    def __call__(
        self,
        path: str,
        body: object,
        *,
        on_next: Callable[[ServerEvent | Restarted], object],
        queue: None = None,
        restarts: int = 0,
        fallbacks: Iterable[Fallback],
        **arguments: Unpack[AnyStreamArguments],
    ) -> Stream[ServerEvent, Any]: ...
    @overload
    def __call__(
        self,
        path: str,
        body: object,
        *,
        on_next: None = None,
        queue: Sink,
        tag: Any = None,
        restarts: int = 0,
        fallbacks: Iterable[Fallback] = (),
        **arguments: Unpack[AnyStreamArguments],
    ) -> Stream[ServerEvent, Any]: ...


class ResumeArguments(CallArguments, StreamArguments, total=False):
    """What goes with ``resume_response``."""

    on_done: Callable[[Response], object] | None


class ResumeResponse(Protocol[C_contra]):
    """``resume_response``; ``GET /responses/{id}``."""

    @overload
    def __call__(
        self,
        id: str,
        starting_after: int | None = None,
        *,
        client: C_contra | None = None,
        on_next: None = None,
        queue: None = None,
        maxsize: int = 0,
        stream_close: bool = False,
        restarts: Literal[0] = 0,
        **arguments: Unpack[ResumeArguments],
    ) -> EventQueue[ResponseEvent, Response]: ...
    @overload
    def __call__(
        self,
        id: str,
        starting_after: int | None = None,
        *,
        client: C_contra | None = None,
        on_next: None = None,
        queue: None = None,
        maxsize: int = 0,
        stream_close: bool = False,
        restarts: int,
        **arguments: Unpack[ResumeArguments],
    ) -> EventQueue[ResponseEvent | Restarted, Response]: ...
    @overload
    def __call__(
        self,
        id: str,
        starting_after: int | None = None,
        *,
        client: C_contra | None = None,
        on_next: Callable[[ResponseEvent], object],
        queue: None = None,
        restarts: Literal[0] = 0,
        **arguments: Unpack[ResumeArguments],
    ) -> Stream[ResponseEvent, Response]: ...
    @overload
    def __call__(
        self,
        id: str,
        starting_after: int | None = None,
        *,
        client: C_contra | None = None,
        on_next: Callable[[ResponseEvent | Restarted], object],
        queue: None = None,
        restarts: int,
        **arguments: Unpack[ResumeArguments],
    ) -> Stream[ResponseEvent, Response]: ...
    @overload
    def __call__(
        self,
        id: str,
        starting_after: int | None = None,
        *,
        client: C_contra | None = None,
        on_next: None = None,
        queue: Sink,
        tag: Any = None,
        restarts: int = 0,
        **arguments: Unpack[ResumeArguments],
    ) -> Stream[ResponseEvent, Response]: ...
