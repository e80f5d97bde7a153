"""OpenAI's streaming API as a thread and a ``queue.Queue``.

>>> from openai_stream import DONE, create_chat_completion
>>> events = create_chat_completion(model=…, messages=…, stream=True)
>>> while (event := events.get()) is not DONE:
...     for choice in event.choices:
...         print(choice.delta.content or "", end="", flush=True)

Start reading at :func:`create_chat_completion`, :class:`EventQueue`, :class:`Stream` and
:class:`Client`; all errors are an :class:`OpenAIStreamError`.

PYTEST_DONT_REWRITE
"""

from typing import TYPE_CHECKING

from .api import (
    cancel_response,
    create_chat_completion,
    create_completion,
    create_response,
    resume_response,
    retrieve_response,
)
from .below import check as check_libraries
from .client import Client
from .errors import (
    APIConnectionError,
    APIStatusError,
    APITimeoutError,
    AuthenticationError,
    BadRequestError,
    ConfigurationError,
    ConflictError,
    InternalServerError,
    NotFoundError,
    OpenAIStreamError,
    PermissionDeniedError,
    RateLimitError,
    RecordingError,
    StreamAPIError,
    StreamDecodeError,
    StreamError,
    StreamInterruptedError,
    StreamTimeoutError,
    StructuredOutputError,
    UnprocessableEntityError,
)
from .publishing import publish
from .stream.handles import EventQueue, Stream
from .stream.items import DONE, Done, Restarted, ShutDown, Tagged
from .stream.stats import Stats
from .timeouts import Timeout

if TYPE_CHECKING:
    from .azure import AzureClient
    from .combining import combine
    from .fallbacks import Fallback
    from .models import (
        ChatCompletion,
        ChatCompletionChunk,
        Completion,
        Response,
        ResponseEvent,
        ServerEvent,
    )
else:
    from .first_use import at_first_use

    __getattr__, __dir__ = at_first_use(
        globals(),
        {
            ".azure": ("AzureClient",),
            ".combining": ("combine",),
            ".fallbacks": ("Fallback",),
            ".models": (
                "ChatCompletion",
                "ChatCompletionChunk",
                "Completion",
                "Response",
                "ResponseEvent",
                "ServerEvent",
            ),
        },
    )

__all__ = [
    "DONE",
    "APIConnectionError",
    "APIStatusError",
    "APITimeoutError",
    "AuthenticationError",
    "AzureClient",
    "BadRequestError",
    "ChatCompletion",
    "ChatCompletionChunk",
    "Client",
    "Completion",
    "ConfigurationError",
    "ConflictError",
    "Done",
    "EventQueue",
    "Fallback",
    "InternalServerError",
    "NotFoundError",
    "OpenAIStreamError",
    "PermissionDeniedError",
    "RateLimitError",
    "RecordingError",
    "Response",
    "ResponseEvent",
    "Restarted",
    "ServerEvent",
    "ShutDown",
    "Stats",
    "Stream",
    "StreamAPIError",
    "StreamDecodeError",
    "StreamError",
    "StreamInterruptedError",
    "StreamTimeoutError",
    "StructuredOutputError",
    "Tagged",
    "Timeout",
    "UnprocessableEntityError",
    "cancel_response",
    "combine",
    "create_chat_completion",
    "create_completion",
    "create_response",
    "resume_response",
    "retrieve_response",
]

check_libraries()
publish(globals())
