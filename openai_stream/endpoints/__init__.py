"""The endpoints that stream: for each its path, its classes, how it adds up, and its text.

A new endpoint is a new module here; "To add an endpoint" in CONTRIBUTING.rst says what else. Each
comes with its first use, and its classes with it. What is common to all (frames, errors in the
stream, ``[DONE]``) is the protocol's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .endpoint import Accumulator, Endpoint

if TYPE_CHECKING:
    from .any import any_endpoint
    from .chat_completions import CHAT_COMPLETIONS
    from .completions import COMPLETIONS
    from .responses import RESPONSES, can_be_id, stored_response
else:
    from openai_stream.first_use import at_first_use

    __getattr__, __dir__ = at_first_use(
        globals(),
        {
            ".any": ("any_endpoint",),
            ".chat_completions": ("CHAT_COMPLETIONS",),
            ".completions": ("COMPLETIONS",),
            ".responses": ("RESPONSES", "can_be_id", "stored_response"),
        },
    )

__all__ = [
    "CHAT_COMPLETIONS",
    "COMPLETIONS",
    "RESPONSES",
    "Accumulator",
    "Endpoint",
    "any_endpoint",
    "can_be_id",
    "stored_response",
]
