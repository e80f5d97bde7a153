"""The objects of the OpenAI API as classes: ``from_dict`` reads one, ``to_dict`` gives it back.

Nothing in here knows where the dicts come from, or how events add up to an answer. The classes of
an endpoint come with its first use.
"""

from typing import TYPE_CHECKING

from openai_stream.publishing import publish

from .model import Model
from .model import as_sent as as_sent
from .model import unread as unread
from .plain_json import copied as copied
from .whole import HTTP
from .whole import brought_by as brought_by

if TYPE_CHECKING:
    from .chat import (
        Annotation,
        Audio,
        ChatCompletion,
        ChatCompletionChunk,
        Choice,
        ChunkChoice,
        CustomCall,
        Delta,
        FunctionCall,
        Message,
        Moderation,
        ModerationOutcome,
        ModerationResult,
        ToolCall,
        ToolCallDelta,
        URLCitation,
    )
    from .completions import Completion, CompletionChoice, CompletionLogprobs
    from .logprobs import ChoiceLogprobs, TokenLogprob, TopLogprob
    from .responses import (
        IncompleteDetails,
        InputTokensDetails,
        OutputTokensDetails,
        Response,
        ResponseError,
        ResponseEvent,
        ResponseUsage,
    )
    from .server_event import ServerEvent
    from .usage import CompletionTokensDetails, PromptTokensDetails, Usage
else:
    from openai_stream.first_use import at_first_use

    __getattr__, __dir__ = at_first_use(
        globals(),
        {
            ".chat": (
                "Annotation",
                "Audio",
                "ChatCompletion",
                "ChatCompletionChunk",
                "Choice",
                "ChunkChoice",
                "CustomCall",
                "Delta",
                "FunctionCall",
                "Message",
                "Moderation",
                "ModerationOutcome",
                "ModerationResult",
                "ToolCall",
                "ToolCallDelta",
                "URLCitation",
            ),
            ".completions": ("Completion", "CompletionChoice", "CompletionLogprobs"),
            ".logprobs": ("ChoiceLogprobs", "TokenLogprob", "TopLogprob"),
            ".responses": (
                "IncompleteDetails",
                "InputTokensDetails",
                "OutputTokensDetails",
                "Response",
                "ResponseError",
                "ResponseEvent",
                "ResponseUsage",
            ),
            ".server_event": ("ServerEvent",),
            ".usage": ("CompletionTokensDetails", "PromptTokensDetails", "Usage"),
        },
    )

__all__ = [
    "HTTP",
    "Annotation",
    "Audio",
    "ChatCompletion",
    "ChatCompletionChunk",
    "Choice",
    "ChoiceLogprobs",
    "ChunkChoice",
    "Completion",
    "CompletionChoice",
    "CompletionLogprobs",
    "CompletionTokensDetails",
    "CustomCall",
    "Delta",
    "FunctionCall",
    "IncompleteDetails",
    "InputTokensDetails",
    "Message",
    "Model",
    "Moderation",
    "ModerationOutcome",
    "ModerationResult",
    "OutputTokensDetails",
    "PromptTokensDetails",
    "Response",
    "ResponseError",
    "ResponseEvent",
    "ResponseUsage",
    "ServerEvent",
    "TokenLogprob",
    "ToolCall",
    "ToolCallDelta",
    "TopLogprob",
    "URLCitation",
    "Usage",
]

publish(globals())
